//! The timer of a body.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use stream_keepalive::{SharedTimer, SharedTimers, Timer, TokioTimer};

/// The timer of a body, which is either its own or one of many that share a queue.
#[derive(Debug)]
pub(crate) enum IdleTimer {
    Own(TokioTimer),
    Shared(SharedTimer),
}

impl IdleTimer {
    /// Creates a timer that shares the queue of `timers`, if there is one.
    pub(crate) fn new(timers: Option<&SharedTimers>) -> Self {
        match timers {
            Some(timers) => Self::Shared(timers.timer()),
            None => Self::Own(TokioTimer::new()),
        }
    }
}

impl Timer for IdleTimer {
    #[inline]
    #[track_caller]
    fn arm(&mut self, after: Duration) {
        match self {
            Self::Own(timer) => timer.arm(after),
            Self::Shared(timer) => timer.arm(after),
        }
    }

    #[inline]
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Own(timer) => timer.poll_expired(cx),
            Self::Shared(timer) => timer.poll_expired(cx),
        }
    }

    #[inline]
    fn has_budget(&self) -> bool {
        match self {
            Self::Own(timer) => timer.has_budget(),
            Self::Shared(timer) => timer.has_budget(),
        }
    }
}
