// A client in Node. It reads a stream for each URL on standard input: node clients.cjs CLIENT
//
// A number after the URL is a timeout of the client in seconds. It prints its version, and then what it has read from each
// stream, each as a line of JSON.

const { spawn } = require("node:child_process");
const { once } = require("node:events");
const { mkdtempSync, readFileSync, rmSync } = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const { createInterface } = require("node:readline");
const { Readable } = require("node:stream");

const PROMPT = [{ role: "user", content: "hello" }];

const version = (name) => JSON.parse(readFileSync(join(process.env.NODE_PATH, name, "package.json"))).version;

const clients = {
  openai_chat() {
    const { OpenAI } = require("openai");
    const read = (baseURL, timeout) =>
      new OpenAI({ baseURL, apiKey: "none", maxRetries: 0, timeout }).chat.completions.create({
        model: "none",
        messages: PROMPT,
        stream: true,
      });
    return [version("openai"), read];
  },

  openai_responses() {
    const { OpenAI } = require("openai");
    const read = (baseURL, timeout) =>
      new OpenAI({ baseURL, apiKey: "none", maxRetries: 0, timeout }).responses.create({
        model: "none",
        input: "hello",
        stream: true,
      });
    return [version("openai"), read];
  },

  anthropic() {
    const { Anthropic } = require("@anthropic-ai/sdk");
    const read = (baseURL, timeout) =>
      new Anthropic({ baseURL, apiKey: "none", maxRetries: 0, timeout }).messages.create({
        model: "none",
        messages: PROMPT,
        max_tokens: 8,
        stream: true,
      });
    return [version("@anthropic-ai/sdk"), read];
  },

  eventsource_parser() {
    const { EventSourceParserStream } = require("eventsource-parser/stream");
    const { Agent, fetch } = require("undici");
    const read = async (url, timeout) => {
      const { body } = await fetch(url, { dispatcher: new Agent({ bodyTimeout: timeout ?? 0 }) });
      return body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream({ onError: "terminate" }));
    };
    return [version("eventsource-parser"), read];
  },

  // The Model Context Protocol.
  mcp(options) {
    const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
    const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");
    const read = async (url, timeout) => {
      const client = new Client({ name: "none", version: "0" });
      await client.connect(new StreamableHTTPClientTransport(new URL(url)));
      const events = [];
      const onprogress = ({ message }) => events.push(message);
      try {
        const answer = await client.callTool({ name: "none" }, undefined, { timeout, onprogress, ...options });
        return [...events, ...answer.content];
      } finally {
        await client.close();
      }
    };
    return [version("@modelcontextprotocol/sdk"), read];
  },

  mcp_progress() {
    return clients.mcp({ resetTimeoutOnProgress: true });
  },

  // The program `codex exec`, with a provider that needs no account.
  codex() {
    const program = require.resolve("@openai/codex/bin/codex.js");
    const read = async function* (url, timeout) {
      const home = mkdtempSync(join(tmpdir(), "codex-"));
      const provider = { name: "none", base_url: url, request_max_retries: 0, stream_max_retries: 0 };
      if (timeout) {
        provider.stream_idle_timeout_ms = timeout;
      }
      const settings = { model: "none", model_provider: "test", check_for_update_on_startup: false };
      for (const [key, value] of Object.entries(provider)) {
        settings[`model_providers.test.${key}`] = value;
      }
      const options = Object.entries(settings).flatMap(([key, value]) => ["-c", `${key}=${JSON.stringify(value)}`]);
      const codex = spawn(process.execPath, [program, "exec", "--json", "--skip-git-repo-check", ...options, "hello"], {
        cwd: home,
        env: { ...process.env, CODEX_HOME: home },
        stdio: ["ignore", "pipe", "ignore"],
      });
      const ended = once(codex, "exit");
      try {
        for await (const line of createInterface({ input: codex.stdout })) {
          const { type, item, error } = JSON.parse(line);
          if (type === "item.completed" && item.type === "agent_message") {
            yield item.text;
          } else if (type === "turn.failed") {
            throw new Error(error.message);
          }
        }
      } finally {
        codex.kill();
        await ended;
        rmSync(home, { recursive: true });
      }
    };
    return [version("@openai/codex"), read];
  },

  json_lines() {
    const read = async function* (url) {
      const { body } = await fetch(url);
      for await (const line of createInterface({ input: Readable.fromWeb(body) })) {
        yield JSON.parse(line);
      }
    };
    return [process.versions.node, read];
  },
};

const main = async (client) => {
  const [version, read] = clients[client]();
  console.log(JSON.stringify(version));
  for await (const line of createInterface({ input: process.stdin })) {
    const [url, timeout] = line.split(" ");
    const seen = { events: [], error: null };
    try {
      for await (const event of await read(url, timeout && 1000 * timeout)) {
        seen.events.push(event);
      }
    } catch (error) {
      seen.error = error.message;
    }
    console.log(JSON.stringify(seen));
  }
};

main(...process.argv.slice(2)).catch((error) => {
  const [line] = error.message.split("\n");
  console.error(line);
  process.exitCode = 1;
});
