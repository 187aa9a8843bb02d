//! A program that aborts at the first panic. It shuts runtimes down while timers are armed.

use std::{
    env,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use futures_core::Stream;
use stream_keepalive::{KeepaliveExt, SleepTimer};
use tokio::{
    runtime::{Builder, Runtime},
    time::sleep,
};

#[cfg(not(feature = "changed"))]
use stream_keepalive::SharedTimers;
/// The shared timers from a changed copy of their source.
#[cfg(feature = "changed")]
use {shared::SharedTimers, stream_keepalive::Timer};

#[cfg(feature = "changed")]
mod queue;
#[cfg(feature = "changed")]
mod shared;
#[cfg(feature = "changed")]
mod task;

struct Pending;

impl Stream for Pending {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<()>> {
        Poll::Pending
    }
}

thread_local! {
    /// Ends with its thread, maybe after the thread-local variables of Tokio.
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().unwrap();
}

type Events = Pin<Box<dyn Stream<Item = ()> + Send>>;

/// Streams that are due at different times, with each timer that depends on the runtime.
fn streams(timers: &SharedTimers) -> Vec<Events> {
    let mut streams: Vec<Events> = Vec::new();
    for millis in [1, 5, 10, 500, 3_600_000] {
        let events = || Pending.keepalive(Duration::from_millis(millis), ());
        let sleep = |after| Box::pin(sleep(after));
        streams.push(Box::pin(events()));
        streams.push(Box::pin(events().with_timer(timers.timer())));
        streams.push(Box::pin(events().with_timer(SleepTimer::new(sleep))));
    }
    streams
}

async fn wait_for_keepalive(events: &mut Events) {
    poll_fn(|cx| events.as_mut().poll_next(cx)).await.unwrap();
}

/// Expects keepalives of the first three streams, and leaves all of them idle.
async fn use_once(streams: &mut [Events]) {
    for events in &mut streams[..3] {
        wait_for_keepalive(events).await;
    }
    poll_fn(|cx| {
        for events in &mut *streams {
            assert!(events.as_mut().poll_next(cx).is_pending());
        }
        Poll::Ready(())
    })
    .await;
}

fn main() {
    // Without the alternative timer, with which Tokio may panic if the machine is busy.
    let runtimes: [fn() -> Builder; 3] = [
        Builder::new_current_thread,
        || {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(1);
            builder
        },
        Builder::new_multi_thread,
    ];
    let ends: [fn(Runtime); 3] = [
        drop,
        |runtime| runtime.shutdown_timeout(Duration::from_secs(60)),
        Runtime::shutdown_background,
    ];
    for runtime in runtimes {
        for end in ends {
            for time_passes in [false, true] {
                let runtime = runtime().enable_time().build().unwrap();
                let timers = SharedTimers::new();
                let mut outside = streams(&timers);
                runtime.block_on(use_once(&mut outside));
                for mut events in streams(&timers) {
                    runtime.spawn(async move {
                        loop {
                            wait_for_keepalive(&mut events).await;
                        }
                    });
                }
                if time_passes {
                    // A runtime on this thread does not notice that streams have become due.
                    thread::sleep(Duration::from_millis(20));
                }
                end(runtime);
                // Polls a stream afterwards if the program is asked to.
                if let Some(stream) = env::args().nth(1) {
                    let events = &mut outside[stream.parse::<usize>().unwrap()];
                    let mut cx = Context::from_waker(Waker::noop());
                    _ = events.as_mut().poll_next(&mut cx);
                }
            }
        }
    }
    let of_a_thread = thread::spawn(|| {
        let mut streams = streams(&SharedTimers::new());
        RUNTIME.with(|runtime| runtime.block_on(use_once(&mut streams)));
        streams
    });
    let _outlive_their_runtime = of_a_thread.join().unwrap();
    println!("done");
}
