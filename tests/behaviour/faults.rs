//! Faults that a stream survives.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Wake, Waker},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use stream_keepalive::{IdleTimeout, Keepalive, Repeat};
use tokio_test::{
    assert_pending, assert_ready_eq,
    task::{Spawn, spawn},
};

use crate::{
    KEEPALIVE, LAST, answers_after, keepalives,
    support::{
        clock::{ByHand, Clock},
        panics::{Panic, panic_of},
        source::{Source, source},
    },
    yields_after,
};

on_every_clock! {
    an_inner_stream_that_has_panicked_can_be_polled_again,
    a_panic_of_the_inner_stream_does_not_restart_the_clock,
    a_panic_of_the_inner_stream_does_not_delay_the_timeout;
    exact:
    a_jump_of_years_yields_one_keepalive,
    a_stream_dropped_while_idle_wakes_nobody,
}

/// The item at which a [`panicking`] source panics.
const PANIC: &str = "the inner stream panics";

/// A source that panics instead of yielding [`PANIC`].
fn panicking(source: Source<&'static str>) -> impl Stream<Item = &'static str> + Unpin {
    source.inspect(|item| assert_ne!(*item, PANIC, "{PANIC}"))
}

async fn an_inner_stream_that_has_panicked_can_be_polled_again<C: Clock>(clock: C) {
    let (remote, source) = source();
    let idle = C::IDLE;
    let events =
        Keepalive::new(panicking(source), idle, Repeat(KEEPALIVE)).with_timer(clock.timer());
    let mut events = spawn(events);
    remote.send(PANIC);
    assert!(panic_of(|| events.poll_next()).message.contains(PANIC));
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, idle, KEEPALIVE).await;
    remote.send("a");
    assert_ready_eq!(events.poll_next(), Some("a"));
    remote.end();
    assert_ready_eq!(events.poll_next(), None);
}

async fn a_panic_of_the_inner_stream_does_not_restart_the_clock<C: Clock>(clock: C) {
    let (remote, source) = source();
    let idle = C::IDLE;
    let events =
        Keepalive::new(panicking(source), idle, Repeat(KEEPALIVE)).with_timer(clock.timer());
    let mut events = spawn(events);
    assert_pending!(events.poll_next());
    clock.pass(idle / 2).await;
    remote.send(PANIC);
    assert!(panic_of(|| events.poll_next()).message.contains(PANIC));
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, idle / 2, KEEPALIVE).await;
}

async fn a_panic_of_the_inner_stream_does_not_delay_the_timeout<C: Clock>(clock: C) {
    let (remote, source) = source();
    let events = IdleTimeout::new(panicking(source), C::IDLE).with_timer(clock.timer());
    let mut events = spawn(events.with_last(|| LAST));
    assert_pending!(events.poll_next());
    clock.pass(C::IDLE / 2).await;
    remote.send(PANIC);
    assert!(panic_of(|| events.poll_next()).message.contains(PANIC));
    assert_pending!(events.poll_next());
    answers_after(&clock, &mut events, C::IDLE / 2, Some(LAST)).await;
    assert_ready_eq!(events.poll_next(), None);
}

async fn a_jump_of_years_yields_one_keepalive<C: Clock>(clock: C) {
    let (_remote, mut events) = keepalives(&clock, C::IDLE);
    for years in [1, 10, 100] {
        assert_pending!(events.poll_next());
        clock
            .pass(Duration::from_secs(365 * 24 * 60 * 60) * years)
            .await;
        assert!(events.is_woken());
        assert_ready_eq!(events.poll_next(), Some(KEEPALIVE));
    }
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
}

async fn a_stream_dropped_while_idle_wakes_nobody<C: Clock>(clock: C) {
    let (_remote, mut events) = keepalives(&clock, C::IDLE);
    let mut task = spawn(());
    task.enter(|cx, _| assert!(Pin::new(&mut *events).poll_next(cx).is_pending()));
    drop(events);
    clock.pass(C::IDLE * 2).await;
    assert!(!task.is_woken());
}

/// Panics when it is woken.
struct Touchy;

impl Wake for Touchy {
    fn wake(self: Arc<Self>) {
        panic!("do not touch me");
    }
}

#[test]
fn a_waker_that_panics_does_not_break_the_stream() {
    let clock = ByHand::default();
    let (_remote, mut events) = keepalives(&clock, ByHand::IDLE);
    let touchy = Waker::from(Arc::new(Touchy));
    let polled = Pin::new(&mut *events).poll_next(&mut Context::from_waker(&touchy));
    assert!(polled.is_pending());
    let panic = panic_of(|| clock.advance(ByHand::IDLE));
    assert_eq!(panic.message, "do not touch me");
    assert_ready_eq!(events.poll_next(), Some(KEEPALIVE));
    assert_pending!(events.poll_next());
    clock.advance(ByHand::IDLE);
    assert!(events.is_woken());
    assert_ready_eq!(events.poll_next(), Some(KEEPALIVE));
}

#[cfg(feature = "tokio")]
mod in_tokio {
    use std::{sync::mpsc, thread};

    use stream_keepalive::{KeepaliveExt, SharedTimers, Timer, TokioTimer};
    use tokio::runtime::{Builder, Runtime};

    use super::*;
    use crate::PATIENCE;

    const IDLE: Duration = Duration::from_millis(20);

    /// A runtime with a thread of its own, which drives the clock.
    fn runtime() -> Runtime {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).enable_time().build().unwrap()
    }

    /// A stream whose timer belongs to this runtime.
    fn armed<T: Timer + Unpin + Send>(
        runtime: &Runtime,
        idle: Duration,
        timer: T,
    ) -> Spawn<impl Stream<Item = &'static str> + Unpin + Send + use<T>> {
        let _guard = runtime.enter();
        let inner = stream::pending();
        let mut events = spawn(Keepalive::new(inner, idle, Repeat(KEEPALIVE)).with_timer(timer));
        assert_pending!(events.poll_next());
        events
    }

    /// Runs `what` on another thread, which sends the result.
    fn elsewhere<T: Send + 'static>(
        what: impl FnOnce() -> T + Send + 'static,
    ) -> mpsc::Receiver<T> {
        let (sender, outcome) = mpsc::channel();
        thread::spawn(move || sender.send(what()));
        outcome
    }

    #[test]
    fn a_stream_armed_in_one_runtime_is_woken_in_another() {
        let first = runtime();
        let mut events = armed(&first, IDLE, TokioTimer::new());
        let next = elsewhere(move || runtime().block_on(async { events.next().await }));
        assert_eq!(next.recv_timeout(PATIENCE), Ok(Some(KEEPALIVE)));
    }

    /// Returns the panic of a stream that waits while the runtime of its timer is shut down.
    fn panic_at_shutdown(timer: impl Timer + Unpin + Send + 'static) -> Panic {
        let first = runtime();
        let mut events = armed(&first, Duration::from_secs(3600), timer);
        let (polled, is_polled) = mpsc::channel();
        let waiting = elsewhere(move || {
            panic_of(|| {
                runtime().block_on(std::future::poll_fn(|cx| {
                    let next = events.poll_next_unpin(cx);
                    polled.send(()).unwrap();
                    next
                }))
            })
        });
        is_polled.recv_timeout(PATIENCE).unwrap();
        drop(first);
        waiting.recv_timeout(PATIENCE).expect("the stream hangs")
    }

    #[test]
    fn a_stream_whose_runtime_is_shut_down_while_it_waits_panics_and_does_not_hang() {
        let panic = panic_at_shutdown(TokioTimer::new());
        assert!(panic.message.contains("Tokio"), "{panic:?}");
        assert!(panic.message.contains("shutdown"), "{panic:?}");
    }

    #[test]
    fn streams_whose_queue_loses_its_runtime_panic_instead_of_hanging() {
        let panic = panic_at_shutdown(SharedTimers::new().timer());
        assert!(panic.message.contains("shut down"), "{panic:?}");
    }

    #[test]
    fn a_stream_that_enters_a_queue_without_a_runtime_panics_and_does_not_hang() {
        let timers = SharedTimers::new();
        let first = runtime();
        let events = armed(&first, IDLE, timers.timer());
        drop(events);
        drop(first);
        let mut late =
            Keepalive::new(stream::pending(), IDLE, Repeat(KEEPALIVE)).with_timer(timers.timer());
        let next = elsewhere(move || panic_of(|| runtime().block_on(late.next())));
        let panic = next.recv_timeout(PATIENCE).expect("the stream hangs");
        assert!(panic.message.contains("shut down"), "{panic:?}");
    }

    #[test]
    fn a_stream_whose_runtime_is_gone_passes_items_and_can_be_dropped() {
        let first = runtime();
        let (remote, inner) = source();
        let mut events = spawn(inner.keepalive(Duration::from_secs(3600), KEEPALIVE));
        first.block_on(async { assert_pending!(events.poll_next()) });
        drop(first);
        panic_of(|| events.poll_next());
        remote.send("a");
        assert_ready_eq!(events.poll_next(), Some("a"));
        remote.end();
        assert_ready_eq!(events.poll_next(), None);
        drop(events);
    }
}
