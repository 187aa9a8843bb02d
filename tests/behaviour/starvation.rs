//! Inner streams that are busy but yield no item still get their keepalives.
//!
//! Each of them spends the task's whole cooperative budget at every poll. The runtime keeps polling it,
//! and a timer that uses the budget would never fire.

use std::{
    future,
    pin::pin,
    task::{Poll, ready},
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, stream};
use stream_keepalive::KeepaliveExt;
use tokio::{
    io::{AsyncRead, ReadBuf, empty},
    runtime::Builder,
    sync::mpsc,
    task::{consume_budget, coop::has_budget_remaining, yield_now},
    time::{Instant, advance, timeout},
};
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::{KEEPALIVE, LAST, PATIENCE};

fn budget_spender() -> impl Stream<Item = &'static str> + Send + Unpin {
    stream::poll_fn(|cx| {
        loop {
            ready!(pin!(consume_budget()).poll(cx));
        }
    })
}

/// Spends exactly the whole budget, so it is never refused.
fn exact_spender() -> impl Stream<Item = &'static str> + Send + Unpin {
    stream::poll_fn(|cx| {
        while has_budget_remaining() {
            consume_budget().now_or_never();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// The same, but only the timer wakes the task.
fn idle_exact_spender() -> impl Stream<Item = &'static str> + Send + Unpin {
    stream::poll_fn(|_| {
        while has_budget_remaining() {
            consume_budget().now_or_never();
        }
        Poll::Pending
    })
}

fn reader_of_nothing() -> impl Stream<Item = &'static str> + Send + Unpin {
    let mut reader = empty();
    stream::poll_fn(move |cx| {
        loop {
            let mut byte = [0];
            let mut byte = ReadBuf::new(&mut byte);
            match ready!(pin!(&mut reader).poll_read(cx, &mut byte)) {
                Ok(()) if byte.filled().is_empty() => {}
                read => return Poll::Ready(Some(if read.is_ok() { "byte" } else { "error" })),
            }
        }
    })
}

/// A backlog that never gets shorter, and of which every item is filtered out.
fn filtered_backlog() -> impl Stream<Item = &'static str> + Send + Unpin {
    let (sender, receiver) = mpsc::unbounded_channel();
    for _ in 0..100_000 {
        sender.send("not for you").unwrap();
    }
    UnboundedReceiverStream::new(receiver).filter(move |&item| {
        sender.send(item).unwrap();
        future::ready(false)
    })
}

/// Expects each keepalive at the step of the clock at which it is due.
async fn is_kept_alive_on_time(busy: impl Stream<Item = &'static str> + Send + Unpin + 'static) {
    const STEPS: u32 = 20;
    const PERIODS: usize = 5;
    let step = Duration::from_secs(1);
    let (sender, mut received) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        let mut events = busy.keepalive(step * STEPS, KEEPALIVE).take(PERIODS);
        while let Some(event) = events.next().await {
            sender.send((event, Instant::now())).unwrap();
        }
    });
    yield_now().await;
    for _ in 0..PERIODS {
        let start = Instant::now();
        for _ in 0..STEPS {
            assert!(received.try_recv().is_err(), "early");
            advance(step).await;
            yield_now().await;
        }
        let due = start + step * STEPS;
        assert_eq!(received.try_recv(), Ok((KEEPALIVE, due)));
    }
    task.await.unwrap();
}

/// Expects two keepalives in real time, neither of them early. It leaves room for a busy machine.
fn is_kept_alive_in_real_time(
    mut runtime: Builder,
    busy: impl Stream<Item = &'static str> + Send + Unpin + 'static,
) {
    const IDLE: Duration = Duration::from_millis(20);
    let runtime = runtime.enable_time().build().unwrap();
    let (sender, received) = std::sync::mpsc::channel();
    let start = Instant::now();
    runtime.spawn(async move {
        let mut events = busy.keepalive(IDLE, KEEPALIVE).take(2);
        while let Some(event) = events.next().await {
            let _ = sender.send((event, Instant::now()));
        }
    });
    for keepalive in 1..=2 {
        let (event, at) = received.recv_timeout(PATIENCE).unwrap();
        assert_eq!(event, KEEPALIVE);
        assert!(at - start >= IDLE * keepalive, "early");
    }
    runtime.shutdown_background();
}

/// The same on one thread, where the runtime runs only within `block_on`.
fn is_kept_alive_by_one_thread(busy: impl Stream<Item = &'static str> + Send + Unpin + 'static) {
    const IDLE: Duration = Duration::from_millis(20);
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let start = Instant::now();
        let task = tokio::spawn(busy.keepalive(IDLE, KEEPALIVE).take(2).collect::<Vec<_>>());
        let events = timeout(PATIENCE, task).await;
        assert_eq!(events.unwrap().unwrap(), [KEEPALIVE, KEEPALIVE]);
        assert!(start.elapsed() >= IDLE * 2, "early");
    });
}

fn two_workers() -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2);
    builder
}

fn one_worker() -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1);
    builder
}

#[tokio::test(start_paused = true)]
async fn a_budget_spender_is_kept_alive_on_time() {
    is_kept_alive_on_time(budget_spender()).await;
}

#[tokio::test(start_paused = true)]
async fn an_exact_spender_is_kept_alive_on_time() {
    is_kept_alive_on_time(exact_spender()).await;
    is_kept_alive_on_time(idle_exact_spender()).await;
}

#[test]
fn an_exact_spender_is_kept_alive_by_one_thread() {
    is_kept_alive_by_one_thread(exact_spender());
    is_kept_alive_by_one_thread(idle_exact_spender());
}

#[test]
fn an_exact_spender_is_kept_alive_by_many_threads() {
    is_kept_alive_in_real_time(two_workers(), exact_spender());
    is_kept_alive_in_real_time(one_worker(), idle_exact_spender());
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_nothing_is_kept_alive_on_time() {
    is_kept_alive_on_time(reader_of_nothing()).await;
}

#[tokio::test(start_paused = true)]
async fn a_filtered_backlog_is_kept_alive_on_time() {
    is_kept_alive_on_time(filtered_backlog()).await;
}

#[test]
fn a_budget_spender_is_kept_alive_by_one_thread() {
    is_kept_alive_by_one_thread(budget_spender());
}

#[test]
fn a_reader_of_nothing_is_kept_alive_by_one_thread() {
    is_kept_alive_by_one_thread(reader_of_nothing());
}

#[test]
fn a_filtered_backlog_is_kept_alive_by_one_thread() {
    is_kept_alive_by_one_thread(filtered_backlog());
}

#[test]
fn a_budget_spender_is_kept_alive_by_many_threads() {
    is_kept_alive_in_real_time(two_workers(), budget_spender());
    is_kept_alive_in_real_time(one_worker(), budget_spender());
}

#[test]
fn a_reader_of_nothing_is_kept_alive_by_many_threads() {
    is_kept_alive_in_real_time(two_workers(), reader_of_nothing());
    is_kept_alive_in_real_time(one_worker(), reader_of_nothing());
}

#[test]
fn a_filtered_backlog_is_kept_alive_by_many_threads() {
    is_kept_alive_in_real_time(two_workers(), filtered_backlog());
    is_kept_alive_in_real_time(one_worker(), filtered_backlog());
}

#[tokio::test(start_paused = true)]
async fn a_busy_stream_that_yields_nothing_still_ends_on_time() {
    let step = Duration::from_secs(1);
    let task = tokio::spawn(async move {
        let mut events = budget_spender().idle_timeout_with(step * 20, || LAST);
        (events.next().await, Instant::now(), events.next().await)
    });
    yield_now().await;
    let due = Instant::now() + step * 20;
    for _ in 0..20 {
        assert!(!task.is_finished(), "early");
        advance(step).await;
        yield_now().await;
    }
    assert!(task.is_finished(), "starved");
    assert_eq!(task.await.unwrap(), (Some(LAST), due, None));
}

#[tokio::test(start_paused = true)]
async fn stacked_adapters_do_not_starve_each_other() {
    let step = Duration::from_secs(1);
    let start = Instant::now();
    let task = tokio::spawn(
        budget_spender()
            .idle_timeout_with(step * 50, || LAST)
            .keepalive(step * 20, KEEPALIVE)
            .map(move |event| (event, start.elapsed()))
            .take(10)
            .collect::<Vec<_>>(),
    );
    yield_now().await;
    for _ in 0..50 {
        advance(step).await;
        yield_now().await;
    }
    assert!(task.is_finished(), "starved");
    let events = [
        (KEEPALIVE, step * 20),
        (KEEPALIVE, step * 40),
        (LAST, step * 50),
    ];
    assert_eq!(task.await.unwrap(), events);
}
