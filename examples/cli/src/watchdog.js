// A connection can be dead while it is open: a proxy has stopped forwarding, the laptop has slept, the network is
// another one. Then no event says so, and the page would show "connected" forever.

/** How many milliseconds a connection may take to open, as long as the server has not said what its interval is. */
const PATIENCE = 60_000;

/** Calls `dead` when nothing has come for three of the intervals in which the server sends at least a keepalive. */
export class Watchdog {
  #dead;
  #interval;
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
    this.#interval = interval;
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
    const patience = this.#open ? Infinity : PATIENCE;
    const limit = this.#interval ? intervals * this.#interval : patience;
    if (Date.now() - this.#heard > limit) this.#dead();
  }
}
