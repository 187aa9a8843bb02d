//! Access to the inner stream, and getting it back.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::{FutureExt, Stream, StreamExt};
use stream_keepalive::{IdleTimeout, Keepalive, Repeat, SleepTimer, TokioTimer};
use tokio_test::{assert_pending, assert_ready_eq, task::spawn};

use crate::{KEEPALIVE, LAST, ending, keepalives, support::clock::Clock, yields_after};

on_every_clock! {
    an_item_taken_from_the_inner_stream_does_not_restart_the_clock,
    an_item_taken_from_the_inner_stream_does_not_delay_the_timeout,
    the_inner_stream_comes_back_with_all_its_items,
    every_type_can_be_printed_whatever_the_filler_is,
}

async fn an_item_taken_from_the_inner_stream_does_not_restart_the_clock<C: Clock>(clock: C) {
    let (remote, mut events) = keepalives(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    clock.pass(C::IDLE / 2).await;
    remote.send("a");
    remote.send("b");
    assert_eq!(events.get_mut().next().now_or_never(), Some(Some("a")));
    let inner = Pin::new(&mut *events).get_pin_mut();
    assert_eq!(inner.get_mut().next().now_or_never(), Some(Some("b")));
    assert_eq!(remote.polls(), 3);
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE / 2, KEEPALIVE).await;
}

async fn an_item_taken_from_the_inner_stream_does_not_delay_the_timeout<C: Clock>(clock: C) {
    let (remote, mut events) = ending(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    clock.pass(C::IDLE / 2).await;
    remote.send("a");
    remote.send("b");
    assert_eq!(events.get_mut().next().now_or_never(), Some(Some("a")));
    let inner = Pin::new(&mut *events).get_pin_mut();
    assert_eq!(inner.get_mut().next().now_or_never(), Some(Some("b")));
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE / 2, LAST).await;
}

async fn the_inner_stream_comes_back_with_all_its_items<C: Clock>(clock: C) {
    let (remote, mut events) = keepalives(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    remote.send("a");
    let mut inner = events.into_inner().into_inner();
    assert_eq!(inner.next().now_or_never(), Some(Some("a")));

    let events = IdleTimeout::new(inner, C::IDLE).with_timer(clock.timer());
    remote.send("b");
    assert_eq!(events.get_ref().size_hint().0, 1);
    let mut inner = spawn(events.into_inner());
    assert_ready_eq!(inner.poll_next(), Some("b"));
}

async fn every_type_can_be_printed_whatever_the_filler_is<C: Clock>(clock: C) {
    #[derive(Clone)]
    struct Opaque;
    #[derive(Debug)]
    struct Inner;
    impl Stream for Inner {
        type Item = Opaque;
        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Opaque>> {
            Poll::Pending
        }
    }

    let closure = Keepalive::new(Inner, C::IDLE, || Opaque).with_timer(clock.timer());
    let value = Keepalive::new(Inner, C::IDLE, Repeat(Opaque)).with_timer(clock.timer());
    for shown in [format!("{closure:?}"), format!("{value:?}")] {
        assert!(shown.starts_with("Keepalive { inner: Inner"), "{shown}");
        assert!(shown.contains(&format!("idle: {:?}", C::IDLE)), "{shown}");
    }

    let quiet = IdleTimeout::new(Inner, C::IDLE).with_timer(clock.timer());
    let shown = format!("{quiet:?}");
    assert!(shown.starts_with("IdleTimeout { inner: Inner"), "{shown}");
    assert!(shown.contains(&format!("idle: {:?}", C::IDLE)), "{shown}");
    let last = quiet.with_last(|| Opaque);
    assert_eq!(format!("{last:?}"), shown);

    assert_eq!(format!("{:?}", Repeat(7)), "Repeat(7)");
    let sleep = SleepTimer::new(std::future::ready::<std::time::Duration>);
    assert!(format!("{sleep:?}").starts_with("SleepTimer"));
    assert!(format!("{:?}", TokioTimer::new()).starts_with("TokioTimer"));
}
