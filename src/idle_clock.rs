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
    /// The timer is not armed.
    const STOPPED: Self = Self(0);
    /// The timer is armed for `idle`, or for the first half of it.
    const RUNNING: Self = Self(1);
    /// The timer is armed for the second half of `idle`.
    const SECOND_HALF: Self = Self(2);
    /// The idle time has passed, or the first keepalive is immediate. The next poll of the inner stream
    /// decides.
    const DUE: Self = Self(Self::RARE);
    /// The stream has ended.
    const TERMINATED: Self = Self(Self::RARE + 1);

    /// The first of the two rare states. Its bit is set in both of them, and in no other state.
    const RARE: u64 = 4;

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
            word: nanos(idle) * State::COUNT + State::STOPPED.0,
        }
    }

    /// Replaces the timer. A running clock starts again, because the new timer is not armed.
    #[inline]
    pub(crate) fn with_timer<U>(self, timer: U) -> IdleClock<U> {
        let mut clock = IdleClock {
            timer,
            word: self.word,
        };
        if matches!(clock.state(), State::RUNNING | State::SECOND_HALF) {
            clock.set_state(State::STOPPED);
        }
        clock
    }

    /// Makes the clock due at the next poll that returns `Pending`.
    #[inline]
    pub(crate) fn immediate(mut self) -> Self {
        if !self.is_off() && !self.is_terminated() {
            self.set_state(State::DUE);
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

    /// Changes the idle time, and stops the clock.
    #[inline]
    pub(crate) fn set_idle(&mut self, idle: Duration) {
        self.word = nanos(idle) * State::COUNT + self.state().0;
        if !self.is_terminated() {
            self.stop();
        }
    }

    #[inline]
    pub(crate) fn is_terminated(&self) -> bool {
        self.state() == State::TERMINATED
    }

    #[inline]
    pub(crate) fn terminate(&mut self) {
        self.set_state(State::TERMINATED);
    }

    /// Stops the clock, because of an item or a keepalive.
    #[inline]
    pub(crate) fn stop(&mut self) {
        if self.state() != State::STOPPED {
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
    /// Returns `None` if the stream has ended, and otherwise whether this poll decides: the idle time has
    /// passed, and the inner stream has the budget to return an item.
    #[inline]
    pub(crate) fn begin_poll(&self) -> Option<bool> {
        // A test of one bit rules out both rare states. A ready item costs nothing else before the inner
        // stream is polled.
        if self.state().0 < State::RARE {
            return Some(false);
        }
        self.begin_rare_poll()
    }

    #[cold]
    fn begin_rare_poll(&self) -> Option<bool> {
        let had_budget_before = self.timer.has_budget();
        (self.state() == State::DUE).then_some(had_budget_before)
    }

    /// Returns `Ready` if the idle time has passed, and the inner stream has the budget to return an item
    /// that came before. The caller then polls it once more. Without budget, the task is woken, and its next
    /// poll decides.
    ///
    /// Call it after the inner stream has returned `Pending`.
    // Always inlined, because a call would add a nanosecond to each poll that returns `Pending`.
    #[inline(always)]
    pub(crate) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.state() == State::STOPPED {
            if self.is_off() {
                return Poll::Pending;
            }
            self.arm(self.idle(), State::RUNNING);
        }
        ready!(self.poll_expired(cx));
        if self.timer.has_budget() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Lets the next poll decide if the idle time has passed in two halves. Each half ends at a poll that
    /// finds the inner stream idle, so a consumer that was away gives the stream another half.
    ///
    /// Call it after the inner stream has returned `Pending`.
    #[inline(always)]
    pub(crate) fn wait_in_halves(&mut self, cx: &mut Context<'_>) {
        // Rounded up, because no timer is armed for zero.
        let half = self.idle() - self.idle() / 2;
        if self.state() == State::STOPPED {
            if self.is_off() {
                return;
            }
            self.arm(half, State::RUNNING);
        }
        if self.state() == State::RUNNING && self.timer.poll_expired(cx).is_ready() {
            // If `arm` panics, the first half starts again.
            self.stop();
            self.arm(half, State::SECOND_HALF);
        }
        if self.state() != State::RUNNING && self.poll_expired(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    #[inline]
    fn arm(&mut self, after: Duration, state: State) {
        // Set the state after the timer, so that the clock does not run if `arm` panics.
        self.timer.arm(after);
        self.set_state(state);
    }

    #[inline]
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.state() != State::DUE {
            ready!(self.timer.poll_expired(cx));
            self.set_state(State::DUE);
        }
        Poll::Ready(())
    }
}

#[inline]
fn nanos(idle: Duration) -> u64 {
    idle.as_nanos().min(MAX_NANOS.into()) as u64
}
