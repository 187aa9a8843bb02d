//! Stacks of adapters.

use stream_keepalive::{IdleTimeout, Keepalive, Repeat};
use tokio_test::{
    assert_pending, assert_ready_eq,
    task::{Spawn, spawn},
};

use crate::{
    Ending, KEEPALIVE, Keepalives, LAST, answers_after,
    support::{
        clock::Clock,
        source::{Remote, source},
    },
};

on_every_clock! {
    an_outer_keepalive_with_a_longer_idle_never_fires,
    an_outer_keepalive_with_a_shorter_idle_fills_between_the_inner_ones,
    two_keepalives_due_at_the_same_time_are_one,
    a_timeout_below_limits_how_long_keepalives_go_on,
    a_timeout_due_with_a_keepalive_goes_first,
    a_timeout_without_a_last_item_that_is_due_with_a_keepalive_goes_first,
    an_item_restarts_both_clocks,
    a_timeout_above_sees_the_keepalives,
    a_shorter_timeout_above_does_not_wait_for_a_keepalive,
    a_timeout_above_a_keepalive_that_is_turned_off_ends_the_stream,
}

const OUTER: &str = "outer";

type Stack<S> = (Remote<&'static str>, Spawn<S>);
type Kept<S, C> = Keepalive<S, Repeat<&'static str>, <C as Clock>::Timer>;
type Watched<S, C> = IdleTimeout<S, fn() -> &'static str, <C as Clock>::Timer>;

fn twice<C: Clock>(clock: &C, inner: u32, outer: u32) -> Stack<Kept<Keepalives<C>, C>> {
    let (remote, source) = source();
    let quarter = C::IDLE / 4;
    let events =
        Keepalive::new(source, quarter * inner, Repeat(KEEPALIVE)).with_timer(clock.timer());
    let events = Keepalive::new(events, quarter * outer, Repeat(OUTER)).with_timer(clock.timer());
    (remote, spawn(events))
}

fn bounded<C: Clock>(clock: &C, timeout: u32, keepalive: u32) -> Stack<Kept<Ending<C>, C>> {
    let (remote, source) = source();
    let quarter = C::IDLE / 4;
    let events = IdleTimeout::new(source, quarter * timeout).with_timer(clock.timer());
    let events = events.with_last((|| LAST) as fn() -> _);
    let events =
        Keepalive::new(events, quarter * keepalive, Repeat(KEEPALIVE)).with_timer(clock.timer());
    (remote, spawn(events))
}

fn watched<C: Clock>(clock: &C, keepalive: u32, timeout: u32) -> Stack<Watched<Keepalives<C>, C>> {
    let (remote, source) = source();
    let quarter = C::IDLE / 4;
    let events =
        Keepalive::new(source, quarter * keepalive, Repeat(KEEPALIVE)).with_timer(clock.timer());
    let events = IdleTimeout::new(events, quarter * timeout).with_timer(clock.timer());
    (remote, spawn(events.with_last(|| LAST)))
}

async fn an_outer_keepalive_with_a_longer_idle_never_fires<C: Clock>(clock: C) {
    let (_remote, mut events) = twice(&clock, 2, 3);
    for _ in 0..5 {
        assert_pending!(events.poll_next());
        answers_after(&clock, &mut events, C::IDLE / 2, Some(KEEPALIVE)).await;
    }
}

async fn an_outer_keepalive_with_a_shorter_idle_fills_between_the_inner_ones<C: Clock>(clock: C) {
    let (_remote, mut events) = twice(&clock, 3, 2);
    for _ in 0..3 {
        assert_pending!(events.poll_next());
        answers_after(&clock, &mut events, C::IDLE / 2, Some(OUTER)).await;
        assert_pending!(events.poll_next());
        answers_after(&clock, &mut events, C::IDLE / 4, Some(KEEPALIVE)).await;
    }
}

async fn two_keepalives_due_at_the_same_time_are_one<C: Clock>(clock: C) {
    let (_remote, mut events) = twice(&clock, 4, 4);
    for _ in 0..3 {
        assert_pending!(events.poll_next());
        answers_after(&clock, &mut events, C::IDLE, Some(KEEPALIVE)).await;
    }
    assert_pending!(events.poll_next());
    clock.pass(C::IDLE * 10).await;
    assert_ready_eq!(events.poll_next(), Some(KEEPALIVE));
    assert_pending!(events.poll_next());
}

async fn a_timeout_below_limits_how_long_keepalives_go_on<C: Clock>(clock: C) {
    let (_remote, mut events) = bounded(&clock, 10, 4);
    for _ in 0..2 {
        assert_pending!(events.poll_next());
        answers_after(&clock, &mut events, C::IDLE, Some(KEEPALIVE)).await;
    }
    assert_pending!(events.poll_next());
    answers_after(&clock, &mut events, C::IDLE / 2, Some(LAST)).await;
    assert_ready_eq!(events.poll_next(), None);
}

async fn a_timeout_due_with_a_keepalive_goes_first<C: Clock>(clock: C) {
    let (_remote, mut events) = bounded(&clock, 2, 2);
    assert_pending!(events.poll_next());
    answers_after(&clock, &mut events, C::IDLE / 2, Some(LAST)).await;
    assert_ready_eq!(events.poll_next(), None);
}

async fn a_timeout_without_a_last_item_that_is_due_with_a_keepalive_goes_first<C: Clock>(clock: C) {
    let (_remote, source) = source();
    let events = IdleTimeout::new(source, C::IDLE).with_timer(clock.timer());
    let events = Keepalive::new(events, C::IDLE, Repeat(KEEPALIVE)).with_timer(clock.timer());
    let mut events = spawn(events);
    assert_pending!(events.poll_next());
    answers_after(&clock, &mut events, C::IDLE, None).await;
}

async fn an_item_restarts_both_clocks<C: Clock>(clock: C) {
    let (remote, mut events) = bounded(&clock, 6, 4);
    for _ in 0..3 {
        assert_pending!(events.poll_next());
        answers_after(&clock, &mut events, C::IDLE, Some(KEEPALIVE)).await;
        remote.send("a");
        assert_ready_eq!(events.poll_next(), Some("a"));
    }
    assert_pending!(events.poll_next());
    answers_after(&clock, &mut events, C::IDLE, Some(KEEPALIVE)).await;
    assert_pending!(events.poll_next());
    answers_after(&clock, &mut events, C::IDLE / 2, Some(LAST)).await;
}

async fn a_timeout_above_sees_the_keepalives<C: Clock>(clock: C) {
    for timeout in [2, 3] {
        let (_remote, mut events) = watched(&clock, 2, timeout);
        for _ in 0..5 {
            assert_pending!(events.poll_next());
            answers_after(&clock, &mut events, C::IDLE / 2, Some(KEEPALIVE)).await;
        }
    }
}

async fn a_shorter_timeout_above_does_not_wait_for_a_keepalive<C: Clock>(clock: C) {
    let (remote, mut events) = watched(&clock, 3, 2);
    assert_pending!(events.poll_next());
    answers_after(&clock, &mut events, C::IDLE / 2, Some(LAST)).await;
    remote.send("late");
    assert_ready_eq!(events.poll_next(), None);
}

async fn a_timeout_above_a_keepalive_that_is_turned_off_ends_the_stream<C: Clock>(clock: C) {
    let (_remote, mut events) = watched(&clock, 0, 2);
    assert_pending!(events.poll_next());
    answers_after(&clock, &mut events, C::IDLE / 2, Some(LAST)).await;
}
