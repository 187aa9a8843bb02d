use core::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::{FusedStream, Stream};
use pin_project_lite::pin_project;

use crate::{Timer, TokioTimer, accessors::accessors, idle_clock::IdleClock};

pin_project! {
    /// A stream that ends when the inner stream has been idle for a given time.
    ///
    /// Create it with [`idle_timeout`] or [`idle_timeout_with`]. When the idle clock reaches `idle`, the
    /// adapter yields its last item, if it has one, and ends. [`Duration::ZERO`] turns the timeout off. If you
    /// compute `idle` from a deadline that may have passed, write
    /// `deadline.saturating_duration_since(now).max(MIN)`, where `MIN` is the shortest time that you want to
    /// wait.
    ///
    /// [`Keepalive`](crate::Keepalive) states the [rules](crate::Keepalive#rules), including what the idle
    /// clock is. Its [panics](crate::Keepalive#panics) and [cancel
    /// safety](crate::Keepalive#cancel-safety) are those of `IdleTimeout` too.
    ///
    /// # A consumer that was away
    ///
    /// **A consumer that was away does not end its stream.** The idle time is counted in two halves. Each
    /// half ends at a poll that finds the inner stream idle. A consumer that polls all the time is woken
    /// after half of `idle`, and its stream ends after `idle`. If nothing has polled the adapter when the
    /// first half runs out, the second half begins at the next poll. An item that needs a few more polls or
    /// some time to arrive, as from `then` or a loop that loads a row, is therefore not lost.
    ///
    /// - If the consumer is away only in the second half, the stream gets one more poll before it ends. An
    ///   item that needs more than that is lost.
    /// - The timeout is late by at most twice the timer's resolution and the scheduling delay.
    /// - If the consumer is away before every poll, the stream ends at the fourth poll that finds it idle.
    ///
    /// # Where to put it
    ///
    /// - **On a server, put it below the `Keepalive`**, as in `events.idle_timeout(..).keepalive(..)`. [The
    ///   page of this crate](crate#keepalives-and-idle-timeouts-together) says why. An idle timeout above a
    ///   `Keepalive` with a shorter `idle` never fires, because keepalives are items.
    /// - **On a client, put it below whatever drops keepalives**, such as a parser or a filter. Above it,
    ///   the timeout does not see the keepalives and ends a healthy stream. Set `idle` to two or three
    ///   times the server's keepalive interval to detect a dead server.
    ///
    /// # Naming the type
    ///
    /// `IdleTimeout<S>` has no last item, or one that a plain function returns. `IdleTimeout<S, F>` has a
    /// last item that a closure returns. The third parameter is the [`Timer`].
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use futures::stream::{self, StreamExt};
    /// use stream_keepalive::IdleTimeout;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let hung = stream::iter([1]).chain(stream::pending());
    /// let mut events = IdleTimeout::new(hung, Duration::from_secs(60));
    ///
    /// assert_eq!(events.next().await, Some(1));
    /// assert_eq!(events.next().await, None); // after 60 idle seconds
    /// # }
    /// ```
    ///
    /// [`idle_timeout`]: crate::KeepaliveExt::idle_timeout
    /// [`idle_timeout_with`]: crate::KeepaliveExt::idle_timeout_with
    #[doc(alias = "inactivity")]
    #[doc(alias = "inactivity timeout")]
    #[doc(alias = "timeout")]
    #[doc(alias = "deadline")]
    #[must_use = "streams do nothing unless polled"]
    pub struct IdleTimeout<S, F = fn() -> <S as Stream>::Item, T = TokioTimer>
    where
        S: Stream,
    {
        #[pin]
        inner: S,
        last: Option<F>,
        clock: IdleClock<T>,
    }
}

impl<S: Stream> IdleTimeout<S> {
    /// Wraps `inner` so that the stream ends once `inner` has been idle for `idle`.
    #[inline]
    pub fn new(inner: S, idle: Duration) -> Self {
        Self {
            inner,
            last: None,
            clock: IdleClock::new(idle, TokioTimer::new()),
        }
    }
}

impl<S: Stream, F, T> IdleTimeout<S, F, T> {
    /// Sets the last item, which is yielded when the idle timeout ends the stream.
    ///
    /// `last` runs at most once, when its item is yielded. If it panics, the panic propagates and the
    /// stream is terminated. A second call replaces the first.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use futures::stream::{self, StreamExt};
    /// use stream_keepalive::IdleTimeout;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let idle = Duration::from_secs(60);
    /// let mut events = IdleTimeout::new(stream::pending(), idle).with_last(|| "idle for 60 s");
    ///
    /// assert_eq!(events.next().await, Some("idle for 60 s"));
    /// assert_eq!(events.next().await, None);
    /// # }
    /// ```
    #[inline]
    pub fn with_last<L>(self, last: L) -> IdleTimeout<S, L, T>
    where
        L: FnOnce() -> S::Item,
    {
        IdleTimeout {
            inner: self.inner,
            last: Some(last),
            clock: self.clock,
        }
    }

    /// Replaces the timer; see [`Keepalive::with_timer`](crate::Keepalive::with_timer).
    #[doc(alias = "runtime")]
    #[inline]
    pub fn with_timer<U>(self, timer: U) -> IdleTimeout<S, F, U> {
        IdleTimeout {
            inner: self.inner,
            last: self.last,
            clock: self.clock.with_timer(timer),
        }
    }

    accessors!();
}

impl<S: Stream, F: FnOnce() -> S::Item, T: Timer> Stream for IdleTimeout<S, F, T> {
    type Item = S::Item;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        let Some(is_due) = this.clock.begin_poll() else {
            return Poll::Ready(None);
        };
        let polled = this.inner.poll_next(cx);
        match &polled {
            Poll::Ready(Some(_)) => this.clock.stop(),
            Poll::Ready(None) => this.clock.terminate(),
            Poll::Pending if is_due => {
                this.clock.terminate();
                return Poll::Ready(this.last.take().map(|last| last()));
            }
            Poll::Pending => this.clock.wait_in_halves(cx),
        }
        // Return the value itself. Taking the item out and wrapping it again would copy it once more.
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.clock.is_terminated() {
            return (0, Some(0));
        }
        // No lower bound: the timeout may end the stream before the next item.
        let last = usize::from(self.last.is_some());
        let upper = self.inner.size_hint().1;
        (0, upper.and_then(|upper| upper.checked_add(last)))
    }
}

impl<S: Stream, F: FnOnce() -> S::Item, T: Timer> FusedStream for IdleTimeout<S, F, T> {
    fn is_terminated(&self) -> bool {
        self.clock.is_terminated()
    }
}

impl<S: Stream + fmt::Debug, F, T> fmt::Debug for IdleTimeout<S, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdleTimeout")
            .field("inner", &self.inner)
            .field("idle", &self.idle())
            .finish_non_exhaustive()
    }
}
