//! Timers that share a queue: what a timer of one's own need not fear.

use std::{
    future::{Future, poll_fn, ready},
    pin::pin,
    sync::{Arc, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use futures::{Stream, StreamExt, poll, stream};
use stream_keepalive::{Keepalive, Repeat, SharedTimers, Timer};
use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinSet, consume_budget, yield_now},
    time::{Instant, advance, timeout},
};

use crate::{KEEPALIVE, common::panics::panic_of};

const IDLE: Duration = Duration::from_millis(20);

/// Far more than a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(20);

fn paused() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

fn beats(timers: &SharedTimers) -> impl Stream<Item = &'static str> + Unpin + use<> {
    Keepalive::new(stream::pending(), IDLE, Repeat(KEEPALIVE)).with_timer(timers.timer())
}

#[test]
fn a_stream_that_has_panicked_for_want_of_a_runtime_goes_on_in_one() {
    let mut events = beats(&SharedTimers::new());
    panic_of(|| futures::executor::block_on(events.next()));
    paused().block_on(async {
        let next = timeout(PATIENCE, events.next()).await;
        assert_eq!(next, Ok(Some(KEEPALIVE)));
    });
}

#[test]
fn a_stream_that_has_panicked_for_want_of_a_runtime_does_not_stand_before_others() {
    let timers = SharedTimers::new();
    let mut events = beats(&timers);
    panic_of(|| futures::executor::block_on(events.next()));
    paused().block_on(async {
        let next = timeout(PATIENCE, beats(&timers).next()).await;
        assert_eq!(next, Ok(Some(KEEPALIVE)));
    });
}

#[test]
fn a_timer_that_is_first_polled_after_its_time_expires_at_once_if_the_alarm_has_rested() {
    paused().block_on(async {
        let mut timer = SharedTimers::new().timer();
        timer.arm(IDLE);
        advance(2 * IDLE).await;
        let start = Instant::now();
        let expired = poll_fn(|cx| timer.poll_expired(cx));
        assert_eq!(timeout(PATIENCE, expired).await, Ok(()));
        assert_eq!(start.elapsed(), Duration::ZERO);
    });
}

#[test]
fn a_task_that_has_spent_its_budget_sets_the_alarm_all_the_same() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let next = runtime.block_on(async {
        let mut timer = SharedTimers::new().timer();
        timer.arm(IDLE);
        let spent = poll_fn(move |cx| {
            while pin!(consume_budget()).poll(cx).is_ready() {}
            timer.poll_expired(cx)
        });
        timeout(PATIENCE, tokio::spawn(spent)).await
    });
    assert!(matches!(next, Ok(Ok(()))), "{next:?}");
}

#[test]
fn of_two_streams_in_one_task_one_that_goes_leaves_the_other_in_the_queue() {
    paused().block_on(async {
        let timers = SharedTimers::new();
        let (mut goes, mut stays) = (beats(&timers), beats(&timers));
        assert_eq!(poll!(goes.next()), Poll::Pending);
        assert_eq!(poll!(stays.next()), Poll::Pending);
        drop(goes);
        let next = timeout(PATIENCE, stays.next()).await;
        assert_eq!(next, Ok(Some(KEEPALIVE)));
    });
}

#[test]
fn a_stream_that_comes_before_all_others_need_not_wait_for_them() {
    paused().block_on(async {
        let timers = SharedTimers::new();
        let mut hour = timers.timer();
        hour.arm(Duration::from_secs(3600));
        assert_eq!(poll!(poll_fn(|cx| hour.poll_expired(cx))), Poll::Pending);
        let start = Instant::now();
        beats(&timers).next().await;
        assert!(start.elapsed() < 2 * IDLE);
    });
}

#[test]
fn streams_that_are_due_soon_after_others_are_woken_together() {
    let woken_at = paused().block_on(async {
        let timers = SharedTimers::new();
        let start = Instant::now();
        let mut streams = JoinSet::new();
        for due in 20..30 {
            let mut timer = timers.timer();
            timer.arm(Duration::from_millis(due));
            streams.spawn(async move {
                poll_fn(|cx| timer.poll_expired(cx)).await;
                start.elapsed().as_millis()
            });
        }
        streams.join_all().await
    });
    assert_eq!(woken_at, [20, 23, 23, 23, 26, 26, 26, 29, 29, 29]);
}

#[test]
fn an_alarm_that_is_too_late_as_it_is_moved_is_heard() {
    let case = async {
        let timers = SharedTimers::new();
        let (mut hour, mut soon) = (timers.timer(), timers.timer());
        hour.arm(Duration::from_secs(3600));
        assert_eq!(poll!(poll_fn(|cx| hour.poll_expired(cx))), Poll::Pending);
        soon.arm(IDLE);
        advance(2 * IDLE).await;
        let start = Instant::now();
        poll_fn(|cx| soon.poll_expired(cx)).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    };
    ends(|| paused().block_on(case));
}

#[test]
fn a_waker_that_panics_leaves_the_others_of_its_queue_well() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("the waker panics");
        }
    }
    paused().block_on(async {
        let timers = SharedTimers::new();
        let mut before = beats(&timers);
        let panics = Waker::from(Arc::new(Panics));
        assert_eq!(
            before.poll_next_unpin(&mut Context::from_waker(&panics)),
            Poll::Pending
        );
        let mut after = beats(&timers);
        for _ in 0..3 {
            let next = timeout(PATIENCE, after.next()).await;
            assert_eq!(next, Ok(Some(KEEPALIVE)));
        }
    });
}

/// Does it on another thread, since a lock that is never let go would hold up the test too.
fn ends(what: impl FnOnce() + Send + 'static) {
    let (sender, done) = mpsc::channel();
    thread::spawn(move || {
        what();
        sender.send(())
    });
    assert_eq!(done.recv_timeout(3 * PATIENCE), Ok(()));
}

/// Lets streams live on four threads, in real time, to their end.
fn in_parallel(streams: impl Future<Output = JoinSet<()>> + Send + 'static) {
    ends(|| {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(4).enable_time().build().unwrap();
        runtime.block_on(async { streams.await.join_all().await });
    });
}

#[test]
fn an_alarm_that_rings_while_it_is_set_is_heard() {
    // Each silence has a queue of its own, whose alarm has not rung and need not rest.
    in_parallel(async {
        let tasks = (0..1000).map(|micros| async move {
            for _ in 0..2000 {
                let mut timer = SharedTimers::new().timer();
                timer.arm(Duration::from_micros(200 + micros));
                poll_fn(|cx| timer.poll_expired(cx)).await;
            }
        });
        tasks.collect()
    });
}

#[test]
fn an_alarm_that_rings_is_heard_while_others_come_with_longer_intervals() {
    in_parallel(async {
        let mut streams = JoinSet::new();
        for _ in 0..100 {
            let timers = SharedTimers::new();
            let idle = Duration::from_millis(1);
            let beats =
                Keepalive::new(stream::pending(), idle, Repeat(())).with_timer(timers.timer());
            let beats = streams.spawn(beats.take(1000).for_each(|()| ready(())));
            streams.spawn(async move {
                while !beats.is_finished() {
                    let mut timer = timers.timer();
                    timer.arm(Duration::from_secs(3600));
                    assert_eq!(poll!(poll_fn(|cx| timer.poll_expired(cx))), Poll::Pending);
                    yield_now().await;
                }
            });
        }
        streams
    });
}

#[test]
fn of_a_thousand_streams_with_other_intervals_none_is_forgotten_and_none_is_early() {
    in_parallel(async {
        let timers = SharedTimers::new();
        let streams = (0..1000).map(|stream| {
            let idle = Duration::from_micros(500 + 17 * (stream % 300));
            let silent = stream::pending();
            let mut beats = Keepalive::new(silent, idle, Repeat(())).with_timer(timers.timer());
            async move {
                for _ in 0..30 {
                    let asked = Instant::now();
                    beats.next().await;
                    assert!(asked.elapsed() >= idle);
                }
            }
        });
        streams.collect()
    });
}
