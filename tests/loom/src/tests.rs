use std::{
    future::poll_fn,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::Once,
    task::{Context, Poll, Waker},
    time::Duration,
};

use loom::{future::block_on, thread};

use crate::{
    Timer,
    model::{Instant, advance_to, shut_down},
    shared::{SharedTimer, SharedTimers},
};

const MS: Duration = Duration::from_millis(1);

/// Runs a case in all interleavings with at most three preemptions, or two in a debug build.
fn check(case: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    let bound = if cfg!(debug_assertions) { 2 } else { 3 };
    builder.preemption_bound.get_or_insert(bound);
    builder.check(case);
}

fn armed(timers: &SharedTimers, after: Duration) -> SharedTimer {
    let mut timer = timers.timer();
    timer.arm(after);
    timer
}

/// Waits for a timer that was armed when the clock started. Loom reports if nobody wakes this thread.
fn wait(mut timer: SharedTimer, after: Duration) {
    block_on(poll_fn(|cx| timer.poll_expired(cx)));
    assert!(Instant::now() >= Instant::default() + after, "early");
}

fn is_pending(timer: &mut SharedTimer) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    timer.poll_expired(&mut cx).is_pending()
}

#[test]
fn an_alarm_that_fires_while_it_is_set_wakes_the_task() {
    check(|| {
        let timers = SharedTimers::new();
        let timer = armed(&timers, MS);
        let clock = thread::spawn(|| advance_to(MS));
        wait(timer, MS);
        clock.join().unwrap();
    });
}

#[test]
fn two_timers_that_enter_together_are_both_woken() {
    check(|| {
        let timers = SharedTimers::new();
        let (short, long) = (armed(&timers, MS), armed(&timers, 2 * MS));
        let other = thread::spawn(move || wait(long, 2 * MS));
        let clock = thread::spawn(|| {
            advance_to(MS);
            advance_to(9 * MS);
        });
        wait(short, MS);
        other.join().unwrap();
        clock.join().unwrap();
    });
}

#[test]
fn a_timer_that_enters_while_the_alarm_for_another_fires_is_woken() {
    check(|| {
        let timers = SharedTimers::new();
        let mut first = armed(&timers, MS);
        assert!(is_pending(&mut first));
        let second = armed(&timers, 5 * MS);
        let clock = thread::spawn(|| {
            advance_to(MS);
            advance_to(5 * MS);
        });
        wait(second, 5 * MS);
        clock.join().unwrap();
        assert!(!is_pending(&mut first));
    });
}

#[test]
fn a_timer_that_leaves_while_others_of_its_tick_are_woken_does_not_affect_them() {
    check(|| {
        let timers = SharedTimers::new();
        let mut goes = armed(&timers, MS);
        assert!(is_pending(&mut goes));
        let (stays, comes) = (armed(&timers, MS), armed(&timers, MS));
        let other = thread::spawn(move || wait(stays, MS));
        let clock = thread::spawn(|| advance_to(MS));
        drop(goes);
        wait(comes, MS);
        other.join().unwrap();
        clock.join().unwrap();
    });
}

#[test]
fn a_waker_that_is_replaced_during_a_wake_up_is_not_lost() {
    check(|| {
        let timers = SharedTimers::new();
        let mut timer = armed(&timers, MS);
        assert!(is_pending(&mut timer));
        let clock = thread::spawn(|| advance_to(MS));
        wait(timer, MS);
        clock.join().unwrap();
    });
}

fn a_timer_is_armed_again(after: Duration) {
    check(move || {
        let timers = SharedTimers::new();
        let mut timer = armed(&timers, 5 * MS);
        assert!(is_pending(&mut timer));
        timer.arm(after);
        let clock = thread::spawn(|| {
            advance_to(5 * MS);
            advance_to(9 * MS);
        });
        wait(timer, after);
        clock.join().unwrap();
    });
}

#[test]
fn a_timer_that_is_armed_for_sooner_while_it_is_woken_is_woken() {
    a_timer_is_armed_again(MS);
}

#[test]
fn a_timer_that_is_armed_for_later_while_it_is_woken_is_woken_again() {
    a_timer_is_armed_again(9 * MS);
}

#[test]
fn the_last_timer_may_be_dropped_while_the_alarm_fires() {
    check(|| {
        let timers = SharedTimers::new();
        let mut timer = armed(&timers, MS);
        assert!(is_pending(&mut timer));
        drop(timers);
        let clock = thread::spawn(|| advance_to(MS));
        drop(timer);
        clock.join().unwrap();
    });
}

#[test]
fn tasks_that_wait_as_the_runtime_is_shut_down_are_woken_and_panic() {
    // To std, all threads of loom are the same thread, and none of them may run while another one unwinds. So
    // the panic is caught before anything is dropped that the timers share.
    let panics = |mut timer: SharedTimer| {
        let panic = block_on(poll_fn(|cx| {
            match catch_unwind(AssertUnwindSafe(|| timer.poll_expired(cx))) {
                Ok(expired) => expired.map(|()| panic!("expired")),
                Err(panic) => Poll::Ready(panic),
            }
        }));
        let message = panic.downcast_ref::<&str>().unwrap();
        assert!(message.starts_with("stream-keepalive:"), "{message}");
    };
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let message = info.payload().downcast_ref::<&str>();
            if message.is_none_or(|message| !message.ends_with("has been shut down")) {
                others(info);
            }
        }));
    });
    check(move || {
        let timers = SharedTimers::new();
        let (first, second) = (armed(&timers, MS), armed(&timers, 2 * MS));
        let other = thread::spawn(move || panics(first));
        let runtime = thread::spawn(shut_down);
        panics(second);
        other.join().unwrap();
        runtime.join().unwrap();
    });
}
