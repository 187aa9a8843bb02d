//! Events over a WebSocket, whose two ends notice when the other one is gone.
//!
//! [`serve`] is the server's end and [`listen`] that of a Rust client. That of a browser is `page.html`.

use std::{future::ready, io, pin::pin, time::Duration};

use axum::{
    body::Bytes,
    extract::ws::{Message, WebSocket},
};
use cli::Line;
use futures::{SinkExt, Stream, StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use stream_keepalive::KeepaliveExt;
use tokio_tungstenite::tungstenite;

/// What the server sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// A line, and what a client tells to come back after it.
    Line { id: String, text: String },
    /// Nothing has happened. Within this many milliseconds the server sends again.
    Keepalive(u64),
}

impl From<Line> for Event {
    fn from(Line { id, text }: Line) -> Self {
        Self::Line { id, text }
    }
}

/// Sends the events until the feed ends or the client is gone.
pub async fn serve<S>(socket: WebSocket, feed: S, idle: Duration) -> anyhow::Result<()>
where
    S: Stream<Item = Event>,
{
    let (mut sink, source) = socket.split();

    // A script sees no ping, so the keepalive of the feed is a message like any other.
    let keepalive = Event::Keepalive(idle.as_millis().try_into()?);
    let mut feed = pin!(feed.keepalive(idle, keepalive).immediate());

    // The pings go by a clock of their own, so that a busy feed holds none of them back.
    let mut pings = pin!(stream::pending().keepalive(idle, Message::Ping(Bytes::new())));

    let send = async {
        loop {
            let message = tokio::select! {
                event = feed.next() => match event {
                    Some(event) => Message::text(serde_json::to_string(&event)?),
                    None => return Ok(sink.close().await?),
                },
                Some(ping) = pings.next() => ping,
            };
            sink.send(message).await?;
        }
    };
    // A client that is alive answers every ping, also one that only reads.
    let received = source.idle_timeout_with(3 * idle, || {
        Err(axum::Error::new("the client has answered no ping"))
    });
    let receive = received.try_for_each(async |_| Ok(()));
    tokio::select! {
        sent = send => sent,
        received = receive => Ok(received?),
    }
}

/// Reads the lines.
///
/// When nothing has come for `idle`, the last item is an error. Set `idle` to three times the idle time of the server.
pub fn listen<S>(socket: S, idle: Duration) -> impl Stream<Item = Result<Line, tungstenite::Error>>
where
    S: Stream<Item = Result<tungstenite::Message, tungstenite::Error>>,
{
    socket
        // Below what drops keepalives and pings.
        .idle_timeout_with(
            idle,
            || Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        )
        .try_filter_map(|message| {
            let event = message
                .to_text()
                .ok()
                .and_then(|text| serde_json::from_str(text).ok());
            ready(Ok(match event {
                Some(Event::Line { id, text }) => Some(Line { id, text }),
                Some(Event::Keepalive(_)) | None => None,
            }))
        })
}
