use core::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use crate::Timer;

/// A [`Timer`] made from any function that returns a sleep, for every runtime other than Tokio.
///
/// | runtime | timer |
/// |---|---|
/// | smol, async-io | `SleepTimer::new(async_io::Timer::after)` |
/// | any, by futures-timer | `SleepTimer::new(futures_timer::Delay::new)` |
/// | compio | <code>SleepTimer::new(\|after\| Box::pin(compio::time::sleep(after)))</code> |
/// | glommio | `SleepTimer::new(glommio::timer::Timer::new)` |
/// | monoio | <code>SleepTimer::new(\|after\| Box::pin(monoio::time::sleep(after)))</code> |
/// | embassy | <code>SleepTimer::new(\|after\| embassy_time::Timer::after(after.try_into().unwrap()))</code> |
/// | a browser, by gloo | `SleepTimer::new(gloo_timers::future::sleep)` |
///
/// The sleep must be [`Unpin`]; box it where it is not, as in `|after| Box::pin(sleep(after))`.
///
/// # Cost
///
/// Each idle period makes a new sleep, and drops the one before. If your stream goes idle thousands of
/// times a second, and your runtime can move a timer in place, implement [`Timer`] yourself. On Tokio, use
/// [`TokioTimer`](crate::TokioTimer): it moves its sleep, and an inner stream that spends the task's
/// cooperative budget cannot delay it.
///
/// The function is never asked for more than a day, because some runtimes cannot sleep for longer than
/// a few weeks. A longer idle time is made of several sleeps.
///
/// # Panics
///
/// When the function or its future panics.
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
    /// What is left of the armed duration after the current sleep.
    left: Duration,
}

/// The longest sleep that is asked for. A browser's timer holds no more than 24 days.
const LONGEST_SLEEP: Duration = Duration::from_secs(86_400);

impl<F, Fut> SleepTimer<F, Fut>
where
    F: Fn(Duration) -> Fut,
    Fut: Future + Unpin,
{
    /// Creates a timer that calls `sleep` for each idle period.
    #[inline]
    pub const fn new(sleep: F) -> Self {
        Self {
            sleep,
            current: None,
            left: Duration::ZERO,
        }
    }
}

impl<F, Fut> Timer for SleepTimer<F, Fut>
where
    F: Fn(Duration) -> Fut,
    Fut: Future + Unpin,
{
    fn arm(&mut self, after: Duration) {
        let now = after.min(LONGEST_SLEEP);
        self.left = after - now;
        self.current = Some((self.sleep)(now));
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(current) = &mut self.current {
            ready!(Pin::new(current).poll(cx));
            self.current = None;
            if !self.left.is_zero() {
                self.arm(self.left);
            }
        }
        Poll::Ready(())
    }
}

impl<F, Fut> fmt::Debug for SleepTimer<F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SleepTimer")
            .field("is_armed", &self.current.is_some())
            .finish_non_exhaustive()
    }
}
