//! The ways to fill silence that are compared, each around a stream that never says anything.

use std::time::Duration;

use clap::ValueEnum;
use futures::{Stream, StreamExt, future::Either, stream};
use heartbeat_stream::HeartbeatStream;
use shared_timer::SharedTimers;
use stream_keepalive::{Keepalive, KeepaliveExt, Repeat};
use tokio::time::{Instant, interval_at};

#[path = "../../benches/peers/mod.rs"]
mod peers;
#[path = "../../examples/shared_timer/timer.rs"]
mod shared_timer;

pub type Item = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Contender {
    Keepalive,
    /// `Keepalive` with the timer of `examples/shared_timer`.
    SharedTimer,
    Rearm,
    TimeoutRepeating,
    Select,
    /// Ticks on a grid, whatever the stream does.
    HeartbeatStream,
}

/// What is done with a stream of any type.
pub trait Subject {
    type Output;
    async fn run<S>(self, wrap: impl Fn(Duration) -> S + Send + 'static) -> Self::Output
    where
        S: Stream<Item = Item> + Send + 'static;
}

impl Contender {
    pub async fn run<T: Subject>(self, subject: T) -> T::Output {
        let silent = stream::pending::<Item>;
        let ticks = |idle| interval_at(Instant::now() + idle, idle);
        match self {
            Self::Keepalive => subject.run(move |idle| silent().keepalive(idle, 0)).await,
            Self::SharedTimer => {
                let timers = SharedTimers::new();
                subject
                    .run(move |idle| {
                        Keepalive::new(silent(), idle, Repeat(0)).with_timer(timers.timer())
                    })
                    .await
            }
            Self::Rearm => {
                subject
                    .run(move |idle| peers::rearm(silent(), idle, 0))
                    .await
            }
            Self::TimeoutRepeating => {
                subject
                    .run(move |idle| peers::timeout_repeating(silent(), idle, 0))
                    .await
            }
            Self::Select => {
                subject
                    .run(move |idle| peers::select(silent(), idle, 0))
                    .await
            }
            Self::HeartbeatStream => {
                subject
                    .run(move |idle| {
                        HeartbeatStream::new(silent(), ticks(idle)).map(|either| match either {
                            Either::Left(item) => item,
                            Either::Right(_) => 0,
                        })
                    })
                    .await
            }
        }
    }
}
