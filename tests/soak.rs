//! A million hours of random traffic, in paused time.

#![cfg(feature = "tokio")]

use std::{pin::pin, time::Duration};

use allocation_counter::measure;
use futures::{Stream, StreamExt, stream};
use proptest::{
    prelude::RngCore,
    test_runner::{RngAlgorithm, TestRng},
};
use stream_keepalive::KeepaliveExt;
use tokio::{
    runtime::Builder,
    time::{Instant, sleep},
};

const HOUR: Duration = Duration::from_secs(60 * 60);
const MILLI: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Item,
    Keepalive,
}

/// The gaps between items, from none to eight hours.
#[derive(Clone)]
struct Gaps(TestRng);

impl Iterator for Gaps {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let random = self.0.next_u32();
        let longest = match random % 4 {
            0 => return Some(Duration::ZERO),
            1 => HOUR,
            2 => return Some(HOUR * (1 + random / 4 % 8)),
            _ => HOUR * 8,
        };
        Some(MILLI * (self.0.next_u32() % longest.as_millis() as u32))
    }
}

fn source(gaps: Gaps) -> impl Stream<Item = Event> {
    stream::unfold(gaps, async |mut gaps| {
        let gap = gaps.next()?;
        if !gap.is_zero() {
            sleep(gap).await;
        }
        Some((Event::Item, gaps))
    })
}

#[test]
fn in_a_million_hours_there_is_no_drift_no_leak_and_no_early_keepalive() {
    let paused = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let mut gaps = Gaps(TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let events = source(gaps.clone());
    // The timeout is as long as the longest gap, and the item at its end wins.
    let mut events = pin!(
        events
            .idle_timeout(HOUR * 8)
            .keepalive(HOUR, Event::Keepalive)
    );

    let mut pass = async |hours: u32| {
        let start = Instant::now();
        while start.elapsed() < HOUR * hours {
            let (asked, gap) = (Instant::now(), gaps.next().unwrap());
            // No keepalive comes together with the item.
            for keepalive in 1..gap.div_duration_f64(HOUR).ceil() as u32 {
                assert_eq!(events.next().await, Some(Event::Keepalive));
                assert_eq!(asked.elapsed(), HOUR * keepalive);
            }
            assert_eq!(events.next().await, Some(Event::Item));
            assert_eq!(asked.elapsed(), gap);
        }
    };
    // Allocations that happen only once happen here.
    paused.block_on(pass(100));
    for _ in 0..10 {
        let allocated = measure(|| paused.block_on(pass(100_000)));
        assert_eq!(allocated.count_current, 0, "{allocated:?}");
    }
}
