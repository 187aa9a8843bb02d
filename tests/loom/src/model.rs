//! Replaces the types that the shared timers import from std and Tokio. They are loom's types, and a clock
//! whose timers fire like Tokio's (`tokio/src/runtime/time/`), with the same orderings.

use std::{
    future::Future,
    ops::Add,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

pub use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, fence},
};

loom::lazy_static! {
    static ref RUNTIME: Runtime = Runtime {
        now: AtomicU64::new(0),
        wheel: Mutex::new(Wheel { elapsed: 0, entries: Vec::new() }),
        is_shut_down: AtomicBool::new(false),
    };
}

struct Runtime {
    /// In nanoseconds.
    now: AtomicU64,
    wheel: Mutex<Wheel>,
    is_shut_down: AtomicBool,
}

struct Wheel {
    /// All timers up to this time have been fired.
    elapsed: u64,
    entries: Vec<Arc<Entry>>,
}

struct Entry {
    /// When the timer fires, or `FIRED`.
    state: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

const FIRED: u64 = u64::MAX;

/// Advances the clock to `now`, and fires the timers that are due.
pub fn advance_to(now: Duration) {
    let now = now.as_nanos() as u64;
    RUNTIME.now.store(now, Ordering::Relaxed);
    RUNTIME.fire_until(now);
}

/// Shuts the runtime down, as dropping it does.
pub fn shut_down() {
    RUNTIME.is_shut_down.store(true, Ordering::SeqCst);
    RUNTIME.fire_until(FIRED);
}

impl Runtime {
    fn fire_until(&self, now: u64) {
        let mut wakers = Vec::new();
        let mut wheel = self.wheel.lock().unwrap();
        wheel.elapsed = now;
        wheel.entries.retain(|entry| {
            let due = entry.state.load(Ordering::Relaxed) <= now;
            if due {
                wakers.extend(entry.fire());
            }
            !due
        });
        drop(wheel);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Entry {
    /// Called with the wheel locked.
    fn fire(&self) -> Option<Waker> {
        if self.state.load(Ordering::Relaxed) == FIRED {
            return None;
        }
        self.state.store(FIRED, Ordering::Release);
        self.waker.lock().unwrap().take()
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    pub fn now() -> Self {
        Self(RUNTIME.now.load(Ordering::Relaxed))
    }

    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(Self::now().0 - self.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration.as_nanos() as u64)
    }
}

pub struct Handle;

pub struct TryCurrentError;

impl TryCurrentError {
    pub fn is_thread_local_destroyed(&self) -> bool {
        false
    }
}

impl Handle {
    pub fn try_current() -> Result<Self, TryCurrentError> {
        Ok(Self)
    }

    pub fn enter(&self) -> impl Sized {}
}

pub struct Sleep {
    deadline: Instant,
    entry: Arc<Entry>,
}

pub fn sleep_until(deadline: Instant) -> Sleep {
    // Tokio registers it when it is polled or reset.
    let entry = Entry {
        state: AtomicU64::new(FIRED),
        waker: Mutex::new(None),
    };
    Sleep {
        deadline,
        entry: Arc::new(entry),
    }
}

impl Sleep {
    pub fn is_elapsed(&self) -> bool {
        self.entry.state.load(Ordering::Relaxed) == FIRED
    }

    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    pub fn reset(mut self: Pin<&mut Self>, deadline: Instant) {
        self.deadline = deadline;
        let entry = &self.entry;
        let when = deadline.0;
        // Moving it to a later deadline takes no lock.
        let mut prior = entry.state.load(Ordering::Relaxed);
        while prior != FIRED && prior <= when {
            match entry
                .state
                .compare_exchange(prior, when, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return,
                Err(actual) => prior = actual,
            }
        }
        let mut wheel = RUNTIME.wheel.lock().unwrap();
        wheel.entries.retain(|other| !Arc::ptr_eq(other, entry));
        let mut waker = None;
        if RUNTIME.is_shut_down.load(Ordering::SeqCst) {
            waker = entry.fire();
        } else {
            entry.state.store(when, Ordering::Relaxed);
            if when <= wheel.elapsed {
                waker = entry.fire();
            } else {
                wheel.entries.push(entry.clone());
            }
        }
        drop(wheel);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        assert!(
            !RUNTIME.is_shut_down.load(Ordering::SeqCst),
            "the runtime has been shut down"
        );
        *self.entry.waker.lock().unwrap() = Some(cx.waker().clone());
        match self.entry.state.load(Ordering::Acquire) {
            FIRED => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let mut wheel = RUNTIME.wheel.lock().unwrap();
        wheel
            .entries
            .retain(|other| !Arc::ptr_eq(other, &self.entry));
    }
}
