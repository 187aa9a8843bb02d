use core::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use std::boxed::Box;

use pin_project_lite::pin_project;
use tokio::{
    runtime::Handle,
    task::{coop::has_budget_remaining, unconstrained},
    time::{Instant, Sleep, sleep_until},
};

use crate::Timer;

/// The default [`Timer`]: Tokio's, with a resolution of one millisecond.
///
/// It needs the feature `tokio`, which is on by default. It allocates once, when it is armed for the
/// first time, and follows Tokio's paused clock in tests.
///
/// The timer stays with the runtime in which it is first armed. The stream may go on in another one, as
/// long as the first one lives.
///
/// # Panics
///
/// [`arm`](Timer::arm) panics when called outside a Tokio runtime with the time driver enabled.
/// [`poll_expired`](Timer::poll_expired) panics once the runtime that the timer stays with has been shut
/// down; a task that waits for the timer at that moment is woken.
///
/// # Example
///
/// ```
/// use std::{future::poll_fn, time::Duration};
/// use stream_keepalive::{Timer, TokioTimer};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let mut timer = TokioTimer::new();
/// timer.arm(Duration::from_secs(20));
/// poll_fn(|cx| timer.poll_expired(cx)).await;
/// # }
/// ```
#[derive(Debug, Default)]
pub struct TokioTimer {
    /// Boxed, so that the adapter is small and can be moved, and a stream that is never idle does not
    /// pay for it. `None` until the timer is first armed with a duration that the clock can count.
    alarm: Option<Pin<Box<Alarm>>>,
    /// The waker that the `Sleep` has registered.
    waker: Option<Waker>,
}

pin_project! {
    /// With this one word, the allocation is as large as that of a `Sleep` alone.
    #[derive(Debug)]
    struct Alarm {
        // Fires at the timer's deadline or before it. If before, it is moved when it has fired.
        #[pin]
        sleep: Sleep,
        // From the deadline of `sleep` to that of the timer, in nanoseconds, or `NEVER`.
        lag: u64,
    }
}

/// The longest that a `Sleep` is set for: a year. Before version 1.54, one that is years away can make Tokio
/// forget others (tokio-rs/tokio#8334).
const LONGEST_SLEEP: Duration = Duration::from_secs(31_536_000);

/// A lag that the clock cannot count.
const NEVER: u64 = u64::MAX;

impl TokioTimer {
    /// Creates a timer that is not armed. It needs no runtime and allocates nothing.
    #[inline]
    pub const fn new() -> Self {
        Self {
            alarm: None,
            waker: None,
        }
    }
}

impl Timer for TokioTimer {
    #[inline]
    fn arm(&mut self, after: Duration) {
        let now = Instant::now();
        if let Some(alarm) = &mut self.alarm {
            // A `Sleep` that was set earlier for the same duration fires no later than the new deadline.
            // Leave it where it is: moving it costs more than all the rest.
            if let Some(lag) = alarm.lag_of(now, after) {
                *alarm.as_mut().project().lag = lag;
                return;
            }
        }
        self.reset(now, after);
    }

    #[inline]
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(alarm) = &mut self.alarm else {
            return Poll::Pending;
        };
        // The `Sleep` will wake this task: another poll would change nothing, and cost three times as
        // much as all the rest of an idle period.
        if let Some(waker) = &self.waker {
            if !alarm.sleep.is_elapsed() && waker.will_wake(cx.waker()) {
                return Poll::Pending;
            }
        }
        let expired = alarm.as_mut().poll_expired(cx);
        if expired.is_pending() {
            self.waker = Some(cx.waker().clone());
        }
        expired
    }

    #[inline]
    fn has_budget(&self) -> bool {
        has_budget_remaining()
    }
}

impl TokioTimer {
    #[cold]
    fn reset(&mut self, now: Instant, after: Duration) {
        let Some(deadline) = now.checked_add(after) else {
            if let Some(alarm) = &mut self.alarm {
                *alarm.as_mut().project().lag = NEVER;
            }
            return;
        };
        self.waker = None;
        let alarm = self.alarm.get_or_insert_with(|| {
            assert!(
                Handle::try_current().is_ok(),
                "stream-keepalive: a stream that goes idle needs a Tokio runtime with the time driver \
                 enabled; on another runtime, use `with_timer`"
            );
            let sleep = sleep_until(now);
            Box::pin(Alarm { sleep, lag: 0 })
        });
        alarm.as_mut().set(deadline, now);
    }
}

impl Alarm {
    /// How far the timer's deadline lies behind that of the `Sleep`; `None` if the `Sleep` has to be moved.
    #[inline]
    fn lag_of(&self, now: Instant, after: Duration) -> Option<u64> {
        let fires_after = self.sleep.deadline().checked_duration_since(now)?;
        nanos(after)?.checked_sub(nanos(fires_after)?)
    }

    /// Sets the timer's deadline, and the `Sleep` no more than a year after `now`.
    fn set(self: Pin<&mut Self>, deadline: Instant, now: Instant) {
        let mut this = self.project();
        let fires = deadline.min(now + LONGEST_SLEEP);
        this.sleep.as_mut().reset(fires);
        *this.lag = nanos(deadline - fires).unwrap_or(NEVER);
    }

    #[cold]
    fn poll_expired(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // Unconstrained: once the task's cooperative budget is spent, a `Sleep` returns `Pending`
            // without registering the waker, and an inner stream that always spends the budget would keep
            // the timer from expiring.
            let sleep = self.as_mut().project().sleep;
            // With a waker left behind, a `Sleep` that has fired would wake the task once more when moved.
            let mut nobody = Context::from_waker(Waker::noop());
            let cx = if sleep.is_elapsed() {
                &mut nobody
            } else {
                &mut *cx
            };
            ready!(pin!(unconstrained(sleep)).poll(cx));
            match self.lag {
                0 => return Poll::Ready(()),
                NEVER => return Poll::Pending,
                lag => {
                    // The clock is not read here. Tokio's driver looks for input before it fires timers,
                    // so a deadline that only the driver declares passed cannot overtake an item.
                    let fired = self.sleep.deadline();
                    let deadline = fired + Duration::from_nanos(lag);
                    self.as_mut().set(deadline, fired);
                }
            }
        }
    }
}

/// `None`: more than the 584 years that a lag can hold.
#[inline]
fn nanos(duration: Duration) -> Option<u64> {
    u64::try_from(duration.as_nanos()).ok()
}
