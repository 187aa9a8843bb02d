//! The implementations that are measured: ours, and those that it is compared with.

use std::time::Duration;

use clap::ValueEnum;
use futures::{Stream, stream};
use stream_keepalive::{KeepaliveExt, SharedTimers};

pub mod adapters;

pub type Item = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Contender {
    Keepalive,
    /// `Keepalive` with a timer of `SharedTimers`.
    SharedTimer,
    Rearm,
    TimeoutRepeating,
    Select,
    /// Ticks at fixed times, regardless of the items.
    HeartbeatStream,
}

/// A measurement of a contender. It is generic because each contender has its own type of stream.
#[expect(async_fn_in_trait, reason = "the caller blocks on it")]
pub trait Measurement {
    type Output;
    /// `idle_stream` makes a stream that yields nothing but keepalives.
    async fn run<S>(self, idle_stream: impl Fn(Duration) -> S + Send + 'static) -> Self::Output
    where
        S: Stream<Item = Item> + Send + 'static;
}

impl Contender {
    pub async fn measure<M: Measurement>(self, measurement: M) -> M::Output {
        let inner = stream::pending::<Item>;
        match self {
            Self::Keepalive => {
                measurement
                    .run(move |idle| inner().keepalive(idle, 0))
                    .await
            }
            Self::SharedTimer => {
                let timers = SharedTimers::new();
                measurement
                    .run(move |idle| inner().keepalive(idle, 0).with_timer(timers.timer()))
                    .await
            }
            Self::Rearm => {
                measurement
                    .run(move |idle| adapters::rearm(inner(), idle, 0))
                    .await
            }
            Self::TimeoutRepeating => {
                measurement
                    .run(move |idle| adapters::timeout_repeating(inner(), idle, 0))
                    .await
            }
            Self::Select => {
                measurement
                    .run(move |idle| adapters::select(inner(), idle, 0))
                    .await
            }
            Self::HeartbeatStream => {
                measurement
                    .run(move |idle| adapters::heartbeat_stream(inner(), idle, 0))
                    .await
            }
        }
    }
}
