// A connection can be dead while it is open: a proxy has stopped forwarding, the laptop has slept, the network is
// another one. Then no event says so, and the page would show "connected" forever.

/**
 * How many milliseconds the first attempt to open a connection may take, and how many any attempt may take. A browser
 * may send the request over a connection that has been left over, and that is as dead as the last one.
 */
const [FIRST, LONGEST] = [5_000, 60_000];

/** Calls `dead` when nothing has come for three of the intervals in which the server sends at least a keepalive. */
export class Watchdog {
  #dead;
  #interval = Infinity;
  #patience = FIRST;
  #open;
  #began;
  #heard;

  constructor(dead) {
    this.#dead = dead;
    this.opening();
    setInterval(() => this.#check(3), 250);
  }

  /** A connection is being opened. */
  opening() {
    this.#open = false;
    // Not `performance.now()`: in some browsers that clock stops while the computer sleeps.
    this.#began = this.#heard = Date.now();
  }

  /** Something has come. A keepalive says how many milliseconds at most pass until the next one. */
  heard(interval = this.#interval) {
    this.#open = true;
    this.#heard = Date.now();
    this.#interval = interval || Infinity;
    this.#patience = FIRST;
  }

  /** The page can be seen again. While it was hidden, its timers were slow or did not run. */
  visible() {
    // Somebody looks, so one keepalive that is overdue is enough.
    this.#check(1.5);
  }

  /** The computer has a network again, which may be another one than before. */
  online() {
    // Several tabs may say so at the same time.
    if (Date.now() - this.#began > 1_000) this.#dead();
  }

  #check(intervals) {
    const limit = this.#open ? Infinity : this.#patience;
    if (Date.now() - this.#heard <= Math.min(limit, intervals * this.#interval)) return;
    if (!this.#open) this.#patience = Math.min(2 * this.#patience, LONGEST);
    this.#dead();
  }
}
