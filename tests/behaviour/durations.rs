//! All durations with the default timer: zero, fractions of its resolution, years, and more than the clock can count.

use std::{pin::Pin, task::Poll, time::Duration};

use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready_eq};

use crate::{
    KEEPALIVE, LAST, answer_of, ending, keepalives,
    support::clock::{Clock, PausedTokio, SharedQueue},
    yields_after,
};

const NANO: Duration = Duration::from_nanos(1);
const MILLI: Duration = Duration::from_millis(1);
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The longest duration that can be added to the clock now.
fn longest() -> Duration {
    let now = Instant::now();
    let (mut fits, mut overflows) = (0, Duration::MAX.as_nanos());
    while overflows - fits > 1 {
        let middle = fits + (overflows - fits) / 2;
        let nanos = (middle % 1_000_000_000) as u32;
        let seconds = (middle / 1_000_000_000) as u64;
        match now.checked_add(Duration::new(seconds, nanos)) {
            Some(_) => fits = middle,
            None => overflows = middle,
        }
    }
    Duration::new((fits / 1_000_000_000) as u64, (fits % 1_000_000_000) as u32)
}

/// Durations around all limits at which arithmetic could overflow.
fn endless() -> Vec<Duration> {
    let longest = longest();
    let mut endless = vec![longest];
    for step in [NANO, MILLI - NANO, MILLI, MILLI + NANO, YEAR, YEAR + NANO] {
        endless.extend([longest - step, longest + step, Duration::MAX - step]);
    }
    for seconds in [
        u64::MAX,
        u64::MAX / 2,
        u64::MAX / 1000,
        u64::MAX / 1_000_000,
    ] {
        for less in [0, 1, 2, 1000, YEAR.as_secs()] {
            for nanos in [0, 1, 999_000_000, 999_999_999] {
                endless.push(Duration::new(seconds - less, nanos));
            }
        }
    }
    endless
}

#[tokio::test(start_paused = true)]
async fn a_duration_too_long_for_the_clock_never_fires() {
    for idle in endless() {
        let (remote, mut kept) = keepalives(&PausedTokio, idle);
        let (_remote, mut ended) = ending(&PausedTokio, idle);
        assert_pending!(kept.poll_next(), "{idle:?}");
        assert_pending!(ended.poll_next(), "{idle:?}");
        for pause in [NANO, MILLI, YEAR, YEAR, YEAR * 1000] {
            advance(pause).await;
            assert_pending!(kept.poll_next(), "{idle:?}");
            assert_pending!(ended.poll_next(), "{idle:?}");
        }
        remote.send("a");
        assert_ready_eq!(kept.poll_next(), Some("a"));
        assert_pending!(kept.poll_next(), "{idle:?}");
        Pin::new(&mut *kept).set_idle(MILLI);
        assert_pending!(kept.poll_next(), "{idle:?}");
        advance(MILLI * 2).await;
        assert_ready_eq!(kept.poll_next(), Some(KEEPALIVE));
    }
}

#[tokio::test(start_paused = true)]
async fn a_duration_too_long_for_the_clock_may_be_set_while_idle() {
    for idle in endless() {
        let (_remote, mut events) = keepalives(&PausedTokio, MILLI);
        assert_pending!(events.poll_next());
        Pin::new(&mut *events).set_idle(idle);
        assert_pending!(events.poll_next(), "{idle:?}");
        advance(YEAR).await;
        assert_pending!(events.poll_next(), "{idle:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn years_of_idle_time_are_counted_to_the_millisecond() {
    for years in [1, 2, 3, 10, 73] {
        for idle in [YEAR * years - MILLI, YEAR * years, YEAR * years + MILLI] {
            let (_remote, mut kept) = keepalives(&PausedTokio, idle);
            let (_remote, mut ended) = ending(&PausedTokio, idle);
            assert_pending!(kept.poll_next());
            assert_pending!(ended.poll_next());
            // The two halves of an idle timeout are whole milliseconds only together.
            advance(idle / 2 + MILLI).await;
            assert_pending!(ended.poll_next(), "{idle:?}");
            advance(idle - idle / 2 - MILLI * 2).await;
            assert_pending!(kept.poll_next(), "{idle:?}");
            assert_pending!(ended.poll_next(), "{idle:?}");
            advance(MILLI).await;
            assert!(kept.is_woken(), "{idle:?}");
            assert_ready_eq!(kept.poll_next(), Some(KEEPALIVE), "{idle:?}");
            advance(MILLI).await;
            assert_eq!(answer_of(&mut ended), Poll::Ready(Some(LAST)), "{idle:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_time_of_uncountable_centuries_set_while_idle_never_fires() {
    let (_remote, mut kept) = keepalives(&PausedTokio, MILLI);
    assert_pending!(kept.poll_next());
    Pin::new(&mut *kept).set_idle(YEAR * 600);
    for _ in 0..7 {
        assert_pending!(kept.poll_next());
        advance(YEAR * 100).await;
    }
    assert_pending!(kept.poll_next());
}

#[tokio::test(start_paused = true)]
async fn a_shorter_idle_time_moves_the_wake_up() {
    let (_remote, mut kept) = keepalives(&PausedTokio, MILLI * 20);
    assert_pending!(kept.poll_next());
    Pin::new(&mut *kept).set_idle(MILLI * 10);
    assert_pending!(kept.poll_next());
    advance(MILLI * 9).await;
    assert!(!kept.is_woken());
    advance(MILLI).await;
    assert!(kept.is_woken());
    assert_ready_eq!(kept.poll_next(), Some(KEEPALIVE));
}

#[tokio::test(start_paused = true)]
async fn a_longer_idle_time_adds_one_wake_up_at_most() {
    let (_remote, mut kept) = keepalives(&PausedTokio, MILLI * 20);
    assert_pending!(kept.poll_next());
    Pin::new(&mut *kept).set_idle(MILLI * 100);
    assert_pending!(kept.poll_next());
    let mut wake_ups = 0;
    for _ in 0..99 {
        advance(MILLI).await;
        if kept.is_woken() {
            wake_ups += 1;
            assert_pending!(kept.poll_next());
        }
    }
    assert!(wake_ups <= 1, "{wake_ups}");
    advance(MILLI).await;
    assert!(kept.is_woken());
    assert_ready_eq!(kept.poll_next(), Some(KEEPALIVE));
}

#[tokio::test(start_paused = true)]
async fn after_an_early_timer_a_late_poll_gets_its_keepalive_without_another_wake_up() {
    let (remote, mut kept) = keepalives(&PausedTokio, MILLI * 20);
    assert_pending!(kept.poll_next());
    advance(MILLI * 10).await;
    remote.send("a");
    assert_ready_eq!(kept.poll_next(), Some("a"));
    assert_pending!(kept.poll_next());
    advance(MILLI * 30).await;
    assert!(kept.is_woken());
    assert_ready_eq!(kept.poll_next(), Some(KEEPALIVE));
    assert!(!kept.is_woken());
}

#[test]
fn an_idle_time_of_decades_delays_no_other_stream() {
    PausedTokio::run(an_idle_time_of_decades);
    SharedQueue::run(an_idle_time_of_decades);
}

async fn an_idle_time_of_decades<C: Clock>(clock: C) {
    // Tokio's timer wheel has 64 slots of 2^30 ms. Before version 1.54, a timer that was whole rounds away hid timers
    // that moved to the next slot.
    let slot = Duration::from_millis(1 << 30);
    let hour = Duration::from_secs(3600);
    let (_remote, mut far) = keepalives(&clock, slot * 64 * 11);
    assert_pending!(far.poll_next());
    advance(slot - hour / 2).await;
    let (_remote, mut near) = keepalives(&PausedTokio, hour);
    assert_pending!(near.poll_next());
    advance(hour).await;
    assert!(near.is_woken());
    assert_ready_eq!(near.poll_next(), Some(KEEPALIVE));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_by_years_yields_one_keepalive() {
    let (_remote, mut events) = keepalives(&PausedTokio, PausedTokio::IDLE);
    for years in [1, 10, 1000] {
        assert_pending!(events.poll_next());
        advance(YEAR * years).await;
        assert!(events.is_woken());
        assert_ready_eq!(events.poll_next(), Some(KEEPALIVE));
    }
    assert_pending!(events.poll_next());
    yields_after(&PausedTokio, &mut events, PausedTokio::IDLE, KEEPALIVE).await;
}

#[tokio::test(start_paused = true)]
async fn parts_of_a_millisecond_are_never_early_and_at_most_one_late() {
    for nanos in [1, 500_000, 999_999, 1_000_001, 1_500_000, 1_999_999] {
        for start in [0, 1, 300_000, 999_999] {
            let idle = Duration::from_nanos(nanos);
            advance(Duration::from_nanos(start)).await;
            let (_remote, mut events) = keepalives(&PausedTokio, idle);
            assert_pending!(events.poll_next());
            advance(idle - NANO).await;
            assert_pending!(events.poll_next(), "{idle:?}");
            advance(NANO + MILLI).await;
            assert!(events.is_woken(), "{idle:?}");
            assert_ready_eq!(events.poll_next(), Some(KEEPALIVE), "{idle:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn zero_is_off_and_does_not_flood() {
    let (remote, mut kept) = keepalives(&PausedTokio, Duration::ZERO);
    let (_remote, mut ended) = ending(&PausedTokio, Duration::ZERO);
    for pause in [NANO, MILLI, YEAR] {
        assert_pending!(kept.poll_next());
        assert_pending!(ended.poll_next());
        advance(pause).await;
        assert!(!kept.is_woken());
        assert!(!ended.is_woken());
    }
    remote.send("a");
    assert_ready_eq!(kept.poll_next(), Some("a"));
    assert_pending!(kept.poll_next());
}

#[tokio::test(start_paused = true)]
async fn a_shorter_duration_comes_first_and_a_longer_one_after_it() {
    let (_remote, mut events) = keepalives(&PausedTokio, YEAR * 3);
    for idle in [YEAR * 3, MILLI, YEAR * 2, MILLI * 2, MILLI] {
        Pin::new(&mut *events).set_idle(idle);
        assert_pending!(events.poll_next());
        yields_after(&PausedTokio, &mut events, idle, KEEPALIVE).await;
    }
}
