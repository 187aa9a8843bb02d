use core::{
    task::{Context, Poll, ready},
    time::Duration,
};

use crate::Timer;

/// Measures how long the inner stream has been idle.
///
/// `idle` (in nanoseconds) and the state share one word to keep the adapters small: with `TokioTimer`, the
/// clock takes 32 bytes.
pub(crate) struct IdleClock<T> {
    timer: T,
    word: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct State(u64);

impl State {
    /// The last poll returned an item, or the clock has just expired.
    const STOPPED: Self = Self(0);
    /// The stream has not been polled yet.
    const NEW: Self = Self(1);
    /// The stream has not been polled yet, and the clock expires if the first poll returns `Pending`.
    const IMMEDIATE: Self = Self(2);
    /// The last poll returned `Pending`, and the timer is armed.
    const RUNNING: Self = Self(3);
    /// The timer has expired, but the inner stream may have had no cooperative budget to return an item.
    const IN_DOUBT: Self = Self(4);
    /// The stream has ended.
    const TERMINATED: Self = Self(5);

    /// The number of values that fit into the word next to the idle time.
    const COUNT: u64 = 8;
}

/// The longest `idle` that is counted, 73 years. It stands for every longer one.
const MAX_NANOS: u64 = u64::MAX / State::COUNT;

impl<T> IdleClock<T> {
    #[inline]
    pub(crate) fn new(idle: Duration, timer: T) -> Self {
        Self {
            timer,
            word: nanos(idle) * State::COUNT + State::NEW.0,
        }
    }

    /// Replaces the timer. A running clock starts again, because the new timer is not armed.
    #[inline]
    pub(crate) fn with_timer<U>(self, timer: U) -> IdleClock<U> {
        let mut clock = IdleClock {
            timer,
            word: self.word,
        };
        clock.restart();
        clock
    }

    /// Makes the clock expire if the first poll returns `Pending`.
    #[inline]
    pub(crate) fn immediate(mut self) -> Self {
        if self.state() == State::NEW {
            self.set_state(State::IMMEDIATE);
        }
        self
    }

    #[inline]
    pub(crate) const fn idle(&self) -> Duration {
        match self.word / State::COUNT {
            MAX_NANOS => Duration::MAX,
            nanos => Duration::from_nanos(nanos),
        }
    }

    #[inline]
    const fn is_off(&self) -> bool {
        self.word / State::COUNT == 0
    }

    #[inline]
    pub(crate) fn set_idle(&mut self, idle: Duration) {
        self.word = nanos(idle) * State::COUNT + self.state().0;
        self.restart();
    }

    #[inline]
    pub(crate) fn is_terminated(&self) -> bool {
        self.state() == State::TERMINATED
    }

    #[inline]
    pub(crate) fn terminate(&mut self) {
        self.set_state(State::TERMINATED);
    }

    /// Stops the clock, because an item has arrived.
    #[inline]
    pub(crate) fn stop(&mut self) {
        if self.state() != State::STOPPED {
            self.set_state(State::STOPPED);
        }
    }

    /// Makes a running clock start from zero at the next poll that returns `Pending`.
    #[inline]
    fn restart(&mut self) {
        if matches!(self.state(), State::RUNNING | State::IN_DOUBT) {
            self.set_state(State::STOPPED);
        }
    }

    #[inline]
    const fn state(&self) -> State {
        State(self.word % State::COUNT)
    }

    #[inline]
    fn set_state(&mut self, state: State) {
        self.word = self.word - self.state().0 + state.0;
    }
}

impl<T: Timer> IdleClock<T> {
    /// Returns `None` if the stream has ended, and otherwise whether this poll can settle a doubt, that is,
    /// the state `IN_DOUBT`.
    #[inline]
    pub(crate) fn begin_poll(&self) -> Option<bool> {
        // A single comparison rules out both rare states. A ready item costs nothing else before the
        // inner stream is polled.
        if self.state().0 < State::IN_DOUBT.0 {
            return Some(false);
        }
        self.begin_rare_poll()
    }

    #[cold]
    fn begin_rare_poll(&self) -> Option<bool> {
        match self.state() {
            State::TERMINATED => None,
            _ => Some(self.timer.has_budget()),
        }
    }

    /// Returns `Ready` if the inner stream has been idle for `idle`, and then stops the clock.
    ///
    /// Call it after the inner stream has returned `Pending`. `settled` is what
    /// [`begin_poll`](Self::begin_poll) returned at the start of the same poll.
    // Always inlined, because a call would add a nanosecond to each poll that returns `Pending`.
    #[inline(always)]
    pub(crate) fn poll_expired(&mut self, settled: bool, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_off() {
            self.stop();
            return Poll::Pending;
        }
        if !matches!(self.state(), State::IMMEDIATE | State::IN_DOUBT) {
            if self.state() != State::RUNNING {
                // Set the state after the timer, so that the clock does not run if `arm` panics.
                self.timer.arm(self.idle());
                self.set_state(State::RUNNING);
            }
            ready!(self.timer.poll_expired(cx));
        }
        if !settled && !self.timer.has_budget() {
            // There are two explanations. Either the budget was spent before the inner stream was polled,
            // and it may have an item that it could not return. Or the inner stream spent the budget and
            // has no item. Only a poll that begins with budget left can tell which.
            self.set_state(State::IN_DOUBT);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.set_state(State::STOPPED);
        Poll::Ready(())
    }
}

#[inline]
fn nanos(idle: Duration) -> u64 {
    idle.as_nanos().min(MAX_NANOS.into()) as u64
}
