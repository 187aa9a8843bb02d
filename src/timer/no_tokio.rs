/// A placeholder for the default timer, which does not implement [`Timer`](crate::Timer).
///
/// An adapter with this placeholder cannot be polled. Enable the feature `tokio`, or call
/// [`with_timer`](crate::Keepalive::with_timer). On `wasm32-unknown-unknown`, where Tokio's clock panics,
/// `TokioTimer` is always this placeholder.
#[derive(Debug, Default)]
pub struct TokioTimer {
    // Private, so that code which compiles without the feature also compiles with it.
    _private: (),
}

impl TokioTimer {
    /// Creates the placeholder.
    #[inline]
    pub const fn new() -> Self {
        Self { _private: () }
    }
}
