//! A client with two idle timeouts: one detects a dead connection, the other one detects work that has stopped.

use std::{io, time::Duration};

use axum::body::Bytes;
use futures::Stream;
use stream_keepalive::KeepaliveExt;

use crate::ndjson;

/// Reads lines of JSON.
///
/// The last item is an error if not a single byte arrives for `idle`, or if no message arrives for `stuck`.
pub fn messages<S>(
    body: S,
    idle: Duration,
    stuck: Duration,
) -> impl Stream<Item = io::Result<String>>
where
    S: Stream<Item = io::Result<Bytes>>,
{
    // This timeout is below the filter, where a keepalive is activity.
    let messages = ndjson::messages(body, idle);
    // This one is above it, where only a message is activity.
    messages.idle_timeout_with(stuck, move || {
        let text = format!("no message for {stuck:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};
    use tokio::time::{Instant, sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    /// A server that works for `pause` on each of three messages, and then hangs. It sends keepalives all the time.
    fn server(pause: Duration) -> impl Stream<Item = io::Result<Bytes>> {
        let messages = async_stream::stream! {
            for number in 1..=3 {
                sleep(pause).await;
                yield number.to_string();
            }
            std::future::pending::<()>().await;
        };
        ndjson::lines(messages, 20 * SECOND)
    }

    /// Returns the messages, the error at the end, and how many seconds that takes.
    async fn read(
        body: impl Stream<Item = io::Result<Bytes>>,
    ) -> (Vec<String>, Option<String>, u64) {
        let start = Instant::now();
        let items: Vec<_> = messages(body, MINUTE, 10 * MINUTE).collect().await;
        let (read, errors): (Vec<_>, Vec<_>) = items.into_iter().partition(Result::is_ok);
        let read = read.into_iter().map(Result::unwrap).collect();
        let error = errors.into_iter().map(Result::unwrap_err).next();
        let error = error.map(|error| error.to_string());
        (read, error, start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn slow_work_does_not_time_out() {
        let (read, _, _) = read(server(9 * MINUTE)).await;
        assert_eq!(read, ["1", "2", "3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_has_stopped_times_out_despite_keepalives() {
        let (read, error, seconds) = read(server(SECOND)).await;
        assert_eq!(read, ["1", "2", "3"]);
        assert_eq!(error.unwrap(), "no message for 600s");
        assert_eq!(seconds, 3 + 600);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_connection_is_detected_within_the_shorter_time() {
        // Three messages, a keepalive, and then nothing.
        let dead = server(SECOND).take(4).chain(stream::pending());
        let (read, error, seconds) = read(dead).await;
        assert_eq!(read, ["1", "2", "3"]);
        assert_eq!(error.unwrap(), "timed out");
        assert_eq!(seconds, 3 + 20 + 60);
    }

    #[tokio::test(start_paused = true)]
    async fn the_lower_timeout_alone_waits_forever_for_work_that_has_stopped() {
        let all = ndjson::messages(server(SECOND), MINUTE).count();
        let day = Duration::from_secs(86_400);
        assert!(tokio::time::timeout(day, all).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_upper_timeout_alone_ends_slow_work_if_it_is_as_short_as_the_lower() {
        let off = Duration::ZERO;
        let count = messages(server(9 * MINUTE), off, MINUTE).count().await;
        assert_eq!(count, 1, "the error");
    }
}
