use std::{
    boxed::Box,
    collections::{BTreeMap, btree_map::Entry},
    future::Future,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{Arc, PoisonError, Weak, atomic::Ordering},
    task::{Context, Wake, Waker},
    time::Duration,
    vec::Vec,
};

use tokio::task::unconstrained;

// The model checker in tests/loom replaces these.
#[cfg(loom)]
use crate::model::{
    AtomicBool, AtomicU64, Handle, Instant, Mutex, MutexGuard, Sleep, fence, sleep_until,
};
#[cfg(all(not(loom), target_has_atomic = "64"))]
use std::sync::atomic::AtomicU64;
#[cfg(not(loom))]
use {
    std::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, fence},
    },
    tokio::{
        runtime::Handle,
        time::{Instant, Sleep, sleep_until},
    },
};

/// A time, in ticks since the queue was created. Deadlines are rounded up, so that no timer expires early.
pub(super) type Tick = u64;

/// The length of a tick in nanoseconds. It is half the resolution of a `Sleep`, so rounding adds little
/// delay.
const TICK: u64 = 500_000;

/// How long the alarm rests after it has woken streams, in ticks: 4 ms. It rests because waking the runtime's
/// workers takes as much CPU time as dozens of keepalives.
const REST: Tick = 8;

/// The longest time that the alarm is set for, in ticks: one year. Before version 1.54, a `Sleep` that is
/// years away can make Tokio forget others (tokio-rs/tokio#8334).
const LONGEST_SLEEP: Tick = 63_072_000_000;

/// The tick that has passed after the runtime has been shut down.
const SHUT_DOWN: Tick = Tick::MAX;

/// Wakes tasks at their deadlines. One Tokio `Sleep`, the alarm, serves all of them.
pub(super) struct Queue {
    start: Instant,
    /// The last tick whose timers have expired and whose wakers have been taken out of the queue. Only
    /// written while `inner` is locked.
    passed: AtomicU64,
    inner: Mutex<Inner>,
    /// The waker of the alarm.
    waker: Waker,
    /// True while a thread sets the alarm with `inner` locked. Tokio may call the alarm's waker on the same
    /// thread, and then the waker must not take the lock again. The thread that sets the alarm checks
    /// whether it has fired.
    is_setting: AtomicBool,
}

struct Inner {
    buckets: BTreeMap<Tick, Bucket>,
    alarm: Option<Alarm>,
    /// The tick that the alarm is set for, if it is set. This is the first bucket's tick or an earlier one,
    /// except while the alarm rests.
    alarm_at: Option<Tick>,
    rests_until: Tick,
    /// The empty buckets of the last time that the alarm fired. The streams that it woke usually enter the
    /// queue again soon, and need as much room as before.
    spare: Vec<Bucket>,
}

struct Alarm {
    sleep: Pin<Box<Sleep>>,
    runtime: Handle,
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

/// The waker of the alarm. It wakes the streams directly from the runtime's timer driver, because a task in
/// between would have to be woken first.
struct AlarmWaker(Weak<Queue>);

impl Wake for AlarmWaker {
    fn wake(self: Arc<Self>) {
        if let Some(queue) = self.0.upgrade() {
            // This must be a write, although it does not change the value. If it happens before the write
            // of the thread that is setting the alarm, that thread sees that the alarm has fired.
            if !queue.is_setting.fetch_or(false, Ordering::AcqRel) {
                queue.wake_due();
            }
        }
    }
}

impl Queue {
    pub(super) fn new() -> Arc<Self> {
        Arc::new_cyclic(|queue| Self {
            start: Instant::now(),
            passed: AtomicU64::new(0),
            inner: Mutex::new(Inner {
                buckets: BTreeMap::new(),
                alarm: None,
                alarm_at: None,
                rests_until: 0,
                spare: Vec::new(),
            }),
            waker: Waker::from(Arc::new(AlarmWaker(queue.clone()))),
            is_setting: AtomicBool::new(false),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the first tick that is at least `after` from now, or `None` if the clock cannot count so far.
    #[inline]
    pub(super) fn tick_after(&self, after: Duration) -> Option<Tick> {
        let after = u64::try_from(after.as_nanos()).ok()?;
        let now = self.start.elapsed().as_nanos() as u64;
        Some(now.checked_add(after)?.div_ceil(TICK))
    }

    /// Returns the last tick that has passed.
    ///
    /// Only Tokio's driver decides which ticks have passed, by firing the alarm. The driver looks for input
    /// before it fires timers. If a task read the clock itself after its thread had been delayed, a timer
    /// could overtake an item that the driver has not seen yet.
    #[inline]
    pub(super) fn passed(&self) -> Tick {
        let passed = self.passed.load(Ordering::Acquire);
        assert!(
            passed < SHUT_DOWN,
            "stream-keepalive: the runtime of these shared timers has been shut down"
        );
        passed
    }

    /// Puts a waker into the queue and returns its slot, or `None` if ticks have passed meanwhile. Then the
    /// waker is not in the queue, and the tick may have passed.
    pub(super) fn enter(&self, tick: Tick, waker: &Waker) -> Option<u32> {
        // Cloning, calling or dropping a waker may run any code, so it never happens under the lock.
        let waker = waker.clone();
        let mut guard = self.lock();
        let inner = &mut *guard;
        if tick <= self.passed.load(Ordering::Relaxed) {
            return None;
        }
        // Set the alarm before the waker is in the queue, because this panics outside a runtime.
        if self.set_alarm(inner, tick) {
            drop(guard);
            self.wake_due();
            return None;
        }
        let bucket = match inner.buckets.last_entry() {
            // Streams with the same `idle` enter at the end. A search would cost more than everything else.
            Some(last) if *last.key() == tick => last.into_mut(),
            _ => {
                let spare = &mut inner.spare;
                let new = || spare.pop().unwrap_or_default();
                inner.buckets.entry(tick).or_insert_with(new)
            }
        };
        Some(bucket.insert(waker))
    }

    /// Takes a waker out of the queue if the tick has not passed.
    pub(super) fn leave(&self, tick: Tick, slot: u32) {
        if tick <= self.passed.load(Ordering::Acquire) {
            return;
        }
        let _waker;
        let mut inner = self.lock();
        if let Entry::Occupied(mut bucket) = inner.buckets.entry(tick) {
            _waker = bucket.get_mut().remove(slot);
            if bucket.get().wakers == 0 {
                bucket.remove();
            }
        }
    }

    /// Wakes the streams that are due if the alarm has fired, and sets it for the others.
    fn wake_due(&self) {
        while let Some(mut due) = self.take_due() {
            due.iter_mut().for_each(Bucket::wake_all);
            let _old = mem::replace(&mut self.lock().spare, due);
        }
    }

    fn take_due(&self) -> Option<Vec<Bucket>> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let passed = inner.take_fired()?;
        self.passed.store(passed, Ordering::Release);
        let mut due = Vec::new();
        while let Some(first) = inner.buckets.first_entry() {
            let tick = *first.key();
            if tick > passed {
                self.set_alarm(inner, tick);
                return Some(due);
            }
            inner.rests_until = tick + REST;
            due.push(first.remove());
        }
        // A stream that is alone in the queue waits for nobody.
        inner.rests_until = 0;
        Some(due)
    }

    /// Makes sure that the alarm is set for `tick`, or for the end of its rest if that is later. Returns
    /// whether the alarm has been set and has fired already.
    fn set_alarm(&self, inner: &mut Inner, tick: Tick) -> bool {
        let longest = self.passed.load(Ordering::Relaxed) + LONGEST_SLEEP;
        let tick = tick.max(inner.rests_until).min(longest);
        if inner.alarm_at.is_some_and(|alarm_at| alarm_at <= tick) {
            return false;
        }
        let deadline = self.start + Duration::from_nanos(tick * TICK);
        let alarm = inner.alarm.get_or_insert_with(|| Alarm::new(deadline));
        inner.alarm_at = Some(tick);
        self.is_setting.swap(true, Ordering::AcqRel);
        let set = catch_unwind(AssertUnwindSafe(|| alarm.set(deadline, &self.waker)));
        self.is_setting.swap(false, Ordering::AcqRel);
        if set.is_err() {
            // Another thread is shutting the runtime down.
            inner.alarm = None;
        }
        inner.has_fired()
    }
}

impl Inner {
    /// Returns whether the alarm has been set and has fired, or is gone with its runtime.
    fn has_fired(&self) -> bool {
        let is_elapsed = |alarm: &Alarm| alarm.sleep.is_elapsed();
        self.alarm_at.is_some() && self.alarm.as_ref().is_none_or(is_elapsed)
    }

    /// Returns the last tick that has passed if the alarm has fired.
    ///
    /// This is the alarm's own tick, even if the clock is ahead of it. Others may have been woken before the
    /// alarm, and have taken long, since Tokio's driver looked for input.
    fn take_fired(&mut self) -> Option<Tick> {
        if !self.has_fired() {
            return None;
        }
        // `is_elapsed` does not synchronize with what the driver did before it fired the alarm.
        fence(Ordering::Acquire);
        let tick = self.alarm_at.take();
        if self.alarm.as_ref().is_some_and(Alarm::is_due) {
            return tick;
        }
        // A runtime that is shutting down fires all alarms early.
        self.alarm = None;
        Some(SHUT_DOWN)
    }
}

impl Alarm {
    fn new(deadline: Instant) -> Self {
        let Ok(runtime) = Handle::try_current() else {
            panic!(
                "stream-keepalive: an idle stream with a shared timer needs a Tokio runtime with the time \
                 driver enabled"
            );
        };
        Self {
            sleep: Box::pin(sleep_until(deadline)),
            runtime,
        }
    }

    fn set(&mut self, deadline: Instant, waker: &Waker) {
        self.sleep.as_mut().reset(deadline);
        // If the runtime is shutting down, this fires the `Sleep`, and polling it would panic.
        if !self.sleep.is_elapsed() {
            // Poll without the cooperative budget. If the task has spent it, the waker is not registered.
            let sleep = pin!(unconstrained(self.sleep.as_mut()));
            _ = sleep.poll(&mut Context::from_waker(waker));
        }
    }

    /// Returns whether the deadline has passed on the clock of the alarm's runtime.
    fn is_due(&self) -> bool {
        // A runtime in a thread-local variable is dropped with its thread, and cannot be entered then.
        if Handle::try_current().is_err_and(|error| error.is_thread_local_destroyed()) {
            return false;
        }
        // If the clock is paused in a test, it differs from the clock of other threads.
        let _guard = self.runtime.enter();
        self.sleep.deadline() <= Instant::now()
    }
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

/// Stands in for an atomic integer on a target that has none of 64 bits.
#[cfg(all(not(loom), not(target_has_atomic = "64")))]
struct AtomicU64(Mutex<u64>);

#[cfg(all(not(loom), not(target_has_atomic = "64")))]
impl AtomicU64 {
    fn new(value: u64) -> Self {
        Self(Mutex::new(value))
    }

    fn load(&self, _: Ordering) -> u64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, value: u64, _: Ordering) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }
}
