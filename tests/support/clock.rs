use std::{
    cell::{Cell, RefCell},
    marker::PhantomData,
    panic::{AssertUnwindSafe, resume_unwind},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use futures::{FutureExt, future::LocalBoxFuture};
use stream_keepalive::{SleepTimer, Timer};

pub type BoxedCase<'a, C> = &'a dyn Fn(C) -> LocalBoxFuture<'a, ()>;

/// A timer and its clock. Each case runs on each of them.
pub trait Clock: Sized {
    type Timer: Timer + Unpin;

    /// The idle time of the cases.
    const IDLE: Duration;
    /// How close to a deadline a case may check.
    const TICK: Duration;

    /// Runs a case to its end.
    fn run<Case: Future<Output = ()>>(case: impl Fn(Self) -> Case) {
        Self::run_boxed(&|clock| case(clock).boxed_local());
    }

    /// The same with one type for all cases, so that the compiler makes one runtime and not hundreds.
    fn run_boxed(case: BoxedCase<'_, Self>);

    fn timer(&self) -> Self::Timer;

    /// Lets time pass, and wakes the tasks that waited for it.
    async fn pass(&self, time: Duration);

    /// How much time can pass in the middle of a poll.
    const LONGEST_POLL: Duration = Duration::ZERO;

    /// Lets at most `LONGEST_POLL` pass in the middle of a poll.
    fn pass_during_a_poll(&self, _: Duration) {}

    /// Spends the cooperative budget of the task, if there is one.
    fn spend_budget(&self) {}

    /// Gives the task a whole budget again.
    async fn restore_budget(&self) {}
}

/// Tokio's paused clock, with the default timer.
#[cfg(feature = "tokio")]
#[derive(Clone)]
pub struct PausedTokio;

#[cfg(feature = "tokio")]
impl Clock for PausedTokio {
    type Timer = stream_keepalive::TokioTimer;

    const IDLE: Duration = Duration::from_secs(20);
    const TICK: Duration = Duration::from_millis(1);

    fn run_boxed(case: BoxedCase<'_, Self>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(case(Self))
    }

    fn timer(&self) -> Self::Timer {
        Self::Timer::new()
    }

    async fn pass(&self, time: Duration) {
        tokio::time::advance(time).await;
    }

    fn spend_budget(&self) {
        while tokio::task::coop::has_budget_remaining() {
            tokio::task::consume_budget().now_or_never();
        }
    }

    async fn restore_budget(&self) {
        tokio::task::yield_now().await;
    }
}

/// Tokio's paused clock, with timers that share one queue.
#[cfg(feature = "tokio")]
#[derive(Clone, Default)]
pub struct SharedQueue(stream_keepalive::SharedTimers);

#[cfg(feature = "tokio")]
impl Clock for SharedQueue {
    type Timer = stream_keepalive::SharedTimer;

    const IDLE: Duration = PausedTokio::IDLE;
    const TICK: Duration = PausedTokio::TICK;

    fn run_boxed(case: BoxedCase<'_, Self>) {
        PausedTokio::run(async |_| case(Self::default()).await);
    }

    fn timer(&self) -> Self::Timer {
        self.0.timer()
    }

    async fn pass(&self, time: Duration) {
        PausedTokio.pass(time).await;
    }

    fn spend_budget(&self) {
        PausedTokio.spend_budget();
    }

    async fn restore_budget(&self) {
        PausedTokio.restore_budget().await;
    }
}

/// A clock that the test moves, as an embedded program might.
///
/// Its timers check that the adapters keep the promises of [`Timer`], and count calls.
#[derive(Clone)]
pub struct ByHand(Rc<State>);

struct State {
    now: Cell<Duration>,
    arms: Cell<usize>,
    last_armed: Cell<Duration>,
    has_budget: Cell<bool>,
    polls: Cell<usize>,
    timers: RefCell<Vec<Rc<Alarm>>>,
}

#[derive(Default)]
struct Alarm {
    /// Armed, and not reported as expired since.
    runs: Cell<bool>,
    /// `None` if that is more than the clock can count.
    deadline: Cell<Option<Duration>>,
    waker: RefCell<Option<Waker>>,
}

impl Default for ByHand {
    fn default() -> Self {
        Self(Rc::new(State {
            now: Cell::default(),
            arms: Cell::default(),
            last_armed: Cell::default(),
            has_budget: Cell::new(true),
            polls: Cell::default(),
            timers: RefCell::default(),
        }))
    }
}

impl ByHand {
    pub fn now(&self) -> Duration {
        self.0.now.get()
    }

    /// How often the adapters have armed a timer.
    pub fn arms(&self) -> usize {
        self.0.arms.get()
    }

    /// The duration that a timer was last armed with.
    pub fn last_armed(&self) -> Duration {
        self.0.last_armed.get()
    }

    /// How often the adapters have asked whether a timer has expired.
    pub fn polls(&self) -> usize {
        self.0.polls.get()
    }

    /// Gives the task budget, or takes it away.
    pub fn set_budget(&self, budget: bool) {
        self.0.has_budget.set(budget);
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
    const LONGEST_POLL: Duration = Duration::MAX;

    fn run_boxed(case: BoxedCase<'_, Self>) {
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

    fn pass_during_a_poll(&self, time: Duration) {
        self.advance(time);
    }

    fn spend_budget(&self) {
        self.0.has_budget.set(false);
    }

    async fn restore_budget(&self) {
        self.0.has_budget.set(true);
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

impl Drop for ByHandTimer {
    fn drop(&mut self) {
        self.alarm.waker.take();
    }
}

impl Timer for ByHandTimer {
    fn arm(&mut self, after: Duration) {
        assert!(!after.is_zero(), "armed with a duration of zero");
        let state = &self.clock.0;
        state.arms.set(state.arms.get() + 1);
        state.last_armed.set(after);
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

    fn has_budget(&self) -> bool {
        self.clock.0.has_budget.get()
    }
}

/// A runtime whose clock cannot be stopped.
pub trait Runtime {
    type Sleep: Future + Unpin;

    fn sleep(time: Duration) -> Self::Sleep;

    fn block_on<F: Future>(future: F) -> F::Output;
}

pub enum Smol {}

impl Runtime for Smol {
    type Sleep = async_io::Timer;

    fn sleep(time: Duration) -> Self::Sleep {
        async_io::Timer::after(time)
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        async_io::block_on(future)
    }
}

/// futures-timer, and an executor without timers.
pub enum Bare {}

impl Runtime for Bare {
    type Sleep = futures_timer::Delay;

    fn sleep(time: Duration) -> Self::Sleep {
        futures_timer::Delay::new(time)
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        futures::executor::block_on(future)
    }
}

/// The clock of such a runtime. A case that fails on a busy machine is run again.
pub struct Real<R> {
    state: Rc<Held>,
    /// How much longer to sleep, so that timers that were armed a moment later have fired too.
    slack: Duration,
    runtime: PhantomData<R>,
}

struct Held {
    /// When the clock and the case were last in step.
    since: Cell<Instant>,
    up: Cell<Duration>,
}

impl<R> Clone for Real<R> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            slack: self.slack,
            runtime: PhantomData,
        }
    }
}

impl<R: Runtime> Real<R> {
    pub fn without_slack() -> Self {
        let state = Held {
            since: Cell::new(Instant::now()),
            up: Cell::default(),
        };
        Self {
            state: Rc::new(state),
            slack: Duration::ZERO,
            runtime: PhantomData,
        }
    }

    /// Runs a case until it passes, or until it fails although the machine was never late by more than `limit`.
    pub async fn settle<Case: Future<Output = ()>>(
        &self,
        limit: Duration,
        case: impl Fn(Self) -> Case,
    ) {
        for _ in 0..100 {
            let clock = Self {
                slack: self.slack,
                ..Self::without_slack()
            };
            let state = clock.state.clone();
            let done = AssertUnwindSafe(case(clock));
            match done.catch_unwind().await {
                Ok(()) => return,
                Err(failure) if state.up.get() + state.since.get().elapsed() < limit => {
                    resume_unwind(failure)
                }
                Err(_) => {}
            }
        }
        panic!("the machine is too busy for this test");
    }
}

impl<R: Runtime> Clock for Real<R> {
    type Timer = SleepTimer<fn(Duration) -> R::Sleep, R::Sleep>;

    const IDLE: Duration = Duration::from_millis(150);
    const TICK: Duration = Duration::from_millis(30);

    fn run_boxed(case: BoxedCase<'_, Self>) {
        let clock = Self {
            slack: Self::TICK / 6,
            ..Self::without_slack()
        };
        R::block_on(clock.settle(Self::TICK / 3, case));
    }

    fn timer(&self) -> Self::Timer {
        SleepTimer::new(R::sleep)
    }

    async fn pass(&self, time: Duration) {
        let time = time + self.slack.min(time / 32);
        let Held { since, up } = &*self.state;
        R::sleep(time).await;
        up.set(up.get() + since.get().elapsed().saturating_sub(time));
        since.set(Instant::now());
    }
}
