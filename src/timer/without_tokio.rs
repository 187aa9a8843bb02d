/// The timer of an adapter that was given no other; without Tokio it is not a [`Timer`](crate::Timer).
///
/// Polling an adapter that still has it does not compile. Enable the feature `tokio`, or call
/// [`with_timer`](crate::Keepalive::with_timer).
#[derive(Debug, Default)]
pub struct TokioTimer {
    // With a private field, code that compiles without the feature compiles with it.
    _private: (),
}

impl TokioTimer {
    /// Creates the placeholder.
    #[inline]
    pub const fn new() -> Self {
        Self { _private: () }
    }
}
