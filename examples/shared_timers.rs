//! A hundred thousand idle streams that share one timer: `cargo run --release --example shared_timers`

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::stream::{self, StreamExt};
use stream_keepalive::{KeepaliveExt, SharedTimers};

const STREAMS: u32 = 100_000;

#[tokio::main]
async fn main() {
    let timers = SharedTimers::new();
    let sent = Arc::new(AtomicU32::new(0));
    for _ in 0..STREAMS {
        let mut events = stream::pending()
            .keepalive(Duration::from_secs(1), "keepalive")
            .with_timer(timers.timer());
        let sent = sent.clone();
        tokio::spawn(async move {
            while events.next().await.is_some() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for second in 1..=3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let sent = sent.load(Ordering::Relaxed);
        println!("after {second} s: {STREAMS} streams, {sent} keepalives");
    }
}
