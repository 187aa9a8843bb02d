use std::{
    boxed::Box,
    fmt, mem,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::task::coop::has_budget_remaining;

use super::{
    queue::{Queue, Tick},
    task::{TaskId, is_traced},
};
use crate::Timer;

/// Makes timers that share one queue of deadlines and one Tokio `Sleep`.
///
/// Use it when a process holds a hundred thousand idle streams or more. The default timer gives each stream its
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
/// - **Less CPU:** with hundreds of thousands of idle streams, a keepalive takes half to three quarters of
///   the CPU time that it takes with the default timer. The runtime wakes up less often, and for more
///   streams each time.
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
/// - **A delay of up to 4 ms:** after the queue has woken some of its streams, it waits until 4 ms after
///   their deadline. Then it wakes all streams that have become due. A timer that is alone in the queue is
///   not delayed.
/// - **One lock:** all streams share it, and hold it for a few dozen nanoseconds. A stream takes the lock
///   when it first becomes idle, after each keepalive, and when it is dropped. A stream whose items arrive
///   faster than `idle` takes it about once per `idle`, and twice with an
///   [`IdleTimeout`](crate::IdleTimeout).
/// - **One runtime:** the queue belongs to the runtime in which one of its timers first waits. If no thread
///   drives that runtime, none of the timers expires. After it has been shut down, polling one of the
///   timers [panics](SharedTimer#panics), even in another runtime.
#[doc(alias = "timer wheel")]
#[doc(alias = "timing wheel")]
#[doc(alias = "heartbeat")]
#[derive(Clone)]
pub struct SharedTimers(Arc<Queue>);

/// A [`Timer`] made by [`SharedTimers::timer`].
///
/// In tests it follows Tokio's paused clock. A duration of 585 years or more never expires.
///
/// # Panics
///
/// The first timer of a [`SharedTimers`] that waits has to be polled in a Tokio runtime with the time driver
/// enabled. Otherwise, [`poll_expired`](Timer::poll_expired) panics.
///
/// It also panics after that runtime has been shut down. The shutdown wakes all tasks that wait for one of
/// the timers, so tasks of other runtimes panic too. A timer that is not polled again does not panic.
///
/// Two cases remain in which Tokio itself panics while the runtime is shut down: another thread polls a timer at
/// that moment, or the runtime has Tokio's alternative timer (`--cfg tokio_unstable`) and is very busy. The queue
/// catches the panic, which is still printed. With `panic = "abort"`, the program ends.
#[doc(alias = "heartbeat")]
pub struct SharedTimer {
    queue: Arc<Queue>,
    state: State,
}

enum State {
    /// The timer has not been armed or polled since it entered the queue. This is all that an idle stream
    /// needs. It does not record whose waker is in the slot.
    Idle {
        deadline: Tick,
        /// The slot in the queue at `deadline`, if the timer has entered the queue.
        slot: Option<u32>,
    },
    /// The timer has been armed or polled while it was in the queue, as happens with a busy stream.
    Busy(Box<Busy>),
}

struct Busy {
    deadline: Tick,
    /// When the queue wakes the task, which may be before or after the deadline. Once this tick has
    /// passed, the timer is no longer in the queue.
    queued: Tick,
    slot: u32,
    /// The task whose waker is in the slot. A poll that would not change the waker need not take the lock.
    task: Option<TaskId>,
}

/// The deadline of a timer that never expires.
const ENDLESS: Tick = Tick::MAX;

impl SharedTimers {
    /// Creates an empty queue. This needs no runtime.
    pub fn new() -> Self {
        Self(Queue::new())
    }

    /// Creates a timer for one stream. This needs no runtime, reads no clock and allocates nothing.
    #[inline]
    pub fn timer(&self) -> SharedTimer {
        SharedTimer {
            queue: self.0.clone(),
            state: State::Idle {
                deadline: ENDLESS,
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
        let new = self.queue.tick_after(after).unwrap_or(ENDLESS);
        match &mut self.state {
            State::Idle {
                deadline,
                slot: None,
            } => *deadline = new,
            state => state.busy().deadline = new,
        }
    }

    #[inline]
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let passed = self.queue.passed();
        if let State::Busy(timer) = &self.state {
            if timer.will_wake_in_time(passed) && timer.task == Some(TaskId::of(cx.waker())) {
                return Poll::Pending;
            }
        }
        self.poll_expired_slow(passed, cx)
    }

    #[inline]
    fn has_budget(&self) -> bool {
        has_budget_remaining()
    }
}

impl SharedTimer {
    fn poll_expired_slow(&mut self, passed: Tick, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.state.deadline();
        if deadline <= passed {
            if let State::Idle { slot, .. } = &mut self.state {
                *slot = None;
            }
            return Poll::Ready(());
        }
        if deadline == ENDLESS || is_traced(cx) || self.wait(cx.waker()) {
            return Poll::Pending;
        }
        self.poll_expired(cx)
    }

    /// Makes the queue wake the task at the deadline. Returns false if ticks have passed meanwhile.
    fn wait(&mut self, waker: &Waker) -> bool {
        if let State::Idle {
            deadline,
            slot: slot @ None,
        } = &mut self.state
        {
            *slot = self.queue.enter(*deadline, waker);
            return slot.is_some();
        }
        let timer = self.state.busy();
        self.queue.leave(mem::take(&mut timer.queued), timer.slot);
        let Some(slot) = self.queue.enter(timer.deadline, waker) else {
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
            State::Idle { slot: None, .. } => {}
            State::Idle {
                deadline,
                slot: Some(slot),
            } => self.queue.leave(*deadline, *slot),
            State::Busy(timer) => self.queue.leave(timer.queued, timer.slot),
        }
    }
}

impl State {
    fn deadline(&self) -> Tick {
        match self {
            Self::Idle { deadline, .. } => *deadline,
            Self::Busy(timer) => timer.deadline,
        }
    }

    fn busy(&mut self) -> &mut Busy {
        match *self {
            Self::Busy(ref mut timer) => timer,
            Self::Idle { deadline, slot } => {
                *self = Self::Busy(Box::new(Busy {
                    deadline,
                    queued: slot.map_or(0, |_| deadline),
                    slot: slot.unwrap_or_default(),
                    task: None,
                }));
                self.busy()
            }
        }
    }
}

impl Busy {
    /// Returns whether the queue wakes the task at the deadline or earlier. Earlier is enough, because the
    /// task then polls and the timer enters the queue again. A stream whose items arrive faster than `idle`
    /// therefore enters the queue about once per `idle`.
    #[inline]
    fn will_wake_in_time(&self, passed: Tick) -> bool {
        passed < self.queued && self.queued <= self.deadline
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
