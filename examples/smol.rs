//! Keepalives on smol, whose timer is that of async-io: `cargo run --example smol`

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use async_io::Timer;
use futures::stream::{self, StreamExt};
use stream_keepalive::{IdleTimeout, Keepalive, Repeat};

pub struct SmolTimer(Timer);

impl Default for SmolTimer {
    fn default() -> Self {
        Self(Timer::never())
    }
}

impl stream_keepalive::Timer for SmolTimer {
    fn arm(&mut self, after: Duration) {
        self.0.set_after(after);
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

fn main() {
    async_io::block_on(async {
        let second = Duration::from_secs(1);
        // It says one thing, and then hangs.
        let source = stream::iter(["backup started"]).chain(stream::pending());
        let source = IdleTimeout::with_timer(source, second * 3, SmolTimer::default())
            .with_last(|| "given up");
        let mut events =
            Keepalive::with_timer(source, second, Repeat("(keepalive)"), SmolTimer::default());

        let start = Instant::now();
        while let Some(event) = events.next().await {
            println!("{:4.1} s  {event}", start.elapsed().as_secs_f32());
        }
    });
}
