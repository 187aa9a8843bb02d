//! What silences that are always broken in time cost a task.

use std::time::Duration;

use futures::StreamExt;
use stream_keepalive::KeepaliveExt;
use tokio::time::sleep;

use crate::{KEEPALIVE, LAST, support::source::source};

const IDLE: Duration = Duration::from_secs(20);
const ITEMS: u32 = 10_000;

/// How often a task is woken for nothing while an item comes every `gap`.
async fn idle_wake_ups(gap: Duration, stacked: bool) -> u32 {
    let (remote, source) = source();
    let events = source.keepalive(IDLE, KEEPALIVE);
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
    // The first poll, two for each item and the silence behind it, and one for the end.
    remote.polls() as u32 - (1 + 2 * ITEMS + 1)
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_many_items_a_period_wakes_for_nothing_about_once_a_period() {
    let gap = Duration::from_millis(70);
    let periods = ((gap * ITEMS).as_secs() / IDLE.as_secs()) as u32;
    let wake_ups = idle_wake_ups(gap, false).await;
    assert!(wake_ups <= periods, "{wake_ups} in {periods} periods");
    // A timer moved at each silence would wake for nothing never, and cost each silence more.
    assert!(wake_ups + 1 >= periods, "{wake_ups} in {periods} periods");
    assert!(idle_wake_ups(gap, true).await <= periods * 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_few_items_a_period_wakes_for_nothing_less_than_twice_a_period() {
    for gap in [5, 7, 11, 19] {
        let gap = Duration::from_secs(gap);
        let periods = (gap * ITEMS).as_secs() / IDLE.as_secs();
        let wake_ups = u64::from(idle_wake_ups(gap, false).await);
        assert!(wake_ups < periods * 2, "{wake_ups} in {periods} periods");
    }
}
