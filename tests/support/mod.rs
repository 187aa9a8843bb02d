//! What the test binaries share: clocks to run a case on, a stream that does as it is told, and a task that
//! polls it.

pub mod clock;
pub mod panics;
pub mod source;
pub mod task;
