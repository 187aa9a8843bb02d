//! When a keepalive is inserted, and when it is not.

use std::{cell::Cell, rc::Rc, time::Duration};

use futures::stream;
use stream_keepalive::{Fill, Keepalive, Repeat};
use tokio_test::{assert_pending, assert_ready, assert_ready_eq, task::spawn};

use crate::{
    KEEPALIVE, keepalives,
    support::{clock::Clock, panics::panic_of, source::source},
    yields_after,
};

on_every_clock! {
    items_pass_immediately_and_in_order,
    an_error_passes_unchanged_and_does_not_end_the_stream,
    the_end_passes_immediately,
    a_keepalive_comes_after_idle_and_not_before,
    a_stream_that_is_polled_late_still_yields_a_keepalive,
    keepalives_go_on_while_the_stream_is_idle,
    the_clock_does_not_start_at_construction,
    the_clock_does_not_start_at_an_item,
    the_clock_does_not_start_at_a_keepalive,
    a_poll_in_between_does_not_restart_the_clock,
    an_item_restarts_the_clock,
    an_error_restarts_the_clock,
    an_item_found_at_the_same_poll_replaces_the_keepalive,
    the_end_found_at_the_same_poll_replaces_the_keepalive,
    ten_missed_idle_times_yield_one_keepalive,
    a_stream_that_is_never_idle_gets_no_keepalive,
    the_filler_runs_once_for_each_keepalive_and_never_ahead,
    a_filler_that_panics_costs_one_keepalive,
    a_filler_may_be_a_custom_type,
    a_value_is_cloned_once_for_each_keepalive,
}

async fn items_pass_immediately_and_in_order<C: Clock>(clock: C) {
    let (remote, mut events) = keepalives(&clock, C::IDLE);
    remote.send("a");
    remote.send("b");
    assert_ready_eq!(events.poll_next(), Some("a"));
    assert_ready_eq!(events.poll_next(), Some("b"));
    assert_pending!(events.poll_next());
    remote.send("c");
    assert!(events.is_woken());
    assert_ready_eq!(events.poll_next(), Some("c"));
}

async fn an_error_passes_unchanged_and_does_not_end_the_stream<C: Clock>(clock: C) {
    let (remote, source) = source::<Result<u8, &str>>();
    let mut events =
        spawn(Keepalive::new(source, C::IDLE, Repeat(Ok(0))).with_timer(clock.timer()));
    remote.send(Err("broken"));
    remote.send(Ok(1));
    assert_ready_eq!(events.poll_next(), Some(Err("broken")));
    assert_ready_eq!(events.poll_next(), Some(Ok(1)));
}

async fn the_end_passes_immediately<C: Clock>(clock: C) {
    let (remote, mut events) = keepalives(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    remote.send("a");
    remote.end();
    assert!(events.is_woken());
    assert_ready_eq!(events.poll_next(), Some("a"));
    assert_ready_eq!(events.poll_next(), None);
}

async fn a_keepalive_comes_after_idle_and_not_before<C: Clock>(clock: C) {
    let (_remote, mut events) = keepalives(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    clock.pass(C::IDLE - C::TICK).await;
    assert!(!events.is_woken());
    assert_pending!(events.poll_next());
    clock.pass(C::TICK).await;
    assert!(events.is_woken());
    assert_ready_eq!(events.poll_next(), Some(KEEPALIVE));
    assert_pending!(events.poll_next());
}

async fn a_stream_that_is_polled_late_still_yields_a_keepalive<C: Clock>(clock: C) {
    let (_remote, mut events) = keepalives(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    clock.pass(C::IDLE + C::TICK).await;
    assert!(events.is_woken());
    assert_ready_eq!(events.poll_next(), Some(KEEPALIVE));
}

async fn keepalives_go_on_while_the_stream_is_idle<C: Clock>(clock: C) {
    let (remote, mut events) = keepalives(&clock, C::IDLE);
    for _ in 0..5 {
        assert_pending!(events.poll_next());
        yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
    }
    remote.send("at last");
    assert_ready_eq!(events.poll_next(), Some("at last"));
}

async fn the_clock_does_not_start_at_construction<C: Clock>(clock: C) {
    let (_remote, mut events) = keepalives(&clock, C::IDLE);
    clock.pass(C::IDLE * 10).await;
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
}

async fn the_clock_does_not_start_at_an_item<C: Clock>(clock: C) {
    let (remote, mut events) = keepalives(&clock, C::IDLE);
    remote.send("a");
    assert_ready_eq!(events.poll_next(), Some("a"));
    clock.pass(C::IDLE * 10).await;
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
}

async fn the_clock_does_not_start_at_a_keepalive<C: Clock>(clock: C) {
    let (_remote, mut events) = keepalives(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
    clock.pass(C::IDLE * 10).await;
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
}

async fn a_poll_in_between_does_not_restart_the_clock<C: Clock>(clock: C) {
    let (_remote, mut events) = keepalives(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    clock.pass(C::IDLE / 4).await;
    assert_pending!(events.poll_next());
    clock.pass(C::IDLE / 4).await;
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE / 2, KEEPALIVE).await;
}

async fn an_item_restarts_the_clock<C: Clock>(clock: C) {
    let (remote, mut events) = keepalives(&clock, C::IDLE);
    for _ in 0..5 {
        assert_pending!(events.poll_next());
        clock.pass(C::IDLE - C::TICK).await;
        remote.send("just in time");
        assert_ready_eq!(events.poll_next(), Some("just in time"));
    }
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
}

async fn an_error_restarts_the_clock<C: Clock>(clock: C) {
    let (remote, source) = source::<Result<u8, &str>>();
    let mut events =
        spawn(Keepalive::new(source, C::IDLE, Repeat(Ok(0))).with_timer(clock.timer()));
    assert_pending!(events.poll_next());
    clock.pass(C::IDLE - C::TICK).await;
    remote.send(Err("broken"));
    assert_ready_eq!(events.poll_next(), Some(Err("broken")));
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, Ok(0)).await;
}

async fn an_item_found_at_the_same_poll_replaces_the_keepalive<C: Clock>(clock: C) {
    for overdue in [Duration::ZERO, C::TICK, C::IDLE * 10] {
        let (remote, mut events) = keepalives(&clock, C::IDLE);
        assert_pending!(events.poll_next());
        clock.pass(C::IDLE + overdue).await;
        remote.send("a");
        assert_ready_eq!(events.poll_next(), Some("a"));
        assert_pending!(events.poll_next());
        yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
    }
}

async fn the_end_found_at_the_same_poll_replaces_the_keepalive<C: Clock>(clock: C) {
    for overdue in [Duration::ZERO, C::TICK, C::IDLE * 10] {
        let (remote, mut events) = keepalives(&clock, C::IDLE);
        assert_pending!(events.poll_next());
        clock.pass(C::IDLE + overdue).await;
        remote.end();
        assert_ready_eq!(events.poll_next(), None);
    }
}

async fn ten_missed_idle_times_yield_one_keepalive<C: Clock>(clock: C) {
    let (_remote, mut events) = keepalives(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    clock.pass(C::IDLE * 10).await;
    assert_ready_eq!(events.poll_next(), Some(KEEPALIVE));
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
}

async fn a_stream_that_is_never_idle_gets_no_keepalive<C: Clock>(clock: C) {
    let (remote, mut events) = keepalives(&clock, C::IDLE);
    for _ in 0..10 {
        clock.pass(C::IDLE * 2).await;
        remote.send("ready");
        assert_ready_eq!(events.poll_next(), Some("ready"));
    }
}

async fn the_filler_runs_once_for_each_keepalive_and_never_ahead<C: Clock>(clock: C) {
    let state = Cell::new("old");
    let runs = Cell::new(0);
    let fill = || {
        runs.set(runs.get() + 1);
        state.get()
    };
    let (_remote, source) = source();
    let mut events = spawn(Keepalive::new(source, C::IDLE, fill).with_timer(clock.timer()));
    for run in 1..=3 {
        assert_pending!(events.poll_next());
        clock.pass(C::IDLE * 3).await;
        assert_eq!(runs.get(), run - 1);
        let fresh = ["first", "second", "third"][run - 1];
        state.set(fresh);
        assert_ready_eq!(events.poll_next(), Some(fresh));
        assert_eq!(runs.get(), run);
    }
}

async fn a_filler_that_panics_costs_one_keepalive<C: Clock>(clock: C) {
    let works = Cell::new(false);
    let fill = || {
        assert!(works.get(), "out of keepalives");
        KEEPALIVE
    };
    let (remote, source) = source();
    let mut events = spawn(Keepalive::new(source, C::IDLE, fill).with_timer(clock.timer()));
    assert_pending!(events.poll_next());
    clock.pass(C::IDLE).await;
    assert_eq!(panic_of(|| events.poll_next()).message, "out of keepalives");

    works.set(true);
    clock.pass(C::IDLE).await;
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
    remote.send("a");
    assert_ready_eq!(events.poll_next(), Some("a"));
}

async fn a_filler_may_be_a_custom_type<C: Clock>(clock: C) {
    struct Count(u32);
    impl Fill<u32> for Count {
        fn fill(&mut self) -> Option<u32> {
            self.0 += 1;
            Some(self.0)
        }
    }
    let mut events =
        spawn(Keepalive::new(stream::pending(), C::IDLE, Count(0)).with_timer(clock.timer()));
    for keepalive in 1..=3 {
        assert_pending!(events.poll_next());
        yields_after(&clock, &mut events, C::IDLE, keepalive).await;
    }
}

async fn a_value_is_cloned_once_for_each_keepalive<C: Clock>(clock: C) {
    #[derive(Debug, Default)]
    struct Counted(Rc<Cell<u32>>);
    impl Clone for Counted {
        fn clone(&self) -> Self {
            self.0.set(self.0.get() + 1);
            Self(self.0.clone())
        }
    }
    let value = Counted::default();
    let clones = value.0.clone();
    let mut events =
        spawn(Keepalive::new(stream::pending(), C::IDLE, Repeat(value)).with_timer(clock.timer()));
    for keepalive in 1..=3 {
        assert_pending!(events.poll_next());
        clock.pass(C::IDLE).await;
        assert_eq!(clones.get(), keepalive - 1);
        assert!(assert_ready!(events.poll_next()).is_some());
        assert_eq!(clones.get(), keepalive);
    }
}
