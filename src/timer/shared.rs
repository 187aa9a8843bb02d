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

// The model checker in tests/loom replaces these.
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
/// Use it when a process holds ten thousand idle streams or more. The default timer gives each stream its
/// own `Sleep`, and Tokio's timer wheel has to move each of them from level to level as time passes. The
/// queue keeps streams that are due at the same time together, and moves none.
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
/// Create one `SharedTimers` for each runtime and pass it to where the streams are made. Clones share the
/// queue. Do not keep it in a `static`, because a `static` outlives the runtimes of your tests.
///
/// # Advantages
///
/// - **Less CPU:** a keepalive takes half to two thirds of the CPU time that it takes with the default
///   timer. The runtime wakes up less often, and for more streams each time.
/// - **Less memory:** an idle stream takes 16 bytes of heap, plus the spare capacity of the queue. A
///   `Sleep` takes 128 bytes. A stream that is polled more than once while it is idle takes another 48
///   bytes.
/// - **No long delays:** Tokio's wheel delays all timers while it moves many of them, by more than 20 ms
///   with 300,000 streams.
///
/// # Disadvantages
///
/// - **Lower resolution:** deadlines are rounded up to the next half millisecond. The resolution of Tokio's
///   `Sleep`, one millisecond, adds to that. No timer expires early.
/// - **A delay of up to 4 ms:** after the queue has woken streams, it waits until 4 ms after their
///   deadline. Then it wakes all streams that have become due. A timer that is alone in the queue is
///   delayed only if its duration is less than 4 ms.
/// - **One lock:** all streams share it. A stream holds it for a few dozen nanoseconds when it becomes idle
///   for the first time or after a keepalive, and when it is dropped. A stream whose items arrive faster
///   than `idle` takes the lock about once per `idle`.
/// - **One runtime:** the queue belongs to the runtime in which one of its timers first waits. If no thread
///   drives that runtime, none of the timers expires.
#[doc(alias = "timer wheel")]
#[doc(alias = "timing wheel")]
#[doc(alias = "heartbeat")]
#[derive(Clone)]
pub struct SharedTimers(Arc<Shared>);

/// A [`Timer`] made by [`SharedTimers::timer`].
///
/// In tests it follows Tokio's paused clock. A duration of 585 years or more never expires.
///
/// # Panics
///
/// [`poll_expired`](Timer::poll_expired) panics outside a Tokio runtime with the time driver enabled,
/// unless another timer of the same [`SharedTimers`] has waited in one before. It also panics after that
/// runtime has been shut down. Tasks that wait for a timer are woken when that happens.
#[doc(alias = "heartbeat")]
pub struct SharedTimer {
    shared: Arc<Shared>,
    state: State,
}

/// A deadline, in ticks since the `SharedTimers` was created. It is rounded up, so that no timer expires
/// early.
type Tick = u64;

/// The length of a tick in nanoseconds. It is half the resolution of a `Sleep`, so rounding adds little
/// delay.
const TICK: u64 = 500_000;

/// A tick that is never reached.
const NEVER: Tick = u64::MAX;

/// How long the alarm, which is the queue's `Sleep`, rests after it has woken streams, in ticks: 4 ms. It
/// rests because waking the runtime's workers takes as much CPU time as dozens of keepalives.
const REST: Tick = 8;

/// The longest time that the alarm is set for, in ticks: one year. Before version 1.54, a `Sleep` that is
/// years away can make Tokio forget others (tokio-rs/tokio#8334).
const LONGEST_SLEEP: Tick = 63_072_000_000;

enum State {
    /// All that an idle stream needs. It does not record whose waker is in the slot.
    Inline {
        deadline: Tick,
        /// The slot in the queue at `deadline`, if the timer has entered the queue.
        slot: Option<u32>,
    },
    /// The timer has been armed or polled while it was in the queue, as happens with a busy stream.
    Boxed(Box<Boxed>),
}

struct Boxed {
    deadline: Tick,
    /// When the queue wakes the task, which may be before or after the deadline. Once this tick has
    /// passed, the timer is no longer in the queue.
    queued: Tick,
    slot: u32,
    /// The task whose waker is in the slot. A poll that would not change the waker need not take the lock.
    task: Option<TaskId>,
}

/// The parts of a waker that [`Waker::will_wake`] compares. While the queue holds a clone of the waker, the
/// waker of another task cannot have the same parts.
#[derive(Clone, Copy, PartialEq, Eq)]
struct TaskId {
    data: usize,
    vtable: NonZero<usize>,
}

struct Shared {
    start: Instant,
    /// The last tick whose timers have expired and whose wakers have been taken out of the queue. `NEVER`
    /// after the runtime has been shut down. Only written while the queue is locked.
    passed: AtomicU64,
    queue: Mutex<Queue>,
    /// The waker of the alarm.
    waker: Waker,
    /// True while a thread sets the alarm with the queue locked. Tokio may call the alarm's waker on the
    /// same thread, and then the waker must not lock the queue again. The thread that sets the alarm
    /// checks whether it has fired.
    is_setting: AtomicBool,
}

struct Queue {
    buckets: BTreeMap<Tick, Bucket>,
    alarm: Option<Pin<Box<Sleep>>>,
    /// The tick that the alarm is set for, or `NEVER` if it is not set. This is the first bucket's tick or
    /// an earlier one, except while the alarm rests.
    alarm_at: Tick,
    rests_until: Tick,
    /// The empty buckets of the last time that the alarm fired. The streams that it woke usually enter the
    /// queue again soon, and need as much room as before.
    spare: Vec<Bucket>,
}

/// The wakers of one tick. A waker stays in its slot, so that it can be removed without a search.
#[derive(Default)]
struct Bucket {
    slots: Vec<Slot>,
    /// The head of the list of free slots.
    free: Option<u32>,
    wakers: u32,
}

enum Slot {
    Waker(Waker),
    Free { next: Option<u32> },
}

impl SharedTimers {
    /// Creates an empty queue. This needs no runtime.
    pub fn new() -> Self {
        Self(Arc::new_cyclic(|shared| Shared {
            start: Instant::now(),
            passed: AtomicU64::new(0),
            queue: Mutex::new(Queue {
                buckets: BTreeMap::new(),
                alarm: None,
                alarm_at: NEVER,
                rests_until: 0,
                spare: Vec::new(),
            }),
            waker: Waker::from(Arc::new(AlarmWaker(shared.clone()))),
            is_setting: AtomicBool::new(false),
        }))
    }

    /// Creates a timer for one stream. This needs no runtime, reads no clock and allocates nothing.
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

    /// Makes the queue wake the task at the deadline. Returns false if the deadline has passed already.
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
    /// Returns whether the queue wakes the task at the deadline or earlier. Earlier is enough, because the
    /// task then polls and the timer enters the queue again. A stream whose items arrive faster than `idle`
    /// therefore enters the queue about once per `idle`.
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

/// The waker of the alarm. It wakes the streams directly from the runtime's timer driver, because a task in
/// between would have to be woken first.
struct AlarmWaker(Weak<Shared>);

impl Wake for AlarmWaker {
    fn wake(self: Arc<Self>) {
        if let Some(shared) = self.0.upgrade() {
            // This must be a write, although it does not change the value. If it happens before the write
            // of the thread that is setting the alarm, that thread sees that the alarm has fired.
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

    /// Returns the nanoseconds since `start`.
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

    /// Puts a waker into the queue and returns its slot, or `None` if the tick has passed.
    fn enter(&self, tick: Tick, waker: &Waker) -> Option<u32> {
        // Cloning, calling or dropping a waker may run any code, so it never happens under the lock.
        let waker = waker.clone();
        let mut guard = self.lock();
        let queue = &mut *guard;
        if tick <= self.passed.load(Ordering::Relaxed) {
            return None;
        }
        let mut fired = None;
        if tick < queue.alarm_at {
            // Set the alarm before the waker is in the queue, because this panics outside a runtime.
            fired = self.set_alarm(queue, tick);
        }
        let bucket = match queue.buckets.last_entry() {
            // Streams with the same `idle` enter at the end. A search would cost more than everything else.
            Some(last) if *last.key() == tick => last.into_mut(),
            _ => {
                let spare = &mut queue.spare;
                let new = || spare.pop().unwrap_or_default();
                queue.buckets.entry(tick).or_insert_with(new)
            }
        };
        let slot = bucket.insert(waker);
        drop(guard);
        if let Some(passed) = fired {
            self.wake_due(passed);
        }
        Some(slot)
    }

    /// Takes a waker out of the queue if the tick has not passed.
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
    /// Only Tokio's driver decides which ticks have passed, by firing the alarm. The driver looks for input
    /// before it fires timers. If a task read the clock itself after its thread had been delayed, a timer
    /// could overtake an item that the driver has not seen yet.
    fn wake_due(&self, passed: Tick) {
        let mut fired = Some(passed);
        while let Some(passed) = fired {
            let mut due;
            (due, fired) = self.take_due(passed);
            due.iter_mut().for_each(Bucket::wake_all);
            let _old = mem::replace(&mut self.lock().spare, due);
        }
    }

    /// Takes all buckets that are due out of the queue and sets the alarm for the rest. The second value is
    /// the tick of the alarm if it has already fired.
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

    /// Makes sure that the alarm is set for `tick`, or for the end of its rest if that is later. Returns the
    /// tick of the alarm if it has already fired.
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
            // Poll without the cooperative budget. If the task has spent it, the waker is not registered.
            let alarm = pin!(unconstrained(alarm.as_mut()));
            alarm.poll(&mut Context::from_waker(&self.waker))
        }));
        self.is_setting.swap(false, Ordering::AcqRel);
        if set.is_err() {
            // The runtime has been shut down. Wake all tasks, so that their next poll reports it.
            self.passed.store(NEVER, Ordering::Release);
            return Some(NEVER);
        }
        if !alarm.is_elapsed() {
            return None;
        }
        // `is_elapsed` does not synchronize with what the driver did before it fired the alarm.
        fence(Ordering::Acquire);
        // A runtime that is shutting down fires the alarm early.
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
            return u32::try_from(self.slots.len() - 1)
                .expect("a queue holds fewer than 2^32 streams");
        };
        if let Slot::Free { next } = mem::replace(&mut self.slots[slot as usize], waker) {
            self.free = next;
        }
        slot
    }

    /// Wakes all streams of this bucket, and leaves it empty.
    fn wake_all(&mut self) {
        let used = self.slots.len();
        for slot in self.slots.drain(..) {
            if let Slot::Waker(waker) = slot {
                // If one waker panics, the others must still be woken.
                _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
            }
        }
        (self.free, self.wakers) = (None, 0);
        // Do not keep room for a burst that does not come again.
        self.slots.shrink_to(2 * used);
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
