// The clients that run in a page. Each reads a stream, and returns what it has read.

import { fetchEventSource } from "@microsoft/fetch-event-source";

const NAMES = ["message", "keepalive", "ping"];

window.clients = {
  eventSource(url) {
    const seen = { events: [], error: null };
    const source = new EventSource(url);
    for (const name of NAMES) {
      source.addEventListener(name, ({ type, data }) => seen.events.push({ event: type, data }));
    }
    // Without `close`, it would reconnect after the end.
    return new Promise((resolve) => {
      source.onerror = () => {
        source.close();
        resolve(seen);
      };
    });
  },

  async fetchEventSource(url) {
    const seen = { events: [], error: null };
    try {
      await fetchEventSource(url, {
        onmessage: ({ event, data }) => seen.events.push({ event, data }),
        // Without this, it would try again.
        onerror(error) {
          throw error;
        },
      });
    } catch (error) {
      seen.error = error.message;
    }
    return seen;
  },
};
