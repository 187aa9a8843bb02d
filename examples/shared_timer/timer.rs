//! A timer for very many silent streams: they share one queue, and one sleep.
//!
//! Tokio keeps a timer for each of them in a wheel, which has to sort itself now and then: with ten million of them
//! that takes a tenth of a second. Here those that are due together stand together, and there is little to sort. It
//! takes less than half of the CPU too: with 33,000 keepalives a second, a twentieth of a core less. The price is that
//! each may come 3 ms later. docs/performance.md has the figures.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use stream_keepalive::Timer;
use tokio::{
    task::{coop::has_budget_remaining, unconstrained},
    time::{Instant, Sleep, sleep_until},
};

/// Makes timers that share a queue. So do its clones: keep one where each stream is made. Have one for each runtime, and
/// none in a static, which outlives the runtimes of tests.
///
/// All of them depend on the runtime in which the first one waits. While nobody drives it they do not expire; once it
/// has been shut down, to poll one panics.
#[derive(Clone)]
pub struct SharedTimers(Arc<Shared>);

struct Shared {
    /// Ticks are counted from here.
    start: Instant,
    /// What is due by this tick has expired, and whoever waits for it is woken right after. `NEVER`, once the runtime
    /// has been shut down.
    passed: AtomicU64,
    queue: Mutex<Queue>,
    /// What the alarm rings.
    bell: Waker,
    /// True while the alarm is being set, which takes the lock of the queue. Tokio may ring it there and then, on the
    /// same thread, and to answer takes the lock too. So nobody answers then; whoever sets it looks whether it rings.
    deaf: AtomicBool,
}

#[derive(Default)]
struct Queue {
    /// Who is to be woken, by the tick.
    waiting: BTreeMap<u64, Vec<Waker>>,
    /// Rings for the first of them.
    alarm: Option<Pin<Box<Sleep>>>,
    /// The tick by which the alarm has rested.
    rested: u64,
}

/// In nanoseconds. A quarter of what Tokio's own timers can tell apart, so that little is lost by it.
const TICK: u64 = 250_000;

/// In ticks, 3 ms. The alarm rests for so long, counted from when the last streams it has woken were due, and then wakes
/// more at once: to rouse the runtime's workers takes as much CPU as dozens of keepalives.
const REST: u64 = 12;

/// The longest that the alarm is set for, a year: before version 1.54, a `Sleep` that is years away can make Tokio forget
/// others (tokio-rs/tokio#8334).
const LONGEST_SLEEP: Duration = Duration::from_secs(31_536_000);

/// A tick that does not come: beyond what the clock can count.
const NEVER: u64 = u64::MAX;

impl SharedTimers {
    pub fn new() -> Self {
        Self(Arc::new_cyclic(|shared| Shared {
            start: Instant::now(),
            passed: AtomicU64::new(0),
            queue: Mutex::default(),
            bell: Arc::new(Bell(shared.clone())).into(),
            deaf: AtomicBool::new(false),
        }))
    }

    pub fn timer(&self) -> SharedTimer {
        SharedTimer {
            shared: self.0.clone(),
            deadline: NEVER,
            queued: 0,
            waker: None,
        }
    }
}

pub struct SharedTimer {
    shared: Arc<Shared>,
    deadline: u64,
    /// When `waker` is woken, if that is still to come. 0: it is not in the queue.
    queued: u64,
    waker: Option<Waker>,
}

impl Timer for SharedTimer {
    fn arm(&mut self, after: Duration) {
        let deadline = self.shared.start.elapsed().saturating_add(after);
        self.deadline =
            u64::try_from(deadline.as_nanos()).map_or(NEVER, |nanos| nanos.div_ceil(TICK));
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let passed = self.shared.passed();
        if self.deadline <= passed {
            return Poll::Ready(());
        }
        let same = matches!(&self.waker, Some(waker) if waker.will_wake(cx.waker()));
        // To be woken sooner will do: this task queues again then. A stream that is silent for a moment at a time
        // queues once a period.
        if same && passed < self.queued && self.queued <= self.deadline {
            return Poll::Pending;
        }
        self.leave();
        if !same {
            self.waker = Some(cx.waker().clone());
        }
        if self.deadline < NEVER {
            self.shared.enter(self.deadline, cx.waker().clone());
            self.queued = self.deadline;
        }
        Poll::Pending
    }

    fn has_budget(&self) -> bool {
        has_budget_remaining()
    }
}

impl SharedTimer {
    fn leave(&mut self) {
        if let Some(waker) = &self.waker {
            self.shared.leave(self.queued, waker);
            self.queued = 0;
        }
    }
}

impl Drop for SharedTimer {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Answers the alarm where it rings, and not in a task: that would have to be woken first.
struct Bell(Weak<Shared>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if let Some(shared) = self.0.upgrade() {
            // Written, not just read: either this is heard, or what follows `swap` sees that the alarm has rung.
            if !shared.deaf.fetch_or(false, Ordering::AcqRel) {
                shared.wake_due();
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn passed(&self) -> u64 {
        let passed = self.passed.load(Ordering::Acquire);
        assert!(passed < NEVER, "the timers' runtime has been shut down");
        passed
    }

    fn enter(&self, tick: u64, waker: Waker) {
        let mut queue = self.lock();
        // Behind others there is nothing to do: the alarm is set for the first of them, or has rung and is about to be
        // answered. To set it for later would silence it.
        let is_first = queue
            .waiting
            .keys()
            .next()
            .is_none_or(|first| tick < *first);
        // Before all else, since it panics outside a runtime.
        let late = tick <= self.passed.load(Ordering::Relaxed)
            || is_first && self.set_alarm(&mut queue, tick).is_ready();
        queue.waiting.entry(tick).or_default().push(waker);
        drop(queue);
        if late {
            self.wake_due();
        }
    }

    fn leave(&self, tick: u64, waker: &Waker) {
        if tick <= self.passed.load(Ordering::Acquire) {
            return;
        }
        let mut queue = self.lock();
        let Entry::Occupied(mut together) = queue.waiting.entry(tick) else {
            return;
        };
        let mut wakers = together.get().iter();
        if let Some(place) = wakers.position(|other| other.will_wake(waker)) {
            together.get_mut().swap_remove(place);
        }
        if together.get().is_empty() {
            together.remove();
        }
    }

    fn wake_due(&self) {
        while let Some(due) = self.take_due() {
            for waker in due {
                // One that panics keeps nobody else asleep.
                _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
            }
        }
    }

    /// Takes some that are due. When there are none, sets the alarm for the next.
    fn take_due(&self) -> Option<Vec<Waker>> {
        let mut queue = self.lock();
        let (&tick, _) = queue.waiting.first_key_value()?;
        let now = self.start.elapsed().as_nanos() as u64 / TICK;
        let is_due = tick <= now.max(self.passed.load(Ordering::Relaxed));
        if !is_due && self.set_alarm(&mut queue, tick).is_pending() {
            return None;
        }
        self.passed.fetch_max(tick, Ordering::Release);
        queue.rested = tick + REST;
        queue.waiting.remove(&tick)
    }

    /// Lets the alarm ring at that tick or sooner, but not before it has rested; nobody in the queue is due before. Ready
    /// when it rings already.
    fn set_alarm(&self, queue: &mut Queue, tick: u64) -> Poll<()> {
        let tick = tick.max(queue.rested);
        let deadline = self.start + Duration::from_nanos(tick.saturating_mul(TICK));
        let deadline = deadline.min(Instant::now() + LONGEST_SLEEP);
        let alarm = match &mut queue.alarm {
            Some(alarm) if alarm.deadline() <= deadline && !alarm.is_elapsed() => {
                return Poll::Pending;
            }
            alarm => alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline))),
        };
        self.deaf.store(true, Ordering::Relaxed);
        let set = catch_unwind(AssertUnwindSafe(|| {
            alarm.as_mut().reset(deadline);
            // Unconstrained: a task that has spent its budget sets it for all.
            let alarm = pin!(unconstrained(alarm.as_mut()));
            alarm.poll(&mut Context::from_waker(&self.bell))
        }));
        self.deaf.swap(false, Ordering::AcqRel);
        if set.is_err() {
            // Its runtime has been shut down: everybody is woken to find out.
            self.passed.store(NEVER, Ordering::Release);
        } else if !alarm.is_elapsed() {
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}
