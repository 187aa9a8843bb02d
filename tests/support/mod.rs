//! What the test binaries share: clocks for the cases, an inner stream that a test controls, a task that polls it, and
//! packages that use the library.

pub mod clock;
pub mod package;
pub mod panics;
pub mod source;
pub mod task;
