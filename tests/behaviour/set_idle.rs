//! Changing the idle time at any moment.

use std::{pin::Pin, time::Duration};

use tokio_test::{assert_pending, assert_ready_eq};

use crate::{
    KEEPALIVE, LAST, answers_after, ending, keepalives, support::clock::Clock, yields_after,
};

on_every_clock! {
    before_the_first_poll_it_is_as_if_given_at_construction,
    during_an_idle_period_the_clock_restarts_at_the_next_poll,
    the_same_duration_restarts_the_clock_too,
    an_overdue_clock_restarts_at_the_next_poll,
    after_an_item_the_next_idle_period_has_the_new_duration,
    after_a_keepalive_the_next_idle_period_has_the_new_duration,
    the_task_is_not_woken_before_the_old_duration_has_passed,
    zero_turns_it_off_and_another_on_again,
    an_endless_duration_turns_it_off_and_another_on_again,
    after_the_end_it_does_nothing,
    a_timeout_restarts_at_the_next_poll,
    a_timeout_of_zero_is_off,
}

async fn before_the_first_poll_it_is_as_if_given_at_construction<C: Clock>(clock: C) {
    for (before, after) in [(C::IDLE, C::IDLE * 2), (C::IDLE * 2, C::IDLE)] {
        let (_remote, mut events) = keepalives(&clock, before);
        assert_eq!(events.idle(), before);
        Pin::new(&mut *events).set_idle(after);
        assert_eq!(events.idle(), after);
        assert_pending!(events.poll_next());
        yields_after(&clock, &mut events, after, KEEPALIVE).await;
    }
}

async fn during_an_idle_period_the_clock_restarts_at_the_next_poll<C: Clock>(clock: C) {
    for idle in [
        C::IDLE / 2,
        C::IDLE - C::TICK,
        C::IDLE + C::TICK,
        C::IDLE * 2,
    ] {
        let (_remote, mut events) = keepalives(&clock, C::IDLE);
        assert_pending!(events.poll_next());
        clock.pass(C::IDLE / 4).await;
        Pin::new(&mut *events).set_idle(idle);
        clock.pass(C::IDLE / 4).await;
        assert_pending!(events.poll_next());
        yields_after(&clock, &mut events, idle, KEEPALIVE).await;
        assert_pending!(events.poll_next());
        yields_after(&clock, &mut events, idle, KEEPALIVE).await;
    }
}

async fn the_same_duration_restarts_the_clock_too<C: Clock>(clock: C) {
    let (_remote, mut events) = keepalives(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    clock.pass(C::IDLE - C::TICK).await;
    Pin::new(&mut *events).set_idle(C::IDLE);
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
}

async fn an_overdue_clock_restarts_at_the_next_poll<C: Clock>(clock: C) {
    for idle in [C::IDLE / 2, C::IDLE, C::IDLE * 2] {
        let (_remote, mut events) = keepalives(&clock, C::IDLE);
        assert_pending!(events.poll_next());
        clock.pass(C::IDLE * 3).await;
        Pin::new(&mut *events).set_idle(idle);
        assert_pending!(events.poll_next());
        yields_after(&clock, &mut events, idle, KEEPALIVE).await;
    }
}

async fn after_an_item_the_next_idle_period_has_the_new_duration<C: Clock>(clock: C) {
    let (remote, mut events) = keepalives(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    remote.send("a");
    assert_ready_eq!(events.poll_next(), Some("a"));
    Pin::new(&mut *events).set_idle(C::IDLE / 2);
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE / 2, KEEPALIVE).await;
}

async fn after_a_keepalive_the_next_idle_period_has_the_new_duration<C: Clock>(clock: C) {
    let (_remote, mut events) = keepalives(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
    Pin::new(&mut *events).set_idle(C::IDLE * 2);
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE * 2, KEEPALIVE).await;
}

async fn the_task_is_not_woken_before_the_old_duration_has_passed<C: Clock>(clock: C) {
    let (_remote, mut events) = keepalives(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    Pin::new(&mut *events).set_idle(C::IDLE / 4);
    clock.pass(C::IDLE - C::TICK).await;
    assert!(!events.is_woken());
    clock.pass(C::TICK).await;
    assert!(events.is_woken());
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE / 4, KEEPALIVE).await;
}

async fn zero_turns_it_off_and_another_on_again<C: Clock>(clock: C) {
    let (remote, mut events) = keepalives(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    Pin::new(&mut *events).set_idle(Duration::ZERO);
    for _ in 0..5 {
        clock.pass(C::IDLE).await;
        assert_pending!(events.poll_next());
    }
    remote.send("a");
    assert_ready_eq!(events.poll_next(), Some("a"));
    assert_pending!(events.poll_next());
    Pin::new(&mut *events).set_idle(C::IDLE);
    clock.pass(C::IDLE).await;
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
}

async fn an_endless_duration_turns_it_off_and_another_on_again<C: Clock>(clock: C) {
    let (_remote, mut events) = keepalives(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    Pin::new(&mut *events).set_idle(Duration::MAX);
    for _ in 0..5 {
        clock.pass(C::IDLE).await;
        assert_pending!(events.poll_next());
    }
    Pin::new(&mut *events).set_idle(C::IDLE);
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
}

async fn after_the_end_it_does_nothing<C: Clock>(clock: C) {
    let (remote, mut events) = keepalives(&clock, C::IDLE);
    remote.end();
    assert_ready_eq!(events.poll_next(), None);
    Pin::new(&mut *events).set_idle(C::IDLE * 2);
    assert_eq!(events.idle(), C::IDLE * 2);
    assert_ready_eq!(events.poll_next(), None);

    let (remote, mut events) = ending(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    answers_after(&clock, &mut events, C::IDLE, Some(LAST)).await;
    Pin::new(&mut *events).set_idle(C::IDLE * 2);
    remote.send("a");
    assert_ready_eq!(events.poll_next(), None);
}

async fn a_timeout_restarts_at_the_next_poll<C: Clock>(clock: C) {
    for idle in [C::IDLE / 2, C::IDLE, C::IDLE * 2] {
        let (_remote, mut events) = ending(&clock, C::IDLE);
        assert_pending!(events.poll_next());
        clock.pass(C::IDLE / 2).await;
        Pin::new(&mut *events).set_idle(idle);
        assert_eq!(events.idle(), idle);
        clock.pass(C::IDLE).await;
        assert_pending!(events.poll_next());
        answers_after(&clock, &mut events, idle, Some(LAST)).await;
    }
}

async fn a_timeout_of_zero_is_off<C: Clock>(clock: C) {
    let (remote, mut events) = ending(&clock, Duration::ZERO);
    for _ in 0..5 {
        assert_pending!(events.poll_next());
        clock.pass(C::IDLE).await;
        assert!(!events.is_woken());
    }
    Pin::new(&mut *events).set_idle(C::IDLE);
    assert_pending!(events.poll_next());
    Pin::new(&mut *events).set_idle(Duration::ZERO);
    clock.pass(C::IDLE * 2).await;
    assert_pending!(events.poll_next());
    remote.end();
    assert_ready_eq!(events.poll_next(), None);
}
