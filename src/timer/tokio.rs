#[cfg(feature = "tokio")]
use {
    super::Timer,
    ::tokio::{
        runtime::Handle,
        task::unconstrained,
        time::{Instant, Sleep, sleep_until},
    },
    core::{
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
        time::Duration,
    },
    pin_project_lite::pin_project,
    std::{boxed::Box, future::Future},
};

/// The default [`Timer`](crate::Timer): Tokio's, with a resolution of one millisecond.
///
/// It needs the feature `tokio`, which is on by default. It allocates once, when it is armed for
/// the first time, and follows Tokio's paused clock in tests. A duration of more than 584 years
/// never ends.
///
/// It stays with the runtime in which it is first armed. The stream may go on in another one, as
/// long as the first one lives.
///
/// # Panics
///
/// To arm it panics outside a Tokio runtime with time enabled. To poll it panics once the runtime
/// that it stays with has been shut down, and a task that waits for it then is woken to find out.
/// To make or to drop one never panics, and no duration does.
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
    /// Boxed, so that the adapter is small and can be moved, and that a stream which is never silent
    /// does not pay for it.
    #[cfg(feature = "tokio")]
    alarm: Option<Pin<Box<Alarm>>>,
    #[cfg(feature = "tokio")]
    armed_at: Option<Instant>,
    /// The waker that the alarm will wake.
    #[cfg(feature = "tokio")]
    waker: Option<Waker>,
}

#[cfg(feature = "tokio")]
pin_project! {
    #[derive(Debug)]
    struct Alarm {
        // Fires at the deadline or before it, and is then moved.
        #[pin]
        sleep: Sleep,
        // How long after the alarm was armed the deadline is. `NEVER`: there is none.
        nanos: u64,
    }
}

impl TokioTimer {
    /// Makes a timer that is not armed. It needs no runtime and allocates nothing.
    ///
    /// # Example
    ///
    /// ```
    /// let timer = stream_keepalive::TokioTimer::new();
    /// ```
    #[inline]
    pub const fn new() -> Self {
        Self {
            #[cfg(feature = "tokio")]
            alarm: None,
            #[cfg(feature = "tokio")]
            armed_at: None,
            #[cfg(feature = "tokio")]
            waker: None,
        }
    }
}

/// A year: the longest that a `Sleep` is asked for. Before version 1.54, one that is years away
/// can make Tokio forget others (tokio-rs/tokio#8334).
#[cfg(feature = "tokio")]
const LONGEST_SLEEP: Duration = Duration::from_secs(31_536_000);

/// In nanoseconds: 584 years.
#[cfg(feature = "tokio")]
const NEVER: u64 = u64::MAX;

#[cfg(feature = "tokio")]
impl Timer for TokioTimer {
    #[inline]
    #[track_caller]
    fn arm(&mut self, after: Duration) {
        let nanos = u64::try_from(after.as_nanos()).unwrap_or(NEVER);
        let now = Instant::now();
        match &mut self.alarm {
            // It fires in time, or has fired and is moved when polled. Moving it at each silence would
            // cost more than all the rest. Even to add up the deadline costs: it has to wait for the
            // clock, and the next reading waits for it.
            Some(alarm) if alarm.nanos == nanos => {}
            Some(alarm) => {
                self.waker = None;
                alarm.as_mut().change(now, nanos);
            }
            None => self.alarm = Alarm::new(now, nanos),
        }
        self.armed_at = Some(now);
    }

    #[inline]
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (Some(alarm), Some(armed_at)) = (&mut self.alarm, self.armed_at) else {
            return Poll::Pending;
        };
        // It will wake this task: another poll would change nothing, and cost three times as much.
        if let Some(waker) = &self.waker {
            if !alarm.sleep.is_elapsed() && waker.will_wake(cx.waker()) {
                return Poll::Pending;
            }
        }
        let expired = alarm.as_mut().poll_expired(armed_at, cx);
        if expired.is_pending() {
            self.waker = Some(cx.waker().clone());
        }
        expired
    }
}

#[cfg(feature = "tokio")]
impl Alarm {
    #[cold]
    #[track_caller]
    fn new(now: Instant, nanos: u64) -> Option<Pin<Box<Self>>> {
        if nanos == NEVER {
            return None;
        }
        assert!(
            Handle::try_current().is_ok(),
            "a silent stream needs a Tokio runtime with its time driver enabled"
        );
        let sleep = sleep_until(now + Duration::from_nanos(nanos).min(LONGEST_SLEEP));
        Some(Box::pin(Self { sleep, nanos }))
    }

    #[cold]
    fn change(self: Pin<&mut Self>, now: Instant, nanos: u64) {
        let alarm = self.project();
        let after = Duration::from_nanos(nanos).min(LONGEST_SLEEP);
        alarm.sleep.reset(now + after);
        *alarm.nanos = nanos;
    }

    #[cold]
    fn poll_expired(self: Pin<&mut Self>, armed_at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let (mut sleep, nanos) = (this.sleep, *this.nanos);
        let deadline = (nanos < NEVER).then(|| armed_at + Duration::from_nanos(nanos));
        let is_over = |now| deadline.is_some_and(|deadline| deadline <= now);
        // Unconstrained: with the task's cooperative budget spent, a `Sleep` says that it is pending
        // without registering the waker, and an inner stream that always spends the budget would keep
        // the timer from expiring.
        while pin!(unconstrained(sleep.as_mut())).poll(cx).is_ready() {
            let fired = sleep.deadline();
            if is_over(fired) || is_over(Instant::now()) {
                return Poll::Ready(());
            }
            let next = fired + LONGEST_SLEEP;
            let deadline = deadline.unwrap_or(next);
            sleep.as_mut().reset(deadline.min(next));
        }
        Poll::Pending
    }
}
