use core::{
    task::{Context, Poll, ready},
    time::Duration,
};

use crate::Timer;

/// The silence of an inner stream: whether it lasts, and how long it may.
pub(crate) struct Silence<T> {
    timer: T,
    // `idle` in parts: the state fits beside them, where a `Duration` would only have padding.
    secs: u64,
    nanos: u32,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody has polled yet.
    New,
    /// Nobody has polled yet, and a first poll that finds nothing is enough.
    Impatient,
    /// The last poll found an item, or a silence has just been dealt with. No clock runs.
    Broken,
    /// The last poll found nothing. The timer runs.
    Lasting,
    /// The stream has ended.
    Over,
}

impl<T> Silence<T> {
    #[inline]
    pub(crate) const fn new(idle: Duration, timer: T) -> Self {
        Self {
            timer,
            secs: idle.as_secs(),
            nanos: idle.subsec_nanos(),
            state: State::New,
        }
    }

    /// Lets a first poll that finds nothing count as a whole silence.
    #[inline]
    pub(crate) fn impatient(mut self) -> Self {
        if self.state == State::New {
            self.state = State::Impatient;
        }
        self
    }

    #[inline]
    pub(crate) const fn idle(&self) -> Duration {
        Duration::new(self.secs, self.nanos)
    }

    #[inline]
    pub(crate) fn set_idle(&mut self, idle: Duration) {
        (self.secs, self.nanos) = (idle.as_secs(), idle.subsec_nanos());
        if self.state == State::Lasting {
            self.state = State::Broken;
        }
    }

    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    #[inline]
    pub(crate) fn end(&mut self) {
        self.state = State::Over;
    }
}

impl<T: Timer> Silence<T> {
    /// Takes note of what a poll of the inner stream `found`: true when it found nothing, and the
    /// silence has lasted for `idle`. The next one counts from the next poll that finds nothing.
    #[inline]
    #[track_caller]
    pub(crate) fn outlasts<Item>(
        &mut self,
        found: &Poll<Option<Item>>,
        cx: &mut Context<'_>,
    ) -> bool {
        match found {
            Poll::Ready(Some(_)) => {
                self.state = State::Broken;
                false
            }
            Poll::Ready(None) => {
                self.state = State::Over;
                false
            }
            Poll::Pending => self.poll_lasted(cx).is_ready(),
        }
    }

    // Always: the one call costs a nanosecond at each poll that finds nothing.
    #[inline(always)]
    #[track_caller]
    fn poll_lasted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (state, idle) = (self.state, self.idle());
        if idle.is_zero() {
            self.state = State::Broken;
            return Poll::Pending;
        }
        if state != State::Impatient {
            if state != State::Lasting {
                // The state follows the timer: if arming panics, the silence has not begun.
                self.timer.arm(idle);
                self.state = State::Lasting;
            }
            ready!(self.timer.poll_expired(cx));
        }
        self.state = State::Broken;
        Poll::Ready(())
    }
}
