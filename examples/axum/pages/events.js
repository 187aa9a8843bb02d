import { Watchdog } from "./watchdog.js";

/**
 * Follows the events, and calls `changed` with the whole state whenever it changes.
 *
 * It returns the watchdog. Tell it when the page becomes visible, and when the computer is online again.
 */
export function follow(changed) {
  const known = { state: "connecting", keepalives: 0, lost: 0 };
  let source, lastId, again;

  const change = news => changed(Object.assign(known, news));
  const heard = (news, interval) => {
    watchdog.heard(interval);
    change({ ...news, state: "connected", heard: Date.now() });
  };
  const lose = () => {
    const lost = known.state === "connected" ? known.lost + 1 : known.lost;
    change({ state: "reconnecting", lost });
  };

  function open() {
    clearTimeout(again);
    source?.close();
    watchdog.opening();
    source = new EventSource(lastId ? `events?last=${encodeURIComponent(lastId)}` : "events");
    source.onopen = () => heard({});
    source.onmessage = event => {
      lastId = event.lastEventId;
      heard({ last: event.data });
    };
    source.addEventListener("keepalive", event => {
      lastId = event.lastEventId;
      heard({ keepalives: known.keepalives + 1 }, Number(event.data));
    });
    source.onerror = () => {
      lose();
      // A browser reconnects by itself, but stops when a proxy answers that the server is unavailable.
      watchdog.opening();
      if (source.readyState === EventSource.CLOSED) again = setTimeout(open, 500 + 500 * Math.random());
    };
  }

  const watchdog = new Watchdog(() => {
    lose();
    open();
  });
  change({});
  open();
  return watchdog;
}
