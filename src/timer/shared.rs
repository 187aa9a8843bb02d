use std::{
    boxed::Box,
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    future::Future,
    mem,
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    ptr::NonNull,
    sync::{Arc, PoisonError, Weak, atomic::Ordering},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
    vec::Vec,
};

use tokio::task::{coop, unconstrained};

use super::Timer;

// The model checker in tests/loom brings its own of these.
#[cfg(loom)]
use crate::model::{
    AtomicBool, AtomicU64, Handle, Instant, Mutex, MutexGuard, Sleep, fence, sleep_until,
};
#[cfg(not(loom))]
use {
    std::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, fence},
    },
    tokio::{
        runtime::Handle,
        time::{Instant, Sleep, sleep_until},
    },
};

/// Makes timers that share one queue of deadlines and one Tokio `Sleep`.
///
/// Use it when a process holds many idle streams, from about ten thousand on. The default timer gives
/// each stream a `Sleep` of its own, and Tokio's timer wheel has to move all of them from level to
/// level as time passes. A queue puts the streams that are due together in one place.
///
/// ```
/// use std::time::Duration;
/// use futures::stream::{self, StreamExt};
/// use stream_keepalive::{KeepaliveExt, SharedTimers};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let timers = SharedTimers::new(); // once, where the server starts
///
/// let mut events = stream::pending() // for each stream
///     .keepalive(Duration::from_secs(20), "keepalive")
///     .with_timer(timers.timer());
/// assert_eq!(events.next().await, Some("keepalive"));
/// # }
/// ```
///
/// # What it gives
///
/// - **CPU:** a keepalive takes about half of the CPU that it takes with a timer of its own, because
///   the runtime wakes less often, and for more streams each time.
/// - **Memory:** an idle stream takes 16 bytes of heap, and those of the queue's spare capacity. A
///   `Sleep` takes 128. A stream that is polled more than once while it is idle takes 48 bytes more.
/// - **No long delays:** the wheel holds up all timers while it moves many of them, for 20 ms with
///   300,000 streams and for 100 ms with ten million. The queue has nothing to move.
///
/// # What it costs
///
/// - **Resolution:** deadlines are rounded up to half a millisecond, on top of the millisecond of
///   Tokio's `Sleep`. No timer expires early.
/// - **Rest:** after the queue has woken streams, it rests until 4 ms after they were due, and then
///   wakes everything that has become due in one go. So a timer expires up to 4 ms later than it could.
///   A timer that is alone in the queue does not wait.
/// - **One lock** for all of its streams. A stream takes it for a few dozen nanoseconds when it becomes
///   idle after a keepalive, and when it is dropped. A busy stream, whose items come faster than the
///   idle clock runs out, takes it about once in each `idle`.
/// - **One runtime:** the queue depends on the runtime in which the first of its timers waits. If no
///   thread drives that runtime, none of the timers expires.
///
/// Create one `SharedTimers` for each runtime, and pass it to where the streams are made; its clones
/// share the queue. Do not keep it in a `static`: that outlives the runtimes of your tests.
///
/// # Panics
///
/// `new` and `timer` never panic. The timers panic where [`SharedTimer`] says.
#[doc(alias = "timer wheel")]
#[doc(alias = "timing wheel")]
#[doc(alias = "heartbeat")]
#[derive(Clone)]
pub struct SharedTimers(Arc<Shared>);

/// A [`Timer`] made by [`SharedTimers::timer`].
///
/// It follows Tokio's paused clock in tests. A duration of more than 584 years never expires.
///
/// # Panics
///
/// `poll_expired` panics outside a Tokio runtime with the time driver enabled, unless another timer of
/// the same [`SharedTimers`] has waited in one. It panics once that runtime has been shut down; tasks
/// that wait for a timer then are woken and find out. Dropping a timer never panics, and no duration
/// does.
#[doc(alias = "heartbeat")]
pub struct SharedTimer {
    shared: Arc<Shared>,
    state: State,
}

/// Deadlines are counted in ticks since the `SharedTimers` were made, and rounded up, so that no timer
/// expires early.
type Tick = u64;

/// The length of a tick in nanoseconds. Half of what a `Sleep` can tell apart, to lose little by it.
const TICK: u64 = 500_000;

/// A tick that does not come: the clock cannot count to it.
const NEVER: Tick = u64::MAX;

/// How long the alarm rests, in ticks: 4 ms. Waking the runtime's workers takes as much CPU as dozens
/// of keepalives.
const REST: Tick = 8;

/// The longest time that the alarm is set for, in ticks: a year. Before version 1.54, a `Sleep` that is
/// years away can make Tokio forget others (tokio-rs/tokio#8334).
const LONGEST_SLEEP: Tick = 63_072_000_000;

enum State {
    /// All that an idle stream needs. Which waker is in the slot is not known here.
    Inline {
        deadline: Tick,
        /// The slot in the queue at `deadline`, if the timer has entered the queue.
        slot: Option<u32>,
    },
    /// The timer has been armed or polled while it was in the queue, as that of a busy stream is.
    Boxed(Box<Boxed>),
}

struct Boxed {
    deadline: Tick,
    /// When the queue wakes the task, sooner or later than at the deadline. Once that tick has passed,
    /// the timer is no longer in the queue.
    queued: Tick,
    slot: u32,
    /// Whose waker is in the slot, so that a poll which changes nothing need not take the lock.
    task: Option<TaskId>,
}

/// What [`Waker::will_wake`] compares. While the queue holds a clone of the waker, no other waker can
/// have the same.
#[derive(Clone, Copy, PartialEq, Eq)]
struct TaskId {
    data: usize,
    vtable: NonZero<usize>,
}

struct Shared {
    start: Instant,
    /// The timers of all ticks up to this one have expired, and their wakers have been taken out of the
    /// queue. `NEVER` once the runtime has been shut down. It changes only under the lock of the queue.
    passed: AtomicU64,
    queue: Mutex<Queue>,
    /// The waker of the alarm.
    waker: Waker,
    /// True while a thread sets the alarm, with the queue locked. Tokio may call the alarm's waker from
    /// there, and that must not lock the queue again. The thread looks itself whether the alarm has
    /// fired.
    is_setting: AtomicBool,
}

struct Queue {
    buckets: BTreeMap<Tick, Bucket>,
    alarm: Option<Pin<Box<Sleep>>>,
    /// The tick that the alarm is set for: that of the first bucket or sooner, except that the alarm
    /// rests. `NEVER` if it is not set.
    alarm_at: Tick,
    rests_until: Tick,
}

/// The wakers of one tick. Each keeps its slot, so that it can be taken out again without a search.
#[derive(Default)]
struct Bucket {
    slots: Vec<Slot>,
    /// The first of a list of free slots.
    free: Option<u32>,
    wakers: u32,
}

enum Slot {
    Waker(Waker),
    Free { next: Option<u32> },
}

impl SharedTimers {
    /// Creates an empty queue.
    ///
    /// Works outside a runtime too.
    pub fn new() -> Self {
        Self(Arc::new_cyclic(|shared| Shared {
            start: Instant::now(),
            passed: AtomicU64::new(0),
            queue: Mutex::new(Queue {
                buckets: BTreeMap::new(),
                alarm: None,
                alarm_at: NEVER,
                rests_until: 0,
            }),
            waker: Waker::from(Arc::new(AlarmWaker(shared.clone()))),
            is_setting: AtomicBool::new(false),
        }))
    }

    /// Makes a timer for one stream.
    ///
    /// It needs no runtime, reads no clock and allocates nothing.
    #[inline]
    pub fn timer(&self) -> SharedTimer {
        SharedTimer {
            shared: self.0.clone(),
            state: State::Inline {
                deadline: NEVER,
                slot: None,
            },
        }
    }
}

impl Default for SharedTimers {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for SharedTimer {
    #[inline]
    fn arm(&mut self, after: Duration) {
        let new = self.shared.deadline(after);
        match &mut self.state {
            State::Inline {
                deadline,
                slot: None,
            } => *deadline = new,
            state => state.boxed().deadline = new,
        }
    }

    #[inline]
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let passed = self.shared.passed();
        if let State::Boxed(timer) = &self.state {
            if timer.will_wake_in_time(passed) && timer.task == Some(TaskId::of(cx.waker())) {
                return Poll::Pending;
            }
        }
        self.poll_expired_slow(passed, cx)
    }

    #[inline]
    fn has_budget(&self) -> bool {
        coop::has_budget_remaining()
    }
}

impl SharedTimer {
    fn poll_expired_slow(&mut self, passed: Tick, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.state.deadline();
        if deadline <= passed {
            if let State::Inline { slot, .. } = &mut self.state {
                *slot = None;
            }
            return Poll::Ready(());
        }
        if deadline < NEVER && !self.wait(cx.waker()) {
            return self.poll_expired(cx);
        }
        Poll::Pending
    }

    /// Makes the queue wake the task at the deadline. False if that has passed in the meantime.
    fn wait(&mut self, waker: &Waker) -> bool {
        if let State::Inline {
            deadline,
            slot: slot @ None,
        } = &mut self.state
        {
            *slot = self.shared.enter(*deadline, waker);
            return slot.is_some();
        }
        let timer = self.state.boxed();
        self.shared.leave(mem::take(&mut timer.queued), timer.slot);
        let Some(slot) = self.shared.enter(timer.deadline, waker) else {
            return false;
        };
        timer.queued = timer.deadline;
        timer.slot = slot;
        timer.task = Some(TaskId::of(waker));
        true
    }
}

impl Drop for SharedTimer {
    fn drop(&mut self) {
        match &self.state {
            State::Inline { slot: None, .. } => {}
            State::Inline {
                deadline,
                slot: Some(slot),
            } => self.shared.leave(*deadline, *slot),
            State::Boxed(timer) => self.shared.leave(timer.queued, timer.slot),
        }
    }
}

impl State {
    fn deadline(&self) -> Tick {
        match self {
            Self::Inline { deadline, .. } => *deadline,
            Self::Boxed(timer) => timer.deadline,
        }
    }

    fn boxed(&mut self) -> &mut Boxed {
        match *self {
            Self::Boxed(ref mut timer) => timer,
            Self::Inline { deadline, slot } => {
                *self = Self::Boxed(Box::new(Boxed {
                    deadline,
                    queued: slot.map_or(0, |_| deadline),
                    slot: slot.unwrap_or_default(),
                    task: None,
                }));
                self.boxed()
            }
        }
    }
}

impl Boxed {
    /// Sooner than at the deadline will do: the task polls then, and the timer enters again. So a stream
    /// whose items come faster than the idle clock runs out enters the queue about once in each `idle`.
    #[inline]
    fn will_wake_in_time(&self, passed: Tick) -> bool {
        passed < self.queued && self.queued <= self.deadline
    }
}

impl TaskId {
    #[inline]
    fn of(waker: &Waker) -> Self {
        Self {
            data: waker.data().addr(),
            vtable: NonNull::from(waker.vtable()).addr(),
        }
    }
}

/// Wakes streams from where the runtime fires its timers, and not from a task: that would have to be
/// woken first.
struct AlarmWaker(Weak<Shared>);

impl Wake for AlarmWaker {
    fn wake(self: Arc<Self>) {
        if let Some(shared) = self.0.upgrade() {
            // A write, though it changes nothing: if it comes before that of the thread which sets the
            // alarm, that thread sees that the alarm has fired.
            if !shared.is_setting.fetch_or(false, Ordering::AcqRel) {
                shared.wake_due(shared.now() / TICK);
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nanoseconds since the start.
    #[inline]
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    #[inline]
    fn deadline(&self, after: Duration) -> Tick {
        let after = u64::try_from(after.as_nanos()).ok();
        let deadline = after.and_then(|after| self.now().checked_add(after));
        deadline.map_or(NEVER, |nanos| nanos.div_ceil(TICK))
    }

    #[inline]
    fn passed(&self) -> Tick {
        let passed = self.passed.load(Ordering::Acquire);
        assert!(
            passed < NEVER,
            "stream-keepalive: the runtime of these shared timers has been shut down"
        );
        passed
    }

    /// Puts a waker into the queue. `None` if the tick has passed.
    fn enter(&self, tick: Tick, waker: &Waker) -> Option<u32> {
        // To clone, to call and to drop a waker may run anything. None of it happens under the lock.
        let waker = waker.clone();
        let mut queue = self.lock();
        if tick <= self.passed.load(Ordering::Relaxed) {
            return None;
        }
        let mut fired = None;
        if tick < queue.alarm_at {
            // Before the waker is in the queue, since this panics outside a runtime.
            fired = self.set_alarm(&mut queue, tick);
        }
        let bucket = match queue.buckets.last_entry() {
            // Streams with the same `idle` enter at the end. A search costs more than all the rest.
            Some(last) if *last.key() == tick => last.into_mut(),
            _ => queue.buckets.entry(tick).or_default(),
        };
        let slot = bucket.insert(waker);
        drop(queue);
        if let Some(passed) = fired {
            self.wake_due(passed);
        }
        Some(slot)
    }

    /// Takes a waker out of the queue, unless the tick has passed.
    fn leave(&self, tick: Tick, slot: u32) {
        if tick <= self.passed.load(Ordering::Acquire) {
            return;
        }
        let _waker;
        let mut queue = self.lock();
        if let Entry::Occupied(mut bucket) = queue.buckets.entry(tick) {
            _waker = bucket.get_mut().remove(slot);
            if bucket.get().wakers == 0 {
                bucket.remove();
            }
        }
    }

    /// Wakes the streams of all ticks up to `passed`.
    ///
    /// Only Tokio's driver, which looks for input before it fires timers, says what has passed: as it
    /// calls the alarm's waker, or as the alarm is found to have fired. If a task read the clock instead,
    /// after its thread was held up, a timer would overtake an item that the driver has not looked for.
    fn wake_due(&self, passed: Tick) {
        let mut fired = Some(passed);
        while let Some(passed) = fired {
            let due;
            (due, fired) = self.take_due(passed);
            for slot in due.into_iter().flat_map(|bucket| bucket.slots) {
                if let Slot::Waker(waker) = slot {
                    // A waker that panics must not keep the others from being woken.
                    _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
                }
            }
        }
    }

    /// Takes all that is due out of the queue, and sets the alarm for the rest. Returns the tick of the
    /// alarm if it has fired already.
    fn take_due(&self, passed: Tick) -> (Vec<Bucket>, Option<Tick>) {
        let mut due = Vec::new();
        let mut guard = self.lock();
        let queue = &mut *guard;
        let passed = passed.max(self.passed.load(Ordering::Relaxed));
        self.passed.store(passed, Ordering::Release);
        queue.alarm_at = NEVER;
        while let Some(first) = queue.buckets.first_entry() {
            let tick = *first.key();
            if tick > passed {
                return (due, self.set_alarm(queue, tick));
            }
            queue.rests_until = tick + REST;
            due.push(first.remove());
        }
        (due, None)
    }

    /// Makes sure that the alarm is set for `tick`, or for when it has rested. Returns the tick of the
    /// alarm if it has fired already.
    fn set_alarm(&self, queue: &mut Queue, tick: Tick) -> Option<Tick> {
        let tick = tick.max(queue.rests_until);
        if queue.alarm_at <= tick {
            return None;
        }
        let tick = tick.min(self.passed.load(Ordering::Relaxed) + LONGEST_SLEEP);
        let deadline = self.start + Duration::from_nanos(tick * TICK);
        let alarm = queue.alarm.get_or_insert_with(|| new_alarm(deadline));
        queue.alarm_at = tick;
        self.is_setting.swap(true, Ordering::AcqRel);
        let set = catch_unwind(AssertUnwindSafe(|| {
            alarm.as_mut().reset(deadline);
            // Unconstrained: with its budget spent, the task would not register the waker.
            let alarm = pin!(unconstrained(alarm.as_mut()));
            alarm.poll(&mut Context::from_waker(&self.waker))
        }));
        self.is_setting.swap(false, Ordering::AcqRel);
        if set.is_err() {
            // The runtime has been shut down. Everybody is woken to find out.
            self.passed.store(NEVER, Ordering::Release);
            return Some(NEVER);
        }
        if !alarm.is_elapsed() {
            return None;
        }
        // `is_elapsed` alone does not make visible what the driver did before it fired the alarm.
        fence(Ordering::Acquire);
        // A runtime that shuts down fires the alarm before its time.
        Some(tick.min(self.now() / TICK))
    }
}

fn new_alarm(deadline: Instant) -> Pin<Box<Sleep>> {
    assert!(
        Handle::try_current().is_ok(),
        "stream-keepalive: an idle stream with a shared timer needs a Tokio runtime with the time driver enabled"
    );
    Box::pin(sleep_until(deadline))
}

impl Bucket {
    fn insert(&mut self, waker: Waker) -> u32 {
        let waker = Slot::Waker(waker);
        self.wakers += 1;
        let Some(slot) = self.free else {
            self.slots.push(waker);
            return u32::try_from(self.slots.len() - 1).expect("fewer streams than addresses");
        };
        if let Slot::Free { next } = mem::replace(&mut self.slots[slot as usize], waker) {
            self.free = next;
        }
        slot
    }

    fn remove(&mut self, slot: u32) -> Slot {
        self.wakers -= 1;
        let next = self.free.replace(slot);
        mem::replace(&mut self.slots[slot as usize], Slot::Free { next })
    }
}

impl fmt::Debug for SharedTimers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedTimers").finish_non_exhaustive()
    }
}

impl fmt::Debug for SharedTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedTimer").finish_non_exhaustive()
    }
}
