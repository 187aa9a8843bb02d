//! A timer for a million silent streams: they share one queue, and one sleep.
//!
//! Tokio keeps a timer for each of them in a wheel, which has to sort itself now and then: with ten million of them
//! that takes a fifth of a second. Here those that are due together stand together, and there is little to sort. It
//! takes less CPU and memory too. docs/performance.md has the figures.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use stream_keepalive::Timer;
use tokio::{
    task::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

/// Makes timers that share a queue. So do its clones.
///
/// They stay with the runtime in which the first of them waits: once that has been shut down, to poll one panics.
#[derive(Clone)]
pub struct SharedTimers(Arc<Shared>);

struct Shared {
    /// Ticks are counted from here.
    start: Instant,
    /// Whoever was to be woken until then has been.
    passed: AtomicU64,
    queue: Mutex<Queue>,
    /// While the alarm is being set, under the lock of the queue: it may ring there and then, and to attend to it
    /// takes the lock too. Whoever sets it sees that it rings.
    deaf: AtomicBool,
}

#[derive(Default)]
struct Queue {
    /// Who is to be woken, by the tick.
    waiting: BTreeMap<u64, Vec<Waker>>,
    /// Rings for the first of them.
    alarm: Option<Pin<Box<Sleep>>>,
}

/// In nanoseconds. A quarter of what Tokio's own timers can tell apart, so that little is lost by it.
const TICK: u64 = 250_000;

/// Beyond what the clock can count.
const NEVER: u64 = u64::MAX;

impl SharedTimers {
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            start: Instant::now(),
            passed: AtomicU64::new(0),
            queue: Mutex::default(),
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
    /// When `waker` is woken, if that is still to come.
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

/// The alarm rings here, and not in a task: that would have to be woken first.
impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        // Written, not just read: what is not heard here is then seen where hearing is restored.
        if !self.deaf.fetch_or(false, Ordering::AcqRel) {
            self.wake_due();
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

    fn enter(self: &Arc<Self>, tick: u64, waker: Waker) {
        let mut queue = self.lock();
        let first = queue.waiting.first_key_value();
        let is_first = first.is_none_or(|(first, _)| tick < *first);
        // Before all else, since it panics outside a runtime.
        let late = is_first && self.set_alarm(&mut queue, tick).is_ready();
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

    fn wake_due(self: &Arc<Self>) {
        while let Some(due) = self.take_due() {
            due.into_iter().for_each(Waker::wake);
        }
    }

    /// Takes some that are due. When there are none, sets the alarm for the next.
    fn take_due(self: &Arc<Self>) -> Option<Vec<Waker>> {
        let mut queue = self.lock();
        loop {
            let first = queue.waiting.first_entry()?;
            let tick = *first.key();
            let now = self.start.elapsed().as_nanos() as u64 / TICK;
            if tick <= now.max(self.passed.load(Ordering::Relaxed)) {
                self.passed.fetch_max(tick, Ordering::Release);
                return Some(first.remove());
            }
            if self.set_alarm(&mut queue, tick).is_pending() {
                return None;
            }
        }
    }

    /// Ready when it is too late for that.
    fn set_alarm(self: &Arc<Self>, queue: &mut Queue, tick: u64) -> Poll<()> {
        let deadline = self.start + Duration::from_nanos(tick.saturating_mul(TICK));
        let alarm = match &mut queue.alarm {
            Some(alarm) if alarm.deadline() <= deadline && !alarm.is_elapsed() => {
                return Poll::Pending;
            }
            alarm => alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline))),
        };
        self.deaf.store(true, Ordering::Relaxed);
        alarm.as_mut().reset(deadline);
        let waker = Waker::from(self.clone());
        let rings = catch_unwind(AssertUnwindSafe(|| {
            // Unconstrained: a task that has spent its budget sets it for all.
            pin!(unconstrained(alarm.as_mut())).poll(&mut Context::from_waker(&waker))
        }));
        self.deaf.swap(false, Ordering::AcqRel);
        match rings {
            Ok(Poll::Pending) if !alarm.is_elapsed() => return Poll::Pending,
            Ok(_) => {}
            // Its runtime has been shut down, and everybody is woken to find out.
            Err(_) => self.passed.store(NEVER, Ordering::Release),
        }
        Poll::Ready(())
    }
}
