//! The loads, each of which runs over the bare stream and over every contender.
//!
//! Streams are polled by hand with one waker, so no scheduler is measured.

use std::{
    hint::black_box,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use futures::Stream;
use stream_keepalive::KeepaliveExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::contenders::adapters;

type Item = u64;

/// Long enough that no keepalive is due.
pub(crate) const IDLE: Duration = Duration::from_secs(20);

/// How often a round repeats the operation of its load.
pub const REPEATS: u64 = 1_000;

/// For comparison. It is not a stream.
pub const CLOCK: &str = "Instant::now() alone";

/// Runs a load once, and returns the time of its `REPEATS` operations.
pub type Round = Box<dyn FnMut() -> Duration + Send>;

pub struct Load {
    pub name: &'static str,
    pub contenders: Vec<(&'static str, Round)>,
}

/// Makes every load over every contender. Call it in a Tokio runtime with time enabled, because most
/// contenders start their timer when they are constructed.
pub fn all() -> Vec<Load> {
    // A macro, because each contender has its own type.
    macro_rules! load {
        ($name:literal, $run:ident) => {
            Load {
                name: $name,
                contenders: vec![
                    ("bare", $run(|s| s)),
                    ("keepalive", $run(|s| s.keepalive(IDLE, 0))),
                    ("rearm", $run(|s| adapters::rearm(s, IDLE, 0))),
                    (
                        "timeout-repeating",
                        $run(|s| adapters::timeout_repeating(s, IDLE, 0)),
                    ),
                    ("select", $run(|s| adapters::select(s, IDLE, 0))),
                ],
            }
        };
    }
    let mut in_turn = load!("ready and pending in turn", ready_and_pending);
    in_turn.contenders.push((CLOCK, clock()));
    vec![
        load!("ready", ready),
        load!("full mpsc channel", full_channel),
        in_turn,
        load!("construct and drop", construct_and_drop),
        load!("construct, ten items, drop", ten_items),
    ]
}

pub(crate) fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
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

fn ready<S: Stream<Item = Item> + Send + 'static>(wrap: impl Fn(Ready) -> S) -> Round {
    let mut stream = Box::pin(wrap(Ready(0)));
    Box::new(move || time(|| poll(stream.as_mut(), REPEATS)))
}

fn full_channel<S: Stream<Item = Item> + Send + 'static>(
    wrap: impl Fn(ReceiverStream<Item>) -> S,
) -> Round {
    let (sender, receiver) = mpsc::channel(REPEATS as usize);
    let mut stream = Box::pin(wrap(ReceiverStream::new(receiver)));
    Box::new(move || {
        for item in 0..REPEATS {
            sender.try_send(item).expect("the channel has room");
        }
        time(|| poll(stream.as_mut(), REPEATS))
    })
}

fn ready_and_pending<S: Stream<Item = Item> + Send + 'static>(
    wrap: impl Fn(Alternating) -> S,
) -> Round {
    let mut stream = Box::pin(wrap(Alternating(0)));
    Box::new(move || time(|| poll(stream.as_mut(), 2 * REPEATS)))
}

fn clock() -> Round {
    let now = || _ = black_box(tokio::time::Instant::now());
    Box::new(move || time(|| (0..REPEATS).for_each(|_| now())))
}

fn construct_and_drop<S: Stream<Item = Item>>(wrap: impl Fn(Ready) -> S + Send + 'static) -> Round {
    let once = move || _ = black_box(pin!(wrap(black_box(Ready(0)))));
    Box::new(move || time(|| (0..REPEATS).for_each(|_| once())))
}

fn ten_items<S: Stream<Item = Item>>(wrap: impl Fn(Ready) -> S + Send + 'static) -> Round {
    let once = move || poll(pin!(wrap(black_box(Ready(0)))), 10);
    Box::new(move || time(|| (0..REPEATS).for_each(|_| once())))
}
