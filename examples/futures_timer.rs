//! Keepalives without a runtime, with futures-timer and a bare executor: `cargo run --example futures_timer`

use std::time::{Duration, Instant};

use futures::{
    executor::block_on,
    stream::{self, StreamExt},
};
use futures_timer::Delay;
use stream_keepalive::{KeepaliveExt, SleepTimer};

fn main() {
    let second = Duration::from_secs(1);
    // One item, and then nothing.
    let source = stream::iter(["backup started"]).chain(stream::pending());
    let events = source
        .idle_timeout_with(second * 3, || "gave up")
        .with_timer(SleepTimer::new(Delay::new))
        .keepalive(second, "(keepalive)")
        .with_timer(SleepTimer::new(Delay::new));

    let start = Instant::now();
    block_on(events.for_each(async |event| {
        println!("{:4.1} s  {event}", start.elapsed().as_secs_f32());
    }));
}
