//! Which task is woken, no matter which tasks poll and when.

use std::{sync::Arc, task::Poll};

use futures::{FutureExt, StreamExt};
use stream_keepalive::{IdleTimeout, Keepalive, Repeat};

use crate::{
    KEEPALIVE, LAST,
    support::{clock::Clock, source::source, task::Task},
};

on_every_clock! {
    the_newest_waker_is_woken_by_the_timer,
    the_newest_waker_is_woken_though_an_older_one_comes_back,
    the_newest_waker_is_woken_by_an_item,
    the_newest_waker_is_woken_in_a_later_idle_period,
    the_newest_waker_is_woken_by_a_timeout,
    an_idle_period_wakes_once_however_often_it_is_polled,
    a_dropped_next_loses_neither_an_item_nor_the_deadline,
    a_stream_may_move_to_another_task_during_an_idle_period;
    // Other runtimes may drop the wakers later.
    exact: wakers_are_dropped_with_the_stream,
}

async fn the_newest_waker_is_woken_by_the_timer<C: Clock>(clock: C) {
    let (_remote, source) = source();
    let mut events = Keepalive::new(source, C::IDLE, Repeat(KEEPALIVE)).with_timer(clock.timer());
    let (first, second) = (Task::new(), Task::new());
    assert!(first.poll(&mut events).is_pending());
    clock.pass(C::IDLE - C::TICK).await;
    assert!(second.poll(&mut events).is_pending());
    assert_eq!((first.wakes(), second.wakes()), (0, 0));
    clock.pass(C::TICK).await;
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
    assert_eq!(second.poll(&mut events), Poll::Ready(Some(KEEPALIVE)));
}

async fn the_newest_waker_is_woken_though_an_older_one_comes_back<C: Clock>(clock: C) {
    let (_remote, source) = source();
    let mut events = Keepalive::new(source, C::IDLE, Repeat(KEEPALIVE)).with_timer(clock.timer());
    let (first, second) = (Task::new(), Task::new());
    assert!(first.poll(&mut events).is_pending());
    assert!(second.poll(&mut events).is_pending());
    assert!(first.poll(&mut events).is_pending());
    clock.pass(C::IDLE).await;
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    assert_eq!(first.poll(&mut events), Poll::Ready(Some(KEEPALIVE)));
}

async fn the_newest_waker_is_woken_by_an_item<C: Clock>(clock: C) {
    let (remote, source) = source();
    let mut events = Keepalive::new(source, C::IDLE, Repeat(KEEPALIVE)).with_timer(clock.timer());
    let (first, second) = (Task::new(), Task::new());
    assert!(first.poll(&mut events).is_pending());
    assert!(second.poll(&mut events).is_pending());
    remote.send("a");
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
}

async fn the_newest_waker_is_woken_in_a_later_idle_period<C: Clock>(clock: C) {
    let (remote, source) = source();
    let mut events = Keepalive::new(source, C::IDLE, Repeat(KEEPALIVE)).with_timer(clock.timer());
    let (first, second) = (Task::new(), Task::new());
    assert!(first.poll(&mut events).is_pending());
    clock.pass(C::IDLE / 2).await;
    remote.send("a");
    assert_eq!(first.poll(&mut events), Poll::Ready(Some("a")));
    let wakes = first.wakes();
    assert!(second.poll(&mut events).is_pending());
    clock.pass(C::IDLE / 2).await;
    assert_eq!(first.wakes(), wakes);
    assert!(second.poll(&mut events).is_pending());
    let wakes = second.wakes();
    clock.pass(C::IDLE / 2).await;
    assert_eq!(second.wakes(), wakes + 1);
    assert_eq!(second.poll(&mut events), Poll::Ready(Some(KEEPALIVE)));
}

async fn the_newest_waker_is_woken_by_a_timeout<C: Clock>(clock: C) {
    let (_remote, source) = source();
    let events = IdleTimeout::new(source, C::IDLE).with_timer(clock.timer());
    let mut events = events.with_last(|| LAST);
    let (first, second) = (Task::new(), Task::new());
    assert!(first.poll(&mut events).is_pending());
    assert!(second.poll(&mut events).is_pending());
    clock.pass(C::IDLE / 2).await;
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
    assert!(first.poll(&mut events).is_pending());
    clock.pass(C::IDLE / 2).await;
    assert_eq!((first.wakes(), second.wakes()), (1, 1));
    // The task wakes itself once more before the stream ends.
    assert!(second.poll(&mut events).is_pending());
    assert_eq!((first.wakes(), second.wakes()), (1, 2));
    assert_eq!(second.poll(&mut events), Poll::Ready(Some(LAST)));
}

async fn an_idle_period_wakes_once_however_often_it_is_polled<C: Clock>(clock: C) {
    let (_remote, source) = source();
    let mut events = Keepalive::new(source, C::IDLE, Repeat(KEEPALIVE)).with_timer(clock.timer());
    let task = Task::new();
    for _ in 0..100 {
        assert!(task.poll(&mut events).is_pending());
        clock.pass(C::IDLE / 1000).await;
    }
    assert_eq!(task.wakes(), 0);
    clock.pass(C::IDLE).await;
    assert_eq!(task.wakes(), 1);
    assert_eq!(task.poll(&mut events), Poll::Ready(Some(KEEPALIVE)));
}

async fn a_dropped_next_loses_neither_an_item_nor_the_deadline<C: Clock>(clock: C) {
    let (remote, source) = source();
    let mut events = Keepalive::new(source, C::IDLE, Repeat(KEEPALIVE)).with_timer(clock.timer());
    for _ in 0..4 {
        assert_eq!(events.next().now_or_never(), None);
        clock.pass(C::IDLE / 5).await;
    }
    clock.pass(C::IDLE / 5 - C::TICK).await;
    assert_eq!(events.next().now_or_never(), None);
    clock.pass(C::TICK).await;
    drop(events.next());
    assert_eq!(events.next().now_or_never(), Some(Some(KEEPALIVE)));
    assert_eq!(events.next().now_or_never(), None);
    remote.send("a");
    drop(events.next());
    assert_eq!(events.next().now_or_never(), Some(Some("a")));
}

async fn a_stream_may_move_to_another_task_during_an_idle_period<C: Clock>(clock: C) {
    let (_remote, source) = source();
    let mut events = Keepalive::new(source, C::IDLE, Repeat(KEEPALIVE)).with_timer(clock.timer());
    let (first, second) = (Task::new(), Task::new());
    assert!(first.poll(&mut events).is_pending());
    clock.pass(C::IDLE / 2).await;
    let mut moved = Box::new(events);
    assert!(second.poll(&mut moved).is_pending());
    clock.pass(C::IDLE / 2).await;
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
    assert_eq!(second.poll(&mut moved), Poll::Ready(Some(KEEPALIVE)));
}

async fn wakers_are_dropped_with_the_stream<C: Clock>(clock: C) {
    let (_, source) = source::<&str>();
    let mut events = Keepalive::new(source, C::IDLE, Repeat(KEEPALIVE)).with_timer(clock.timer());
    let task = Task::new();
    assert!(task.poll(&mut events).is_pending());
    assert!(Arc::strong_count(&task) > 1);
    drop(events);
    drop(clock);
    assert_eq!(Arc::strong_count(&task), 1);
}
