// A client in Node. It reads a stream for each URL on standard input: node clients.cjs CLIENT
//
// It prints its version, and then what it has read from each stream, each as a line of JSON.

const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { createInterface } = require("node:readline");
const { Readable } = require("node:stream");

const PROMPT = [{ role: "user", content: "hello" }];

const version = (name) => JSON.parse(readFileSync(join(process.env.NODE_PATH, name, "package.json"))).version;

const clients = {
  openai_chat() {
    const { OpenAI } = require("openai");
    const read = (baseURL) =>
      new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 }).chat.completions.create({
        model: "none",
        messages: PROMPT,
        stream: true,
      });
    return [version("openai"), read];
  },

  openai_responses() {
    const { OpenAI } = require("openai");
    const read = (baseURL) =>
      new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 }).responses.create({
        model: "none",
        input: "hello",
        stream: true,
      });
    return [version("openai"), read];
  },

  anthropic() {
    const { Anthropic } = require("@anthropic-ai/sdk");
    const read = (baseURL) =>
      new Anthropic({ baseURL, apiKey: "none", maxRetries: 0 }).messages.create({
        model: "none",
        messages: PROMPT,
        max_tokens: 8,
        stream: true,
      });
    return [version("@anthropic-ai/sdk"), read];
  },

  eventsource_parser() {
    const { EventSourceParserStream } = require("eventsource-parser/stream");
    const read = async (url) => {
      const { body } = await fetch(url);
      return body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream({ onError: "terminate" }));
    };
    return [version("eventsource-parser"), read];
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
  for await (const url of createInterface({ input: process.stdin })) {
    const seen = { events: [], error: null };
    try {
      for await (const event of await read(url)) {
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
