//! What the test binaries share: clocks to run a case on, and a stream that does as it is told.

pub mod clock;
pub mod panics;
pub mod source;
