use core::{
    task::{Context, Poll},
    time::Duration,
};

mod tokio;

pub use self::tokio::TokioTimer;

/// One expiry in place, re-armed any number of times: what the adapters need of a runtime.
///
/// [`TokioTimer`] is the default. Any other runtime's timer fits in a few lines; give it to
/// [`Keepalive::with_timer`](crate::Keepalive::with_timer) or
/// [`IdleTimeout::with_timer`](crate::IdleTimeout::with_timer).
///
/// # What the adapters ask
///
/// - [`poll_expired`](Timer::poll_expired) is called only after [`arm`](Timer::arm), and after it
///   was ready not again before the next `arm`.
/// - `arm` may come at any time, also while the timer runs. The last one counts.
/// - The duration is never zero. It may be longer than the clock can count: such a timer never
///   expires.
/// - A task that stays busy may poll without a break. Whatever the runtime does to make such a
///   task give way must not keep the timer from expiring.
///
/// # Examples
///
/// For smol, whose timer is that of [async-io](https://docs.rs/async-io):
///
/// ```
/// use std::{future::Future, pin::Pin, task::{Context, Poll}, time::Duration};
/// use futures::stream::{self, StreamExt};
/// use stream_keepalive::{Keepalive, Timer};
///
/// struct SmolTimer(async_io::Timer);
///
/// impl Timer for SmolTimer {
///     fn arm(&mut self, after: Duration) {
///         self.0.set_after(after);
///     }
///
///     fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
///         Pin::new(&mut self.0).poll(cx).map(drop)
///     }
/// }
///
/// let idle = Duration::from_millis(20);
/// let timer = SmolTimer(async_io::Timer::never());
/// let mut beats = Keepalive::with_timer(stream::pending(), idle, || "beat", timer);
/// assert_eq!(async_io::block_on(beats.next()), Some("beat"));
/// ```
///
/// For any executor, by [futures-timer](https://docs.rs/futures-timer):
///
/// ```
/// # use std::{future::Future, pin::Pin, task::{Context, Poll}, time::Duration};
/// # use futures::{executor::block_on, stream::{self, StreamExt}};
/// # use stream_keepalive::{Keepalive, Timer};
/// use futures_timer::Delay;
///
/// #[derive(Default)]
/// struct DelayTimer(Option<Delay>);
///
/// impl Timer for DelayTimer {
///     fn arm(&mut self, after: Duration) {
///         match &mut self.0 {
///             Some(delay) => delay.reset(after),
///             None => self.0 = Some(Delay::new(after)),
///         }
///     }
///
///     fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
///         match &mut self.0 {
///             Some(delay) => Pin::new(delay).poll(cx),
///             None => Poll::Pending,
///         }
///     }
/// }
/// # let idle = Duration::from_millis(20);
/// # let mut beats = Keepalive::with_timer(stream::pending(), idle, || "beat", DelayTimer::default());
/// # assert_eq!(block_on(beats.next()), Some("beat"));
/// ```
///
/// For a program without an operating system, whose main loop polls at every tick of an interrupt:
///
/// ```
/// # use std::{pin::Pin, sync::atomic::{AtomicU32, Ordering}, task::{Context, Poll, Waker}, time::Duration};
/// # use futures::stream::{self, Stream};
/// # use stream_keepalive::{Keepalive, Timer};
/// /// Milliseconds, counted by an interrupt.
/// static TICKS: AtomicU32 = AtomicU32::new(0);
///
/// #[derive(Default)]
/// struct TickTimer {
///     armed_at: u32,
///     ticks: Option<u32>,
/// }
///
/// impl Timer for TickTimer {
///     fn arm(&mut self, after: Duration) {
///         self.armed_at = TICKS.load(Ordering::Relaxed);
///         // One more: the first tick may come at once.
///         self.ticks = u32::try_from(after.as_millis() + 1).ok();
///     }
///
///     fn poll_expired(&mut self, _: &mut Context<'_>) -> Poll<()> {
///         let passed = TICKS.load(Ordering::Relaxed).wrapping_sub(self.armed_at);
///         match self.ticks {
///             Some(ticks) if passed >= ticks => Poll::Ready(()),
///             _ => Poll::Pending,
///         }
///     }
/// }
/// # let idle = Duration::from_millis(20);
/// # let mut beats = Keepalive::with_timer(stream::pending(), idle, || "beat", TickTimer::default());
/// # let mut cx = Context::from_waker(Waker::noop());
/// # assert!(Pin::new(&mut beats).poll_next(&mut cx).is_pending());
/// # TICKS.store(20, Ordering::Relaxed);
/// # assert!(Pin::new(&mut beats).poll_next(&mut cx).is_pending());
/// # TICKS.store(21, Ordering::Relaxed);
/// # assert_eq!(Pin::new(&mut beats).poll_next(&mut cx), Poll::Ready(Some("beat")));
/// ```
///
/// The repository has each as an example that runs (`cargo run --example smol`, `futures_timer`,
/// `ticks`), and one for millions of streams that share one queue (`shared_timer`).
#[cfg_attr(
    not(feature = "tokio"),
    diagnostic::on_unimplemented(
        label = "`{Self}` is not a timer",
        note = "`TokioTimer`, the default, needs the feature `tokio` of stream-keepalive: turn it on, or bring a timer of your own with `with_timer`"
    )
)]
pub trait Timer {
    /// Starts the timer, or starts it anew: it expires once, `after` from now.
    ///
    /// # Panics
    ///
    /// When the runtime has no clock to offer, as [`TokioTimer`] does outside a Tokio runtime.
    /// Never because of the duration.
    fn arm(&mut self, after: Duration);

    /// Ready when the time is over; until then the task of `cx` is woken at the expiry.
    ///
    /// With each call the newest waker replaces the one before.
    ///
    /// # Panics
    ///
    /// When the runtime has gone, as [`TokioTimer`] does.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}
