use core::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::{FusedStream, Stream};
use pin_project_lite::pin_project;

use crate::{Timer, TokioTimer, silence::Silence};

pin_project! {
    /// A stream that ends when it has been silent for too long.
    ///
    /// Items, errors and the end of the inner stream pass at once, in order and unchanged. Once the
    /// inner stream has been silent for `idle`, the last item goes out, if there is one, and the
    /// stream has ended. The inner stream is not polled again.
    ///
    /// `IdleTimeout<S>` ends quietly, or with what a plain function returns; `IdleTimeout<S, F>` ends
    /// with what a closure returns. A third parameter is the [`Timer`].
    ///
    /// Below a [`Keepalive`](crate::Keepalive) it bounds how long silence is filled: keepalives alone
    /// make a hung source look well. At the client it finds a dead peer.
    ///
    /// # How silence is counted
    ///
    /// As for [`Keepalive`](crate::Keepalive): the clock runs while the consumer waits, from the first
    /// poll that finds nothing to the next item. The inner stream goes first, so an item or the end
    /// found at the same poll counts, however overdue. Every item is a sign of life, an `Err` too, and
    /// so is a keepalive from further below. [`Duration::ZERO`] turns it off; a duration too long to
    /// add to the clock, such as [`Duration::MAX`], never fires.
    ///
    /// # The surprise
    ///
    /// Above a `Keepalive` with a shorter `idle` it never fires: what it hears are the keepalives. To
    /// end a hung source, put it below.
    ///
    /// # Panics
    ///
    /// As for [`Keepalive`](crate::Keepalive): with the default timer, a poll that finds silence panics
    /// outside a Tokio runtime with time enabled, and when the runtime that the timer lives on has been
    /// shut down. Items and the end still pass there. No duration panics.
    ///
    /// A panic of the inner stream passes, breaks no silence, and the stream can be polled on.
    ///
    /// # Cancel safety
    ///
    /// Dropping a `next()` future, as `select!` does, loses neither an item nor the deadline.
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
    /// assert_eq!(events.next().await, None); // sixty silent seconds later
    /// # }
    /// ```
    #[must_use = "streams do nothing unless polled"]
    pub struct IdleTimeout<S, F = fn() -> <S as Stream>::Item, T = TokioTimer>
    where
        S: Stream,
    {
        #[pin]
        inner: S,
        last: Option<F>,
        silence: Silence<T>,
    }
}

impl<S: Stream> IdleTimeout<S> {
    /// Wraps `inner`, to end it quietly once it has been silent for `idle`.
    ///
    /// [`KeepaliveExt`](crate::KeepaliveExt) has it as a method. It needs no runtime, reads no
    /// clock and allocates nothing.
    ///
    /// # Panics
    ///
    /// Never. A poll can: see [`IdleTimeout`].
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
    /// let mut events = IdleTimeout::new(stream::pending::<()>(), Duration::from_secs(60));
    /// assert_eq!(events.next().await, None);
    /// # }
    /// ```
    #[inline]
    pub fn new(inner: S, idle: Duration) -> Self
    where
        for<'a> TokioTimer: Timer,
    {
        Self::with_timer(inner, idle, TokioTimer::new())
    }
}

impl<S: Stream, T: Timer> IdleTimeout<S, fn() -> S::Item, T> {
    /// Wraps `inner` like [`new`](IdleTimeout::new), with a [`Timer`] of your own.
    ///
    /// # Panics
    ///
    /// Never. A poll panics when the timer does.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use futures::stream::{self, StreamExt};
    /// use stream_keepalive::{IdleTimeout, TokioTimer};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let idle = Duration::from_secs(60);
    /// let mut events = IdleTimeout::with_timer(stream::pending::<()>(), idle, TokioTimer::new());
    /// assert_eq!(events.next().await, None);
    /// # }
    /// ```
    #[inline]
    pub fn with_timer(inner: S, idle: Duration, timer: T) -> Self {
        Self {
            inner,
            last: None,
            silence: Silence::new(idle, timer),
        }
    }
}

impl<S: Stream, F, T> IdleTimeout<S, F, T> {
    /// Yields what `last` returns before the end, when it is silence that ends the stream.
    ///
    /// It runs at most once, as its item is yielded, and replaces a last item set before.
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
    /// let mut events = IdleTimeout::new(stream::pending(), idle).with_last(|| "gone");
    ///
    /// assert_eq!(events.next().await, Some("gone"));
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
            silence: self.silence,
        }
    }

    /// Returns how long the inner stream may be silent.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use futures::stream;
    /// use stream_keepalive::KeepaliveExt;
    ///
    /// let events = stream::pending::<()>().idle_timeout(Duration::from_secs(60));
    /// assert_eq!(events.idle(), Duration::from_secs(60));
    /// ```
    #[inline]
    pub fn idle(&self) -> Duration {
        self.silence.idle()
    }

    /// Changes how long the inner stream may be silent.
    ///
    /// A silence under way is counted anew from the next poll. [`Duration::ZERO`] turns the timeout
    /// off until another duration is set. Setting it wakes no task, and after the end it does
    /// nothing.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use futures::stream::{self, StreamExt};
    /// use stream_keepalive::KeepaliveExt;
    /// use tokio::time::Instant;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let mut events = stream::pending::<()>().idle_timeout(Duration::from_secs(60));
    /// events.set_idle(Duration::from_secs(5));
    ///
    /// let start = Instant::now();
    /// assert_eq!(events.next().await, None);
    /// assert_eq!(start.elapsed(), Duration::from_secs(5));
    /// # }
    /// ```
    #[inline]
    pub fn set_idle(&mut self, idle: Duration) {
        self.silence.set_idle(idle);
    }

    /// Returns a reference to the inner stream.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use futures::stream::{self, Stream};
    /// use stream_keepalive::KeepaliveExt;
    ///
    /// let events = stream::iter([1, 2]).idle_timeout(Duration::from_secs(60));
    /// assert_eq!(events.get_ref().size_hint(), (2, Some(2)));
    /// ```
    #[inline]
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner stream.
    ///
    /// An item taken here is not seen by the timeout: it breaks no silence.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use futures::stream::{self, StreamExt};
    /// use stream_keepalive::KeepaliveExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let mut events = stream::iter([1, 2]).idle_timeout(Duration::from_secs(60));
    /// assert_eq!(events.get_mut().next().await, Some(1));
    /// assert_eq!(events.next().await, Some(2));
    /// # }
    /// ```
    #[inline]
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns a pinned mutable reference to the inner stream.
    ///
    /// As with [`get_mut`](IdleTimeout::get_mut), an item taken here is not seen by the timeout.
    ///
    /// # Example
    ///
    /// ```
    /// use std::{pin::pin, time::Duration};
    /// use futures::stream::StreamExt;
    /// use stream_keepalive::KeepaliveExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let lines = async_stream::stream! { yield "a"; yield "b"; };
    /// let mut lines = pin!(lines.idle_timeout(Duration::from_secs(60)));
    /// assert_eq!(lines.as_mut().get_pin_mut().next().await, Some("a"));
    /// assert_eq!(lines.next().await, Some("b"));
    /// # }
    /// ```
    #[inline]
    pub fn get_pin_mut(self: Pin<&mut Self>) -> Pin<&mut S> {
        self.project().inner
    }

    /// Returns the inner stream, and drops the timer.
    ///
    /// After a timeout it is as it was then, and may still have something to say.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use futures::stream::{self, StreamExt};
    /// use stream_keepalive::KeepaliveExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let mut events = stream::iter([1, 2]).idle_timeout(Duration::from_secs(60));
    /// assert_eq!(events.next().await, Some(1));
    /// assert_eq!(events.into_inner().collect::<Vec<_>>().await, [2]);
    /// # }
    /// ```
    #[inline]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Stream, F: FnOnce() -> S::Item, T: Timer> Stream for IdleTimeout<S, F, T> {
    type Item = S::Item;

    #[inline]
    #[track_caller]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        if this.silence.is_over() {
            return Poll::Ready(None);
        }
        // The inner stream goes first: an item that came in time is not lost to a late poll.
        let found = this.inner.poll_next(cx);
        if this.silence.outlasts(&found, cx) {
            this.silence.end();
            return Poll::Ready(this.last.take().map(|last| last()));
        }
        found
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.silence.is_over() {
            return (0, Some(0));
        }
        // No lower bound: silence may end the stream before the next item.
        let last = usize::from(self.last.is_some());
        let upper = self.inner.size_hint().1;
        (0, upper.and_then(|upper| upper.checked_add(last)))
    }
}

impl<S: Stream, F: FnOnce() -> S::Item, T: Timer> FusedStream for IdleTimeout<S, F, T> {
    fn is_terminated(&self) -> bool {
        self.silence.is_over()
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
