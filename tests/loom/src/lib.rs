//! Checks that no interleaving of threads makes the shared timers forget a task, wake it early or hang:
//! `scripts/check-loom`.
//!
//! What is checked is the library's own source. Only the types that it takes from std and from Tokio are
//! other ones here.

#[allow(dead_code)]
#[path = "../../../src/timer/shared.rs"]
mod shared;

mod model;

pub use stream_keepalive::Timer;

#[cfg(test)]
mod tests;
