//! Events over a WebSocket. Each end notices when the other one is gone.
//!
//! [`serve`] is the server, [`listen`] is a Rust client, and `pages/websocket.html` is a client in a browser.

use std::{future::ready, io, pin::pin, time::Duration};

use crate::log::Line;
use axum::{
    body::Bytes,
    extract::ws::{Message, WebSocket},
};
use futures::{SinkExt, Stream, StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use stream_keepalive::{Fill, KeepaliveExt};
use tokio_tungstenite::tungstenite;

/// What the server sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// A line, and the id with which a client resumes after it.
    Line { id: String, text: String },
    /// Nothing has happened. The server sends the next message within `idle` milliseconds. A client that has got no line
    /// since then resumes after `id`.
    Keepalive { id: String, idle: u64 },
}

impl From<Line> for Event {
    fn from(Line { id, text }: Line) -> Self {
        Self::Line { id, text }
    }
}

/// Makes keepalives that carry the id of the last line that this stream has passed on. Without it, a client that is cut off
/// before its first line could not resume.
struct ResumePoint {
    id: String,
    idle: u64,
}

impl Fill<Event> for ResumePoint {
    fn fill(&mut self) -> Option<Event> {
        Some(Event::Keepalive {
            id: self.id.clone(),
            idle: self.idle,
        })
    }

    fn observe(&mut self, event: &Event) -> bool {
        if let Event::Line { id, .. } = event {
            self.id.clone_from(id);
        }
        true
    }
}

/// Sends the events until the feed ends or the client is gone. The feed begins after the line `start`.
pub async fn serve<S>(
    socket: WebSocket,
    feed: S,
    start: String,
    idle: Duration,
) -> anyhow::Result<()>
where
    S: Stream<Item = Event>,
{
    let (mut sink, source) = socket.split();

    // A script in a browser cannot see a ping, so the keepalive of the feed is an ordinary message.
    let keepalive = ResumePoint {
        id: start,
        idle: idle.as_millis().try_into()?,
    };
    let mut feed = pin!(feed.keepalive_with(idle, keepalive).immediate());

    // The pings have an idle clock of their own, so they go out even when the feed is busy.
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
    // A client that is alive answers every ping, even if it only reads.
    let received = source.idle_timeout_with(3 * idle, || {
        Err(axum::Error::new("the client does not answer pings"))
    });
    let receive = received.try_for_each(async |_| Ok(()));
    tokio::select! {
        sent = send => sent,
        received = receive => Ok(received?),
    }
}

/// Reads the lines.
///
/// If nothing arrives for `idle`, the last item is an error. Set `idle` to three times the server's keepalive interval.
pub fn listen<S>(socket: S, idle: Duration) -> impl Stream<Item = Result<Line, tungstenite::Error>>
where
    S: Stream<Item = Result<tungstenite::Message, tungstenite::Error>>,
{
    socket
        // Below the filter, which drops keepalives and pings.
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
                Some(Event::Keepalive { .. }) | None => None,
            }))
        })
}
