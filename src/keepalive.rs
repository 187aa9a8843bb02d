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
    /// A stream that inserts a keepalive whenever the inner stream has been idle for a given time.
    ///
    /// Create it with [`keepalive`] or [`keepalive_with`]. Creating an adapter needs no runtime, reads no
    /// clock and allocates nothing.
    ///
    /// # Rules
    ///
    /// The same rules hold for [`IdleTimeout`](crate::IdleTimeout), with the timeout in place of the
    /// keepalive. It has [one more rule](crate::IdleTimeout#a-consumer-that-was-away).
    ///
    /// **Items pass through unchanged.** The adapter passes on items, errors and the end of the inner
    /// stream immediately and in order.
    ///
    /// **The idle clock measures how long the consumer waits.** It starts when a poll of the inner stream
    /// returns `Pending`, and stops at the next item. A consumer that keeps polling therefore never waits
    /// longer than `idle`. Once started, the clock runs even if nothing polls the adapter. While items
    /// are ready, the adapter reads no clock and touches no timer.
    ///
    /// **One keepalive at a time.** When the idle clock reaches `idle`, the adapter yields one keepalive.
    /// The clock starts again at the next poll. A keepalive is never early. It is late by at most the
    /// timer's resolution (1 ms for [`TokioTimer`]) and the scheduling delay. A consumer that did not poll
    /// for ten times `idle` gets one keepalive, not ten.
    ///
    /// **An item always wins over a keepalive.** If the inner stream has an item or has ended, that comes
    /// first, however overdue the keepalive is. When the timer has expired, the adapter polls the inner
    /// stream once more, because an item may have arrived in the meantime.
    ///
    /// The same holds if the task has spent its [cooperative budget]. Every Tokio resource then returns
    /// `Pending`, even if it has an item, so the adapter cannot tell whether the inner stream is idle. It
    /// inserts the keepalive in the next poll that begins with budget left and finds no item.
    ///
    /// **Every item is activity**, including an `Err`. A filler can
    /// [exclude](Fill::observe) items.
    ///
    /// **A terminated stream stays terminated.** After the end, the adapter returns `None` forever, yields
    /// no more keepalives, and never polls the inner stream again. It is a [`FusedStream`] even if the
    /// inner stream is not.
    ///
    /// **[`Duration::ZERO`] turns the adapter off.** A duration of 74 years or more never expires, and
    /// [`idle`](Self::idle) returns it as [`Duration::MAX`]. No duration causes a panic.
    ///
    /// # Caveats
    ///
    /// - The time that the consumer spends between an item and its next poll does not count as idle. If
    ///   your code works for three seconds before it polls again, a client behind it waits for `idle` plus
    ///   three seconds. hyper, the HTTP server of axum and tonic, flushes when a poll returns `Pending`, so
    ///   there the clock starts when the last item is sent.
    /// - Keepalives are only inserted while something polls the adapter.
    /// - A keepalive can overtake an item that has not left the inner stream yet. For example, `then` needs
    ///   several polls for an item, and a `filter` that skips items can use up the budget. Such a keepalive
    ///   does no harm.
    /// - If something else in the same task spends the whole cooperative budget before each poll of the
    ///   adapter, no keepalive is inserted until that stops.
    ///
    /// # Panics
    ///
    /// With the default timer, a stream belongs to the Tokio runtime in which it first becomes idle. If there
    /// is no runtime with the time driver enabled at that time, the poll panics. If the runtime has been shut
    /// down, every poll that finds the stream idle panics. Items and the end of the stream are passed on in
    /// any case.
    ///
    /// If the inner stream panics, the panic propagates. The idle clock keeps running, and the adapter
    /// can be polled again.
    ///
    /// # Cancel safety
    ///
    /// All state is in the adapter. Dropping a `next()` future, as `select!` does, loses neither an item
    /// nor the deadline. Any task may poll the adapter at any time. The task that polled last is woken.
    ///
    /// # Naming the type
    ///
    /// The adapters can be named, so no boxing is needed in struct fields or associated types:
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
    ///
    /// [`keepalive`]: crate::KeepaliveExt::keepalive
    /// [`keepalive_with`]: crate::KeepaliveExt::keepalive_with
    /// [`FusedStream`]: https://docs.rs/futures-core/0.3/futures_core/stream/trait.FusedStream.html
    /// [cooperative budget]: https://docs.rs/tokio/latest/tokio/task/coop/index.html
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
    /// Wraps `inner` and inserts an item made by `fill` whenever `inner` has been idle for `idle`.
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
    /// Replaces the timer of this adapter. If you use two adapters, call it on each of them.
    ///
    /// Use it on a runtime other than Tokio, or to share one timer among many streams. [The page of this
    /// crate](crate#runtimes) lists the timers. A running idle clock starts again from zero at the next
    /// poll.
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

    /// Yields a keepalive immediately if the next poll of the inner stream returns `Pending`.
    ///
    /// Some servers and proxies hold the response headers back until the first item. With this method the
    /// client gets them immediately and knows that it is connected. If the next poll returns an item, that
    /// item serves the same purpose, and no keepalive is added. An item that is no
    /// [activity](Fill::observe) does not count.
    ///
    /// If the [filler](Fill::fill) returns `None`, no keepalive is inserted and the idle clock starts as
    /// usual. Set `idle` to [`Duration::MAX`] to get this one keepalive and no others.
    ///
    /// The method has no effect if `idle` is zero. [`set_idle`](Self::set_idle) cancels the immediate
    /// keepalive.
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
        let mut this = self.project();
        let Some(mut is_due) = this.clock.begin_poll() else {
            return Poll::Ready(None);
        };
        loop {
            let polled = this.inner.as_mut().poll_next(cx);
            match &polled {
                Poll::Ready(Some(item)) => {
                    if this.fill.observe(item) {
                        this.clock.stop();
                    }
                }
                Poll::Ready(None) => this.clock.terminate(),
                Poll::Pending if is_due => {
                    this.clock.stop();
                    let keepalive = this.fill.fill();
                    if keepalive.is_some() {
                        return Poll::Ready(keepalive);
                    }
                    // Start the clock again. If it expires within this poll, let other tasks run first.
                    if this.clock.poll_due(cx).is_ready() {
                        cx.waker().wake_by_ref();
                    }
                }
                Poll::Pending => {
                    ready!(this.clock.poll_due(cx));
                    // An item may have come since the inner stream was polled. It wins over the keepalive.
                    is_due = true;
                    continue;
                }
            }
            // Return the value itself. Taking the item out and wrapping it again would copy it once more.
            return polled;
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        if self.clock.is_terminated() {
            return (0, Some(0));
        }
        // There is no upper bound, because any number of keepalives can come before the next item.
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
