//! How the adapters use a timer, and when they do not touch it.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::StreamExt;
use stream_keepalive::{IdleTimeout, Keepalive, Repeat, Timer};
use tokio_test::{assert_pending, assert_ready_eq, task::spawn};

use crate::{
    KEEPALIVE, LAST, answer_of, ending, keepalives,
    support::{
        clock::{ByHand, ByHandTimer, Clock},
        panics::panic_of,
        source::source,
    },
};

const IDLE: Duration = ByHand::IDLE;
const NANO: Duration = Duration::from_nanos(1);

#[test]
fn while_items_are_ready_no_timer_is_touched() {
    let clock = ByHand::default();
    let (kept, mut keepalives) = keepalives(&clock, IDLE);
    let (ended, mut ending) = ending(&clock, IDLE);
    for _ in 0..100 {
        kept.send("a");
        ended.send("a");
        assert_ready_eq!(keepalives.poll_next(), Some("a"));
        assert_ready_eq!(ending.poll_next(), Some("a"));
        clock.advance(IDLE);
    }
    kept.end();
    ended.end();
    assert_ready_eq!(keepalives.poll_next(), None);
    assert_ready_eq!(ending.poll_next(), None);
    assert_eq!((clock.arms(), clock.polls()), (0, 0));
}

#[test]
fn an_item_before_idle_has_passed_touches_no_timer() {
    let clock = ByHand::default();
    let (remote, mut events) = keepalives(&clock, IDLE);
    assert_pending!(events.poll_next());
    assert_eq!((clock.arms(), clock.polls()), (1, 1));
    clock.advance(IDLE);
    remote.send("a");
    assert_ready_eq!(events.poll_next(), Some("a"));
    assert_eq!((clock.arms(), clock.polls()), (1, 1));
}

#[test]
fn an_idle_period_arms_the_timer_once_however_often_it_is_polled() {
    let clock = ByHand::default();
    let (_remote, mut events) = keepalives(&clock, IDLE);
    for keepalive in 1..=3 {
        for _ in 0..10 {
            assert_pending!(events.poll_next());
            assert_eq!(clock.arms(), keepalive);
        }
        clock.advance(IDLE);
        assert_ready_eq!(events.poll_next(), Some(KEEPALIVE));
        assert_eq!(clock.arms(), keepalive);
    }
}

#[test]
fn a_timer_is_not_touched_after_the_end() {
    let clock = ByHand::default();
    let (remote, mut kept) = keepalives(&clock, IDLE);
    let (_remote, mut ended) = ending(&clock, IDLE);
    assert_pending!(kept.poll_next());
    assert_pending!(ended.poll_next());
    clock.advance(IDLE / 2);
    assert_pending!(ended.poll_next());
    clock.advance(IDLE / 2);
    remote.end();
    assert_ready_eq!(kept.poll_next(), None);
    assert_eq!(answer_of(&mut ended), Poll::Ready(Some(LAST)));
    let touched = (clock.arms(), clock.polls());
    clock.advance(IDLE);
    assert_ready_eq!(kept.poll_next(), None);
    assert_ready_eq!(ended.poll_next(), None);
    assert_eq!((clock.arms(), clock.polls()), touched);
}

#[test]
fn a_stream_that_is_turned_off_never_touches_its_timer() {
    let clock = ByHand::default();
    let (_remote, mut kept) = keepalives(&clock, Duration::ZERO);
    let (_remote, mut ended) = ending(&clock, Duration::ZERO);
    for _ in 0..3 {
        assert_pending!(kept.poll_next());
        assert_pending!(ended.poll_next());
        clock.advance(IDLE);
    }
    assert_eq!((clock.arms(), clock.polls()), (0, 0));
}

#[test]
fn an_immediate_keepalive_needs_no_timer() {
    let clock = ByHand::default();
    let (_remote, source) = source();
    let events = Keepalive::new(source, IDLE, Repeat(KEEPALIVE)).with_timer(clock.timer());
    let mut events = spawn(events.immediate());
    assert_ready_eq!(events.poll_next(), Some(KEEPALIVE));
    assert_eq!((clock.arms(), clock.polls()), (0, 0));
}

#[test]
fn construction_and_every_setting_leave_the_timer_alone() {
    let clock = ByHand::default();
    let (_remote, inner) = source();
    let mut kept = Keepalive::new(inner, IDLE, Repeat(KEEPALIVE))
        .with_timer(clock.timer())
        .immediate();
    Pin::new(&mut kept).set_idle(IDLE * 2);
    drop(kept.into_inner());
    let (_remote, inner) = source();
    let mut ended = IdleTimeout::new(inner, IDLE)
        .with_timer(clock.timer())
        .with_last(|| LAST);
    Pin::new(&mut ended).set_idle(IDLE * 2);
    drop(ended.into_inner());
    assert_eq!((clock.arms(), clock.polls()), (0, 0));
}

#[test]
fn an_idle_time_of_74_years_or_more_counts_as_the_longest_duration() {
    const LIMIT: Duration = Duration::from_nanos((1 << 61) - 1);
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let clock = ByHand::default();
    let (_remote, mut longest) = keepalives(&clock, LIMIT - NANO);
    assert_eq!(longest.idle(), LIMIT - NANO);
    assert_pending!(longest.poll_next());
    assert!(LIMIT > YEAR * 73 && LIMIT < YEAR * 74);
    for idle in [LIMIT, LIMIT + NANO, YEAR * 74, Duration::MAX] {
        let (_remote, mut never) = keepalives(&clock, idle);
        assert_eq!(never.idle(), Duration::MAX);
        assert_pending!(never.poll_next());
        assert_eq!(clock.last_armed(), Duration::MAX);
    }
    clock.advance(LIMIT - NANO - NANO);
    assert_pending!(longest.poll_next());
    clock.advance(NANO);
    assert_ready_eq!(longest.poll_next(), Some(KEEPALIVE));
}

/// Panics when it is armed for the second time.
struct Faulty {
    timer: ByHandTimer,
    arms: u32,
}

impl Timer for Faulty {
    fn arm(&mut self, after: Duration) {
        self.arms += 1;
        assert_ne!(self.arms, 2, "no timer");
        self.timer.arm(after);
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.poll_expired(cx)
    }
}

#[test]
fn a_clock_whose_timer_cannot_be_armed_starts_again_at_the_next_poll() {
    let clock = ByHand::default();
    let faulty = || Faulty {
        timer: clock.timer(),
        arms: 0,
    };
    let (_remote, inner) = source::<()>();
    let mut keepalives = spawn(Keepalive::new(inner, IDLE, Repeat(())).with_timer(faulty()));
    assert_pending!(keepalives.poll_next());
    clock.advance(IDLE);
    assert_ready_eq!(keepalives.poll_next(), Some(()));
    assert!(
        panic_of(|| keepalives.poll_next())
            .message
            .contains("no timer")
    );
    assert_pending!(keepalives.poll_next());
    clock.advance(IDLE);
    assert_ready_eq!(keepalives.poll_next(), Some(()));

    let (_remote, inner) = source::<()>();
    let mut ending = spawn(IdleTimeout::new(inner, IDLE).with_timer(faulty()));
    assert_pending!(ending.poll_next());
    clock.advance(IDLE / 2);
    assert!(panic_of(|| ending.poll_next()).message.contains("no timer"));
    for _ in 0..2 {
        assert_pending!(ending.poll_next());
        clock.advance(IDLE / 2);
    }
    assert_eq!(answer_of(&mut ending), Poll::Ready(None));
}

#[test]
fn a_clock_that_runs_starts_again_when_its_timer_is_replaced() {
    let clock = ByHand::default();
    let mut cx = Context::from_waker(Waker::noop());
    let (_remote, inner) = source::<()>();
    let mut keepalives = Keepalive::new(inner, IDLE, Repeat(())).with_timer(clock.timer());
    assert_pending!(keepalives.poll_next_unpin(&mut cx));
    clock.advance(IDLE / 2);
    let mut keepalives = spawn(keepalives.with_timer(clock.timer()));
    assert_pending!(keepalives.poll_next());
    clock.advance(IDLE - NANO);
    assert_pending!(keepalives.poll_next());
    clock.advance(NANO);
    assert_ready_eq!(keepalives.poll_next(), Some(()));

    let (_remote, inner) = source::<()>();
    let mut ending = IdleTimeout::new(inner, IDLE).with_timer(clock.timer());
    for _ in 0..2 {
        assert_pending!(ending.poll_next_unpin(&mut cx));
        clock.advance(IDLE / 2);
    }
    // The second half has passed, but the new timer has not measured it.
    let mut ending = spawn(ending.with_timer(clock.timer()));
    for _ in 0..2 {
        assert_pending!(ending.poll_next());
        clock.advance(IDLE / 2);
    }
    assert_eq!(answer_of(&mut ending), Poll::Ready(None));
}
