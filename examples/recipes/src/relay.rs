//! A relay of server-sent events, such as the tokens of a language model.
//!
//! The bytes are passed on as they arrive. A chunk of a body may end in the middle of an event, and the upstream may
//! stall there. A keepalive in such a place would become a part of the event.

use std::{error::Error, io, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use futures::{Stream, StreamExt};
use stream_keepalive::KeepaliveExt;
use stream_keepalive_http::framing;

/// Passes on the response of an upstream. If it is a stream of events, it is kept alive.
pub fn respond(upstream: reqwest::Response, idle: Duration, timeout: Duration) -> Response {
    let status = upstream.status();
    // The other headers are left out: the keepalives change the length, and the connection is a different one.
    let content_type = upstream.headers().get(CONTENT_TYPE).cloned();
    let is_events = content_type
        .as_ref()
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
    let body = upstream.bytes_stream();
    let body = if is_events {
        Body::from_stream(tokens(body, idle, timeout))
    } else {
        Body::from_stream(body)
    };
    let headers = content_type.map(|value| [(CONTENT_TYPE, value)]);
    match headers {
        Some(headers) => (status, headers, body).into_response(),
        None => (status, body).into_response(),
    }
}

/// Passes on the bytes of an upstream. A keepalive goes out only between two events.
///
/// An upstream that sends nothing for `timeout` is considered dead, even inside an event.
pub fn tokens<S, E>(
    upstream: S,
    idle: Duration,
    timeout: Duration,
) -> impl Stream<Item = io::Result<Bytes>>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    upstream
        .map(|bytes| bytes.map_err(io::Error::other))
        .idle_timeout_with(timeout, || Err(io::ErrorKind::TimedOut.into()))
        .keepalive_with(idle, framing::Sse::comment())
        // A model may think for a while before its first token.
        .immediate()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use eventsource_stream::Eventsource;
    use futures::{TryStreamExt, stream};
    use tokio::time::{sleep, timeout};

    use super::*;

    const IDLE: Duration = Duration::from_secs(20);
    const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
    const STALL: Duration = Duration::from_secs(130);

    /// The answer "Hello.", as the common APIs stream it.
    const ANSWER: &str = concat!(
        "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"lo.\"}}]}\r\n\r\n",
        "event: done\ndata: [DONE]\n\n",
    );
    const COMMENT: &[u8] = b":\n\n";

    type Chunk = Result<Bytes, Infallible>;

    /// An upstream that stalls at each of these offsets.
    fn stalling(places: &[usize]) -> impl Stream<Item = Chunk> {
        let ends = places.iter().copied().chain([ANSWER.len()]);
        let starts = [0].into_iter().chain(places.iter().copied());
        let chunks: Vec<_> = starts
            .zip(ends)
            .map(|(start, end)| &ANSWER[start..end])
            .collect();
        stream::iter(chunks).then(async |chunk| {
            sleep(STALL).await;
            Ok(Bytes::from_static(chunk.as_bytes()))
        })
    }

    async fn parse(bytes: impl Stream<Item = io::Result<Bytes>>) -> Vec<String> {
        let events = bytes.eventsource().map_ok(|event| event.data);
        events.try_collect().await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_at_any_offset_leaves_the_tokens_as_they_were() {
        let all = parse(stream::iter([Ok(Bytes::from_static(ANSWER.as_bytes()))])).await;
        assert_eq!(all.len(), 3);
        for place in 1..ANSWER.len() {
            let relayed: Vec<_> = tokens(stalling(&[place]), IDLE, IDLE_TIMEOUT)
                .collect()
                .await;
            // One keepalive comes immediately, before the first token, and six during the stall.
            let keepalives = relayed
                .iter()
                .take_while(|bytes| bytes.as_ref().unwrap() == COMMENT);
            assert_eq!(keepalives.count(), 7, "{place}");
            assert_eq!(parse(stream::iter(relayed)).await, all, "{place}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_stall_between_two_events_is_filled() {
        let places = [30, ANSWER.find("\n\n").unwrap() + 2];
        let relayed: Vec<_> = tokens(stalling(&places), IDLE, IDLE_TIMEOUT)
            .try_collect()
            .await
            .unwrap();
        let is_keepalive: Vec<_> = relayed.iter().map(|bytes| bytes == COMMENT).collect();
        let mut expected = vec![true; 7];
        expected.extend([false, false]);
        expected.extend([true; 6]);
        expected.extend([false]);
        assert_eq!(is_keepalive, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_plain_keepalive_inside_an_event_breaks_a_token() {
        let blind = stalling(&[30])
            .map_err(io::Error::other)
            .keepalive_with(IDLE, || Ok(Bytes::from_static(COMMENT)));
        let all = parse(stream::iter([Ok(Bytes::from_static(ANSWER.as_bytes()))])).await;
        assert_ne!(parse(blind).await, all);
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_hangs_inside_an_event_times_out() {
        let half = Bytes::from_static(&ANSWER.as_bytes()[..30]);
        let hung = stream::iter([Ok::<_, Infallible>(half)]).chain(stream::pending());
        let relayed = timeout(
            2 * IDLE_TIMEOUT,
            tokens(hung, IDLE, IDLE_TIMEOUT).collect::<Vec<_>>(),
        )
        .await;
        let relayed = relayed.expect("the upstream times out");
        let error = relayed.last().unwrap().as_ref().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(relayed.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_stream_of_events_is_filled_and_the_content_type_and_status_stay() {
        let types = [
            ("text/event-stream; charset=utf-8", true),
            ("application/json", false),
        ];
        for (content_type, filled) in types {
            let inner = reqwest::Body::wrap_stream(stream::pending::<Chunk>());
            let upstream = axum::http::Response::builder()
                .status(429)
                .header(CONTENT_TYPE, content_type)
                .body(inner)
                .unwrap();
            let response = respond(upstream.into(), IDLE, IDLE_TIMEOUT);
            assert_eq!(response.status(), 429);
            assert_eq!(response.headers()[CONTENT_TYPE], content_type);
            let mut body = response.into_body().into_data_stream();
            let first = timeout(IDLE_TIMEOUT / 2, body.next()).await;
            assert_eq!(
                first.is_ok_and(|first| first.unwrap().unwrap() == COMMENT),
                filled
            );
        }
    }
}
