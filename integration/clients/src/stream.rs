//! The streams that the clients read, and their server.

use std::{convert::Infallible, net::Ipv4Addr, pin::pin, sync::Arc, time::Duration};

use anyhow::Result;
use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{Html, IntoResponse, Response},
    routing::{MethodRouter, any, get},
    serve::ListenerExt,
};
use bytes::Bytes;
use futures::{
    FutureExt, StreamExt,
    future::{Either, OptionFuture, select},
    stream,
};
use serde_json::{Value, json};
use stream_keepalive::KeepaliveExt;
use tokio::{net::TcpListener, sync::Semaphore, time::sleep};

use crate::keepalives::TOKEN;

/// How long a stream is idle before each keepalive. It is long enough for a client to read most of them separately.
const IDLE: Duration = Duration::from_millis(20);

/// How many keepalives are sent while a stream is idle.
const KEEPALIVES: u32 = 3;

/// The clock of a client has run out by then, unless a keepalive has restarted it.
pub const LONG: Duration = Duration::from_secs(3);

/// How long a stream that is idle for [`LONG`] waits before each keepalive.
const LONG_IDLE: Duration = Duration::from_millis(200);

/// The format of the two events of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Server-sent events without a name.
    Events,
    /// The events of OpenAI's chat completions.
    Chat,
    /// The events of OpenAI's responses.
    Responses,
    /// A whole response of two messages, as an agent needs it.
    Turn,
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

    /// Whether it is one of the APIs of language models.
    pub fn is_of_a_model(self) -> bool {
        matches!(
            self,
            Self::Chat | Self::Responses | Self::Turn | Self::Messages
        )
    }

    /// Where the API of this format begins. A client gets it as a part of its URL.
    pub fn base(self) -> &'static str {
        match self {
            Self::Chat | Self::Responses | Self::Turn => "/v1",
            _ => "",
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
            Self::Turn => {
                let message = |id: &str| {
                    let content = json!([{ "type": "output_text", "text": id }]);
                    let item = json!({ "type": "message", "id": id, "role": "assistant", "content": content });
                    data(json!({ "type": "response.output_item.done", "item": item }))
                };
                let begin = json!({ "type": "response.created", "response": { "id": "a" } });
                let end = json!({ "type": "response.completed", "response": { "id": "a" } });
                [data(begin) + &message("one"), message("two") + &data(end)]
            }
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

/// How long a stream is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Until some keepalives have been sent, or not at all without keepalives.
    Short,
    /// For [`LONG`], whatever is sent.
    Long,
}

/// A stream, with the bytes of its keepalives, if it has any.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    pub format: Format,
    pub place: Place,
    pub silence: Silence,
    pub keepalive: Option<&'static str>,
}

impl Stream {
    /// Answers every request with the stream.
    pub fn router(self) -> Router {
        Router::new()
            // A page for the clients that run in one.
            .route(
                "/page",
                get(Html("<!doctype html><link rel=icon href=data:,>")),
            )
            .fallback(respond)
            .with_state(self)
    }

    /// Answers every request of a route with the stream.
    pub fn handler(self) -> MethodRouter {
        any(respond).with_state(self)
    }

    fn body(self, request: &Value) -> Body {
        let events = self.format.events(request).map(Bytes::from);
        let (before, after) = match self.place {
            Place::Before => events.split_at(0),
            Place::Between => events.split_at(1),
            Place::Alone => (&[][..], &[][..]),
        };
        let (before, mut after) = (before.to_vec(), after.to_vec());
        let keepalive = self.keepalive.map(|text| keepalive_for(request, text));
        let (idle, keepalive, awaited) = match (keepalive, self.silence) {
            (None, _) => (Duration::ZERO, Bytes::new(), 0),
            (Some(keepalive), Silence::Short) => (IDLE, keepalive, KEEPALIVES),
            (Some(keepalive), Silence::Long) => (LONG_IDLE, keepalive, 0),
        };
        if keepalive.last().is_some_and(|byte| *byte != b'\n') {
            // The next event begins on a line of its own.
            after.insert(0, Bytes::from_static(b"\n"));
        }
        let long = (self.silence == Silence::Long).then(|| sleep(LONG));
        let sent = Arc::new(Semaphore::new(0));
        let count = sent.clone();
        let after = async move {
            _ = sent.acquire_many(awaited).await;
            OptionFuture::from(long).await;
            stream::iter(after)
        };
        let events = stream::iter(before).chain(after.flatten_stream());
        Body::from_stream(
            events
                .map(Ok::<_, Infallible>)
                .keepalive_with(idle, move || {
                    count.add_permits(1);
                    Ok(keepalive.clone())
                }),
        )
    }
}

/// Puts the progress token of the request into a keepalive that has [`TOKEN`] in it.
fn keepalive_for(request: &Value, text: &'static str) -> Bytes {
    if !text.contains(TOKEN) {
        return Bytes::from_static(text.as_bytes());
    }
    let token = &request["params"]["_meta"]["progressToken"];
    text.replace(TOKEN, &token.to_string()).into()
}

/// Serves until the client has read. `client` gets the address.
pub async fn serve<T>(router: Router, client: impl AsyncFnOnce(String) -> T) -> Result<T> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
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
        // The client asks for other things too, such as the list of models.
        _ if stream.format == Format::Turn && request["input"].is_null() => {
            StatusCode::NOT_FOUND.into_response()
        }
        _ => (
            [(CONTENT_TYPE, stream.format.content_type())],
            stream.body(&request),
        )
            .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures::future::join;

    use super::*;
    use crate::keepalives::PROGRESS;

    async fn read(stream: Stream) -> String {
        let read = async |url| reqwest::get(url).await?.text().await;
        serve(stream.router(), read).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn keepalives_are_in_their_place_and_events_are_complete() {
        for (place, expected) in [
            (Place::Before, "KKKdata: one\n\ndata: two\n\n"),
            (Place::Between, "data: one\n\nKKKdata: two\n\n"),
            (Place::Alone, "KKK"),
        ] {
            let stream = Stream {
                format: Format::Events,
                place,
                silence: Silence::Short,
                keepalive: Some(":\n"),
            };
            assert_eq!(read(stream).await, expected.replace('K', ":\n"));

            let stream = Stream {
                keepalive: None,
                ..stream
            };
            assert_eq!(read(stream).await, expected.replace('K', ""));
        }
    }

    #[tokio::test]
    async fn a_long_silence_takes_its_time_and_is_filled_with_whatever_is_sent() {
        let stream = Stream {
            format: Format::Events,
            place: Place::Between,
            silence: Silence::Long,
            keepalive: Some(":"),
        };
        let silent = Stream {
            keepalive: None,
            ..stream
        };
        let start = Instant::now();
        let (filled, silent) = join(read(stream), read(silent)).await;
        assert!(start.elapsed() >= LONG);

        assert_eq!(silent, "data: one\n\ndata: two\n\n");
        let between = filled.strip_prefix("data: one\n\n").unwrap();
        let between = between.strip_suffix("\ndata: two\n\n").unwrap();
        assert!(between.bytes().all(|byte| byte == b':'), "{between}");
        assert!(between.len() >= 5, "{between}");
    }

    #[tokio::test]
    async fn progress_carries_the_token_of_its_request() {
        let stream = Stream {
            format: Format::Tool,
            place: Place::Between,
            silence: Silence::Short,
            keepalive: Some(PROGRESS),
        };
        let request = json!({
            "id": 1,
            "method": "tools/call",
            "params": { "_meta": { "progressToken": 7 } },
        });
        let request = &request;
        let post = async |url| {
            let client = reqwest::Client::new().post(url);
            client.body(request.to_string()).send().await?.text().await
        };
        let body = serve(stream.router(), post).await.unwrap().unwrap();
        assert_eq!(body.matches("\"progressToken\":7").count(), 4, "{body}");
    }
}
