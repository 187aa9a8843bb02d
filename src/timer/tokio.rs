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
    std::{boxed::Box, future::Future},
};

/// The default [`Timer`](crate::Timer): Tokio's, with a resolution of one millisecond.
///
/// It needs the feature `tokio`, which is on by default. It allocates once, when it is armed for
/// the first time, and follows Tokio's paused clock in tests.
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
    /// `None`: never.
    #[cfg(feature = "tokio")]
    deadline: Option<Instant>,
    /// Fires at the deadline or before it, and is then moved. Boxed, so that the adapter is small
    /// and can be moved, and that a stream which is never silent does not pay for it.
    #[cfg(feature = "tokio")]
    sleep: Option<Pin<Box<Sleep>>>,
    /// The waker that `sleep` will wake.
    #[cfg(feature = "tokio")]
    waker: Option<Waker>,
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
            deadline: None,
            #[cfg(feature = "tokio")]
            sleep: None,
            #[cfg(feature = "tokio")]
            waker: None,
        }
    }
}

/// The longest that a `Sleep` is asked for, a year: far from where its arithmetic overflows.
#[cfg(feature = "tokio")]
const LONGEST_SLEEP: Duration = Duration::from_secs(31_536_000);

#[cfg(feature = "tokio")]
impl Timer for TokioTimer {
    #[inline]
    #[track_caller]
    fn arm(&mut self, after: Duration) {
        let now = Instant::now();
        // Not Tokio's own: that is a call which the compiler does not see through.
        let deadline = now.into_std().checked_add(after);
        self.deadline = deadline.map(Instant::from_std);
        match (&self.sleep, self.deadline) {
            // It fires in time, or has fired and is moved when polled. Moving it at each silence would
            // cost more than all the rest.
            (Some(sleep), Some(deadline)) if sleep.deadline() <= deadline => {}
            (_, Some(deadline)) => self.sleep_until(deadline, now),
            (_, None) => {}
        }
    }

    #[inline]
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // It will wake this task: another poll would change nothing, and cost three times as much.
        if let (Some(sleep), Some(waker)) = (&self.sleep, &self.waker) {
            if !sleep.is_elapsed() && waker.will_wake(cx.waker()) {
                return Poll::Pending;
            }
        }
        self.poll_sleep(cx)
    }
}

#[cfg(feature = "tokio")]
impl TokioTimer {
    /// Lets `sleep` fire at the deadline, or a year from now if that is sooner.
    #[cold]
    #[track_caller]
    fn sleep_until(&mut self, deadline: Instant, now: Instant) {
        let deadline = deadline.min(now + LONGEST_SLEEP);
        self.waker = None;
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(deadline),
            None => {
                assert!(
                    Handle::try_current().is_ok(),
                    "a silent stream needs a Tokio runtime with its time driver enabled"
                );
                self.sleep = Some(Box::pin(sleep_until(deadline)));
            }
        }
    }

    fn poll_sleep(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let (Some(deadline), Some(sleep)) = (self.deadline, &mut self.sleep) {
            // Unconstrained: with the task's cooperative budget spent, a `Sleep` says that it is
            // pending without registering the waker, and an inner stream that always spends the
            // budget would keep the timer from expiring.
            if pin!(unconstrained(sleep.as_mut())).poll(cx).is_pending() {
                self.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if deadline <= sleep.deadline() {
                return Poll::Ready(());
            }
            let now = Instant::now();
            if deadline <= now {
                return Poll::Ready(());
            }
            self.sleep_until(deadline, now);
        }
        Poll::Pending
    }
}
