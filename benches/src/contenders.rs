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
    /// A hundred streams in one task: `SelectAll` merges them, and each is a `Keepalive` with a timer of
    /// `SharedTimers`.
    SelectAll,
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
    /// `idle_stream` makes a stream that yields nothing but keepalives, for a task.
    async fn run<S>(self, idle_stream: impl Fn(Duration) -> S + Send + 'static) -> Self::Output
    where
        S: Stream<Item = Item> + Send + 'static;
}

/// How many streams [`Contender::SelectAll`] merges.
const MERGED: usize = 100;

impl Contender {
    /// How many streams are in the stream of a task.
    pub fn streams_per_task(self) -> usize {
        match self {
            Self::SelectAll => MERGED,
            _ => 1,
        }
    }

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
            Self::SelectAll => {
                let timers = SharedTimers::new();
                measurement
                    .run(move |idle| {
                        let stream = |_| inner().keepalive(idle, 0).with_timer(timers.timer());
                        stream::select_all((0..MERGED).map(stream))
                    })
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
