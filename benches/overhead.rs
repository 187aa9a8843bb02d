//! What filling silence adds to a stream, side by side with other ways to do it.
//!
//! Everything is polled by hand, with one waker: no scheduler is measured.

use std::{
    hint::black_box,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use criterion::{BatchSize, Bencher, Criterion, Throughput, criterion_group, criterion_main};
use futures::Stream;
use stream_keepalive::KeepaliveExt;
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;

mod peers;

type Item = u64;

/// Far from firing: what is measured is everything but the keepalive.
const IDLE: Duration = Duration::from_secs(20);
const POLLS: u64 = 1_000;

/// Runs one load over each of the contenders, which are spelled out since each has a type of its own.
macro_rules! contenders {
    ($criterion:ident, $load:literal, $elements:expr, $run:expr) => {{
        let mut group = $criterion.benchmark_group($load);
        group.throughput(Throughput::Elements($elements));
        group.bench_function("bare", |b| $run(b, |s| s));
        group.bench_function("keepalive", |b| $run(b, |s| s.keepalive(IDLE, 0)));
        group.bench_function("rearm", |b| $run(b, |s| peers::rearm(s, IDLE, 0)));
        group.bench_function("timeout_repeating", |b| {
            $run(b, |s| peers::timeout_repeating(s, IDLE, 0))
        });
        group.bench_function("select", |b| $run(b, |s| peers::select(s, IDLE, 0)));
        group
    }};
}

fn poll<S: Stream<Item = Item>>(mut stream: Pin<&mut S>, times: u64) {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..times {
        _ = black_box(stream.as_mut().poll_next(&mut cx));
    }
}

/// Ready at every poll.
struct Ready(u64);

impl Stream for Ready {
    type Item = Item;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Item>> {
        self.0 += 1;
        Poll::Ready(Some(black_box(self.0)))
    }
}

/// Ready and pending in turn.
struct Alternating(u64);

impl Stream for Alternating {
    type Item = Item;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Item>> {
        self.0 += 1;
        match black_box(self.0) & 1 {
            0 => Poll::Pending,
            _ => Poll::Ready(Some(self.0)),
        }
    }
}

fn ready<S: Stream<Item = Item>>(bencher: &mut Bencher, wrap: impl Fn(Ready) -> S) {
    let mut stream = pin!(wrap(Ready(0)));
    bencher.iter(|| poll(stream.as_mut(), POLLS));
}

fn full_channel<S: Stream<Item = Item>>(
    bencher: &mut Bencher,
    wrap: impl Fn(ReceiverStream<Item>) -> S,
) {
    let fill = || {
        let (sender, receiver) = mpsc::channel(POLLS as usize);
        for item in 0..POLLS {
            sender.try_send(item).expect("the channel has room");
        }
        Box::pin(wrap(ReceiverStream::new(receiver)))
    };
    let drain = |mut stream: Pin<Box<S>>| {
        poll(stream.as_mut(), POLLS);
        stream // dropped outside of the measurement
    };
    bencher.iter_batched(fill, drain, BatchSize::SmallInput);
}

fn ready_and_pending<S: Stream<Item = Item>>(
    bencher: &mut Bencher,
    wrap: impl Fn(Alternating) -> S,
) {
    let mut stream = pin!(wrap(Alternating(0)));
    bencher.iter(|| poll(stream.as_mut(), 2 * POLLS));
}

fn construct_and_drop<S: Stream<Item = Item>>(bencher: &mut Bencher, wrap: impl Fn(Ready) -> S) {
    bencher.iter(|| {
        black_box(pin!(wrap(black_box(Ready(0)))));
    });
}

fn ten_items<S: Stream<Item = Item>>(bencher: &mut Bencher, wrap: impl Fn(Ready) -> S) {
    bencher.iter(|| poll(pin!(wrap(black_box(Ready(0)))), 10));
}

fn overhead(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime can be built");
    let _guard = runtime.enter();

    contenders!(criterion, "ready", POLLS, ready);
    contenders!(criterion, "full mpsc channel", POLLS, full_channel);
    let mut group = contenders!(
        criterion,
        "ready and pending in turn",
        POLLS,
        ready_and_pending
    );
    group.bench_function("Instant::now() alone", |bencher| {
        bencher.iter(|| (0..POLLS).for_each(|_| _ = black_box(Instant::now())));
    });
    drop(group);
    contenders!(criterion, "construct and drop", 1, construct_and_drop);
    contenders!(criterion, "construct, ten items, drop", 1, ten_items);
}

criterion_group!(benches, overhead);
criterion_main!(benches);
