// A connection can be dead although it is open: a proxy has stopped forwarding, the laptop has slept, or the network
// has changed. The browser does not report this, and the page would show "connected" forever.

/**
 * How many milliseconds the first attempt to open a connection may take. Each further attempt may take twice as long as
 * the one before, up to the second number. An attempt can hang, because the browser may use an old connection that is
 * dead too.
 */
const [FIRST, LONGEST] = [5_000, 60_000];

/** Calls `dead` when nothing has arrived for three times the server's keepalive interval. */
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

  /** Something has arrived. A keepalive tells the interval, in milliseconds. */
  heard(interval = this.#interval) {
    this.#open = true;
    this.#heard = Date.now();
    this.#interval = interval || Infinity;
    this.#patience = FIRST;
  }

  /** The page is visible again. While it was hidden, its timers were slow or did not run. */
  visible() {
    // Someone is looking at the page, so do not wait for three intervals.
    this.#check(1.5);
  }

  /** The computer is online again, perhaps in another network. */
  online() {
    // Several tabs may report this at the same time.
    if (Date.now() - this.#began > 1_000) this.#dead();
  }

  #check(intervals) {
    const limit = this.#open ? Infinity : this.#patience;
    if (Date.now() - this.#heard <= Math.min(limit, intervals * this.#interval)) return;
    if (!this.#open) this.#patience = Math.min(2 * this.#patience, LONGEST);
    this.#dead();
  }
}
