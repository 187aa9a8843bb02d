use core::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use crate::Timer;

/// A [`Timer`] made from a sleep function, for runtimes other than Tokio.
///
/// | runtime | timer |
/// |---|---|
/// | smol | `SleepTimer::new(smol::Timer::after)` |
/// | async-io | `SleepTimer::new(async_io::Timer::after)` |
/// | any, with futures-timer | `SleepTimer::new(futures_timer::Delay::new)` |
/// | compio | <code>SleepTimer::new(\|after\| Box::pin(compio::time::sleep(after)))</code> |
/// | glommio | `SleepTimer::new(glommio::timer::Timer::new)` |
/// | monoio | <code>SleepTimer::new(\|after\| Box::pin(monoio::time::sleep(after)))</code> |
/// | embassy | <code>SleepTimer::new(\|after\| embassy_time::Timer::after(after.try_into().unwrap()))</code> |
/// | a browser, with gloo | `SleepTimer::new(gloo_timers::future::sleep)` |
///
/// The function must return a future that is [`Unpin`]. If it does not, box the future, as in
/// `|after| Box::pin(sleep(after))`.
///
/// The function is never called with more than one day, because some runtimes cannot sleep for longer
/// than a few weeks. A longer `idle` is divided into several sleeps.
///
/// # Cost
///
/// The timer makes a new sleep each time the idle clock starts. If your stream becomes idle thousands of
/// times a second and your runtime can re-arm a timer in place, implement [`Timer`] yourself.
///
/// On Tokio, use [`TokioTimer`](crate::TokioTimer) instead. It re-arms its sleep, and it expires on time
/// even if the inner stream spends the task's cooperative budget.
///
/// # Panics
///
/// The methods of [`Timer`] panic if the function or its future panics.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use futures::{executor::block_on, stream::{self, StreamExt}};
/// use futures_timer::Delay;
/// use stream_keepalive::{KeepaliveExt, SleepTimer};
///
/// let idle = Duration::from_millis(20);
/// let bus = stream::pending::<&str>();
/// let mut events = bus.keepalive(idle, "keepalive").with_timer(SleepTimer::new(Delay::new));
///
/// assert_eq!(block_on(events.next()), Some("keepalive"));
/// ```
#[doc(alias = "sleeper")]
#[doc(alias = "delay")]
#[doc(alias = "smol")]
#[doc(alias = "wasm")]
pub struct SleepTimer<F, Fut> {
    sleep: F,
    current: Option<Fut>,
    /// The part of the armed duration that follows the current sleep.
    left: Duration,
}

/// The longest sleep that is requested. A timer in a browser cannot exceed 24 days.
const LONGEST_SLEEP: Duration = Duration::from_secs(86_400);

impl<F, Fut> SleepTimer<F, Fut>
where
    F: Fn(Duration) -> Fut,
    Fut: Future + Unpin,
{
    /// Creates a timer that calls `sleep` each time it is armed.
    #[inline]
    pub const fn new(sleep: F) -> Self {
        Self {
            sleep,
            current: None,
            left: Duration::ZERO,
        }
    }
}

impl<F, Fut> SleepTimer<F, Fut>
where
    F: Fn(Duration) -> Fut,
{
    /// Starts a sleep for `left`, or for the first day of it.
    fn start_sleep(&mut self) {
        let now = self.left.min(LONGEST_SLEEP);
        self.current = Some((self.sleep)(now));
        // Subtract it after the call, so that no time is lost if the call panics.
        self.left -= now;
    }
}

impl<F, Fut> Timer for SleepTimer<F, Fut>
where
    F: Fn(Duration) -> Fut,
    Fut: Future + Unpin,
{
    fn arm(&mut self, after: Duration) {
        self.left = after;
        self.start_sleep();
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(current) = &mut self.current {
                ready!(Pin::new(current).poll(cx));
                self.current = None;
            }
            if self.left.is_zero() {
                return Poll::Ready(());
            }
            self.start_sleep();
        }
    }
}

impl<F, Fut> fmt::Debug for SleepTimer<F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SleepTimer")
            .field("is_armed", &self.current.is_some())
            .finish_non_exhaustive()
    }
}
