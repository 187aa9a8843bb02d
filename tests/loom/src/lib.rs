//! Checks that no interleaving of threads makes the shared timers forget a task, wake it early, or hang:
//! `scripts/check-loom`.
//!
//! The library's own source is checked. Only the types that it imports from std and Tokio are replaced.

#![cfg(test)]

#[path = "../../../src/timer/tokio/queue.rs"]
mod queue;
#[path = "../../../src/timer/tokio/shared.rs"]
mod shared;
#[path = "../../../src/timer/tokio/task.rs"]
mod task;

mod model;
mod tests;

use stream_keepalive::Timer;
