//! Keepalives with a clock that the program advances itself, as embedded programs do: `cargo run --example ticks`

use std::{
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::{Stream, stream};
use stream_keepalive::{IdleTimeout, Keepalive, Repeat};

mod timer;
use timer::{TICKS, TickTimer};

fn main() {
    // A stream that hangs.
    let source = stream::pending();
    let source = IdleTimeout::new(source, Duration::from_millis(35))
        .with_timer(TickTimer::default())
        .with_last(|| "given up");
    let idle = Duration::from_millis(10);
    let mut events =
        Keepalive::new(source, idle, Repeat("(keepalive)")).with_timer(TickTimer::default());

    let mut cx = Context::from_waker(Waker::noop());
    loop {
        match Pin::new(&mut events).poll_next(&mut cx) {
            Poll::Ready(Some(event)) => println!("tick {TICKS:?}: {event}"),
            Poll::Ready(None) => break,
            // An embedded program would sleep here until the next interrupt, which counts the tick.
            Poll::Pending => _ = TICKS.fetch_add(1, Ordering::Relaxed),
        }
    }
}
