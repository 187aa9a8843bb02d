//! What the test binaries share: clocks for the cases, an inner stream that a test controls, and a task that polls it.

pub mod clock;
pub mod panics;
pub mod source;
pub mod task;
