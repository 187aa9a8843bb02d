//! Keepalives without a runtime, by futures-timer and a bare executor: `cargo run --example futures_timer`

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{
    executor::block_on,
    stream::{self, StreamExt},
};
use futures_timer::Delay;
use stream_keepalive::{IdleTimeout, Keepalive, Repeat, Timer};

#[derive(Default)]
pub struct DelayTimer(Option<Delay>);

impl Timer for DelayTimer {
    fn arm(&mut self, after: Duration) {
        match &mut self.0 {
            Some(delay) => delay.reset(after),
            None => self.0 = Some(Delay::new(after)),
        }
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(delay) => Pin::new(delay).poll(cx),
            None => Poll::Pending,
        }
    }
}

fn main() {
    let second = Duration::from_secs(1);
    // It says one thing, and then hangs.
    let source = stream::iter(["backup started"]).chain(stream::pending());
    let source =
        IdleTimeout::with_timer(source, second * 3, DelayTimer::default()).with_last(|| "given up");
    let events =
        Keepalive::with_timer(source, second, Repeat("(keepalive)"), DelayTimer::default());

    let start = Instant::now();
    block_on(events.for_each(async |event| {
        println!("{:4.1} s  {event}", start.elapsed().as_secs_f32());
    }));
}
