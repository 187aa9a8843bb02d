//! The behaviour that a user can rely on, with a file for each subject.

#[allow(dead_code, reason = "shared with the other test binaries")]
#[path = "../support/mod.rs"]
mod support;

/// Makes a test of each case and clock. Cases after `exact` only run on clocks that stand still until they are
/// moved.
macro_rules! on_every_clock {
    ($($case:ident),+ $(,)? $(; exact: $($exact:ident),+ $(,)?)?) => {
        #[cfg(feature = "tokio")]
        mod on_the_paused_clock_of_tokio {
            use crate::support::clock::{Clock, PausedTokio};
            $(#[test] fn $case() { PausedTokio::run(super::$case) })+
            $($(#[test] fn $exact() { PausedTokio::run(super::$exact) })+)?
        }
        mod on_a_clock_moved_by_hand {
            use crate::support::clock::{ByHand, Clock};
            $(#[test] fn $case() { ByHand::run(super::$case) })+
            $($(#[test] fn $exact() { ByHand::run(super::$exact) })+)?
        }
        #[cfg(feature = "tokio")]
        mod on_a_shared_queue {
            use crate::support::clock::{Clock, SharedQueue};
            $(#[test] fn $case() { SharedQueue::run(super::$case) })+
            $($(#[test] fn $exact() { SharedQueue::run(super::$exact) })+)?
        }
        mod in_real_time_on_smol {
            use crate::support::clock::{Clock, Real, Smol};
            $(#[test] fn $case() { Real::<Smol>::run(super::$case) })+
        }
        mod in_real_time_on_futures_timer {
            use crate::support::clock::{Bare, Clock, Real};
            $(#[test] fn $case() { Real::<Bare>::run(super::$case) })+
        }
    };
}

/// Makes a test of each case with either timer of Tokio.
#[cfg(feature = "tokio")]
macro_rules! on_tokio {
    ($($case:ident),+ $(,)?) => {
        mod with_a_timer_of_its_own {
            use super::*;
            $(#[test] fn $case() { PausedTokio::run(super::$case) })+
        }
        mod with_a_shared_timer {
            use super::*;
            $(#[test] fn $case() { SharedQueue::run(super::$case) })+
        }
    };
}

mod accessors;
mod auto_traits;
mod custom_timer;
mod faults;
mod fill;
mod fused;
mod idle_timeout;
mod immediate;
mod keepalive;
mod set_idle;
mod sleep_timer;
mod stacking;
mod wakers;

#[cfg(feature = "tokio")]
mod budget;
#[cfg(feature = "tokio")]
mod busy_streams;
#[cfg(feature = "tokio")]
mod durations;
#[cfg(feature = "tokio")]
mod late_items;
#[cfg(feature = "tokio")]
mod outside_runtime;
#[cfg(feature = "tokio")]
mod shared_timers;
#[cfg(feature = "tokio")]
mod shutdown;
#[cfg(feature = "tokio")]
mod starvation;
#[cfg(all(feature = "tokio", tokio_unstable))]
mod task_dump;
mod without_tokio;

use std::{fmt::Debug, task::Poll, time::Duration};

use futures::Stream;
use stream_keepalive::{IdleTimeout, Keepalive, Repeat};
use tokio_test::{
    assert_pending,
    task::{Spawn, spawn},
};

use support::{
    clock::Clock,
    source::{Remote, Source, source},
};

const KEEPALIVE: &str = "keepalive";

/// The limit of every wait in real time. It leaves room for a busy machine.
#[cfg(feature = "tokio")]
const PATIENCE: Duration = Duration::from_secs(60);
const LAST: &str = "last";

type Strings = Source<&'static str>;
type Keepalives<C> = Keepalive<Strings, Repeat<&'static str>, <C as Clock>::Timer>;
type Ending<C> = IdleTimeout<Strings, fn() -> &'static str, <C as Clock>::Timer>;

/// A source with keepalives, in a task of its own.
fn keepalives<C: Clock>(clock: &C, idle: Duration) -> (Remote<&'static str>, Spawn<Keepalives<C>>) {
    let (remote, source) = source();
    let events = Keepalive::new(source, idle, Repeat(KEEPALIVE)).with_timer(clock.timer());
    (remote, spawn(events))
}

/// A source that an idle timeout ends with a last item, in a task of its own.
fn ending<C: Clock>(clock: &C, idle: Duration) -> (Remote<&'static str>, Spawn<Ending<C>>) {
    let (remote, source) = source();
    let events = IdleTimeout::new(source, idle).with_timer(clock.timer());
    (remote, spawn(events.with_last(|| LAST)))
}

/// Expects a kept-alive stream that has just been polled to yield `next` after `time`, and not before.
async fn yields_after<C: Clock, S>(clock: &C, events: &mut Spawn<S>, time: Duration, next: S::Item)
where
    S: Stream<Item: PartialEq + Debug>,
{
    clock.pass(time - C::TICK).await;
    answers_after(clock, events, C::TICK, Some(next)).await;
}

/// Expects a stream that has just been polled to return `answer` after `time`, and not before. The stream may have an idle
/// timeout, which has to be polled after half of its idle time.
async fn answers_after<C: Clock, S>(
    clock: &C,
    events: &mut Spawn<S>,
    time: Duration,
    answer: Option<S::Item>,
) where
    S: Stream<Item: PartialEq + Debug>,
{
    stays_idle(clock, events, time - C::TICK).await;
    assert_pending!(events.poll_next(), "just before {time:?}");
    clock.pass(C::TICK).await;
    assert!(events.is_woken(), "woken at {time:?}");
    assert_eq!(answer_of(events), Poll::Ready(answer), "at {time:?}");
}

/// Lets time pass, polls the stream whenever it is woken, and expects it to find nothing.
async fn stays_idle<C: Clock, S>(clock: &C, events: &mut Spawn<S>, mut time: Duration)
where
    S: Stream<Item: PartialEq + Debug>,
{
    // A test that waits for years has no timeout.
    let longest = if time > C::IDLE * 4 {
        time
    } else {
        C::IDLE / 4
    };
    while !time.is_zero() {
        let step = time.min(longest);
        clock.pass(step).await;
        time -= step;
        if events.is_woken() {
            assert_eq!(answer_of(events), Poll::Pending);
        }
    }
}

/// Polls the stream as often as it wakes its own task.
fn answer_of<S: Stream>(events: &mut Spawn<S>) -> Poll<Option<S::Item>> {
    loop {
        let answer = events.poll_next();
        if answer.is_ready() || !events.is_woken() {
            return answer;
        }
    }
}
