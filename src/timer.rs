use core::{
    task::{Context, Poll},
    time::Duration,
};

#[cfg(all(
    feature = "tokio",
    not(all(target_arch = "wasm32", target_os = "unknown"))
))]
mod shared;
mod sleep;
// Tokio's clock panics on wasm32-unknown-unknown, so `TokioTimer` is not a `Timer` there.
#[cfg(all(
    feature = "tokio",
    not(all(target_arch = "wasm32", target_os = "unknown"))
))]
mod tokio;
#[cfg(not(all(
    feature = "tokio",
    not(all(target_arch = "wasm32", target_os = "unknown"))
)))]
#[path = "timer/without_tokio.rs"]
mod tokio;

#[cfg(all(
    feature = "tokio",
    not(all(target_arch = "wasm32", target_os = "unknown"))
))]
pub use self::shared::{SharedTimer, SharedTimers};
pub use self::{sleep::SleepTimer, tokio::TokioTimer};

/// A re-armable one-shot timer; all that the adapters need from a runtime.
///
/// [`TokioTimer`] is the default. [`SleepTimer`] makes a timer of any other runtime's sleep function.
/// Implement the trait yourself where there is no such function, or where a timer that is moved in place
/// is cheaper than a new sleep for each idle period. Pass it to
/// [`Keepalive::with_timer`](crate::Keepalive::with_timer) or
/// [`IdleTimeout::with_timer`](crate::IdleTimeout::with_timer).
///
/// Later versions will only add methods that are provided.
///
/// # What the adapters do
///
/// - They call [`poll_expired`](Timer::poll_expired) only after [`arm`](Timer::arm). Once it has returned
///   `Ready`, they do not call it again before the next `arm`.
/// - They may call `arm` at any time, also while the timer runs. The last call counts.
/// - They never pass a zero duration. The duration may be longer than the clock can count, and such a
///   timer must never expire.
/// - A busy task may poll without a break. Whatever the runtime does to make such a task yield must not
///   keep the timer from expiring.
///
/// # Example
///
/// A program without an operating system, whose main loop polls at every tick of an interrupt:
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
///         // One more, because the first tick may come immediately.
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
    note = "`TokioTimer`, the default, needs the feature `tokio` of stream-keepalive, and does not exist on wasm32-unknown-unknown: enable the feature, or give the adapter another timer by `.with_timer(..)`"
)]
pub trait Timer {
    /// Starts the timer, or starts it again: it expires once, `after` from now.
    ///
    /// # Panics
    ///
    /// It may panic when the runtime has no clock to offer, as [`TokioTimer`] does outside a Tokio
    /// runtime. It must not panic because of the duration.
    fn arm(&mut self, after: Duration);

    /// Returns `Ready` once the time has passed; until then the task of `cx` is woken at the expiry.
    ///
    /// Only the waker of the latest call needs to be woken.
    ///
    /// # Panics
    ///
    /// It may panic when the runtime has been shut down, as [`TokioTimer`] does.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Returns whether the current task has cooperative budget left.
    ///
    /// Some runtimes make a task yield after a while, by a budget that its resources share: once it is
    /// spent, every resource returns `Pending`, whether or not it has an item. The adapters insert no
    /// keepalive and end no stream on the word of such a `Pending`.
    ///
    /// The default is `true`, which is right for a runtime that has no such budget.
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
