//! The streams that the clients read, and their server.

use std::{convert::Infallible, net::Ipv4Addr, pin::pin, sync::Arc, time::Duration};

use anyhow::Result;
use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{Html, IntoResponse, Response},
    routing::get,
    serve::ListenerExt,
};
use bytes::Bytes;
use futures::{
    FutureExt, StreamExt,
    future::{Either, select},
    stream,
};
use serde_json::{Value, json};
use stream_keepalive::KeepaliveExt;
use tokio::{net::TcpListener, sync::Semaphore};

/// How long a stream is idle before each keepalive. It is long enough for a client to read most of them separately.
const IDLE: Duration = Duration::from_millis(20);

/// How many keepalives are sent while a stream is idle.
const KEEPALIVES: u32 = 3;

/// The format of the two events of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Server-sent events without a name.
    Events,
    /// The events of OpenAI's chat completions.
    Chat,
    /// The events of OpenAI's responses.
    Responses,
    /// The events of Anthropic's messages.
    Messages,
    /// A tool of the Model Context Protocol, which reports its progress and then answers.
    Tool,
    /// Lines of JSON.
    Lines,
}

impl Format {
    fn content_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            _ => "text/event-stream",
        }
    }

    fn events(self, request: &Value) -> [String; 2] {
        let data = |event: Value| format!("data: {event}\n\n");
        match self {
            Self::Events => ["one", "two"].map(|text| format!("data: {text}\n\n")),
            Self::Chat => [("one", ""), ("two", "data: [DONE]\n\n")].map(|(text, end)| {
                let choice = json!({ "index": 0, "delta": { "content": text } });
                let event = json!({
                    "id": "a",
                    "object": "chat.completion.chunk",
                    "created": 0,
                    "model": "none",
                    "choices": [choice],
                });
                data(event) + end
            }),
            Self::Responses => [(1, "one"), (2, "two")].map(|(number, text)| {
                let kind = "response.output_text.delta";
                let event = json!({
                    "type": kind,
                    "sequence_number": number,
                    "item_id": "a",
                    "output_index": 0,
                    "content_index": 0,
                    "delta": text,
                    "logprobs": [],
                });
                format!("event: {kind}\n{}", data(event))
            }),
            Self::Messages => ["one", "two"].map(|text| {
                let kind = "content_block_delta";
                let delta = json!({ "type": "text_delta", "text": text });
                let event = json!({ "type": kind, "index": 0, "delta": delta });
                format!("event: {kind}\n{}", data(event))
            }),
            Self::Tool => [
                data(json!({
                    "jsonrpc": "2.0",
                    "method": "notifications/progress",
                    "params": {
                        "progressToken": request["params"]["_meta"]["progressToken"],
                        "progress": 1,
                        "message": "one",
                    },
                })),
                data(json!({
                    "jsonrpc": "2.0",
                    "id": request["id"],
                    "result": { "content": [{ "type": "text", "text": "two" }] },
                })),
            ],
            Self::Lines => [1, 2].map(|number| format!("{}\n", json!({ "number": number }))),
        }
    }

    /// The places in which a stream of this format may be idle.
    pub fn places(self) -> &'static [Place] {
        match self {
            // The stream of a tool does not end before the answer, so keepalives cannot be alone in it.
            Self::Tool => &[Place::Before, Place::Between],
            _ => &[Place::Before, Place::Between, Place::Alone],
        }
    }
}

/// The place of the keepalives in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before the first event.
    Before,
    /// Between two events.
    Between,
    /// In a stream without events.
    Alone,
}

/// A stream, with the bytes of its keepalives, if it has any.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    pub format: Format,
    pub place: Place,
    pub keepalive: Option<&'static str>,
}

impl Stream {
    /// Serves the stream until the client has read it. `client` gets the address.
    pub async fn serve<T>(self, client: impl AsyncFnOnce(String) -> T) -> Result<T> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new()
            // A page for the clients that run in one.
            .route(
                "/page",
                get(Html("<!doctype html><link rel=icon href=data:,>")),
            )
            .fallback(respond)
            .with_state(self);
        let listener = listener.tap_io(|connection| _ = connection.set_nodelay(true));
        let server = axum::serve(listener, router).into_future();
        match select(pin!(client(url)), pin!(server)).await {
            Either::Left((seen, _)) => Ok(seen),
            Either::Right((end, _)) => {
                end?;
                unreachable!("it serves forever")
            }
        }
    }

    fn body(self, request: &Value) -> Body {
        let events = self.format.events(request).map(Bytes::from);
        let (before, after) = match self.place {
            Place::Before => events.split_at(0),
            Place::Between => events.split_at(1),
            Place::Alone => (&[][..], &[][..]),
        };
        let (before, after) = (before.to_vec(), after.to_vec());
        let (idle, sent, keepalive) = match self.keepalive {
            Some(keepalive) => (IDLE, 0, keepalive),
            None => (Duration::ZERO, KEEPALIVES, ""),
        };
        let sent = Arc::new(Semaphore::new(sent as usize));
        let count = sent.clone();
        let after = async move {
            _ = sent.acquire_many(KEEPALIVES).await;
            stream::iter(after)
        };
        let events = stream::iter(before).chain(after.flatten_stream());
        Body::from_stream(
            events
                .map(Ok::<_, Infallible>)
                .keepalive_with(idle, move || {
                    count.add_permits(1);
                    Ok(Bytes::from_static(keepalive.as_bytes()))
                }),
        )
    }
}

async fn respond(State(stream): State<Stream>, request: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&request).unwrap_or_default();
    // Requests before the call of a tool are not answered with a stream.
    match request["method"].as_str() {
        Some("initialize") => Json(json!({
            "jsonrpc": "2.0",
            "id": request["id"],
            "result": {
                "protocolVersion": request["params"]["protocolVersion"],
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "none", "version": "0" },
            },
        }))
        .into_response(),
        Some("notifications/initialized") => StatusCode::ACCEPTED.into_response(),
        // The client asks for a stream of messages that the server sends by itself.
        None if stream.format == Format::Tool => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        _ => (
            [(CONTENT_TYPE, stream.format.content_type())],
            stream.body(&request),
        )
            .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(stream: Stream) -> String {
        let read = async |url| reqwest::get(url).await?.text().await;
        stream.serve(read).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn keepalives_are_in_their_place_and_events_are_complete() {
        let format = Format::Events;
        for (place, expected) in [
            (Place::Before, "KKKdata: one\n\ndata: two\n\n"),
            (Place::Between, "data: one\n\nKKKdata: two\n\n"),
            (Place::Alone, "KKK"),
        ] {
            let keepalive = Some("K");
            let stream = Stream {
                format,
                place,
                keepalive,
            };
            assert_eq!(read(stream).await, expected);

            let stream = Stream {
                keepalive: None,
                ..stream
            };
            assert_eq!(read(stream).await, expected.replace('K', ""));
        }
    }
}
