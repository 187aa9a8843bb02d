//! Random schedules against a reference model that is written from the rules alone.
//!
//! For a long run: `PROPTEST_CASES=10000000 cargo test --release --test model`

#[allow(dead_code, reason = "shared with the other test binaries")]
mod support;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, Stream, future::join_all, stream::FusedStream};
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{FileFailurePersistence, TestRunner},
};
use stream_keepalive::{Fill, IdleTimeout, Keepalive, Timer};

#[cfg(feature = "tokio")]
use support::clock::{PausedTokio, SharedQueue};
use support::{
    clock::{Bare, ByHand, Clock, Real, Runtime, Smol},
    source::{Remote, Source, source},
    task::Task,
};

/// One adapter of a stack.
#[derive(Clone, Debug)]
struct Layer {
    kind: Kind,
    idle: Duration,
    /// The calls at which the filler panics, or the closure that makes the last item.
    panics: Vec<bool>,
    /// The calls at which `fill` returns `None`.
    declines: Vec<bool>,
    /// The items at which `observe` panics.
    observe_panics: Vec<bool>,
    /// The items for which `observe` returns `false`.
    no_activity: Vec<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Keepalive { immediate: bool },
    IdleTimeout { last: bool },
}

#[derive(Clone, Debug)]
enum Step {
    Send(u8),
    End,
    Pass(Duration),
    /// A poll by one of a few tasks, with its budget spent or not.
    Poll {
        task: usize,
        budget: Budget,
        /// For each time that the inner stream finds nothing.
        late: Vec<Late>,
    },
    SetIdle(usize, Duration),
}

/// What happens when the inner stream has found nothing, and before its poll returns: something may come, and time
/// passes.
#[derive(Clone, Copy, Debug)]
struct Late {
    comes: Option<Comes>,
    time: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Comes {
    Item(u8),
    End,
}

/// The budget of the task that polls the stack, and what the inner stream does with it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Budget {
    /// There is enough budget.
    Left,
    /// It was spent before. The inner stream cannot answer, although it may have an item.
    SpentBefore,
    /// The inner stream spends it, and answers.
    SpentByInner,
}

#[derive(Clone, Debug)]
struct Schedule {
    /// The lowest first.
    layers: Vec<Layer>,
    steps: Vec<Step>,
}

const TASKS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Item(u8),
    /// The keepalive or last item of a layer, with the number that it has made before and the number of items that it
    /// has seen.
    Made {
        layer: usize,
        before: usize,
        seen: usize,
    },
}

/// The result of a poll.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Nothing,
    Event(Event),
    End,
    Panic,
}

// The model. Its only state is the history of each layer, from which it derives every answer.

struct Model {
    now: Duration,
    queue: VecDeque<Option<u8>>,
    inner_polls: usize,
    /// What happens in the next polls that find nothing.
    late: VecDeque<Late>,
    layers: Vec<Lived>,
}

struct Lived {
    layer: Layer,
    history: Vec<Moment>,
    made: usize,
    asked: usize,
    seen: usize,
}

#[derive(PartialEq)]
enum Moment {
    /// Polled, found nothing and yielded nothing, while idle time was counted.
    Idle(Duration),
    /// The same, but a keepalive or the timeout was due.
    Due,
    /// Polled, and an item or keepalive was yielded, or idle time was not counted.
    Busy,
    SetIdle,
    Ended,
}

impl Model {
    fn of(schedule: &Schedule) -> Self {
        let lived = |layer: &Layer| Lived {
            layer: layer.clone(),
            history: Vec::new(),
            made: 0,
            asked: 0,
            seen: 0,
        };
        Self {
            now: Duration::ZERO,
            queue: VecDeque::new(),
            inner_polls: 0,
            late: VecDeque::new(),
            layers: schedule.layers.iter().map(lived).collect(),
        }
    }

    fn poll(&mut self, height: usize, budget: Budget) -> Outcome {
        let Some(top) = height.checked_sub(1) else {
            return self.poll_inner(budget);
        };
        // After the end, the layers below are not polled again.
        if self.layers[top].has_ended() {
            return Outcome::End;
        }
        // This poll decides if the layer was known to be due before it, and the inner stream had budget.
        let decides = self.layers[top].is_due() && budget != Budget::SpentBefore;
        let found = self.poll(top, budget);
        if found != Outcome::Nothing {
            return self.layers[top].pass_on(found);
        }
        if decides {
            return self.layers[top].fire(top, self.now);
        }
        self.layers[top].find_nothing(self.now);
        let is_keepalive = matches!(self.layers[top].layer.kind, Kind::Keepalive { .. });
        if !is_keepalive || !self.layers[top].is_due() || budget != Budget::Left {
            return Outcome::Nothing;
        }
        // An item that came before the keepalive was known to be due wins over it.
        match self.poll(top, budget) {
            Outcome::Nothing => self.layers[top].fire(top, self.now),
            found => self.layers[top].pass_on(found),
        }
    }

    fn poll_inner(&mut self, budget: Budget) -> Outcome {
        if budget == Budget::SpentBefore {
            return Outcome::Nothing;
        }
        self.inner_polls += 1;
        match self.queue.pop_front() {
            Some(Some(item)) => Outcome::Event(Event::Item(item)),
            Some(None) => Outcome::End,
            None => {
                if let Some(late) = self.late.pop_front() {
                    self.queue.extend(late.comes.map(|comes| match comes {
                        Comes::Item(item) => Some(item),
                        Comes::End => None,
                    }));
                    self.now += late.time;
                }
                Outcome::Nothing
            }
        }
    }

    /// The latest time at which a task that has just found nothing must be woken.
    fn due(&self) -> Option<Duration> {
        self.layers.iter().filter_map(Lived::due).min()
    }

    fn size_hint(&self, height: usize) -> (usize, Option<usize>) {
        let Some(top) = height.checked_sub(1) else {
            let items = self.queue.iter().position(Option::is_none);
            return (items.unwrap_or(self.queue.len()), items);
        };
        let (lower, upper) = self.size_hint(top);
        let lived = &self.layers[top];
        match lived.layer.kind {
            _ if lived.has_ended() => (0, Some(0)),
            Kind::Keepalive { .. } => (lower, None),
            Kind::IdleTimeout { last } => (0, upper.map(|upper| upper + usize::from(last))),
        }
    }
}

impl Lived {
    fn set_idle(&mut self, idle: Duration) {
        self.layer.idle = idle;
        self.history.push(Moment::SetIdle);
    }

    fn has_ended(&self) -> bool {
        self.history.contains(&Moment::Ended)
    }

    /// The polls since the idle clock started, the latest first. Each of them has found nothing.
    fn idle_polls(&self) -> impl Iterator<Item = Duration> {
        self.history.iter().rev().map_while(|moment| match moment {
            Moment::Idle(at) => Some(*at),
            _ => None,
        })
    }

    /// When the idle time has passed, or when its first half has passed and the task has to be woken.
    fn due(&self) -> Option<Duration> {
        let idle = self.layer.idle;
        let start = self.idle_polls().last()?;
        if matches!(self.layer.kind, Kind::Keepalive { .. }) {
            return start.checked_add(idle);
        }
        let half = idle - idle / 2;
        let first = start.checked_add(half)?;
        match self.idle_polls().filter(|poll| *poll >= first).last() {
            Some(poll) => poll.checked_add(half),
            None => Some(first),
        }
    }

    fn is_due(&self) -> bool {
        let immediate = self.layer.kind == Kind::Keepalive { immediate: true };
        match self.history.last() {
            None => immediate && !self.layer.idle.is_zero(),
            last => last == Some(&Moment::Due),
        }
    }

    fn find_nothing(&mut self, now: Duration) {
        if self.layer.idle.is_zero() {
            self.history.push(Moment::Busy);
        } else if !self.is_due() {
            let due = self.due();
            self.history.push(Moment::Idle(now));
            // After the first half of a timeout, the second half begins.
            let passed = |due: Option<Duration>| due.is_some_and(|due| due <= now);
            if passed(due) && passed(self.due()) {
                self.history.push(Moment::Due);
            }
        } else if self.history.is_empty() {
            self.history.push(Moment::Due);
        }
    }

    fn pass_on(&mut self, found: Outcome) -> Outcome {
        let moment = match found {
            Outcome::Event(_) => match self.observe() {
                // The item is lost, so it changes nothing about the idle time.
                None => return Outcome::Panic,
                Some(false) => return found,
                Some(true) => Moment::Busy,
            },
            Outcome::End => Moment::Ended,
            // The poll did not return, so it changes nothing about the idle time.
            Outcome::Panic | Outcome::Nothing => return found,
        };
        self.history.push(moment);
        found
    }

    /// The filler observes an item. Returns whether the item is activity, or `None` if the filler panics.
    fn observe(&mut self) -> Option<bool> {
        if !matches!(self.layer.kind, Kind::Keepalive { .. }) {
            return Some(true);
        }
        let seen = self.seen;
        self.seen += 1;
        let no_activity = panics(&self.layer.no_activity, seen);
        (!panics(&self.layer.observe_panics, seen)).then_some(!no_activity)
    }

    fn fire(&mut self, layer: usize, now: Duration) -> Outcome {
        let last = match self.layer.kind {
            Kind::Keepalive { .. } => {
                self.history.push(Moment::Busy);
                let asked = self.asked;
                self.asked += 1;
                if panics(&self.layer.declines, asked) {
                    self.history.push(Moment::Idle(now));
                    return Outcome::Nothing;
                }
                true
            }
            Kind::IdleTimeout { last } => {
                self.history.push(Moment::Ended);
                last
            }
        };
        if !last {
            return Outcome::End;
        }
        let before = self.made;
        self.made += 1;
        if panics(&self.layer.panics, before) {
            return Outcome::Panic;
        }
        Outcome::Event(Event::Made {
            layer,
            before,
            seen: self.seen,
        })
    }
}

fn panics(panics: &[bool], call: usize) -> bool {
    panics.get(call).copied().unwrap_or(false)
}

// The real adapters, stacked as in the schedule.

enum Stack<T: Timer + Unpin> {
    Bottom(Bottom),
    Keepalive(Box<Keepalive<Stack<T>, Maker, T>>),
    IdleTimeout(Box<IdleTimeout<Stack<T>, Last, T>>),
    QuietTimeout(Box<Quiet<T>>),
}

type Last = Box<dyn FnOnce() -> Event>;
type Quiet<T> = IdleTimeout<Stack<T>, fn() -> Event, T>;

/// An inner stream that respects the budget, as Tokio's streams do.
struct Bottom {
    source: Source<Event>,
    budget: Rc<Cell<Budget>>,
    spend: Rc<dyn Fn()>,
    /// Runs in each poll that finds nothing.
    found_nothing: Box<dyn Fn()>,
}

impl Stream for Bottom {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        match self.budget.get() {
            Budget::Left => {}
            Budget::SpentBefore => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Budget::SpentByInner => (self.spend)(),
        }
        let polled = Pin::new(&mut self.source).poll_next(cx);
        if polled.is_pending() {
            (self.found_nothing)();
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.source.size_hint()
    }
}

/// Makes the items of one layer.
struct Maker {
    number: usize,
    layer: Layer,
    made: usize,
    asked: usize,
    seen: usize,
}

impl Maker {
    fn make(&mut self) -> Event {
        let before = self.made;
        self.made += 1;
        panic_if(panics(&self.layer.panics, before));
        Event::Made {
            layer: self.number,
            before,
            seen: self.seen,
        }
    }
}

impl Fill<Event> for Maker {
    fn fill(&mut self) -> Option<Event> {
        let asked = self.asked;
        self.asked += 1;
        (!panics(&self.layer.declines, asked)).then(|| self.make())
    }

    fn observe(&mut self, _: &Event) -> bool {
        self.seen += 1;
        panic_if(panics(&self.layer.observe_panics, self.seen - 1));
        !panics(&self.layer.no_activity, self.seen - 1)
    }
}

fn panic_if(panics: bool) {
    if panics {
        // Unlike a `panic!`, it prints nothing.
        resume_unwind(Box::new(()));
    }
}

impl<T: Timer + Unpin> Stack<T> {
    fn of(schedule: &Schedule, bottom: Bottom, timer: impl Fn() -> T) -> Self {
        let layers = schedule.layers.iter().enumerate();
        layers.fold(Self::Bottom(bottom), |below, (number, layer)| {
            below.with(number, layer, timer())
        })
    }

    fn with(self, number: usize, layer: &Layer, timer: T) -> Self {
        let mut maker = Maker {
            number,
            layer: layer.clone(),
            made: 0,
            asked: 0,
            seen: 0,
        };
        match layer.kind {
            Kind::Keepalive { immediate } => {
                let stream = Keepalive::new(self, layer.idle, maker).with_timer(timer);
                Self::Keepalive(Box::new(match immediate {
                    true => stream.immediate(),
                    false => stream,
                }))
            }
            Kind::IdleTimeout { last } => {
                let stream = IdleTimeout::new(self, layer.idle).with_timer(timer);
                match last {
                    true => Self::IdleTimeout(Box::new(
                        stream.with_last(Box::new(move || maker.make())),
                    )),
                    false => Self::QuietTimeout(Box::new(stream)),
                }
            }
        }
    }

    /// Sets the idle time of the layer that has this many layers above it.
    fn set_idle(&mut self, above: usize, idle: Duration) {
        match (above.checked_sub(1), self) {
            (None, Self::Keepalive(stream)) => Pin::new(&mut **stream).set_idle(idle),
            (None, Self::IdleTimeout(stream)) => Pin::new(&mut **stream).set_idle(idle),
            (None, Self::QuietTimeout(stream)) => Pin::new(&mut **stream).set_idle(idle),
            (Some(above), Self::Keepalive(stream)) => stream.get_mut().set_idle(above, idle),
            (Some(above), Self::IdleTimeout(stream)) => stream.get_mut().set_idle(above, idle),
            (Some(above), Self::QuietTimeout(stream)) => stream.get_mut().set_idle(above, idle),
            (_, Self::Bottom(_)) => unreachable!("a schedule names only its layers"),
        }
    }

    fn poll(&mut self, task: &Arc<Task>) -> Outcome {
        match catch_unwind(AssertUnwindSafe(|| task.poll(self))) {
            Ok(Poll::Pending) => Outcome::Nothing,
            Ok(Poll::Ready(Some(event))) => Outcome::Event(event),
            Ok(Poll::Ready(None)) => Outcome::End,
            // The payload of `panic_if`. Any other panic is a failure.
            Err(payload) if payload.is::<()>() => Outcome::Panic,
            Err(payload) => resume_unwind(payload),
        }
    }
}

impl<T: Timer + Unpin> Stream for Stack<T> {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        match self.get_mut() {
            Self::Bottom(stream) => Pin::new(stream).poll_next(cx),
            Self::Keepalive(stream) => Pin::new(stream).poll_next(cx),
            Self::IdleTimeout(stream) => Pin::new(stream).poll_next(cx),
            Self::QuietTimeout(stream) => Pin::new(stream).poll_next(cx),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Bottom(stream) => stream.size_hint(),
            Self::Keepalive(stream) => stream.size_hint(),
            Self::IdleTimeout(stream) => stream.size_hint(),
            Self::QuietTimeout(stream) => stream.size_hint(),
        }
    }
}

impl<T: Timer + Unpin> FusedStream for Stack<T> {
    fn is_terminated(&self) -> bool {
        match self {
            Self::Bottom(_) => false,
            Self::Keepalive(stream) => stream.is_terminated(),
            Self::IdleTimeout(stream) => stream.is_terminated(),
            Self::QuietTimeout(stream) => stream.is_terminated(),
        }
    }
}

/// A task that found nothing at its last poll, and relies on being woken.
struct Waiting {
    task: Arc<Task>,
    wakes: usize,
    due: Option<Duration>,
}

impl Waiting {
    fn must_have_been_woken(&self) {
        assert!(self.task.wakes() > self.wakes, "the task was not woken");
    }
}

// The model and the adapters, step by step.

/// `touched` returns how often timers have been touched, if they count that.
async fn run<C: Clock + Clone + 'static>(
    clock: &C,
    schedule: &Schedule,
    touched: impl Fn() -> usize,
) {
    let height = schedule.layers.len();
    let (remote, source): (Remote<Event>, _) = source();
    let remote = Rc::new(remote);
    let budget_now = Rc::new(Cell::new(Budget::Left));
    let late_now: Rc<RefCell<VecDeque<Late>>> = Rc::default();
    let bottom = Bottom {
        source,
        budget: budget_now.clone(),
        spend: Rc::new({
            let clock = clock.clone();
            move || clock.spend_budget()
        }),
        found_nothing: Box::new({
            let (clock, remote, late) = (clock.clone(), remote.clone(), late_now.clone());
            move || {
                let late = late.borrow_mut().pop_front();
                if let Some(late) = late {
                    match late.comes {
                        Some(Comes::Item(item)) => remote.send(Event::Item(item)),
                        Some(Comes::End) => remote.end(),
                        None => {}
                    }
                    clock.pass_during_a_poll(late.time);
                }
            }
        }),
    };
    let mut stack = Stack::of(schedule, bottom, || clock.timer());
    let mut model = Model::of(schedule);
    let tasks: [Arc<Task>; TASKS] = Default::default();
    let mut waiting: Option<Waiting> = None;

    for step in &schedule.steps {
        match step.clone() {
            Step::Send(item) => {
                model.queue.push_back(Some(item));
                remote.send(Event::Item(item));
                waiting.iter().for_each(Waiting::must_have_been_woken);
            }
            Step::End => {
                model.queue.push_back(None);
                remote.end();
                waiting.iter().for_each(Waiting::must_have_been_woken);
            }
            Step::Pass(time) => {
                model.now += time;
                clock.pass(time).await;
                let due = |waiting: &&Waiting| waiting.due.is_some_and(|due| due <= model.now);
                waiting
                    .iter()
                    .filter(due)
                    .for_each(Waiting::must_have_been_woken);
            }
            Step::SetIdle(number, idle) => {
                let number = number % height;
                model.layers[number].set_idle(idle);
                stack.set_idle(height - 1 - number, idle);
            }
            Step::Poll { task, budget, late } => {
                let task = &tasks[task];
                let touches = touched();
                let ready = !model.queue.is_empty() && budget != Budget::SpentBefore;
                let wakes = task.wakes();
                let late = late.into_iter().map(|late| Late {
                    time: late.time.min(C::LONGEST_POLL),
                    ..late
                });
                model.late = late.collect();
                late_now.replace(model.late.clone());
                let expected = model.poll(height, budget);
                budget_now.set(budget);
                if budget == Budget::SpentBefore {
                    clock.spend_budget();
                }
                assert_eq!(stack.poll(task), expected);
                model.late.clear();
                late_now.take();
                clock.restore_budget().await;
                assert!(
                    !ready || touched() == touches,
                    "a timer was touched although the inner stream was ready"
                );
                let due = model.layers.iter().any(Lived::is_due);
                assert!(
                    !due || expected != Outcome::Nothing || task.wakes() > wakes,
                    "the task was not woken by what is due"
                );
                // Without budget, the inner stream has not stored the waker, but has woken it.
                let waits = expected == Outcome::Nothing && budget != Budget::SpentBefore;
                waiting = waits.then(|| Waiting {
                    task: task.clone(),
                    wakes,
                    due: model.due(),
                });
            }
        }
        assert_eq!(remote.polls(), model.inner_polls);
        assert_eq!(stack.is_terminated(), model.layers[height - 1].has_ended());
        assert_eq!(stack.size_hint(), model.size_hint(height));
    }
}

/// Converts the schedule for timers that may be a little late. One millisecond becomes one `UNIT`, and everything is due
/// between two steps.
fn in_units(mut schedule: Schedule) -> Schedule {
    let units = |time: Duration| match time.as_millis() {
        ms @ ..1000 => UNIT * ms as u32,
        _ => UNIT * 3,
    };
    let idle = |time: &mut Duration| {
        if (1..1000).contains(&time.as_millis()) {
            *time = units(*time) + UNIT / 2;
        }
    };
    for layer in &mut schedule.layers {
        idle(&mut layer.idle);
    }
    for step in &mut schedule.steps {
        match step {
            Step::Pass(time) => *time = units(*time),
            Step::SetIdle(_, time) => idle(time),
            Step::Poll { .. } | Step::Send(_) | Step::End => {}
        }
    }
    schedule
}

/// Other runtimes than Tokio have no budgets.
fn without_budgets(mut schedule: Schedule) -> Schedule {
    for step in &mut schedule.steps {
        if let Step::Poll { budget, .. } = step {
            *budget = Budget::Left;
        }
    }
    schedule
}

const UNIT: Duration = Duration::from_millis(40);

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Short durations, so that schedules often hit the limits, and extreme ones.
fn idle() -> impl Strategy<Value = Duration> {
    prop_oneof![
        // Half of it is a whole number of milliseconds, too, which is what Tokio's clock can count.
        12 => (1..=4_u64).prop_map(|half| Duration::from_millis(2 * half)),
        1 => Just(Duration::ZERO),
        1 => Just(Duration::MAX),
        1 => select(vec![YEAR, YEAR * 2, Duration::from_secs(u64::MAX / 2)]),
    ]
}

fn time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        20 => (0..=9_u64).prop_map(Duration::from_millis),
        1 => select(vec![YEAR, YEAR - Duration::from_millis(1), YEAR * 3]),
    ]
}

fn layer() -> impl Strategy<Value = Layer> {
    let kind = prop_oneof![
        any::<bool>().prop_map(|immediate| Kind::Keepalive { immediate }),
        any::<bool>().prop_map(|last| Kind::IdleTimeout { last }),
    ];
    let calls = || vec(proptest::bool::weighted(0.2), 0..4);
    let calls = (calls(), calls(), calls(), calls());
    (kind, idle(), calls).prop_map(
        |(kind, idle, (panics, declines, observe_panics, no_activity))| Layer {
            kind,
            idle,
            panics,
            declines,
            observe_panics,
            no_activity,
        },
    )
}

fn budget() -> impl Strategy<Value = Budget> {
    prop_oneof![
        6 => Just(Budget::Left),
        1 => Just(Budget::SpentBefore),
        1 => Just(Budget::SpentByInner),
    ]
}

fn late() -> impl Strategy<Value = Vec<Late>> {
    let comes = prop_oneof![
        9 => any::<u8>().prop_map(|item| Some(Comes::Item(item))),
        1 => Just(Some(Comes::End)),
        5 => Just(None),
    ];
    let late = (comes, time()).prop_map(|(comes, time)| Late { comes, time });
    prop_oneof![
        8 => Just(Vec::new()),
        2 => vec(late, 1..=3),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => (0..TASKS, budget(), late())
            .prop_map(|(task, budget, late)| Step::Poll { task, budget, late }),
        30 => time().prop_map(Step::Pass),
        10 => any::<u8>().prop_map(Step::Send),
        6 => (0..3_usize, idle()).prop_map(|(layer, idle)| Step::SetIdle(layer, idle)),
        1 => Just(Step::End),
    ]
}

fn schedule() -> impl Strategy<Value = Schedule> {
    (vec(layer(), 1..=3), vec(step(), 0..60)).prop_map(|(layers, steps)| Schedule { layers, steps })
}

/// As many schedules as `PROPTEST_CASES` says.
fn all() -> u32 {
    let cases = std::env::var("PROPTEST_CASES");
    cases.map_or(10_000, |cases| {
        cases.parse().expect("PROPTEST_CASES is a number")
    })
}

fn schedules(cases: u32, run: impl Fn(&Schedule)) {
    let config = ProptestConfig {
        cases,
        source_file: Some(file!()),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("failures"))),
        max_shrink_time: 10_000,
        ..ProptestConfig::default()
    };
    let result = TestRunner::new(config).run(&schedule(), |schedule| {
        run(&schedule);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

#[test]
fn every_schedule_goes_as_the_rules_say_on_a_clock_moved_by_hand() {
    schedules(all(), |schedule| {
        let clock = ByHand::default();
        let touched = || clock.arms() + clock.polls();
        let done = run(&clock, schedule, touched).now_or_never();
        done.expect("a clock moved by hand never waits");
    });
}

#[cfg(feature = "tokio")]
fn paused_runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    runtime.unwrap()
}

#[cfg(feature = "tokio")]
#[test]
fn every_schedule_goes_as_the_rules_say_on_the_paused_clock_of_tokio() {
    let runtime = paused_runtime();
    schedules(all(), |schedule| {
        runtime.block_on(run(&PausedTokio, schedule, || 0))
    });
}

#[cfg(feature = "tokio")]
#[test]
fn every_schedule_goes_as_the_rules_say_on_shared_timers() {
    let runtime = paused_runtime();
    // Fewer, because the adapters are the same.
    schedules(all() / 10, |schedule| {
        let schedule = in_units(schedule.clone());
        runtime.block_on(run(&SharedQueue::default(), &schedule, || 0));
    });
}

/// Runs a few hundred schedules at the same time, because they mostly sleep.
fn schedules_on<R: Runtime + 'static>() {
    let mut runner = TestRunner::default();
    let schedules = (0..300).map(|_| schedule().new_tree(&mut runner).unwrap().current());
    let schedules: Vec<_> = schedules.map(in_units).map(without_budgets).collect();
    let clock = Real::<R>::without_slack();
    R::block_on(join_all(schedules.iter().map(|schedule| {
        clock.settle(UNIT / 4, move |clock| async move {
            let told = AssertUnwindSafe(run(&clock, schedule, || 0));
            if let Err(failure) = told.catch_unwind().await {
                eprintln!("{schedule:?}");
                resume_unwind(failure);
            }
        })
    })));
}

#[test]
fn schedules_go_as_the_rules_say_on_smol() {
    schedules_on::<Smol>();
}

#[test]
fn schedules_go_as_the_rules_say_on_futures_timer() {
    schedules_on::<Bare>();
}
