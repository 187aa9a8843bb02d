//! The memory of an adapter: nothing before it is idle for the first time, and one allocation in its life.

#![cfg(feature = "tokio")]

#[allow(dead_code, reason = "shared with the other test binaries")]
mod support;

use std::{
    future::poll_fn,
    mem::{align_of, size_of},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::{AllocationInfo, measure};
use futures::{
    Stream,
    stream::{self, Iter, Pending},
};
use stream_keepalive::{
    IdleTimeout, Keepalive, KeepaliveExt, Repeat, SharedTimer, SharedTimers, Timer,
};
use tokio::{runtime::Builder, time::advance};

use support::{
    clock::{Clock, PausedTokio},
    source::source,
};

const IDLE: Duration = Duration::from_secs(20);

/// Polls with a waker that does not allocate.
fn poll<S: Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop()))
}

fn nothing(allocated: AllocationInfo) -> bool {
    allocated.count_total == 0 && allocated.count_current == 0
}

#[test]
fn construction_and_ready_items_allocate_nothing() {
    let allocated = measure(|| {
        let events = stream::iter(0..1000).keepalive(IDLE, 0).immediate();
        let events = events.idle_timeout_with(IDLE, || 0);
        let mut events = events.keepalive_with(IDLE, || 0);
        Pin::new(&mut events).set_idle(IDLE * 2);
        for _ in 0..1000 {
            assert!(matches!(poll(&mut events), Poll::Ready(Some(_))));
        }
        assert_eq!(poll(&mut events), Poll::Ready(None));
    });
    assert!(nothing(allocated), "{allocated:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_idle_many_times_allocates_once() {
    let (remote, source) = source();
    let mut events = source.keepalive(IDLE, "keepalive");
    remote.send("a");
    assert!(nothing(measure(|| {
        assert_eq!(poll(&mut events), Poll::Ready(Some("a")));
    })));

    let first = measure(|| assert!(poll(&mut events).is_pending()));
    assert_eq!((first.count_total, first.count_current), (1, 1));
    // A `Sleep` of Tokio 1.54 takes 112 of these bytes, one of Tokio 1.44 takes 120.
    assert!(first.bytes_current <= 128, "{first:?}");

    for round in 1..100 {
        advance(IDLE / 2).await;
        remote.send("a");
        assert!(nothing(measure(|| {
            assert_eq!(poll(&mut events), Poll::Ready(Some("a")));
            assert!(poll(&mut events).is_pending());
        })));
        advance(IDLE * 2).await;
        assert!(nothing(measure(|| {
            assert_eq!(poll(&mut events), Poll::Ready(Some("keepalive")));
            Pin::new(&mut events).set_idle(IDLE + Duration::from_secs(round % 3));
            assert!(poll(&mut events).is_pending());
            Pin::new(&mut events).set_idle(Duration::MAX);
            assert!(poll(&mut events).is_pending());
            Pin::new(&mut events).set_idle(IDLE);
            assert!(poll(&mut events).is_pending());
        })));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_gives_its_allocation_back() {
    let mut events = stream::pending().keepalive(IDLE, "keepalive");
    assert!(poll(&mut events).is_pending());
    let gone = measure(|| drop(events));
    assert_eq!((gone.count_total, gone.count_current), (0, -1));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_allocates_once() {
    let mut events = stream::pending().idle_timeout_with(IDLE, || "last");
    let idle = measure(|| assert!(poll(&mut events).is_pending()));
    assert_eq!(idle.count_total, 1);
    for _ in 0..2 {
        advance(IDLE / 2).await;
        assert!(nothing(measure(|| assert!(poll(&mut events).is_pending()))));
    }
    assert!(nothing(measure(|| {
        assert_eq!(poll(&mut events), Poll::Ready(Some("last")));
        assert_eq!(poll(&mut events), Poll::Ready(None));
    })));
}

#[tokio::test(start_paused = true)]
async fn a_keepalive_allocates_what_its_filler_does() {
    let mut events = stream::pending().keepalive_with(IDLE, || Box::new(0_u32));
    for _ in 0..3 {
        assert!(poll(&mut events).is_pending());
        advance(IDLE).await;
        let kept = measure(|| assert!(poll(&mut events).is_ready()));
        assert_eq!((kept.count_total, kept.bytes_total), (1, 4));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_turned_off_allocates_nothing() {
    let mut off = stream::pending().keepalive(Duration::ZERO, 0);
    let mut endless = stream::pending().keepalive(Duration::MAX, 0);
    let timers = SharedTimers::new();
    let mut shared = stream::pending()
        .keepalive(Duration::MAX, 0)
        .with_timer(timers.timer());
    assert!(nothing(measure(|| {
        assert!(poll(&mut off).is_pending());
        assert!(poll(&mut endless).is_pending());
        assert!(poll(&mut shared).is_pending());
    })));
}

#[test]
fn timers_that_share_a_queue_leave_nothing_behind() {
    // The timer is late when the alarm is set, because then Tokio keeps the waker.
    let lives = || {
        PausedTokio::run(async |_| {
            let timers = SharedTimers::new();
            let mut waits = timers.timer();
            waits.arm(IDLE * 2);
            let mut late = timers.timer();
            late.arm(IDLE);
            advance(IDLE).await;
            poll_fn(|cx| late.poll_expired(cx)).await;
            let mut cx = Context::from_waker(Waker::noop());
            assert!(waits.poll_expired(&mut cx).is_pending());
        });
    };
    lives(); // the first runtime of a process leaves some memory behind
    let allocated = measure(lives);
    assert_eq!(allocated.count_current, 0, "{allocated:?}");
}

#[test]
fn a_shared_timer_takes_24_bytes() {
    assert_eq!(size_of::<SharedTimer>(), 24);
    assert_eq!(
        size_of::<Keepalive<Pending<u64>, Repeat<u64>, SharedTimer>>(),
        40
    );
}

#[tokio::test(start_paused = true)]
async fn an_idle_stream_on_a_shared_timer_takes_16_bytes_of_the_heap_and_a_busy_one_40_more() {
    const STREAMS: i64 = 1024;
    let timers = SharedTimers::new();
    let keepalive = || {
        stream::pending()
            .keepalive(IDLE, 0)
            .with_timer(timers.timer())
    };
    let mut first = keepalive();
    assert!(poll(&mut first).is_pending());

    let mut streams = Vec::with_capacity(STREAMS as usize);
    let made = measure(|| streams.extend((0..STREAMS).map(|_| keepalive())));
    assert!(nothing(made), "{made:?}");
    let mut poll_all = || {
        measure(|| {
            let mut streams = streams.iter_mut();
            assert!(streams.all(|stream| poll(stream).is_pending()));
        })
    };

    let idle = poll_all();
    // The capacity of the queue may be twice its length.
    assert!(idle.bytes_current <= STREAMS * 32, "{idle:?}");
    assert!(idle.count_current <= 1, "{idle:?}");

    let polled_again = poll_all();
    assert!(
        polled_again.bytes_current <= STREAMS * 40,
        "{polled_again:?}"
    );
    let once_more = poll_all();
    assert!(nothing(once_more), "{once_more:?}");

    // One allocation of each stream, and one of `streams`. Only the alarm is left in the queue.
    let gone = measure(|| drop(streams));
    assert_eq!(gone.count_current, -(STREAMS + 1));
    let last_gone = measure(|| drop(first));
    assert!(-last_gone.bytes_current >= STREAMS * 16, "{last_gone:?}");
}

/// Lets all timers expire together.
async fn expire(timers: &mut [SharedTimer]) {
    let mut cx = Context::from_waker(Waker::noop());
    for timer in &mut *timers {
        timer.arm(IDLE);
        assert!(timer.poll_expired(&mut cx).is_pending());
    }
    advance(IDLE * 2).await;
    for timer in timers {
        assert!(timer.poll_expired(&mut cx).is_ready());
    }
}

#[tokio::test(start_paused = true)]
async fn streams_that_go_idle_again_use_the_same_room_in_the_queue() {
    let timers = SharedTimers::new();
    let mut all = [(); 1000].map(|()| timers.timer());
    expire(&mut all).await;
    let mut cx = Context::from_waker(Waker::noop());
    let again = measure(|| {
        for timer in &mut all {
            timer.arm(IDLE);
            assert!(timer.poll_expired(&mut cx).is_pending());
        }
    });
    assert!(again.bytes_current < 1000, "{again:?}");
}

#[test]
fn the_queue_gives_the_room_for_a_burst_back() {
    let mut runtime = Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    let timers = SharedTimers::new();
    let remains = |streams: usize| {
        let allocated = measure(|| {
            let mut burst = Vec::from_iter((0..streams).map(|_| timers.timer()));
            runtime.block_on(async {
                expire(&mut burst).await;
                // The first one may use the room of the burst.
                expire(&mut [timers.timer()]).await;
                expire(&mut [timers.timer()]).await;
            });
        });
        allocated.bytes_current
    };
    remains(1);
    assert!(remains(10_000) < 10_000);
}

#[tokio::test(start_paused = true)]
async fn a_busy_stream_on_a_shared_timer_stays_in_the_queue() {
    let timers = SharedTimers::new();
    let (remote, source) = source();
    let mut events = source
        .keepalive(IDLE, "keepalive")
        .with_timer(timers.timer());
    for pair in 0..100 {
        remote.send("a");
        let allocated = measure(|| {
            assert_eq!(poll(&mut events), Poll::Ready(Some("a")));
            assert!(poll(&mut events).is_pending());
        });
        assert!(pair < 2 || nothing(allocated), "{pair}: {allocated:?}");
        advance(Duration::from_millis(1)).await;
    }
}

/// Returns how many bytes an adapter adds to its parts. The parts may need padding.
fn added<Adapter, Inner, Other>() -> usize {
    let parts = size_of::<Inner>() + size_of::<Other>();
    size_of::<Adapter>() - parts.next_multiple_of(align_of::<Adapter>())
}

#[test]
fn an_adapter_adds_at_most_32_bytes_to_inner_stream_and_item() {
    type Numbers = Iter<std::ops::Range<u64>>;
    assert!(added::<Keepalive<Numbers>, Numbers, u64>() <= 32);
    assert!(added::<Keepalive<Numbers, fn() -> u64>, Numbers, fn() -> u64>() <= 32);
    assert!(added::<IdleTimeout<Numbers>, Numbers, fn() -> u64>() <= 32);

    type Large = Pending<[u64; 100]>;
    assert!(added::<Keepalive<Large>, Large, [u64; 100]>() <= 32);
    type Small = Pending<u8>;
    assert!(added::<Keepalive<Small>, Small, u8>() <= 32);
    type Empty = Pending<()>;
    assert!(added::<Keepalive<Empty>, Empty, ()>() <= 32);
}
