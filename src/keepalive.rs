use core::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::{FusedStream, Stream};
use pin_project_lite::pin_project;

use crate::{Fill, Repeat, Timer, TokioTimer, accessors::accessors, idle_clock::IdleClock};

pin_project! {
    /// A stream that inserts a keepalive whenever the inner stream has been idle for a while.
    ///
    /// [`KeepaliveExt`](crate::KeepaliveExt) creates it from any stream. Items, errors and the end of
    /// the inner stream are passed on immediately, in order and unchanged.
    ///
    /// # Rules
    ///
    /// **The idle clock** starts when a poll of the inner stream returns `Pending`, and stops at the
    /// next item. Before the first pending poll no clock runs; after it, the clock runs whether anyone
    /// polls or not. A consumer that keeps polling never waits longer than `idle`. While items are
    /// ready, no clock is read and no timer is touched.
    ///
    /// **One keepalive for each idle period.** It is never early, and late by the timer's resolution (1 ms
    /// with [`TokioTimer`]) and scheduling at most. A consumer that was away for ten periods gets one
    /// keepalive, not ten.
    ///
    /// **An item always wins.** If the inner stream has an item, or its end, that comes first, however
    /// overdue the keepalive is. This holds as well when the task had spent its cooperative budget, so
    /// that the inner stream could not be asked: the task yields, and the next poll decides. Another
    /// stream in the same task that spends the whole budget at every poll delays the keepalive for as
    /// long as it does so, as it delays every Tokio resource that is polled after it.
    ///
    /// **Every item is activity**, an `Err` too.
    ///
    /// **After the end nothing comes.** The stream returns `None` from then on, no keepalive trails, and
    /// the inner stream is not polled again. The adapter is a [`FusedStream`] whatever the inner stream
    /// is.
    ///
    /// **[`Duration::ZERO`] turns the adapter off.** An `idle` of 73 years or more counts as
    /// [`Duration::MAX`] and never expires. No duration panics.
    ///
    /// # Caveats
    ///
    /// - A stream is not idle before its first pending poll. A consumer that works for three seconds
    ///   between an item and its next poll adds these three seconds to the gap that its own client
    ///   sees. Subtract them from `idle`.
    /// - The keepalive needs to be polled for. If nothing polls the stream, nothing is inserted.
    ///
    /// # Panics
    ///
    /// With [`TokioTimer`], a poll that finds the inner stream idle panics outside a Tokio runtime with
    /// the time driver enabled, and when the runtime in which the stream first went idle has been shut
    /// down. Items and the end are still passed on there, and so they are while `idle` is zero.
    ///
    /// If the inner stream panics, the panic propagates. The idle clock keeps running, and the adapter
    /// can be polled again.
    ///
    /// # Cancel safety
    ///
    /// All state lives in the stream. Dropping a `next()` future, as `select!` does, loses neither an item
    /// nor the deadline. Any task may poll at any time; the task that polled last is woken.
    ///
    /// # Naming the type
    ///
    /// The adapter can be named, so no boxing is needed in struct fields or associated types:
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
    /// assert_eq!(events.next().await, Some("")); // after 20 idle seconds
    /// # }
    /// ```
    #[doc(alias = "heartbeat")]
    #[doc(alias = "keep_alive")]
    #[doc(alias = "ping")]
    #[must_use = "streams do nothing unless polled"]
    pub struct Keepalive<S, F = Repeat<<S as Stream>::Item>, T = TokioTimer>
    where
        S: Stream,
    {
        #[pin]
        inner: S,
        fill: F,
        clock: IdleClock<T>,
    }
}

impl<S: Stream, F: Fill<S::Item>> Keepalive<S, F> {
    /// Wraps `inner`, and inserts an item made by `fill` whenever it has been idle for `idle`.
    ///
    /// It needs no runtime, reads no clock and allocates nothing.
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
    /// let mut keepalives = Keepalive::new(stream::pending(), Duration::from_secs(20), fill);
    ///
    /// assert_eq!(keepalives.next().await, Some(1));
    /// assert_eq!(keepalives.next().await, Some(2));
    /// # }
    /// ```
    #[inline]
    pub fn new(inner: S, idle: Duration, fill: F) -> Self {
        Self {
            inner,
            fill,
            clock: IdleClock::new(idle, TokioTimer::new()),
        }
    }
}

impl<S: Stream, F, T> Keepalive<S, F, T> {
    /// Uses `timer` instead of the present timer.
    ///
    /// Use it on a runtime other than Tokio, with a [`SleepTimer`](crate::SleepTimer) or a [`Timer`] of
    /// your own, or to share one timer among many streams.
    ///
    /// # Panics
    ///
    /// The call does not panic. A poll panics when the timer does.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use futures::stream::{self, StreamExt};
    /// use stream_keepalive::{KeepaliveExt, SleepTimer};
    ///
    /// let idle = Duration::from_millis(20);
    /// let timer = SleepTimer::new(async_io::Timer::after);
    /// let mut keepalives = stream::pending().keepalive(idle, "keepalive").with_timer(timer);
    ///
    /// assert_eq!(async_io::block_on(keepalives.next()), Some("keepalive"));
    /// ```
    #[doc(alias = "runtime")]
    #[inline]
    pub fn with_timer<U>(self, timer: U) -> Keepalive<S, F, U> {
        Keepalive {
            inner: self.inner,
            fill: self.fill,
            clock: self.clock.with_timer(timer),
        }
    }

    /// Yields a keepalive immediately if the first poll finds nothing.
    ///
    /// This makes a server send response headers that it would hold back until the first item, and
    /// tells the client that it is connected. An item at the first poll serves the same purpose, so no
    /// keepalive is added to it. If the filler is not [`ready`](Fill::ready), the idle clock starts as
    /// usual. To get this one keepalive and no other, use [`Duration::MAX`] as `idle`.
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
            clock: self.clock.immediate(),
            ..self
        }
    }

    accessors!();
}

impl<S: Stream, F: Fill<S::Item>, T: Timer> Stream for Keepalive<S, F, T> {
    type Item = S::Item;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        let Some(settled) = this.clock.begin_poll() else {
            return Poll::Ready(None);
        };
        // The inner stream goes first, so that an item wins over an overdue keepalive.
        match this.inner.poll_next(cx) {
            Poll::Ready(Some(item)) => {
                this.clock.stop();
                this.fill.observe(&item);
                Poll::Ready(Some(item))
            }
            Poll::Ready(None) => {
                this.clock.terminate();
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(this.clock.poll_expired(settled, cx));
                if this.fill.ready() {
                    return Poll::Ready(Some(this.fill.fill()));
                }
                // The clock starts again. If it expires within this very poll, give way to others.
                if this.clock.poll_expired(settled, cx).is_ready() {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.clock.is_terminated() {
            return (0, Some(0));
        }
        // No upper bound: any number of keepalives may come before the next item.
        (self.inner.size_hint().0, None)
    }
}

impl<S: Stream, F: Fill<S::Item>, T: Timer> FusedStream for Keepalive<S, F, T> {
    fn is_terminated(&self) -> bool {
        self.clock.is_terminated()
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
