//! Timers that share a queue: problems that a stream with its own timer does not have.

use std::{
    fmt::Debug,
    future::{Future, poll_fn, ready},
    io::Write,
    net::{TcpListener, TcpStream},
    panic::{RefUnwindSafe, UnwindSafe},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use futures::{Stream, StreamExt, poll, stream};
use static_assertions::assert_impl_all;
use stream_keepalive::{Keepalive, KeepaliveExt, Repeat, SharedTimer, SharedTimers, Timer};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    runtime::{Builder, Runtime},
    task::{JoinSet, consume_budget, yield_now},
    time::{Instant, Sleep, advance, sleep, timeout},
};
use tokio_stream::wrappers::LinesStream;

use crate::{KEEPALIVE, PATIENCE, support::panics::panic_of};

assert_impl_all!(SharedTimers: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Clone, Debug, Default);
assert_impl_all!(SharedTimer: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Debug);

const IDLE: Duration = Duration::from_millis(20);

fn paused() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

fn keepalives(timers: &SharedTimers) -> impl Stream<Item = &'static str> + Unpin + use<> {
    Keepalive::new(stream::pending(), IDLE, Repeat(KEEPALIVE)).with_timer(timers.timer())
}

#[test]
fn a_stream_that_has_panicked_without_a_runtime_continues_in_one() {
    let mut events = keepalives(&SharedTimers::new());
    let panic = panic_of(|| futures::executor::block_on(events.next()));
    assert!(panic.message.starts_with("stream-keepalive: "), "{panic:?}");
    assert!(panic.message.contains("Tokio runtime"), "{panic:?}");
    paused().block_on(async {
        let next = timeout(PATIENCE, events.next()).await;
        assert_eq!(next, Ok(Some(KEEPALIVE)));
    });
}

#[test]
fn a_stream_that_has_panicked_without_a_runtime_does_not_block_others() {
    let timers = SharedTimers::new();
    let mut events = keepalives(&timers);
    panic_of(|| futures::executor::block_on(events.next()));
    paused().block_on(async {
        let next = timeout(PATIENCE, keepalives(&timers).next()).await;
        assert_eq!(next, Ok(Some(KEEPALIVE)));
    });
}

#[test]
fn a_stream_that_has_panicked_without_the_time_driver_continues_elsewhere() {
    let mut events = keepalives(&SharedTimers::new());
    let without_time = Builder::new_current_thread().build().unwrap();
    let panic = panic_of(|| without_time.block_on(events.next()));
    assert!(panic.message.contains("enable_time"), "{panic:?}");
    paused().block_on(async {
        let next = timeout(PATIENCE, events.next()).await;
        assert_eq!(next, Ok(Some(KEEPALIVE)));
    });
}

#[test]
fn a_stream_may_go_idle_outside_a_runtime_if_its_queue_has_waited_in_one() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let timers = SharedTimers::new();
    let [mut waits, mut outside] = [(); 2].map(|()| timers.timer());
    waits.arm(Duration::from_secs(3600));
    runtime.block_on(async { assert!(is_pending(&mut waits, Waker::noop())) });
    // It is due first, so it moves the alarm.
    outside.arm(Duration::from_secs(1800));
    assert!(is_pending(&mut outside, Waker::noop()));
}

#[test]
fn a_timer_that_is_first_polled_late_expires_immediately_if_the_alarm_has_rested() {
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
fn a_task_that_has_spent_its_budget_still_sets_the_alarm() {
    let runtimes = [Builder::new_current_thread(), Builder::new_multi_thread()];
    for mut builder in runtimes {
        let runtime = builder.enable_time().build().unwrap();
        let next = runtime.block_on(async {
            let mut timer = SharedTimers::new().timer();
            timer.arm(IDLE);
            let spent = poll_fn(move |cx| {
                while pin!(consume_budget()).poll(cx).is_ready() {}
                timer.poll_expired(cx)
            });
            timeout(PATIENCE, spent).await
        });
        assert_eq!(next, Ok(()));
    }
}

#[test]
fn streams_that_come_and_go_do_not_take_the_slots_of_others() {
    paused().block_on(async {
        let timers = SharedTimers::new();
        let woken = Arc::new(AtomicUsize::new(0));
        let waiting = || {
            let mut timer = timers.timer();
            timer.arm(IDLE);
            let woken = woken.clone();
            let waker = Does::waker(move || {
                woken.fetch_add(1, Ordering::Relaxed);
            });
            assert!(is_pending(&mut timer, &waker));
            timer
        };
        // The queue reuses the memory of one idle time in the next.
        for _ in 0..3 {
            woken.store(0, Ordering::Relaxed);
            let mut stay: Vec<_> = (0..5).map(|_| waiting()).collect();
            for gone in [1, 0, 2] {
                drop(stay.remove(gone));
            }
            stay.extend((0..4).map(|_| waiting()));
            drop(stay.remove(3));
            stay.push(waiting());
            drop(stay.remove(2));
            advance(IDLE * 2).await;
            assert_eq!(woken.load(Ordering::Relaxed), stay.len());
        }
    });
}

#[test]
fn dropping_one_of_two_streams_in_a_task_leaves_the_other_in_the_queue() {
    paused().block_on(async {
        let timers = SharedTimers::new();
        let (mut goes, mut stays) = (keepalives(&timers), keepalives(&timers));
        assert_eq!(poll!(goes.next()), Poll::Pending);
        assert_eq!(poll!(stays.next()), Poll::Pending);
        drop(goes);
        let next = timeout(PATIENCE, stays.next()).await;
        assert_eq!(next, Ok(Some(KEEPALIVE)));
    });
}

#[test]
fn a_stream_that_is_due_before_all_others_does_not_wait_for_them() {
    paused().block_on(async {
        let timers = SharedTimers::new();
        let mut hour = timers.timer();
        hour.arm(Duration::from_secs(3600));
        assert_eq!(poll!(poll_fn(|cx| hour.poll_expired(cx))), Poll::Pending);
        let start = Instant::now();
        keepalives(&timers).next().await;
        assert!(start.elapsed() < 2 * IDLE);
    });
}

#[test]
fn no_timer_expires_early_by_a_fraction_of_a_tick() {
    paused().block_on(async {
        let mut timer = SharedTimers::new().timer();
        timer.arm(IDLE + Duration::from_nanos(1));
        assert!(is_pending(&mut timer, Waker::noop()));
        advance(IDLE).await;
        assert!(is_pending(&mut timer, Waker::noop()));
        advance(Duration::from_millis(1)).await;
        assert!(!is_pending(&mut timer, Waker::noop()));
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
    assert_eq!(woken_at, [20, 24, 24, 24, 24, 28, 28, 28, 28, 32]);
}

#[test]
fn a_stream_that_is_alone_in_its_queue_is_not_delayed() {
    paused().block_on(async {
        for idle in [1, 3, 4, 5, 20] {
            let idle = Duration::from_millis(idle);
            let timer = SharedTimers::new().timer();
            let mut events =
                Keepalive::new(stream::pending(), idle, Repeat(KEEPALIVE)).with_timer(timer);
            events.next().await;
            let start = Instant::now();
            events.next().await;
            assert_eq!(start.elapsed(), idle, "{idle:?}");
        }
    });
}

#[test]
fn a_busy_stream_that_is_alone_in_its_queue_is_not_delayed_by_its_old_place() {
    paused().block_on(async {
        let mut timer = SharedTimers::new().timer();
        // The timer is busy from the second time on, and stays at its place in the queue from the third time on.
        for _ in 0..3 {
            sleep(Duration::from_millis(1)).await;
            timer.arm(IDLE);
            assert_eq!(poll!(poll_fn(|cx| timer.poll_expired(cx))), Poll::Pending);
        }
        let start = Instant::now();
        poll_fn(|cx| timer.poll_expired(cx)).await;
        assert_eq!(start.elapsed(), IDLE);
    });
}

#[test]
fn a_timer_that_is_woken_early_and_polled_late_expires_at_the_first_poll() {
    paused().block_on(async {
        let mut timer = SharedTimers::new().timer();
        for _ in 0..3 {
            advance(Duration::from_millis(1)).await;
            timer.arm(IDLE);
            assert!(is_pending(&mut timer, Waker::noop()));
        }
        // The task is woken at the old place, and nobody is in the queue after that.
        advance(IDLE - Duration::from_millis(1)).await;
        advance(IDLE * 10).await;
        assert!(!is_pending(&mut timer, Waker::noop()));
    });
}

#[test]
fn a_thread_whose_clock_is_behind_the_paused_clock_does_not_spin() {
    let hour = Duration::from_secs(3600);
    ends(move || {
        let runtime = paused();
        let timers = SharedTimers::new();
        let mut waits = timers.timer();
        runtime.block_on(async {
            waits.arm(24 * hour);
            assert!(is_pending(&mut waits, Waker::noop()));
            advance(hour).await;
        });
        // On the clock of this thread, the hour has not passed. On the alarm's paused clock, it has.
        let mut outside = timers.timer();
        outside.arm(hour / 2);
        assert!(!is_pending(&mut outside, Waker::noop()));
        assert!(is_pending(&mut waits, Waker::noop()));
    });
}

#[test]
fn an_alarm_that_is_moved_to_a_time_in_the_past_fires() {
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
fn a_waker_that_panics_does_not_affect_the_others_in_its_queue() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("the waker panics");
        }
    }
    paused().block_on(async {
        let timers = SharedTimers::new();
        let mut before = keepalives(&timers);
        let panics = Waker::from(Arc::new(Panics));
        assert_eq!(
            before.poll_next_unpin(&mut Context::from_waker(&panics)),
            Poll::Pending
        );
        let mut after = keepalives(&timers);
        for _ in 0..3 {
            let next = timeout(PATIENCE, after.next()).await;
            assert_eq!(next, Ok(Some(KEEPALIVE)));
        }
    });
}

/// A task that does something when it is woken, and when its waker is dropped.
struct Does<F: FnOnce() + Send>(Mutex<Option<F>>);

impl<F: FnOnce() + Send + 'static> Does<F> {
    fn waker(action: F) -> Waker {
        Waker::from(Arc::new(Self(Mutex::new(Some(action)))))
    }
}

impl<F: FnOnce() + Send + 'static> Wake for Does<F> {
    fn wake(self: Arc<Self>) {
        let action = self.0.lock().unwrap().take();
        if let Some(action) = action {
            action();
        }
    }
}

fn is_pending(timer: &mut SharedTimer, waker: &Waker) -> bool {
    timer
        .poll_expired(&mut Context::from_waker(waker))
        .is_pending()
}

#[test]
fn timers_may_be_dropped_by_a_task_that_is_woken() {
    let case = async {
        let timers = SharedTimers::new();
        let start = Instant::now();
        // Timers of the same tick, of a later tick, and of a later tick that is fired together with the first.
        let dropped = [IDLE, 2 * IDLE, IDLE + Duration::from_millis(1)];
        let dropped = dropped.map(|due| {
            let mut timer = timers.timer();
            timer.arm(due);
            assert!(is_pending(&mut timer, Waker::noop()));
            timer
        });
        let mut first = timers.timer();
        first.arm(IDLE);
        assert!(is_pending(&mut first, &Does::waker(|| drop(dropped))));

        let mut last = timers.timer();
        last.arm(3 * IDLE);
        poll_fn(|cx| last.poll_expired(cx)).await;
        assert_eq!(start.elapsed(), 3 * IDLE);
    };
    ends(|| paused().block_on(case));
}

#[test]
fn a_waker_that_is_dropped_in_the_queue_may_drop_timers_of_the_queue() {
    let case = async {
        let timers = SharedTimers::new();
        let holds_a_timer = || {
            let mut held = timers.timer();
            held.arm(IDLE);
            assert!(is_pending(&mut held, Waker::noop()));
            Does::waker(|| drop(held))
        };
        let mut leaves = timers.timer();
        leaves.arm(IDLE);
        assert!(is_pending(&mut leaves, &holds_a_timer()));
        assert!(is_pending(&mut leaves, &holds_a_timer())); // drops the first waker
        drop(leaves);
        keepalives(&timers).next().await;
    };
    ends(|| paused().block_on(case));
}

#[test]
fn a_timer_that_moves_to_another_task_wakes_only_that_one() {
    paused().block_on(async {
        let mut timer = SharedTimers::new().timer();
        timer.arm(IDLE);
        let before = Does::waker(|| panic!("the previous task was woken"));
        assert!(is_pending(&mut timer, &before));
        let (sender, woken) = mpsc::channel();
        let now = Does::waker(move || sender.send(()).unwrap());
        assert!(is_pending(&mut timer, &now));
        advance(IDLE).await;
        assert_eq!(woken.try_recv(), Ok(()));
    });
}

#[test]
fn timers_that_outlive_their_runtime_panic_when_polled_and_can_be_dropped() {
    let timers = SharedTimers::new();
    let runtime = paused();
    let waiting = [1, 1, 2, 3].map(|periods| {
        let mut timer = timers.timer();
        runtime.block_on(async {
            timer.arm(periods * IDLE);
            assert!(is_pending(&mut timer, Waker::noop()));
        });
        timer
    });
    drop(runtime);
    // The queue notices the shutdown when its alarm fires or is set.
    let mut first = timers.timer();
    first.arm(Duration::from_nanos(1));
    for mut timer in waiting.into_iter().chain([first]) {
        let panic = panic_of(|| is_pending(&mut timer, Waker::noop()));
        assert!(panic.message.starts_with("stream-keepalive: "), "{panic:?}");
        assert!(panic.message.contains("shut down"), "{panic:?}");
        drop(timer);
    }
    timers.timer().arm(IDLE);
}

#[test]
fn streams_that_are_due_together_leave_the_queue_without_a_search() {
    // It takes a moment. With a search for each stream, it would take a quarter of an hour.
    ends(|| {
        paused().block_on(async {
            let timers = SharedTimers::new();
            let streams = (0..200_000).map(|_| {
                let mut stream = keepalives(&timers);
                let waker = Does::waker(|| {});
                let mut cx = Context::from_waker(&waker);
                assert!(stream.poll_next_unpin(&mut cx).is_pending());
                stream
            });
            let mut from_the_start: Vec<_> = streams.collect();
            let mut from_the_end = from_the_start.split_off(100_000);
            while let Some(last) = from_the_end.pop() {
                drop(last);
            }
            drop(from_the_start);
        });
    });
}

#[test]
fn shared_timers_can_be_printed() {
    let timers = SharedTimers::default();
    assert_eq!(format!("{timers:?}"), "SharedTimers { .. }");
    assert_eq!(format!("{:?}", timers.timer()), "SharedTimer { .. }");
}

/// Expects `what` to end. It runs on another thread, because a deadlock would block the test too.
fn ends(what: impl FnOnce() + Send + 'static) {
    let (sender, done) = mpsc::channel();
    thread::spawn(move || {
        what();
        sender.send(())
    });
    assert_eq!(done.recv_timeout(3 * PATIENCE), Ok(()));
}

mod in_real_time {
    use super::*;

    /// Runs streams to their end on four threads, in real time.
    fn in_parallel(streams: impl Future<Output = JoinSet<()>> + Send + 'static) {
        ends(|| {
            let mut builder = Builder::new_multi_thread();
            let runtime = builder.worker_threads(4).enable_time().build().unwrap();
            runtime.block_on(async { streams.await.join_all().await });
        });
    }

    #[test]
    fn an_alarm_that_fires_while_it_is_set_is_noticed() {
        // Each idle period has a queue of its own, whose alarm has not fired yet and need not rest.
        in_parallel(async {
            let tasks = (0..1000).map(|micros| async move {
                for _ in 0..500 {
                    let mut timer = SharedTimers::new().timer();
                    timer.arm(Duration::from_micros(200 + micros));
                    poll_fn(|cx| timer.poll_expired(cx)).await;
                }
            });
            tasks.collect()
        });
    }

    #[test]
    fn an_alarm_that_fires_is_noticed_while_timers_with_longer_intervals_enter() {
        in_parallel(async {
            let mut streams = JoinSet::new();
            for _ in 0..100 {
                let timers = SharedTimers::new();
                let idle = Duration::from_millis(1);
                let keepalives =
                    Keepalive::new(stream::pending(), idle, Repeat(())).with_timer(timers.timer());
                let keepalives = streams.spawn(keepalives.take(1000).for_each(|()| ready(())));
                streams.spawn(async move {
                    while !keepalives.is_finished() {
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
    fn of_a_thousand_streams_with_different_intervals_none_is_forgotten_or_early() {
        in_parallel(async {
            let timers = SharedTimers::new();
            let streams = (0..1000).map(|stream| {
                let idle = Duration::from_micros(500 + 17 * (stream % 300));
                let inner = stream::pending();
                let mut keepalives =
                    Keepalive::new(inner, idle, Repeat(())).with_timer(timers.timer());
                async move {
                    for _ in 0..30 {
                        let asked = Instant::now();
                        keepalives.next().await;
                        assert!(asked.elapsed() >= idle);
                    }
                }
            });
            streams.collect()
        });
    }
}

/// Time has passed, but the thread was blocked, and the runtime has not polled for input since.
#[test]
fn a_timer_that_enters_late_expires_no_other_before_the_runtime_has_polled_for_input() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let timers = SharedTimers::new();
        let (mut other, mut late) = (timers.timer(), timers.timer());
        other.arm(Duration::from_millis(2000));
        assert_eq!(poll!(poll_fn(|cx| other.poll_expired(cx))), Poll::Pending);
        late.arm(Duration::from_millis(1));
        sleep(Duration::from_millis(20)).await;
        thread::sleep(Duration::from_millis(2200));
        _ = poll!(poll_fn(|cx| late.poll_expired(cx)));
        assert_eq!(poll!(poll_fn(|cx| late.poll_expired(cx))), Poll::Ready(()));
        assert_eq!(poll!(poll_fn(|cx| other.poll_expired(cx))), Poll::Pending);
        let expired = timeout(PATIENCE, poll_fn(|cx| other.poll_expired(cx)));
        assert_eq!(expired.await, Ok(()));
    });
}

/// The runtime polls for input, and then fires timers and wakes their tasks in turn, without polling in between.
#[test]
fn a_waker_that_takes_long_lets_no_timer_overtake_a_line_that_came_meanwhile() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let source = listener.accept().unwrap().0;
        source.set_nonblocking(true).unwrap();
        let source = tokio::net::TcpStream::from_std(source).unwrap();
        let due = Duration::from_millis(50);
        // Both are due with the alarm. One of them is woken before it, in whatever order that happens.
        let mut slow = [(); 2].map(|()| Box::pin(sleep(due)));
        let start = Instant::now();
        let [first, second] = slow.each_mut().map(|sleep| sleep.as_mut());
        let poll_slowly = |sleep: Pin<&mut Sleep>| {
            let mut peer = peer.try_clone().unwrap();
            let waker = Does::waker(move || {
                peer.write_all(b"line\n").unwrap();
                thread::sleep(Duration::from_millis(1200));
            });
            assert!(sleep.poll(&mut Context::from_waker(&waker)).is_pending());
        };
        let timers = SharedTimers::new();
        let mut early = timers.timer();
        let lines = LinesStream::new(BufReader::new(source).lines());
        let mut lines = lines
            .map(Result::unwrap)
            .keepalive(due + Duration::from_millis(1000), KEEPALIVE.to_owned())
            .with_timer(timers.timer());
        poll_slowly(first);
        early.arm(due);
        assert!(is_pending(&mut early, Waker::noop()));
        poll_slowly(second);
        let next = lines.next().await;
        assert!(start.elapsed() >= Duration::from_millis(1200));
        assert_eq!(next.as_deref(), Some("line"));
    });
}
