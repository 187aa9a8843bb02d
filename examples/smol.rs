//! Keepalives on smol, with the timer of async-io: `cargo run --example smol`

use std::time::{Duration, Instant};

use async_io::Timer;
use futures::stream::{self, StreamExt};
use stream_keepalive::{KeepaliveExt, SleepTimer};

fn main() {
    async_io::block_on(async {
        let second = Duration::from_secs(1);
        // One item, and then nothing.
        let source = stream::iter(["backup started"]).chain(stream::pending());
        let mut events = source
            .idle_timeout_with(second * 3, || "timed out")
            .with_timer(SleepTimer::new(Timer::after))
            .keepalive(second, "(keepalive)")
            .with_timer(SleepTimer::new(Timer::after));

        let start = Instant::now();
        while let Some(event) = events.next().await {
            println!("{:4.1} s  {event}", start.elapsed().as_secs_f32());
        }
    });
}
