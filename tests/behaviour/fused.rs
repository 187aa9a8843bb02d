//! The end of a stream, and its size hint before and after the end.

use futures::{Stream, stream::FusedStream};
use stream_keepalive::{IdleTimeout, Keepalive, Repeat};
use tokio_test::{assert_pending, assert_ready_eq, task::spawn};

use crate::{
    KEEPALIVE, LAST, answers_after, ending, keepalives, stays_idle, support::clock::Clock,
    support::source::source, yields_after,
};

on_every_clock! {
    nothing_follows_the_end_of_a_kept_alive_stream,
    nothing_follows_the_end_of_a_stream_with_a_timeout,
    nothing_follows_a_timeout,
    nothing_follows_a_timeout_without_a_last_item,
    a_keepalive_does_not_fuse_or_end_anything,
    a_fused_inner_stream_is_left_alone_as_well,
    the_size_of_a_kept_alive_stream_has_no_upper_bound_until_it_ends,
    the_size_of_a_stream_with_a_timeout_has_no_lower_bound,
    a_last_item_beyond_usize_has_no_upper_bound,
}

async fn nothing_follows_the_end_of_a_kept_alive_stream<C: Clock>(clock: C) {
    let (remote, mut events) = keepalives(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    assert!(!events.is_terminated());
    remote.end();
    remote.send("behind the end");
    assert_ready_eq!(events.poll_next(), None);
    assert!(events.is_terminated());
    assert_eq!(remote.polls(), 2);
    for _ in 0..5 {
        clock.pass(C::IDLE).await;
        assert_ready_eq!(events.poll_next(), None);
    }
    assert!(events.is_terminated());
    assert_eq!(remote.polls(), 2);
}

async fn nothing_follows_the_end_of_a_stream_with_a_timeout<C: Clock>(clock: C) {
    let (remote, mut events) = ending(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    assert!(!events.is_terminated());
    remote.end();
    remote.send("behind the end");
    for _ in 0..5 {
        assert_ready_eq!(events.poll_next(), None);
        clock.pass(C::IDLE).await;
    }
    assert!(events.is_terminated());
    assert_eq!(remote.polls(), 2);
}

async fn nothing_follows_a_timeout<C: Clock>(clock: C) {
    let (remote, mut events) = ending(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    stays_idle(&clock, &mut events, C::IDLE - C::TICK).await;
    assert!(!events.is_terminated());
    answers_after(&clock, &mut events, C::TICK, Some(LAST)).await;
    assert!(events.is_terminated());
    let polls = remote.polls();
    remote.send("behind the end");
    for _ in 0..5 {
        assert_ready_eq!(events.poll_next(), None);
        clock.pass(C::IDLE).await;
    }
    assert!(events.is_terminated());
    assert_eq!(remote.polls(), polls);
}

async fn nothing_follows_a_timeout_without_a_last_item<C: Clock>(clock: C) {
    let (remote, source) = source();
    let mut events = spawn(IdleTimeout::new(source, C::IDLE).with_timer(clock.timer()));
    assert_pending!(events.poll_next());
    answers_after(&clock, &mut events, C::IDLE, None).await;
    assert!(events.is_terminated());
    let polls = remote.polls();
    remote.send("behind the end");
    assert_ready_eq!(events.poll_next(), None);
    assert_eq!(remote.polls(), polls);
}

async fn a_keepalive_does_not_fuse_or_end_anything<C: Clock>(clock: C) {
    let (remote, mut events) = keepalives(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    yields_after(&clock, &mut events, C::IDLE, KEEPALIVE).await;
    assert!(!events.is_terminated());
    remote.send("a");
    assert_ready_eq!(events.poll_next(), Some("a"));
}

async fn a_fused_inner_stream_is_left_alone_as_well<C: Clock>(clock: C) {
    let (remote, source) = source::<&str>();
    let fused = futures::StreamExt::fuse(source);
    let mut events =
        spawn(Keepalive::new(fused, C::IDLE, Repeat(KEEPALIVE)).with_timer(clock.timer()));
    remote.end();
    assert!(!events.is_terminated());
    assert_ready_eq!(events.poll_next(), None);
    assert_ready_eq!(events.poll_next(), None);
    assert!(events.is_terminated());
    assert!(events.get_ref().is_terminated());
    assert_eq!(remote.polls(), 1);
}

async fn the_size_of_a_kept_alive_stream_has_no_upper_bound_until_it_ends<C: Clock>(clock: C) {
    let (remote, mut events) = keepalives(&clock, C::IDLE);
    assert_eq!(events.size_hint(), (0, None));
    remote.send("a");
    remote.send("b");
    remote.end();
    remote.send("behind the end");
    assert_eq!(events.size_hint(), (2, None));
    assert_ready_eq!(events.poll_next(), Some("a"));
    assert_eq!(events.size_hint(), (1, None));
    assert_ready_eq!(events.poll_next(), Some("b"));
    assert_eq!(events.size_hint(), (0, None));
    assert_ready_eq!(events.poll_next(), None);
    assert_eq!(events.size_hint(), (0, Some(0)));
}

async fn the_size_of_a_stream_with_a_timeout_has_no_lower_bound<C: Clock>(clock: C) {
    let (remote, source) = source();
    let quiet = IdleTimeout::new(source, C::IDLE).with_timer(clock.timer());
    assert_eq!(quiet.size_hint(), (0, None));
    remote.send("a");
    remote.end();
    remote.send("behind the end");
    assert_eq!(quiet.size_hint(), (0, Some(1)));

    let mut events = spawn(quiet.with_last(|| LAST));
    assert_eq!(events.size_hint(), (0, Some(2)));
    assert_ready_eq!(events.poll_next(), Some("a"));
    assert_eq!(events.size_hint(), (0, Some(1)));
    assert_ready_eq!(events.poll_next(), None);
    assert_eq!(events.size_hint(), (0, Some(0)));

    let (_remote, mut events) = ending(&clock, C::IDLE);
    assert_pending!(events.poll_next());
    answers_after(&clock, &mut events, C::IDLE, Some(LAST)).await;
    assert_eq!(events.size_hint(), (0, Some(0)));
}

async fn a_last_item_beyond_usize_has_no_upper_bound<C: Clock>(clock: C) {
    let endless = futures::stream::iter(std::iter::repeat_n((), usize::MAX));
    let quiet = IdleTimeout::new(endless, C::IDLE).with_timer(clock.timer());
    assert_eq!(quiet.size_hint(), (0, Some(usize::MAX)));
    assert_eq!(quiet.with_last(|| ()).size_hint(), (0, None));
}
