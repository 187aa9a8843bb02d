//! A client of server-sent events that notices when the server is gone.

use std::{io, time::Duration};

use axum::body::Bytes;
use eventsource_stream::{Event, EventStreamError, Eventsource};
use futures::Stream;
use stream_keepalive::KeepaliveExt;

/// Reads the events, without the comments.
///
/// If not a single byte arrives for `idle`, the last item is an error. Set `idle` to three times the server's keepalive
/// interval.
pub fn events<S>(
    body: S,
    idle: Duration,
) -> impl Stream<Item = Result<Event, EventStreamError<io::Error>>>
where
    S: Stream<Item = io::Result<Bytes>>,
{
    // Below the parser, because it drops comments. Above it, the timeout would end a healthy stream.
    body.idle_timeout_with(idle, || Err(io::ErrorKind::TimedOut.into()))
        .eventsource()
}

/// Returns whether the events ended because not a single byte arrived in time.
pub fn has_timed_out(error: &EventStreamError<io::Error>) -> bool {
    matches!(error, EventStreamError::Transport(error) if error.kind() == io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, pin::pin};

    use axum::{
        Router,
        response::{Sse, sse},
        routing::get,
    };
    use futures::{StreamExt, TryStreamExt, stream};
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::served::body_of;

    const IDLE: Duration = Duration::from_millis(200);

    /// A server that sends two events with a long pause between them. In the pause it sends comments.
    async fn idle() -> impl Stream<Item = io::Result<Bytes>> {
        let handler = async || {
            let events = async_stream::stream! {
                yield Ok::<_, Infallible>(sse::Event::default().data("1"));
                sleep(IDLE * 20).await;
                yield Ok(sse::Event::default().data("2"));
            };
            Sse::new(events.keepalive(IDLE, Ok(sse::Event::default().comment(""))))
        };
        body_of(Router::new().route("/", get(handler))).await
    }

    async fn data_of<E: std::fmt::Debug>(
        events: impl Stream<Item = Result<Event, E>>,
    ) -> Vec<String> {
        events
            .map_ok(|event| event.data)
            .try_collect()
            .await
            .unwrap()
    }

    // These tests run in real time, so ten idle times leave room for a busy machine.

    #[tokio::test]
    async fn an_idle_server_that_sends_comments_does_not_time_out() {
        let events = events(idle().await, 10 * IDLE);
        assert_eq!(data_of(events).await, ["1", "2"]);
    }

    #[tokio::test]
    async fn a_timeout_above_the_parser_ends_the_same_stream() {
        let events = idle().await.eventsource().idle_timeout(10 * IDLE);
        assert_eq!(data_of(events).await, ["1"]);
    }

    #[tokio::test]
    async fn an_error_of_the_connection_is_no_timeout() {
        let reset = stream::iter([Err(io::ErrorKind::ConnectionReset.into())]);
        let error = pin!(events(reset, IDLE)).next().await.unwrap().unwrap_err();
        assert!(!has_timed_out(&error));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_sends_nothing_times_out() {
        let sent = [&b"data: 1\n\n"[..], b":\n\n"].map(|bytes| Ok(Bytes::from_static(bytes)));
        let mut events = pin!(events(stream::iter(sent).chain(stream::pending()), IDLE));
        assert_eq!(events.next().await.unwrap().unwrap().data, "1");
        let start = Instant::now();
        let error = events.next().await.unwrap().unwrap_err();
        assert!(has_timed_out(&error));
        assert_eq!(start.elapsed().as_millis(), IDLE.as_millis());
        assert!(events.next().await.is_none());
    }
}
