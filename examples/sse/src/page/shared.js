// A SharedWorker: all tabs of the page share its one connection.
import { follow } from "./events.js";

const tabs = new BroadcastChannel("events");
let latest;
const watchdog = follow(known => tabs.postMessage(latest = known));

addEventListener("connect", ({ ports: [tab] }) => {
  tabs.postMessage(latest);
  // What only a tab sees: it has become visible, or online.
  tab.onmessage = ({ data }) => watchdog[data]();
});
