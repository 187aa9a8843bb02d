// A connection can be dead although it is open: a proxy has stopped forwarding, the laptop has slept, or the network
// has changed. No event reports that, and the page would show "connected" forever.

/**
 * The first attempt to open a connection may take `FIRST` milliseconds. Each failure doubles that, up to `LONGEST`.
 * Without a limit an attempt could hang, because a browser may reuse an idle connection that is dead too.
 */
const [FIRST, LONGEST] = [5_000, 60_000];

/** Calls `dead` when nothing has arrived for three of the server's keepalive intervals. */
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

  /** Something has arrived. A keepalive says how many milliseconds may pass until the next one. */
  heard(interval = this.#interval) {
    this.#open = true;
    this.#heard = Date.now();
    this.#interval = interval || Infinity;
    this.#patience = FIRST;
  }

  /** The page is visible again. While it was hidden, its timers were slow or did not run. */
  visible() {
    // Somebody is looking, so a single overdue keepalive is enough.
    this.#check(1.5);
  }

  /** The computer has a network again, which may be a different one. */
  online() {
    // Several tabs may report this at the same time.
    if (Date.now() - this.#began > 1_000) this.#dead();
  }

  #check(intervals) {
    const limit = this.#open ? intervals * this.#interval : this.#patience;
    if (Date.now() - this.#heard <= limit) return;
    if (!this.#open) this.#patience = Math.min(2 * this.#patience, LONGEST);
    this.#dead();
  }
}
