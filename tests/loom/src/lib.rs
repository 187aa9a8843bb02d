//! Checks that no interleaving of threads makes the shared timers forget a task, wake it early or hang:
//! `scripts/check-loom`.
//!
//! What is checked is the library's own source. Only the types that it takes from std and from Tokio are
//! other ones here.

#![cfg(test)]

#[path = "../../../src/timer/shared.rs"]
mod shared;

mod model;
mod tests;

use stream_keepalive::Timer;
