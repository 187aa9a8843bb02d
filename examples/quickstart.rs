//! A stream that pauses, and what its consumer gets: `cargo run --example quickstart`

use std::{pin::pin, time::Duration};
use stream_keepalive::KeepaliveExt;
use tokio::time::{Instant, sleep};
use tokio_stream::StreamExt;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let source = async_stream::stream! {
        yield "backup started";
        sleep(Duration::from_millis(3500)).await; // idle for a while
        yield "backup finished";
    };

    let start = Instant::now();
    let mut events = pin!(source.keepalive(Duration::from_secs(1), "(keepalive)"));
    while let Some(event) = events.next().await {
        println!("{:4.1} s  {event}", start.elapsed().as_secs_f64());
    }
}
