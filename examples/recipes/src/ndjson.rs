//! Lines of JSON over HTTP, with an empty line as keepalive.

use std::{future::ready, io, time::Duration};

use axum::{body::Body, body::Bytes, http::header, response::IntoResponse};
use futures::{Stream, StreamExt, TryStreamExt};
use stream_keepalive::KeepaliveExt;
use tokio::io::AsyncBufReadExt;
use tokio_stream::wrappers::LinesStream;
use tokio_util::io::StreamReader;

/// Answers with a line for each message.
pub fn respond<S>(messages: S, idle: Duration) -> impl IntoResponse
where
    S: Stream<Item = String> + Send + 'static,
{
    let headers = [
        (header::CONTENT_TYPE.as_str(), "application/x-ndjson"),
        ("x-accel-buffering", "no"),
    ];
    (headers, Body::from_stream(lines(messages, idle)))
}

/// A line for each message, and an empty line whenever there has been none for `idle`.
pub fn lines<S>(messages: S, idle: Duration) -> impl Stream<Item = io::Result<Bytes>>
where
    S: Stream<Item = String>,
{
    // The keepalive is added to whole lines, because between two halves of a line it would break the line.
    let lines = messages.map(|json| Ok(Bytes::from(json + "\n")));
    // An `io::Error` is not `Clone`, so a closure makes the keepalive.
    lines.keepalive_with(idle, || Ok(Bytes::from_static(b"\n")))
}

/// Reads the messages and skips keepalives.
///
/// If not a single byte arrives for `idle`, the last item is an error of the kind [`io::ErrorKind::TimedOut`]. Set
/// `idle` to three times the server's keepalive interval.
pub fn messages<S>(body: S, idle: Duration) -> impl Stream<Item = io::Result<String>>
where
    S: Stream<Item = io::Result<Bytes>>,
{
    // Below the filter, because it drops the keepalives. Above it, the timeout would end a healthy stream.
    let body = body.idle_timeout_with(idle, || Err(io::ErrorKind::TimedOut.into()));
    let lines = LinesStream::new(StreamReader::new(body).lines());
    lines.try_filter(|line| ready(!line.is_empty()))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use axum::{Router, routing::get};
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::served::body_of;

    const IDLE: Duration = Duration::from_millis(100);
    const FIRST: &str = r#"{"done":1}"#;
    const SECOND: &str = r#"{"done":2}"#;

    /// Two messages with a pause of many idle times between them.
    fn source() -> impl Stream<Item = String> + Send {
        async_stream::stream! {
            yield FIRST.to_owned();
            sleep(IDLE * 8).await;
            yield SECOND.to_owned();
        }
    }

    fn app() -> Router {
        Router::new().route("/", get(async || respond(source(), IDLE)))
    }

    #[tokio::test]
    async fn a_client_sees_the_messages_and_no_keepalive() {
        let messages = messages(body_of(app()).await, IDLE * 100);
        let messages: Vec<_> = messages.try_collect().await.unwrap();
        assert_eq!(messages, [FIRST, SECOND]);
    }

    #[tokio::test]
    async fn empty_lines_fill_the_idle_time_between_whole_messages() {
        let body: Vec<_> = body_of(app()).await.try_collect().await.unwrap();
        let body = String::from_utf8(body.concat()).unwrap();
        let lines: Vec<_> = body.lines().collect();
        let (first, rest) = lines.split_first().unwrap();
        let (last, between) = rest.split_last().unwrap();
        assert_eq!([*first, *last], [FIRST, SECOND]);
        assert!(between.len() >= 2, "{between:?}");
        assert!(between.iter().all(|line| line.is_empty()), "{between:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_server_that_sends_keepalives_does_not_time_out() {
        let messages = messages(lines(source(), IDLE), 3 * IDLE);
        let messages: Vec<_> = messages.try_collect().await.unwrap();
        assert_eq!(messages, [FIRST, SECOND]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_above_the_filter_ends_the_same_stream() {
        let messages = messages(lines(source(), IDLE), 3 * IDLE).idle_timeout(3 * IDLE);
        let messages: Vec<_> = messages.try_collect().await.unwrap();
        assert_eq!(messages, [FIRST]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_piece_of_a_line_is_activity() {
        let halves = async_stream::stream! {
            for piece in ["{\"do", "ne", "\":", "1}", "\n"] {
                sleep(2 * IDLE).await;
                yield Ok(Bytes::from_static(piece.as_bytes()));
            }
        };
        let messages: Vec<_> = messages(halves, 3 * IDLE).try_collect().await.unwrap();
        assert_eq!(messages, [FIRST]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_sends_nothing_times_out() {
        // A message and a keepalive, and then nothing.
        let cut = lines(source(), IDLE)
            .take(2)
            .chain(futures::stream::pending());
        let mut messages = pin!(messages(cut, 3 * IDLE));
        let start = Instant::now();
        assert_eq!(messages.next().await.unwrap().unwrap(), FIRST);
        let error = messages.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(messages.next().await.is_none());
        let waited = start.elapsed().as_millis();
        assert_eq!(waited, (4 * IDLE).as_millis());
    }
}
