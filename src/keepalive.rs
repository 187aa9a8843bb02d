use core::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::{FusedStream, Stream};
use pin_project_lite::pin_project;

use crate::{Fill, Repeat, Timer, TokioTimer, silence::Silence};

pin_project! {
    /// A stream that fills silence.
    ///
    /// Items, errors and the end of the inner stream pass at once, in order and unchanged. Whenever
    /// the inner stream has been silent for `idle`, one item made by `fill` goes out.
    ///
    /// `Keepalive<S>` repeats a value, `Keepalive<S, F>` asks a closure, a function or a [`Fill`] of
    /// your own; a third parameter is the [`Timer`]. Each can be written down where a type must be:
    ///
    /// ```
    /// use stream_keepalive::Keepalive;
    /// # trait Service { type Events; }
    /// # struct A; struct B; type Event = u8; type Bus = futures::stream::Pending<Event>;
    /// # impl Service for A {
    /// type Events = Keepalive<Bus>; // from `.keepalive(idle, event)`
    /// # }
    /// # impl Service for B {
    /// type Events = Keepalive<Bus, fn() -> Event>; // from `.keepalive_with(idle, make as fn() -> Event)`
    /// # }
    /// ```
    ///
    /// # How silence is counted
    ///
    /// The clock runs while the consumer waits: it starts at the first poll that finds nothing, and
    /// stops at the next item. So whoever asks is answered within `idle`. While items are ready, no
    /// clock is read and no timer touched.
    ///
    /// - One keepalive for each silent `idle`: never early, late by the timer's resolution (1 ms with
    ///   [`TokioTimer`]) and the scheduler at most. A consumer that was away for ten periods gets one
    ///   keepalive, not ten.
    /// - The inner stream goes first: an item or the end found at the same poll replaces a keepalive,
    ///   however overdue that is.
    /// - Every item is a sign of life, an `Err` too.
    /// - After the end, nothing: `None` for ever, no trailing keepalive, and the inner stream is not
    ///   polled again. It is a [`FusedStream`] whatever the inner stream is.
    /// - [`Duration::ZERO`] turns it off, [`immediate`](Keepalive::immediate) included. A duration
    ///   too long to add to the clock, such as [`Duration::MAX`], never fires.
    ///
    /// # The surprise
    ///
    /// A stream that nobody polls is not silent. A consumer that works for three seconds between two
    /// polls adds these three seconds to the gap that its own client sees; take them off `idle`.
    ///
    /// # Panics
    ///
    /// With the default timer, a poll that finds silence panics outside a Tokio runtime with time
    /// enabled, and when the runtime that the timer lives on has been shut down. Items and the end
    /// still pass there, and so does a stream whose `idle` is zero. No duration panics.
    ///
    /// A panic of the inner stream passes, breaks no silence, and the stream can be polled on.
    ///
    /// # Cancel safety
    ///
    /// All that is known of a silence lives in the stream. Dropping a `next()` future, as `select!`
    /// does, loses neither an item nor the deadline.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use futures::stream::{self, StreamExt};
    /// use stream_keepalive::{Keepalive, Repeat};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let bus = stream::iter(["created"]).chain(stream::pending());
    /// let mut events = Keepalive::new(bus, Duration::from_secs(20), Repeat(""));
    ///
    /// assert_eq!(events.next().await, Some("created"));
    /// assert_eq!(events.next().await, Some("")); // twenty silent seconds later
    /// # }
    /// ```
    #[must_use = "streams do nothing unless polled"]
    pub struct Keepalive<S, F = Repeat<<S as Stream>::Item>, T = TokioTimer>
    where
        S: Stream,
    {
        #[pin]
        inner: S,
        fill: F,
        silence: Silence<T>,
    }
}

impl<S: Stream, F: Fill<S::Item>> Keepalive<S, F> {
    /// Wraps `inner`, to fill each silence of `idle` with an item made by `fill`.
    ///
    /// [`KeepaliveExt`](crate::KeepaliveExt) has it as a method; `Repeat(item)` is the filler of
    /// the plain `Keepalive<S>`. It needs no runtime, reads no clock and allocates nothing.
    ///
    /// # Panics
    ///
    /// Never. A poll can: see [`Keepalive`].
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use futures::stream::{self, StreamExt};
    /// use stream_keepalive::Keepalive;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let mut count = 0;
    /// let fill = || { count += 1; count };
    /// let mut beats = Keepalive::new(stream::pending(), Duration::from_secs(20), fill);
    ///
    /// assert_eq!(beats.next().await, Some(1));
    /// assert_eq!(beats.next().await, Some(2));
    /// # }
    /// ```
    #[inline]
    pub fn new(inner: S, idle: Duration, fill: F) -> Self
    where
        for<'a> TokioTimer: Timer,
    {
        Self::with_timer(inner, idle, fill, TokioTimer::new())
    }
}

impl<S: Stream, F: Fill<S::Item>, T: Timer> Keepalive<S, F, T> {
    /// Wraps `inner` like [`new`](Keepalive::new), with a [`Timer`] of your own.
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
    /// use stream_keepalive::{Keepalive, Repeat, TokioTimer};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let idle = Duration::from_secs(20);
    /// let mut beats = Keepalive::with_timer(stream::pending(), idle, Repeat("beat"), TokioTimer::new());
    ///
    /// assert_eq!(beats.next().await, Some("beat"));
    /// # }
    /// ```
    #[inline]
    pub fn with_timer(inner: S, idle: Duration, fill: F, timer: T) -> Self {
        Self {
            inner,
            fill,
            silence: Silence::new(idle, timer),
        }
    }
}

impl<S: Stream, F, T> Keepalive<S, F, T> {
    /// Yields a keepalive at once if the very first poll finds nothing.
    ///
    /// It makes a server send response headers that it would hold back until the first item, and
    /// tells the client that it is connected. An item at the first poll serves as well, so none is
    /// inserted beside it. For that one keepalive and no other, use [`Duration::MAX`] as `idle`.
    ///
    /// On a stream that has been polled, or whose `idle` is zero at the first poll, it does nothing.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use futures::{FutureExt, stream::{self, StreamExt}};
    /// use stream_keepalive::KeepaliveExt;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let mut events = stream::pending().keepalive(Duration::from_secs(20), "hello").immediate();
    ///
    /// assert_eq!(events.next().now_or_never(), Some(Some("hello")));
    /// assert_eq!(events.next().now_or_never(), None);
    /// # }
    /// ```
    #[inline]
    pub fn immediate(self) -> Self {
        Self {
            silence: self.silence.impatient(),
            ..self
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
    /// let events = stream::pending::<()>().keepalive(Duration::from_secs(20), ());
    /// assert_eq!(events.idle(), Duration::from_secs(20));
    /// ```
    #[inline]
    pub fn idle(&self) -> Duration {
        self.silence.idle()
    }

    /// Changes how long the inner stream may be silent.
    ///
    /// A silence under way is counted anew from the next poll. [`Duration::ZERO`] turns keepalives
    /// off until another duration is set.
    ///
    /// Setting it wakes no task: a task that waits in `next()` keeps to the old duration until
    /// something else makes it poll. An inner stream that is not `Unpin` can be boxed
    /// (`Box::pin(inner)`) to keep this method in reach once the stream is pinned.
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
    /// let mut events = stream::pending().keepalive(Duration::from_secs(20), "beat");
    /// events.set_idle(Duration::from_secs(5));
    ///
    /// let start = Instant::now();
    /// assert_eq!(events.next().await, Some("beat"));
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
    /// let events = stream::iter([1, 2]).keepalive(Duration::from_secs(20), 0);
    /// assert_eq!(events.get_ref().size_hint(), (2, Some(2)));
    /// ```
    #[inline]
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner stream.
    ///
    /// An item taken here is not seen by the keepalive: it breaks no silence.
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
    /// let mut events = stream::iter([1, 2]).keepalive(Duration::from_secs(20), 0);
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
    /// As with [`get_mut`](Keepalive::get_mut), an item taken here is not seen by the keepalive.
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
    /// let mut lines = pin!(lines.keepalive(Duration::from_secs(20), ""));
    /// assert_eq!(lines.as_mut().get_pin_mut().next().await, Some("a"));
    /// assert_eq!(lines.next().await, Some("b"));
    /// # }
    /// ```
    #[inline]
    pub fn get_pin_mut(self: Pin<&mut Self>) -> Pin<&mut S> {
        self.project().inner
    }

    /// Returns the inner stream, and drops the filler and the timer.
    ///
    /// No item is lost: none is ever held here.
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
    /// let mut events = stream::iter([1, 2]).keepalive(Duration::from_secs(20), 0);
    /// assert_eq!(events.next().await, Some(1));
    /// assert_eq!(events.into_inner().collect::<Vec<_>>().await, [2]);
    /// # }
    /// ```
    #[inline]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Stream, F: Fill<S::Item>, T: Timer> Stream for Keepalive<S, F, T> {
    type Item = S::Item;

    #[inline]
    #[track_caller]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        if this.silence.is_over() {
            return Poll::Ready(None);
        }
        // The inner stream goes first: an item is itself a sign of life, and a keepalive beside it
        // would be noise.
        let found = this.inner.poll_next(cx);
        if this.silence.outlasts(&found, cx) {
            return Poll::Ready(Some(this.fill.fill()));
        }
        found
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.silence.is_over() {
            return (0, Some(0));
        }
        // No upper bound: any number of keepalives may come before the next item.
        (self.inner.size_hint().0, None)
    }
}

impl<S: Stream, F: Fill<S::Item>, T: Timer> FusedStream for Keepalive<S, F, T> {
    fn is_terminated(&self) -> bool {
        self.silence.is_over()
    }
}

impl<S: Stream + fmt::Debug, F, T> fmt::Debug for Keepalive<S, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keepalive")
            .field("inner", &self.inner)
            .field("idle", &self.idle())
            .finish_non_exhaustive()
    }
}
