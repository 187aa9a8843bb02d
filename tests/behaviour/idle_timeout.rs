//! When an idle timeout ends a stream, and when it does not.

use std::{cell::Cell, time::Duration};

use stream_keepalive::IdleTimeout;
use tokio_test::{assert_pending, assert_ready_eq, task::spawn};

use crate::{
    LAST, answer_of, answers_after, ending, stays_idle,
    support::{clock::Clock, panics::panic_of, source::source},
};

on_every_clock! {
    items_and_the_end_pass_immediately_and_in_order,
    an_idle_stream_ends_after_idle_and_not_before,
    an_idle_stream_yields_its_last_item_and_then_ends,
    a_stream_that_is_polled_late_ends_after_half_of_idle,
    a_consumer_that_is_always_away_notices_the_end_at_its_fourth_poll,
    the_clock_does_not_start_at_construction,
    the_clock_does_not_start_at_an_item,
    a_poll_in_between_does_not_restart_the_clock,
    an_item_restarts_the_clock,
    an_error_restarts_the_clock,
    an_item_found_at_the_same_poll_keeps_the_stream_open,
    the_end_found_at_the_same_poll_replaces_the_last_item,
    a_stream_that_ends_by_itself_has_no_last_item,
    the_last_item_is_made_as_it_is_yielded,
    a_last_item_set_twice_is_the_second,
    a_last_item_that_panics_leaves_the_stream_ended,
    items_after_the_timeout_stay_in_the_inner_stream,
}

async fn items_and_the_end_pass_immediately_and_in_order<C: Clock>(clock: C) {
    let (remote, mut events) = ending(&clock, C::IDLE);
    remote.send("a");
    remote.send("b");
    assert_ready_eq!(events.poll_next(), Some("a"));
    assert_ready_eq!(events.poll_next(), Some("b"));
    assert_pending!(events.poll_next());
    remote.end();
    assert!(events.is_woken());
    assert_ready_eq!(events.poll_next(), None);
}

async fn an_idle_stream_ends_after_idle_and_not_before<C: Clock>(clock: C) {
    let (_remote, source) = source::<&str>();
    let mut events = spawn(IdleTimeout::new(source, C::IDLE).with_timer(clock.timer()));
    assert_pending!(events.poll_next());
    answers_after(&clock, &mut events, C::IDLE, None).await;
}

async fn an_idle_stream_yields_its_last_item_and_then_ends<C: Clock>(clock: C) {
    let (_remote, mut events) = ending(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    answers_after(&clock, &mut events, C::IDLE, Some(LAST)).await;
    assert_ready_eq!(events.poll_next(), None);
}

async fn a_stream_that_is_polled_late_ends_after_half_of_idle<C: Clock>(clock: C) {
    for overdue in [C::TICK, C::IDLE * 10] {
        let (_remote, mut events) = ending(&clock, C::IDLE);
        assert_pending!(events.poll_next());
        clock.pass(C::IDLE + overdue).await;
        assert!(events.is_woken());
        assert_pending!(events.poll_next());
        answers_after(&clock, &mut events, C::IDLE / 2, Some(LAST)).await;
        assert_ready_eq!(events.poll_next(), None);
    }
}

async fn a_consumer_that_is_always_away_notices_the_end_at_its_fourth_poll<C: Clock>(clock: C) {
    let (_remote, mut events) = ending(&clock, C::IDLE);
    for _ in 0..3 {
        assert_pending!(events.poll_next());
        clock.pass(C::IDLE * 5).await;
    }
    assert_ready_eq!(events.poll_next(), Some(LAST));
}

async fn the_clock_does_not_start_at_construction<C: Clock>(clock: C) {
    let (_remote, mut events) = ending(&clock, C::IDLE);
    clock.pass(C::IDLE * 10).await;
    assert_pending!(events.poll_next());
    answers_after(&clock, &mut events, C::IDLE, Some(LAST)).await;
}

async fn the_clock_does_not_start_at_an_item<C: Clock>(clock: C) {
    let (remote, mut events) = ending(&clock, C::IDLE);
    remote.send("a");
    assert_ready_eq!(events.poll_next(), Some("a"));
    clock.pass(C::IDLE * 10).await;
    assert_pending!(events.poll_next());
    answers_after(&clock, &mut events, C::IDLE, Some(LAST)).await;
}

async fn a_poll_in_between_does_not_restart_the_clock<C: Clock>(clock: C) {
    let (_remote, mut events) = ending(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    clock.pass(C::IDLE / 2).await;
    assert_pending!(events.poll_next());
    answers_after(&clock, &mut events, C::IDLE / 2, Some(LAST)).await;
}

async fn an_item_restarts_the_clock<C: Clock>(clock: C) {
    let (remote, mut events) = ending(&clock, C::IDLE);
    for _ in 0..5 {
        assert_pending!(events.poll_next());
        clock.pass(C::IDLE - C::TICK).await;
        remote.send("just in time");
        assert_ready_eq!(events.poll_next(), Some("just in time"));
    }
    assert_pending!(events.poll_next());
    answers_after(&clock, &mut events, C::IDLE, Some(LAST)).await;
}

async fn an_error_restarts_the_clock<C: Clock>(clock: C) {
    let (remote, source) = source::<Result<u8, &str>>();
    let mut events = spawn(IdleTimeout::new(source, C::IDLE).with_timer(clock.timer()));
    assert_pending!(events.poll_next());
    clock.pass(C::IDLE - C::TICK).await;
    remote.send(Err("broken"));
    assert_ready_eq!(events.poll_next(), Some(Err("broken")));
    assert_pending!(events.poll_next());
    answers_after(&clock, &mut events, C::IDLE, None).await;
}

async fn an_item_found_at_the_same_poll_keeps_the_stream_open<C: Clock>(clock: C) {
    for overdue in [Duration::ZERO, C::TICK, C::IDLE * 10] {
        let (remote, mut events) = ending(&clock, C::IDLE);
        assert_pending!(events.poll_next());
        clock.pass(C::IDLE + overdue).await;
        remote.send("a");
        assert_ready_eq!(events.poll_next(), Some("a"));
        assert_pending!(events.poll_next());
        answers_after(&clock, &mut events, C::IDLE, Some(LAST)).await;
    }
}

async fn the_end_found_at_the_same_poll_replaces_the_last_item<C: Clock>(clock: C) {
    for overdue in [Duration::ZERO, C::TICK, C::IDLE * 10] {
        let (remote, mut events) = ending(&clock, C::IDLE);
        assert_pending!(events.poll_next());
        clock.pass(C::IDLE + overdue).await;
        remote.end();
        assert_ready_eq!(events.poll_next(), None);
    }
}

async fn a_stream_that_ends_by_itself_has_no_last_item<C: Clock>(clock: C) {
    let (remote, mut events) = ending(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    remote.end();
    assert_ready_eq!(events.poll_next(), None);
    clock.pass(C::IDLE * 10).await;
    assert_ready_eq!(events.poll_next(), None);
}

async fn the_last_item_is_made_as_it_is_yielded<C: Clock>(clock: C) {
    let state = Cell::new("old");
    let (_remote, source) = source();
    let events = IdleTimeout::new(source, C::IDLE).with_timer(clock.timer());
    let mut events = spawn(events.with_last(|| state.replace("used")));
    assert_pending!(events.poll_next());
    stays_idle(&clock, &mut events, C::IDLE - C::TICK).await;
    assert_eq!(state.replace("fresh"), "old");
    answers_after(&clock, &mut events, C::TICK, Some("fresh")).await;
    assert_ready_eq!(events.poll_next(), None);
    assert_eq!(state.get(), "used");
}

async fn a_last_item_set_twice_is_the_second<C: Clock>(clock: C) {
    let (_remote, source) = source();
    let events = IdleTimeout::new(source, C::IDLE).with_timer(clock.timer());
    let mut events = spawn(events.with_last(|| "first").with_last(|| "second"));
    assert_pending!(events.poll_next());
    answers_after(&clock, &mut events, C::IDLE, Some("second")).await;
    assert_ready_eq!(events.poll_next(), None);
}

async fn a_last_item_that_panics_leaves_the_stream_ended<C: Clock>(clock: C) {
    let (remote, source) = source::<()>();
    let events = IdleTimeout::new(source, C::IDLE).with_timer(clock.timer());
    let mut events = spawn(events.with_last(|| panic!("no last words")));
    assert_pending!(events.poll_next());
    stays_idle(&clock, &mut events, C::IDLE - C::TICK).await;
    clock.pass(C::TICK).await;
    assert_eq!(panic_of(|| answer_of(&mut events)).message, "no last words");
    let polls = remote.polls();
    remote.send(());
    assert_ready_eq!(events.poll_next(), None);
    assert_eq!(remote.polls(), polls);
}

async fn items_after_the_timeout_stay_in_the_inner_stream<C: Clock>(clock: C) {
    let (remote, source) = source();
    let mut events = Box::new(IdleTimeout::new(source, C::IDLE).with_timer(clock.timer()));
    let mut task = spawn(&mut events);
    assert_pending!(task.poll_next());
    answers_after(&clock, &mut task, C::IDLE, None).await;
    remote.send("late");
    drop(task);
    assert_ready_eq!(spawn(events.into_inner()).poll_next(), Some("late"));
}
