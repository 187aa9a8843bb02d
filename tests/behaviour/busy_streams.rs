//! How often a task is woken for nothing if an item always comes before `idle` has passed.

use std::time::Duration;

use futures::StreamExt;
use stream_keepalive::{KeepaliveExt, SharedTimers, Timer, TokioTimer};
use tokio::time::sleep;

use crate::{KEEPALIVE, LAST, support::source::source};

const IDLE: Duration = Duration::from_secs(20);
const ITEMS: u32 = 10_000;

/// How often a task is woken for nothing while an item comes every `gap`.
async fn idle_wake_ups(
    gap: Duration,
    timer: impl Timer + Unpin + Send + 'static,
    stacked: bool,
) -> u32 {
    let (remote, source) = source();
    let events = source.keepalive(IDLE, KEEPALIVE).with_timer(timer);
    let bound = 2 * ITEMS as usize;
    let task = if stacked {
        let events = events.idle_timeout_with(IDLE, || LAST);
        tokio::spawn(events.take(bound).collect::<Vec<_>>())
    } else {
        tokio::spawn(events.take(bound).collect::<Vec<_>>())
    };
    for _ in 0..ITEMS {
        sleep(gap).await;
        remote.send("busy");
    }
    sleep(gap).await;
    remote.end();
    let items = task.await.unwrap();
    assert_eq!(items, ["busy"; ITEMS as usize]);
    // The first poll, two for each item (one finds it, one finds nothing), and one for the end.
    remote.polls() as u32 - (1 + 2 * ITEMS + 1)
}

#[tokio::test(start_paused = true)]
async fn with_many_items_per_idle_time_there_is_about_one_spurious_wake_up_per_idle_time() {
    let gap = Duration::from_millis(70);
    let periods = ((gap * ITEMS).as_secs() / IDLE.as_secs()) as u32;
    let wake_ups = idle_wake_ups(gap, TokioTimer::new(), false).await;
    assert!(wake_ups <= periods, "{wake_ups} in {periods} periods");
    // A timer that is moved in each idle period would never wake for nothing, but would cost more in each.
    assert!(wake_ups + 1 >= periods, "{wake_ups} in {periods} periods");
    // A timeout wakes its task in each half of its idle time.
    let wake_ups = idle_wake_ups(gap, TokioTimer::new(), true).await;
    assert!(wake_ups <= periods * 3, "{wake_ups} in {periods} periods");
}

#[tokio::test(start_paused = true)]
async fn with_many_items_per_idle_time_a_shared_timer_enters_the_queue_about_once_per_idle_time() {
    let gap = Duration::from_millis(70);
    let periods = ((gap * ITEMS).as_secs() / IDLE.as_secs()) as u32;
    // A timer that stays in the queue wakes the task. One that left the queue at each item would not.
    let wake_ups = idle_wake_ups(gap, SharedTimers::new().timer(), false).await;
    assert!(wake_ups <= periods, "{wake_ups} in {periods} periods");
    assert!(wake_ups + 1 >= periods, "{wake_ups} in {periods} periods");
}

#[tokio::test(start_paused = true)]
async fn with_few_items_per_idle_time_there_are_less_than_two_spurious_wake_ups_per_idle_time() {
    for gap in [5, 7, 11, 19] {
        let gap = Duration::from_secs(gap);
        let periods = (gap * ITEMS).as_secs() / IDLE.as_secs();
        let wake_ups = u64::from(idle_wake_ups(gap, TokioTimer::new(), false).await);
        assert!(wake_ups < periods * 2, "{wake_ups} in {periods} periods");
    }
}
