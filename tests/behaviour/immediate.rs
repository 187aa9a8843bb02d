//! When the immediate keepalive is inserted, and when it is not.

use std::{cell::Cell, pin::Pin, time::Duration};

use stream_keepalive::{Keepalive, Repeat};
use tokio_test::{
    assert_pending, assert_ready_eq,
    task::{Spawn, spawn},
};

use crate::{
    KEEPALIVE, Keepalives, answers_after,
    support::{
        clock::Clock,
        panics::panic_of,
        source::{Remote, source},
    },
    yields_after,
};

on_every_clock! {
    a_first_poll_that_finds_no_item_yields_a_keepalive,
    an_item_at_the_first_poll_replaces_it,
    the_end_at_the_first_poll_replaces_it,
    only_the_first_poll_yields_it,
    the_wait_before_the_first_poll_does_not_matter,
    on_a_stream_that_has_been_polled_it_applies_to_the_next_poll,
    after_the_end_it_does_nothing,
    a_zero_idle_turns_it_off,
    another_idle_time_cancels_it,
    another_timer_does_not_cancel_it,
    with_an_endless_idle_it_is_the_only_one,
    a_filler_that_panics_costs_it,
    calling_it_twice_is_calling_it_once,
}

fn immediate<C: Clock>(clock: &C, idle: Duration) -> (Remote<&'static str>, Spawn<Keepalives<C>>) {
    let (remote, source) = source();
    let events = Keepalive::new(source, idle, Repeat(KEEPALIVE)).with_timer(clock.timer());
    (remote, spawn(events.immediate()))
}

async fn a_first_poll_that_finds_no_item_yields_a_keepalive<C: Clock>(clock: C) {
    let (remote, mut events) = immediate(&clock, C::IDLE);
    assert_ready_eq!(events.poll_next(), Some(KEEPALIVE));
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
    remote.end();
    assert_ready_eq!(events.poll_next(), None);
}

async fn an_item_at_the_first_poll_replaces_it<C: Clock>(clock: C) {
    let (remote, mut events) = immediate(&clock, C::IDLE);
    remote.send("a");
    assert_ready_eq!(events.poll_next(), Some("a"));
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
}

async fn the_end_at_the_first_poll_replaces_it<C: Clock>(clock: C) {
    let (remote, mut events) = immediate(&clock, C::IDLE);
    remote.end();
    assert_ready_eq!(events.poll_next(), None);
    assert_ready_eq!(events.poll_next(), None);
}

async fn only_the_first_poll_yields_it<C: Clock>(clock: C) {
    let (remote, mut events) = immediate(&clock, C::IDLE);
    assert_ready_eq!(events.poll_next(), Some(KEEPALIVE));
    assert_pending!(events.poll_next());
    remote.send("a");
    assert_ready_eq!(events.poll_next(), Some("a"));
    assert_pending!(events.poll_next());
    Pin::new(&mut *events).set_idle(C::IDLE);
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
    assert_pending!(events.poll_next());
}

async fn the_wait_before_the_first_poll_does_not_matter<C: Clock>(clock: C) {
    let (_remote, mut events) = immediate(&clock, C::IDLE);
    clock.pass(C::IDLE * 10).await;
    assert_ready_eq!(events.poll_next(), Some(KEEPALIVE));
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
}

async fn on_a_stream_that_has_been_polled_it_applies_to_the_next_poll<C: Clock>(clock: C) {
    let (remote, mut events) = crate::keepalives(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    clock.pass(C::IDLE / 2).await;
    let mut events = spawn(events.into_inner().immediate());
    assert_ready_eq!(events.poll_next(), Some(KEEPALIVE));
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;

    let mut events = spawn(events.into_inner().immediate());
    remote.send("a");
    assert_ready_eq!(events.poll_next(), Some("a"));
    assert_pending!(events.poll_next());
}

async fn after_the_end_it_does_nothing<C: Clock>(clock: C) {
    let (remote, mut events) = immediate(&clock, C::IDLE);
    remote.end();
    assert_ready_eq!(events.poll_next(), None);
    let mut events = spawn(events.into_inner().immediate());
    assert_ready_eq!(events.poll_next(), None);
    assert_eq!(remote.polls(), 1);
}

async fn a_zero_idle_turns_it_off<C: Clock>(clock: C) {
    let (_remote, mut events) = immediate(&clock, Duration::ZERO);
    assert_pending!(events.poll_next());
    Pin::new(&mut *events).set_idle(C::IDLE);
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
}

async fn another_idle_time_cancels_it<C: Clock>(clock: C) {
    for idle in [C::IDLE, Duration::ZERO] {
        let (_remote, mut events) = immediate(&clock, idle);
        Pin::new(&mut *events).set_idle(C::IDLE);
        assert_pending!(events.poll_next());
        yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
    }
}

async fn another_timer_does_not_cancel_it<C: Clock>(clock: C) {
    let (_remote, events) = immediate(&clock, C::IDLE);
    let mut events = spawn(events.into_inner().with_timer(clock.timer()));
    assert_ready_eq!(events.poll_next(), Some(KEEPALIVE));
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
}

async fn with_an_endless_idle_it_is_the_only_one<C: Clock>(clock: C) {
    let (remote, mut events) = immediate(&clock, Duration::MAX);
    assert_ready_eq!(events.poll_next(), Some(KEEPALIVE));
    assert_pending!(events.poll_next());
    clock.pass(C::IDLE * 10).await;
    assert_pending!(events.poll_next());
    remote.send("a");
    assert_ready_eq!(events.poll_next(), Some("a"));
}

async fn a_filler_that_panics_costs_it<C: Clock>(clock: C) {
    let works = Cell::new(false);
    let fill = || {
        assert!(works.replace(true), "out of keepalives");
        KEEPALIVE
    };
    let (_remote, source) = source();
    let events = Keepalive::new(source, C::IDLE, fill).with_timer(clock.timer());
    let mut events = spawn(events.immediate());
    assert_eq!(panic_of(|| events.poll_next()).message, "out of keepalives");
    assert_pending!(events.poll_next());
    answers_after(&clock, &mut events, C::IDLE, Some(KEEPALIVE)).await;
}

async fn calling_it_twice_is_calling_it_once<C: Clock>(clock: C) {
    let (_remote, events) = immediate(&clock, C::IDLE);
    let mut events = spawn(events.into_inner().immediate());
    assert_ready_eq!(events.poll_next(), Some(KEEPALIVE));
    assert_pending!(events.poll_next());
}
