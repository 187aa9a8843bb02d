//! Many silent streams that share one queue of deadlines: `cargo run --release --example shared_timer`

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::stream::{self, StreamExt};
use stream_keepalive::{Keepalive, Repeat};

mod timer;
use timer::SharedTimers;

const STREAMS: u32 = 100_000;

#[tokio::main]
async fn main() {
    let timers = SharedTimers::new();
    let sent = Arc::new(AtomicU32::new(0));
    for _ in 0..STREAMS {
        let idle = Duration::from_secs(1);
        let silent = stream::pending::<&str>();
        let mut events = Keepalive::new(silent, idle, Repeat("beat")).with_timer(timers.timer());
        let sent = sent.clone();
        tokio::spawn(async move {
            while events.next().await.is_some() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        println!("{STREAMS} streams, {sent:?} keepalives");
    }
}
