use core::{
    future::{Pending, pending},
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;

use crate::{IdleTimeout, Keepalive, Timer};

/// A placeholder for the default timer, which does not implement [`Timer`].
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

/// Adds methods that no program can call. They have the names of `Stream::poll_next`, `StreamExt::next` and
/// `StreamExt::poll_next_unpin`. The compiler prefers the methods of a type to those of a trait, so it
/// reports that the timer is missing. Otherwise it would report only that the adapter is not a `Stream`.
macro_rules! explain_missing_timer {
    ($adapter:ident) => {
        impl<S: Stream, F> $adapter<S, F, TokioTimer> {
            #[doc(hidden)]
            #[expect(clippy::should_implement_trait)]
            pub fn next(&mut self) -> Pending<Option<S::Item>>
            where
                // With `for`, the compiler checks the bound where the method is called instead of here
                // (rust-lang/rust#50935).
                for<'a> TokioTimer: Timer,
            {
                pending()
            }

            #[doc(hidden)]
            pub fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<S::Item>>
            where
                for<'a> TokioTimer: Timer,
            {
                Poll::Pending
            }

            #[doc(hidden)]
            pub fn poll_next_unpin(&mut self, _: &mut Context<'_>) -> Poll<Option<S::Item>>
            where
                for<'a> TokioTimer: Timer,
            {
                Poll::Pending
            }
        }
    };
}

explain_missing_timer!(Keepalive);
explain_missing_timer!(IdleTimeout);
