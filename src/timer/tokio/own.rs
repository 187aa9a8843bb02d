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

use super::task::{TaskId, is_traced};
use crate::Timer;

/// The default [`Timer`], which uses Tokio's clock and has a resolution of one millisecond.
///
/// It needs the feature `tokio`, which is enabled by default. It allocates once, when it is first armed.
/// In tests it follows Tokio's paused clock.
///
/// The timer belongs to the runtime in which it is first armed. You can poll the stream in another
/// runtime afterwards, but the first one has to keep running.
///
/// # Panics
///
/// The first [`arm`](Timer::arm) panics outside a Tokio runtime with the time driver enabled.
/// [`poll_expired`](Timer::poll_expired) panics after the runtime of the timer has been shut down. A task
/// that waits for the timer is woken when that happens.
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
    /// Boxed to keep the adapter small and movable, and to cost nothing while the stream is never idle.
    /// `None` until the timer is first armed with a duration that the clock can count.
    alarm: Option<Pin<Box<Alarm>>>,
    /// The task whose waker the `Sleep` has stored. It keeps the waker until it fires.
    task: Option<TaskId>,
}

pin_project! {
    /// Takes no more memory than a `Sleep` alone, because allocators round sizes up.
    #[derive(Debug)]
    struct Alarm {
        // Fires at the deadline of the timer or earlier. If it fires earlier, it is moved then.
        #[pin]
        sleep: Sleep,
        // Nanoseconds from the deadline of `sleep` to the deadline of the timer, or `ENDLESS`.
        lag: u64,
    }
}

/// The longest duration that a `Sleep` is set to: one year. Before version 1.54, a `Sleep` that is years away
/// can make Tokio forget others (tokio-rs/tokio#8334).
const LONGEST_SLEEP: Duration = Duration::from_secs(31_536_000);

/// The lag of a timer whose deadline the clock cannot reach.
const ENDLESS: u64 = u64::MAX;

impl TokioTimer {
    /// Creates a timer that is not armed. This needs no runtime and allocates nothing.
    #[inline]
    pub const fn new() -> Self {
        Self {
            alarm: None,
            task: None,
        }
    }
}

impl Timer for TokioTimer {
    #[inline]
    fn arm(&mut self, after: Duration) {
        let now = Instant::now();
        if let Some(alarm) = &mut self.alarm {
            // Leave the `Sleep` where it is: it was set earlier for the same duration, so it fires no later
            // than the new deadline. If it fires early, `poll_expired` moves it.
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
        // The `Sleep` will wake this task already. Polling it again would change nothing, and would cost
        // three times as much as the rest of the work for an idle stream.
        if let Some(task) = self.task {
            if !alarm.sleep.is_elapsed() && task == TaskId::of(cx.waker()) {
                return Poll::Pending;
            }
        }
        self.task = None;
        let expired = alarm.as_mut().poll_expired(cx);
        if expired.is_pending() && !is_traced(cx) {
            self.task = Some(TaskId::of(cx.waker()));
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
                *alarm.as_mut().project().lag = ENDLESS;
            }
            return;
        };
        self.task = None;
        let alarm = self.alarm.get_or_insert_with(|| {
            assert!(
                Handle::try_current().is_ok(),
                "stream-keepalive: a stream that goes idle needs a Tokio runtime with the time driver \
                 enabled; on another runtime, give each adapter a timer with `with_timer`"
            );
            let sleep = sleep_until(now);
            Box::pin(Alarm { sleep, lag: 0 })
        });
        alarm.as_mut().set(deadline, now);
    }
}

impl Alarm {
    /// Returns how long the timer expires after the `Sleep`, or `None` if the `Sleep` has to be moved.
    #[inline]
    fn lag_of(&self, now: Instant, after: Duration) -> Option<u64> {
        let fires_after = self.sleep.deadline().checked_duration_since(now)?;
        nanos(after)?.checked_sub(nanos(fires_after)?)
    }

    /// Sets the deadline of the timer, and sets the `Sleep` to at most one year after `now`.
    fn set(self: Pin<&mut Self>, deadline: Instant, now: Instant) {
        let mut this = self.project();
        let fires = deadline.min(now + LONGEST_SLEEP);
        this.sleep.as_mut().reset(fires);
        *this.lag = nanos(deadline - fires).unwrap_or(ENDLESS);
    }

    #[cold]
    fn poll_expired(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // Poll without the cooperative budget. Once the budget is spent, a `Sleep` returns `Pending`
            // without registering the waker. If the inner stream spends the budget at every poll, the timer
            // would never expire.
            let sleep = self.as_mut().project().sleep;
            // Do not leave a waker in a `Sleep` that has fired, because moving it would wake the task.
            let mut nobody = Context::from_waker(Waker::noop());
            let cx = if sleep.is_elapsed() {
                &mut nobody
            } else {
                &mut *cx
            };
            ready!(pin!(unconstrained(sleep)).poll(cx));
            match self.lag {
                0 => {
                    // With Tokio's alternative timer, a runtime that is shutting down fires each `Sleep`, and
                    // polling it does not panic.
                    assert!(
                        !cfg!(tokio_unstable) || self.sleep.deadline() <= Instant::now(),
                        "stream-keepalive: the Tokio runtime of this stream's timer has been shut down"
                    );
                    return Poll::Ready(());
                }
                ENDLESS => return Poll::Pending,
                lag => {
                    // Let Tokio's driver say when the deadline has passed, and do not read the clock here.
                    // The driver looks for input before it fires timers, so the timeout cannot overtake an
                    // item.
                    let fired = self.sleep.deadline();
                    let deadline = fired + Duration::from_nanos(lag);
                    self.as_mut().set(deadline, fired);
                }
            }
        }
    }
}

/// Returns `None` for more than 584 years, the longest lag.
#[inline]
fn nanos(duration: Duration) -> Option<u64> {
    u64::try_from(duration.as_nanos()).ok()
}
