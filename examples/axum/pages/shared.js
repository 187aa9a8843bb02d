// A SharedWorker: all tabs of the page share its one connection.
import { follow } from "./events.js";

const tabs = new BroadcastChannel("events");
let latest;
const watchdog = follow(known => tabs.postMessage(latest = known));

addEventListener("connect", ({ ports: [tab] }) => {
  tabs.postMessage(latest);
  // Only a tab notices that it has become visible, or that the computer is online again.
  tab.onmessage = ({ data }) => watchdog[data]();
});
