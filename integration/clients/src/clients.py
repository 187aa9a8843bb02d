"""A client in Python. It reads a stream for each URL on standard input: python3 clients.py CLIENT

A number after the URL is a timeout of the client in seconds. It prints its version, and then what it has read from each
stream, each as a line of JSON.
"""

import asyncio
import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import urllib.request
from http.client import HTTPConnection
from importlib.metadata import distribution, version
from importlib.util import module_from_spec, spec_from_file_location

PROMPT = [{"role": "user", "content": "hello"}]


def openai_chat():
    from openai import OpenAI

    def read(url, timeout):
        with OpenAI(base_url=url, api_key="none", max_retries=0, timeout=timeout) as client:
            for chunk in client.chat.completions.create(model="none", messages=PROMPT, stream=True):
                yield chunk.to_dict()

    return version("openai"), read


def openai_responses():
    from openai import OpenAI

    def read(url, timeout):
        with OpenAI(base_url=url, api_key="none", max_retries=0, timeout=timeout) as client:
            for event in client.responses.create(model="none", input="hello", stream=True):
                yield event.to_dict()

    return version("openai"), read


def anthropic():
    from anthropic import Anthropic

    def read(url, timeout):
        with Anthropic(base_url=url, api_key="none", max_retries=0, timeout=timeout) as client:
            for event in client.messages.create(model="none", messages=PROMPT, max_tokens=8, stream=True):
                yield event.to_dict()

    return version("anthropic"), read


def httpx_sse():
    import httpx
    from httpx_sse import connect_sse

    def read(url, timeout):
        with httpx.Client(timeout=timeout) as client, connect_sse(client, "GET", url) as source:
            for event in source.iter_sse():
                yield {"event": event.event, "data": event.data}

    return version("httpx-sse"), read


def sseclient():
    import requests
    from sseclient import SSEClient

    def read(url, timeout):
        for event in SSEClient(requests.get(url, stream=True, timeout=timeout)).events():
            yield {"event": event.event, "data": event.data}

    return version("sseclient-py"), read


def older_sseclient():
    import requests

    # An import would find the module of sseclient-py, which has the same name.
    path = distribution("sseclient").locate_file("sseclient.py")
    spec = spec_from_file_location("older_sseclient", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    # This client does not decode the chunks of HTTP/1.1, so it would not see the end of a response.
    HTTPConnection._http_vsn_str = "HTTP/1.0"

    class Ended(Exception):
        pass

    class Once(requests.Session):
        """Ends the client, which would otherwise reconnect forever."""

        connected = False

        def get(self, url, **kwargs):
            if self.connected:
                raise Ended
            self.connected = True
            return super().get(url, **kwargs)

    def read(url, timeout):
        # The client prints why it connects again.
        with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(Ended):
            for event in module.SSEClient(url, retry=0, session=Once(), timeout=timeout):
                yield {"event": event.event, "data": event.data}

    return version("sseclient"), read


def aiohttp_with(limit):
    from aiohttp import ClientSession, ClientTimeout

    async def data(url, timeout):
        # The default has a limit on the whole response.
        limits = ClientTimeout(**{"total": None, limit: timeout})
        async with ClientSession(timeout=limits) as session, session.get(url) as response:
            return [line.decode().strip() async for line in response.content if line.startswith(b"data:")]

    def read(url, timeout):
        yield from asyncio.run(data(url, timeout))

    return version("aiohttp"), read


def aiohttp_sock_read():
    return aiohttp_with("sock_read")


def aiohttp_total():
    return aiohttp_with("total")


def json_lines():
    def read(url, timeout):
        for line in urllib.request.urlopen(url, timeout=timeout):
            yield json.loads(line)

    return sys.version.split()[0], read


def jq():
    def read(url, timeout):
        body = urllib.request.urlopen(url).read()
        done = subprocess.run(["jq", "--compact-output", "."], input=body, capture_output=True)
        yield from map(json.loads, done.stdout.splitlines())
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode())

    return subprocess.check_output(["jq", "--version"], text=True).strip().removeprefix("jq-"), read


def pandas():
    from pandas import read_json

    def read(url, timeout):
        yield from json.loads(read_json(url, lines=True).to_json(orient="records"))

    return version("pandas"), read


def duckdb():
    import duckdb

    def read(url, timeout):
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), duckdb.connect() as database:
            # Errors name the file.
            pathlib.Path("lines").write_bytes(urllib.request.urlopen(url).read())
            rows = database.sql("from read_ndjson('lines')")
            for row in rows.fetchall():
                yield dict(zip(rows.columns, row))

    return version("duckdb"), read


def main(client):
    try:
        version, read = globals()[client]()
    except (ImportError, FileNotFoundError) as error:
        sys.exit(str(error))
    print(json.dumps(version), flush=True)
    for line in sys.stdin:
        seen = {"events": [], "error": None}
        try:
            url, *timeout = line.split()
            for event in read(url, float(timeout[0]) if timeout else None):
                seen["events"].append(event)
        except Exception as error:
            seen["error"] = str(error) or repr(error)
        print(json.dumps(seen), flush=True)


main(*sys.argv[1:])
