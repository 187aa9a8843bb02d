//! A timer for a million silent streams: they share one queue, and one sleep.
//!
//! Tokio keeps a timer for each of them in a wheel. Where most streams have the same interval, their deadlines
//! come in order, and a queue will do: it takes less CPU and memory, and does not stop to sort itself when there
//! are ten million of them. docs/performance.md has the figures. The price is a task that must be kept running.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use stream_keepalive::Timer;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// Makes timers, and drives them. Clones share the queue.
#[derive(Clone)]
pub struct SharedTimers(Arc<Shared>);

struct Shared {
    /// Deadlines are nanoseconds from here, so that they fit into an atomic.
    start: Instant,
    /// All that was due until then has been woken.
    passed: AtomicU64,
    /// In the order of their deadlines.
    waiting: Mutex<VecDeque<Waiting>>,
    new_first: Notify,
}

struct Waiting {
    deadline: u64,
    waker: Waker,
}

impl SharedTimers {
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            start: Instant::now(),
            passed: AtomicU64::new(0),
            waiting: Mutex::default(),
            new_first: Notify::new(),
        }))
    }

    pub fn timer(&self) -> SharedTimer {
        SharedTimer {
            shared: self.0.clone(),
            deadline: NEVER,
            waker: None,
            due: 0,
        }
    }

    /// Wakes the streams that are due, for ever: to be spawned once. Without it no timer expires.
    pub async fn drive(self) {
        let shared = self.0;
        loop {
            let news = shared.new_first.notified();
            match shared.wake_due() {
                Some(next) => {
                    drop(timeout_at(shared.start + Duration::from_nanos(next), news).await)
                }
                None => news.await,
            }
        }
    }
}

/// Beyond what the clock can count.
const NEVER: u64 = u64::MAX;

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Returns the first deadline that is still to come.
    fn wake_due(&self) -> Option<u64> {
        // In portions, so that those who are woken need not wait for the lock.
        let mut due = Vec::with_capacity(PORTION);
        loop {
            let mut waiting = self.waiting();
            let now = self.now();
            let many = waiting
                .iter()
                .take(PORTION)
                .take_while(|first| first.deadline <= now)
                .count();
            due.extend(waiting.drain(..many));
            let passed = if many < PORTION {
                now
            } else {
                due[many - 1].deadline
            };
            // Under the lock: whoever is not in the queue can see that its time is over.
            self.passed.store(passed, Ordering::Release);
            let next = waiting.front().map(|first| first.deadline);
            drop(waiting);
            due.drain(..).for_each(|due| due.waker.wake());
            if many < PORTION {
                return next;
            }
        }
    }
}

const PORTION: usize = 128;

pub struct SharedTimer {
    shared: Arc<Shared>,
    deadline: u64,
    /// Whose turn in the queue comes when, if it has not come.
    waker: Option<Waker>,
    due: u64,
}

impl Timer for SharedTimer {
    fn arm(&mut self, after: Duration) {
        let after = u64::try_from(after.as_nanos()).unwrap_or(NEVER);
        self.deadline = self.shared.now().saturating_add(after);
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let passed = self.shared.passed.load(Ordering::Acquire);
        if self.deadline <= passed {
            return Poll::Ready(());
        }
        // An entry that is due sooner stays, and wakes this task in time to queue again. A stream that is
        // silent for a moment at a time queues once a period.
        let mut queued = passed < self.due && self.due <= self.deadline;
        match &mut self.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            Some(waker) => {
                queued = queued && self.shared.replace(self.due, waker, cx.waker());
                waker.clone_from(cx.waker());
            }
            none => *none = Some(cx.waker().clone()),
        }
        if queued || self.deadline == NEVER {
            return Poll::Pending;
        }
        self.due = self.deadline;
        self.shared.queue(self.deadline, cx.waker().clone())
    }
}

impl Drop for SharedTimer {
    fn drop(&mut self) {
        if let Some(waker) = &self.waker {
            // To take it out would move all that stand behind it.
            self.shared.replace(self.due, waker, Waker::noop());
        }
    }
}

impl Shared {
    fn queue(&self, deadline: u64, waker: Waker) -> Poll<()> {
        let mut waiting = self.waiting();
        if deadline <= self.passed.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        // At the end, but for a stream with a shorter interval than others.
        let place = match waiting.back() {
            Some(last) if deadline < last.deadline => {
                waiting.partition_point(|other| other.deadline <= deadline)
            }
            _ => waiting.len(),
        };
        waiting.insert(place, Waiting { deadline, waker });
        drop(waiting);
        if place == 0 {
            self.new_first.notify_one();
        }
        Poll::Pending
    }

    /// Lets an entry wake somebody else. False when it is not there any more.
    fn replace(&self, deadline: u64, old: &Waker, new: &Waker) -> bool {
        let mut waiting = self.waiting();
        let first = waiting.partition_point(|other| other.deadline < deadline);
        let mut same = waiting
            .range_mut(first..)
            .take_while(|other| other.deadline == deadline);
        let entry = same.find(|other| other.waker.will_wake(old));
        entry.map(|entry| entry.waker.clone_from(new)).is_some()
    }
}
