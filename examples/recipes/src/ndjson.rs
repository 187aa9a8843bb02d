//! Lines of JSON over HTTP, with an empty line as keepalive.

use std::{io, time::Duration};

use axum::{body::Body, body::Bytes, http::header, response::IntoResponse};
use futures::{Stream, StreamExt, TryStreamExt};
use stream_keepalive::KeepaliveExt;
use tokio::io::AsyncBufRead;
use tokio_stream::wrappers::LinesStream;

/// Answers with a line for each message.
pub fn respond<S>(messages: S, idle: Duration) -> impl IntoResponse
where
    S: Stream<Item = String> + Send + 'static,
{
    // Whole lines: a keepalive between two halves of one would break it.
    let lines = messages.map(|json| Ok(Bytes::from(json + "\n")));
    // An `io::Error` is not `Clone`, so a closure makes the keepalive.
    let lines = lines.keepalive_with(idle, || io::Result::Ok(Bytes::from_static(b"\n")));
    let headers = [
        (header::CONTENT_TYPE.as_str(), "application/x-ndjson"),
        ("x-accel-buffering", "no"),
    ];
    (headers, Body::from_stream(lines))
}

/// Reads the messages, and skips keepalives.
pub fn messages(body: impl AsyncBufRead) -> impl Stream<Item = io::Result<String>> {
    use tokio::io::AsyncBufReadExt;
    LinesStream::new(body.lines()).try_filter(|line| std::future::ready(!line.is_empty()))
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, pin::pin};

    use axum::{Router, routing::get};
    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        net::{TcpListener, TcpStream},
        time::sleep,
    };

    use super::*;

    const IDLE: Duration = Duration::from_millis(100);

    /// Sends two messages with a pause of many periods between them, and returns the body.
    async fn body() -> BufReader<TcpStream> {
        let handler = async || {
            let messages = async_stream::stream! {
                yield r#"{"done":1}"#.to_owned();
                sleep(IDLE * 8).await;
                yield r#"{"done":2}"#.to_owned();
            };
            respond(messages, IDLE)
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(
            async move { axum::serve(listener, Router::new().route("/", get(handler))).await },
        );

        let mut stream = TcpStream::connect(addr).await.unwrap();
        // HTTP/1.0, so that the body comes as it is.
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut body = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert_ne!(body.read_line(&mut line).await.unwrap(), 0, "no body");
        }
        body
    }

    #[tokio::test]
    async fn a_client_sees_the_messages_and_no_keepalive() {
        let messages: Vec<_> = pin!(messages(body().await)).try_collect().await.unwrap();
        assert_eq!(messages, [r#"{"done":1}"#, r#"{"done":2}"#]);
    }

    #[tokio::test]
    async fn empty_lines_fill_the_silence_between_whole_messages() {
        let lines = LinesStream::new(body().await.lines());
        let lines: Vec<_> = lines.try_collect().await.unwrap();
        let (first, rest) = lines.split_first().unwrap();
        let (last, between) = rest.split_last().unwrap();
        assert_eq!([first, last], [r#"{"done":1}"#, r#"{"done":2}"#]);
        assert!(between.len() >= 2, "{between:?}");
        assert!(between.iter().all(String::is_empty), "{between:?}");
    }
}
