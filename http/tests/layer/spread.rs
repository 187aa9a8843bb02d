//! The idle times of the bodies of one layer.

use std::time::Duration;

use futures::FutureExt;
use http::Request;
use http_body_util::BodyExt;
use stream_keepalive::SharedTimers;
use stream_keepalive_http::{Idle, KeepaliveLayer};
use tokio::time::Instant;

use super::{IDLE, answer, layer, sse};

/// Returns when each of these bodies, which begin together, yields its first keepalive.
async fn first_keepalives(layer: &KeepaliveLayer, count: usize) -> Vec<Duration> {
    let start = Instant::now();
    let mut bodies = Vec::new();
    for _ in 0..count {
        let response = answer(layer.clone(), Request::default(), sse([])).await;
        let mut body = response.into_body();
        assert!(body.frame().now_or_never().is_none());
        bodies.push(body);
    }
    let times = bodies.into_iter().map(async |mut body| {
        body.frame().await.unwrap().unwrap();
        start.elapsed()
    });
    let mut times = futures::future::join_all(times).await;
    times.sort_unstable();
    times
}

#[tokio::test(start_paused = true)]
async fn keepalives_of_bodies_that_begin_together_fill_the_last_quarter_evenly() {
    for timers in [None, Some(SharedTimers::new())] {
        for count in [1, 2, 10, 190, 1000] {
            let mut layer = KeepaliveLayer::new(IDLE);
            // Shared timers are late by up to a sixteenth.
            let mut late = Duration::from_millis(2);
            if let Some(timers) = timers.clone() {
                layer = layer.timers(timers);
                late = IDLE / 16;
            }
            let times = first_keepalives(&layer, count).await;
            let (first, last) = (times[0], times[count - 1]);
            assert!(first >= IDLE * 3 / 4, "{count}: {first:?}");
            assert!(last <= IDLE + late, "{count}: {last:?}");
            if count >= 10 {
                let median = times[count / 2];
                assert!(median >= IDLE * 13 / 16, "{count}: {median:?}");
                assert!(median <= IDLE * 15 / 16 + late, "{count}: {median:?}");
            }
            // No tenth of the quarter has more than twice its share.
            let step = IDLE / 40;
            for part in 0..10 {
                let from = IDLE * 3 / 4 + part * step;
                let found = times
                    .iter()
                    .filter(|time| (from..from + step).contains(*time))
                    .count();
                assert!(found <= count / 5 + 2, "{count}: {found} in part {part}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_spread_keepalives_of_bodies_that_begin_together_come_together() {
    let times = first_keepalives(&layer(), 190).await;
    assert_eq!((times[0], times[189]), (IDLE, IDLE));
}

#[tokio::test(start_paused = true)]
async fn clones_of_a_layer_spread_together() {
    let first = KeepaliveLayer::new(IDLE);
    let second = first.clone().ndjson("\n");
    let mut times = first_keepalives(&first, 1).await;
    times.extend(first_keepalives(&second, 1).await);
    times.extend(first_keepalives(&first, 1).await);
    times.sort_unstable();
    times.dedup();
    assert_eq!(times.len(), 3, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_time_that_a_response_chooses_is_spread_too() {
    let layer = KeepaliveLayer::new(IDLE);
    let mut response = sse([]);
    response.extensions_mut().insert(Idle(4 * IDLE));
    let start = Instant::now();
    for _ in 0..5 {
        let mut body = answer(layer.clone(), Request::default(), response.clone())
            .await
            .into_body();
        let before = start.elapsed();
        body.frame().await.unwrap().unwrap();
        let idle = start.elapsed() - before;
        assert!(
            idle >= 3 * IDLE && idle <= 4 * IDLE + Duration::from_millis(2),
            "{idle:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_idle_time_does_not_panic() {
    for idle in [Duration::MAX, Duration::from_nanos(1)] {
        let layer = KeepaliveLayer::new(idle);
        for _ in 0..3 {
            let response = answer(layer.clone(), Request::default(), sse([])).await;
            let _polled = response.into_body().frame().now_or_never();
        }
    }
}
