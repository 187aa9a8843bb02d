use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use stream_keepalive::Timer;

/// A timer, and the time that it goes by. One case runs on each of them.
pub trait Clock: Sized {
    type Timer: Timer + Unpin;

    /// The silence that cases count with.
    const IDLE: Duration;
    /// How near to an edge a case may look.
    const TICK: Duration;

    /// Runs a case to its end.
    fn run<Case: Future<Output = ()>>(case: impl FnOnce(Self) -> Case);

    fn timer(&self) -> Self::Timer;

    /// Lets time pass, and wakes whoever waited for it.
    async fn pass(&self, time: Duration);
}

/// Tokio's paused clock, with the default timer.
#[cfg(feature = "tokio")]
pub struct PausedTokio;

#[cfg(feature = "tokio")]
impl Clock for PausedTokio {
    type Timer = stream_keepalive::TokioTimer;

    const IDLE: Duration = Duration::from_secs(20);
    const TICK: Duration = Duration::from_millis(1);

    fn run<Case: Future<Output = ()>>(case: impl FnOnce(Self) -> Case) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(async { case(Self).await })
    }

    fn timer(&self) -> Self::Timer {
        Self::Timer::new()
    }

    async fn pass(&self, time: Duration) {
        tokio::time::advance(time).await;
    }
}

/// A clock that moves when it is told to, as an embedded program's might.
///
/// Its timers hold the adapters to what the page of [`Timer`] promises, and count what is asked.
#[derive(Clone, Default)]
pub struct ByHand(Rc<State>);

#[derive(Default)]
struct State {
    now: Cell<Duration>,
    arms: Cell<usize>,
    polls: Cell<usize>,
    timers: RefCell<Vec<Rc<Alarm>>>,
}

#[derive(Default)]
struct Alarm {
    /// Armed, and not seen to expire since.
    runs: Cell<bool>,
    /// `None`: beyond what the clock can count.
    deadline: Cell<Option<Duration>>,
    waker: RefCell<Option<Waker>>,
}

impl ByHand {
    pub fn now(&self) -> Duration {
        self.0.now.get()
    }

    /// How often the adapters have armed a timer.
    pub fn arms(&self) -> usize {
        self.0.arms.get()
    }

    /// How often the adapters have asked whether a timer has expired.
    pub fn polls(&self) -> usize {
        self.0.polls.get()
    }

    pub fn advance(&self, time: Duration) {
        self.0.now.set(self.now() + time);
        for alarm in self.0.timers.borrow().iter() {
            if alarm.is_due(self.now()) {
                if let Some(waker) = alarm.waker.take() {
                    waker.wake();
                }
            }
        }
    }
}

impl Clock for ByHand {
    type Timer = ByHandTimer;

    const IDLE: Duration = Duration::from_secs(20);
    const TICK: Duration = Duration::from_nanos(1);

    fn run<Case: Future<Output = ()>>(case: impl FnOnce(Self) -> Case) {
        futures::executor::block_on(case(Self::default()))
    }

    fn timer(&self) -> Self::Timer {
        let alarm = Rc::new(Alarm::default());
        self.0.timers.borrow_mut().push(alarm.clone());
        ByHandTimer {
            clock: self.clone(),
            alarm,
        }
    }

    async fn pass(&self, time: Duration) {
        self.advance(time);
    }
}

impl Alarm {
    fn is_due(&self, now: Duration) -> bool {
        self.deadline.get().is_some_and(|deadline| deadline <= now)
    }
}

pub struct ByHandTimer {
    clock: ByHand,
    alarm: Rc<Alarm>,
}

impl Timer for ByHandTimer {
    fn arm(&mut self, after: Duration) {
        assert!(!after.is_zero(), "armed for no time at all");
        let state = &self.clock.0;
        state.arms.set(state.arms.get() + 1);
        self.alarm.runs.set(true);
        self.alarm.deadline.set(state.now.get().checked_add(after));
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        assert!(self.alarm.runs.get(), "polled without being armed");
        let state = &self.clock.0;
        state.polls.set(state.polls.get() + 1);
        if self.alarm.is_due(state.now.get()) {
            self.alarm.runs.set(false);
            return Poll::Ready(());
        }
        *self.alarm.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}
