//! A filler that observes the items, and that may skip a keepalive.

use std::{cell::RefCell, rc::Rc, time::Duration};

use stream_keepalive::{Fill, Keepalive, SleepTimer, Timer};
use tokio_test::{
    assert_pending, assert_ready_eq,
    task::{Spawn, spawn},
};

use crate::{
    support::{
        clock::{ByHand, Clock},
        panics::panic_of,
        source::{Remote, Source, source},
    },
    yields_after,
};

on_every_clock! {
    every_item_is_observed_before_it_is_passed_on_and_no_keepalive_is,
    a_skipped_keepalive_starts_the_idle_clock_again,
    a_filler_is_asked_only_when_idle_has_passed,
    after_a_skipped_immediate_keepalive_the_idle_clock_starts,
    a_filler_is_asked_once_per_idle_time,
    an_item_that_is_no_activity_passes_and_does_not_stop_the_idle_clock,
    an_item_that_is_no_activity_does_not_start_the_idle_clock,
    after_an_item_that_is_no_activity_the_immediate_keepalive_still_comes,
    after_a_panic_in_observe_the_next_item_passes,
    after_a_panic_in_fill_the_idle_clock_starts_again;
    exact:
    a_late_consumer_of_a_skipped_keepalive_waits_a_whole_idle_time,
}

/// Repeats the last item that it saw, while it is allowed to.
#[derive(Clone, Default)]
struct Last(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    seen: Vec<u32>,
    held_back: bool,
    asked: usize,
    panics: bool,
}

impl Fill<u32> for Last {
    fn fill(&mut self) -> Option<u32> {
        let mut state = self.0.borrow_mut();
        state.asked += 1;
        let panics = std::mem::take(&mut state.panics);
        let last = state.seen.last().map_or(0, |last| last * 100);
        let keepalive = (!state.held_back).then_some(last);
        drop(state);
        assert!(!panics, "fill panics");
        keepalive
    }

    fn observe(&mut self, item: &u32) -> bool {
        let mut state = self.0.borrow_mut();
        state.seen.push(*item);
        let panics = std::mem::take(&mut state.panics);
        drop(state);
        assert!(!panics, "observe panics");
        *item != NO_ACTIVITY
    }
}

/// An item that the filler takes for no activity.
const NO_ACTIVITY: u32 = 9;

impl Last {
    fn hold_back(&self, held_back: bool) {
        self.0.borrow_mut().held_back = held_back;
    }

    fn panic_once(&self) {
        self.0.borrow_mut().panics = true;
    }
}

type Events<C> = Spawn<Keepalive<Source<u32>, Last, <C as Clock>::Timer>>;

fn filled<C: Clock>(clock: &C) -> (Remote<u32>, Last, Events<C>) {
    let (remote, source) = source();
    let last = Last::default();
    let events = Keepalive::new(source, C::IDLE, last.clone()).with_timer(clock.timer());
    (remote, last, spawn(events))
}

async fn every_item_is_observed_before_it_is_passed_on_and_no_keepalive_is<C: Clock>(clock: C) {
    let (remote, last, mut events) = filled(&clock);
    for item in 1..=3 {
        remote.send(item);
        assert_ready_eq!(events.poll_next(), Some(item));
        assert_eq!(last.0.borrow().seen.last(), Some(&item));
        assert_pending!(events.poll_next());
        yields_after(&clock, &mut events, C::IDLE, item * 100).await;
    }
    assert_eq!(last.0.borrow().seen, [1, 2, 3]);
}

async fn a_skipped_keepalive_starts_the_idle_clock_again<C: Clock>(clock: C) {
    let (_remote, last, mut events) = filled(&clock);
    last.hold_back(true);
    assert_pending!(events.poll_next());
    for _ in 0..2 {
        clock.pass(C::IDLE).await;
        assert!(events.is_woken());
        assert_pending!(events.poll_next());
    }
    last.hold_back(false);
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, 0).await;
}

async fn a_filler_is_asked_only_when_idle_has_passed<C: Clock>(clock: C) {
    let (_remote, last, mut events) = filled(&clock);
    last.hold_back(true);
    assert_pending!(events.poll_next());
    clock.pass(C::IDLE / 2).await;
    last.hold_back(false);
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE / 2, 0).await;
}

async fn after_a_skipped_immediate_keepalive_the_idle_clock_starts<C: Clock>(clock: C) {
    let (_remote, source) = source();
    let last = Last::default();
    last.hold_back(true);
    let events = Keepalive::new(source, C::IDLE, last.clone()).immediate();
    let mut events = spawn(events.with_timer(clock.timer()));
    assert_pending!(events.poll_next());
    last.hold_back(false);
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, 0).await;
}

async fn a_filler_is_asked_once_per_idle_time<C: Clock>(clock: C) {
    let (remote, last, mut events) = filled(&clock);
    for period in 1..=3 {
        for _ in 0..10 {
            assert_pending!(events.poll_next());
        }
        clock.pass(C::IDLE).await;
        assert_ready_eq!(events.poll_next(), Some(0));
        assert_eq!(last.0.borrow().asked, period);
    }
    // An item that has come in the meantime wins, and the filler is not asked.
    assert_pending!(events.poll_next());
    clock.pass(C::IDLE).await;
    remote.send(1);
    assert_ready_eq!(events.poll_next(), Some(1));
    assert_eq!(last.0.borrow().asked, 3);
}

async fn an_item_that_is_no_activity_passes_and_does_not_stop_the_idle_clock<C: Clock>(clock: C) {
    let (remote, _last, mut events) = filled(&clock);
    for _ in 0..2 {
        assert_pending!(events.poll_next());
        clock.pass(C::IDLE / 2).await;
        remote.send(NO_ACTIVITY);
        assert_ready_eq!(events.poll_next(), Some(NO_ACTIVITY));
        assert_pending!(events.poll_next());
        yields_after(&clock, &mut events, C::IDLE / 2, NO_ACTIVITY * 100).await;
    }
}

async fn an_item_that_is_no_activity_does_not_start_the_idle_clock<C: Clock>(clock: C) {
    let (remote, _last, mut events) = filled(&clock);
    remote.send(NO_ACTIVITY);
    assert_ready_eq!(events.poll_next(), Some(NO_ACTIVITY));
    clock.pass(C::IDLE * 2).await;
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, NO_ACTIVITY * 100).await;
}

async fn after_an_item_that_is_no_activity_the_immediate_keepalive_still_comes<C: Clock>(clock: C) {
    let (remote, source) = source();
    let events = Keepalive::new(source, C::IDLE, Last::default()).immediate();
    let mut events = spawn(events.with_timer(clock.timer()));
    remote.send(NO_ACTIVITY);
    assert_ready_eq!(events.poll_next(), Some(NO_ACTIVITY));
    assert_ready_eq!(events.poll_next(), Some(NO_ACTIVITY * 100));
    assert_pending!(events.poll_next());
}

async fn after_a_panic_in_observe_the_next_item_passes<C: Clock>(clock: C) {
    let (remote, last, mut events) = filled(&clock);
    last.panic_once();
    remote.send(1);
    remote.send(2);
    panic_of(|| events.poll_next());
    assert_ready_eq!(events.poll_next(), Some(2));
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, 200).await;
}

async fn after_a_panic_in_fill_the_idle_clock_starts_again<C: Clock>(clock: C) {
    let (_remote, last, mut events) = filled(&clock);
    assert_pending!(events.poll_next());
    clock.pass(C::IDLE).await;
    last.panic_once();
    panic_of(|| events.poll_next());
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, 0).await;
}

async fn a_late_consumer_of_a_skipped_keepalive_waits_a_whole_idle_time<C: Clock>(clock: C) {
    let (_remote, last, mut events) = filled(&clock);
    last.hold_back(true);
    assert_pending!(events.poll_next());
    clock.pass(C::IDLE * 10).await;
    assert_pending!(events.poll_next());
    last.hold_back(false);
    yields_after(&clock, &mut events, C::IDLE, 0).await;
}

/// A timer that has always expired does not keep a task busy within one poll.
#[test]
fn a_timer_that_expires_immediately_wakes_the_task_instead_of_spinning() {
    let (_remote, source) = source();
    let last = Last::default();
    last.hold_back(true);
    let timer = SleepTimer::new(std::future::ready::<Duration>);
    let events = Keepalive::new(source, Duration::from_secs(1), last.clone()).with_timer(timer);
    let mut events = spawn(events);
    for _ in 0..3 {
        assert_pending!(events.poll_next());
        assert!(events.is_woken());
    }
    last.hold_back(false);
    assert_ready_eq!(events.poll_next(), Some(0));
}

/// While it is in doubt whether an item waits, the filler is not asked.
#[test]
fn a_filler_is_not_asked_while_the_keepalive_is_in_doubt() {
    let clock = ByHand::default();
    let (_remote, last, mut events) = filled(&clock);
    assert_pending!(events.poll_next());
    clock.advance(ByHand::IDLE);
    clock.set_budget(false);
    assert_pending!(events.poll_next());
    assert_eq!(last.0.borrow().asked, 0);
    clock.set_budget(true);
    assert_ready_eq!(events.poll_next(), Some(0));
    assert_eq!(last.0.borrow().asked, 1);
}

#[test]
fn a_borrowed_timer_is_a_timer() {
    let clock = ByHand::default();
    let mut timer = clock.timer();
    let (_remote, source) = source();
    let events = Keepalive::new(source, ByHand::IDLE, || 1).with_timer(&mut timer);
    let mut events = spawn(events);
    assert_pending!(events.poll_next());
    clock.advance(ByHand::IDLE);
    clock.set_budget(false);
    assert_pending!(events.poll_next());
    clock.set_budget(true);
    assert_ready_eq!(events.poll_next(), Some(1));
    drop(events);
    timer.arm(ByHand::IDLE);
}

#[test]
fn the_compiler_names_keepalive_with_if_an_item_cannot_be_cloned() {
    let (built, stderr) = crate::without_tokio::check(
        "not-clone",
        r#"
#![no_std]
use core::time::Duration;
use futures_core::Stream;
use stream_keepalive::KeepaliveExt;

pub struct Item;

pub fn keep(inner: impl Stream<Item = Item>) {
    _ = inner.keepalive(Duration::from_secs(1), Item);
}
"#,
    );
    assert!(!built);
    let hint = "if the item is not `Clone`, use `keepalive_with` with a closure";
    assert!(stderr.contains(hint), "{stderr}");
}
