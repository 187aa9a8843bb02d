use core::{
    task::{Context, Poll},
    time::Duration,
};

mod sleep;
// Tokio's clock panics on wasm32-unknown-unknown, so there are no timers of Tokio there.
#[cfg_attr(
    not(all(
        feature = "tokio",
        not(all(target_arch = "wasm32", target_os = "unknown"))
    )),
    path = "timer/no_tokio.rs"
)]
mod tokio;

pub use self::{sleep::SleepTimer, tokio::*};

/// A re-armable one-shot timer; all that the adapters need from a runtime.
///
/// [`TokioTimer`] is the default. On another runtime, [`SleepTimer`] turns a sleep function into a timer.
/// Implement this trait yourself if the runtime has no such function, or if it can re-arm a timer more
/// cheaply than it can make a new sleep. Pass the timer to
/// [`with_timer`](crate::Keepalive::with_timer).
///
/// Future versions will only add methods that have a default.
///
/// # What to expect from the adapters
///
/// - They call [`poll_expired`](Timer::poll_expired) only after [`arm`](Timer::arm). Once it has returned
///   `Ready`, they do not call it again before the next `arm`.
/// - They may call `arm` at any time, even while the timer is running. The last call counts.
/// - They never pass a zero duration. They may pass a duration that is too long for the clock. Such a timer
///   must never expire.
/// - They may call `poll_expired` when the task has no [cooperative budget](Timer::has_budget) left. The
///   timer must still expire and wake the task.
///
/// # Example
///
/// This timer is for a program without an operating system, whose main loop polls at every timer
/// interrupt:
///
/// ```
/// # use std::{pin::Pin, sync::atomic::{AtomicU32, Ordering}, task::{Context, Poll, Waker}, time::Duration};
/// # use futures::stream::{self, Stream};
/// # use stream_keepalive::{KeepaliveExt, Timer};
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
///         // Wait for one tick more, because the first one may come immediately.
///         self.ticks = u32::try_from(after.as_millis().saturating_add(1)).ok();
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
///
/// let idle = Duration::from_millis(20);
/// let mut keepalives = stream::pending().keepalive(idle, "keepalive").with_timer(TickTimer::default());
/// # let mut cx = Context::from_waker(Waker::noop());
/// # assert!(Pin::new(&mut keepalives).poll_next(&mut cx).is_pending());
/// # TICKS.store(20, Ordering::Relaxed);
/// # assert!(Pin::new(&mut keepalives).poll_next(&mut cx).is_pending());
/// # TICKS.store(21, Ordering::Relaxed);
/// # assert_eq!(Pin::new(&mut keepalives).poll_next(&mut cx), Poll::Ready(Some("keepalive")));
/// ```
#[doc(alias = "runtime")]
#[doc(alias = "clock")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a timer",
    label = "an adapter cannot be polled with this timer",
    note = "pass one of these to `.with_timer(..)`: a `TokioTimer`, which is the default, a `SharedTimer` from `SharedTimers`, a `SleepTimer`, or a type of your own that implements `Timer`",
    note = "`TokioTimer` and `SharedTimers` need the feature `tokio` of stream-keepalive, and do not exist on wasm32-unknown-unknown"
)]
pub trait Timer {
    /// Starts or restarts the timer, so that it expires `after` from now.
    ///
    /// # Panics
    ///
    /// An implementation may panic if there is no clock, as [`TokioTimer`] does outside a Tokio runtime.
    /// It must not panic because of the duration.
    fn arm(&mut self, after: Duration);

    /// Returns `Ready` once the timer has expired, and otherwise arranges for the task to be woken then.
    ///
    /// Only the waker of the latest call has to be woken.
    ///
    /// # Panics
    ///
    /// An implementation may panic if the runtime has been shut down, as [`TokioTimer`] does.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Returns whether the current task has cooperative budget left.
    ///
    /// Tokio gives each task a budget to make it yield after a while. Once the budget is spent, every Tokio
    /// resource returns `Pending`, even if it has an item. In that case the adapters do not treat the inner
    /// stream as idle.
    ///
    /// The default returns `true`, which is correct for a runtime without such a budget.
    fn has_budget(&self) -> bool {
        true
    }
}

impl<T: Timer + ?Sized> Timer for &mut T {
    #[inline]
    fn arm(&mut self, after: Duration) {
        (**self).arm(after);
    }

    #[inline]
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        (**self).poll_expired(cx)
    }

    #[inline]
    fn has_budget(&self) -> bool {
        (**self).has_budget()
    }
}
