//! Streams outside a Tokio runtime, or in a runtime without the time driver.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, stream};
use stream_keepalive::KeepaliveExt;
use tokio::runtime::Builder;

use crate::{
    KEEPALIVE, LAST,
    support::{
        panics::{Panic, panic_of},
        source::source,
    },
};

const IDLE: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

fn panic_of_poll(mut stream: impl Stream<Item = &'static str> + Unpin) -> Panic {
    let mut cx = Context::from_waker(Waker::noop());
    panic_of(|| Pin::new(&mut stream).poll_next(&mut cx))
}

#[test]
fn items_and_the_end_pass_without_a_runtime() {
    let events = stream::iter([1, 2]).keepalive(IDLE, 0).immediate();
    let events = events.idle_timeout_with(IDLE, || 3);
    assert_eq!(events.collect::<Vec<_>>().now_or_never(), Some(vec![1, 2]));
}

#[test]
fn a_stream_that_is_turned_off_may_be_idle_without_a_runtime() {
    let mut kept = stream::pending().keepalive(Duration::ZERO, 0);
    assert_eq!(kept.next().now_or_never(), None);
    let mut ended = stream::pending::<()>().idle_timeout(Duration::ZERO);
    assert_eq!(ended.next().now_or_never(), None);
}

#[test]
fn going_idle_without_a_runtime_panics_and_says_what_is_needed() {
    let kept = panic_of_poll(stream::pending().keepalive(IDLE, KEEPALIVE));
    let ended = panic_of_poll(stream::pending().idle_timeout_with(IDLE, || LAST));
    for panic in [kept, ended] {
        assert!(panic.message.starts_with("stream-keepalive: "), "{panic:?}");
        assert!(panic.message.contains("Tokio runtime"), "{panic:?}");
        assert!(panic.message.contains("time"), "{panic:?}");
    }
}

#[test]
fn going_idle_in_a_runtime_without_time_panics_and_says_what_is_needed() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let _guard = runtime.enter();
    let kept = panic_of_poll(stream::pending().keepalive(IDLE, KEEPALIVE));
    let ended = panic_of_poll(stream::pending().idle_timeout_with(IDLE, || LAST));
    for panic in [kept, ended] {
        assert!(panic.message.contains("Tokio"), "{panic:?}");
        assert!(panic.message.contains("enable_time"), "{panic:?}");
    }
}

#[test]
fn a_stream_that_has_panicked_without_a_runtime_continues_in_one() {
    let (remote, source) = source();
    let mut events = source.keepalive(IDLE, KEEPALIVE);
    panic_of(|| events.next().now_or_never());
    panic_of(|| events.next().now_or_never());
    remote.send("a");
    assert_eq!(events.next().now_or_never(), Some(Some("a")));

    let paused = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    paused.block_on(async {
        let start = tokio::time::Instant::now();
        let next = tokio::time::timeout(IDLE * 10, events.next()).await;
        assert_eq!(next, Ok(Some(KEEPALIVE)));
        assert_eq!(start.elapsed(), IDLE);
    });
}

#[test]
fn a_stream_that_has_been_idle_in_a_runtime_may_be_idle_outside_it() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let (remote, source) = source();
    let mut events = source.keepalive(HOUR, KEEPALIVE);
    runtime.block_on(async { assert_eq!(events.next().now_or_never(), None) });
    remote.send("a");
    assert_eq!(events.next().now_or_never(), Some(Some("a")));
    // The first poll leaves the timer where it is, and the second one moves it.
    for idle in [HOUR, HOUR / 2] {
        Pin::new(&mut events).set_idle(idle);
        assert_eq!(events.next().now_or_never(), None);
    }
}

#[test]
fn an_immediate_keepalive_passes_without_a_runtime() {
    let mut events = pin!(stream::pending().keepalive(IDLE, KEEPALIVE).immediate());
    let mut cx = Context::from_waker(Waker::noop());
    let first = events.as_mut().poll_next(&mut cx);
    assert_eq!(first, Poll::Ready(Some(KEEPALIVE)));
    panic_of(|| events.as_mut().poll_next(&mut cx));
}
