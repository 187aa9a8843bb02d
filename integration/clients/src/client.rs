//! The clients, and the expected verdicts.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::Router;
use programs::PATIENCE;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    clock::{Clock, Counts},
    crates::{self, Read},
    keepalives::{COMMENT, COMMENT_LINE, EMPTY_LINE},
    session::Session,
    stream::{Format, Place, Silence, Stream, serve},
    verdict::Verdict,
};

/// A client that keepalives are tried with.
#[derive(Debug)]
pub struct Client {
    pub name: &'static str,
    pub format: Format,
    pub runs: Runs,
    /// Its timeout, if it has one.
    pub clock: Option<Clock>,
    /// The expected verdict on recommended keepalives, if the client does not ignore them.
    but: &'static [(&'static str, Expected)],
}

/// The kind of a verdict.
#[derive(Clone, Copy, Debug)]
pub enum Expected {
    Ignored,
    Event,
    Error,
}

impl Expected {
    pub fn is(self, verdict: &Verdict) -> bool {
        matches!(
            (self, verdict),
            (Self::Ignored, Verdict::Ignored)
                | (Self::Event, Verdict::Event(_))
                | (Self::Error, Verdict::Error(_))
        )
    }
}

/// Where a client runs.
#[derive(Debug)]
pub enum Runs {
    /// A function of clients.py.
    Python(&'static str),
    /// A function of clients.cjs.
    Node(&'static str),
    /// A function of page.js, in Chromium, and the package that it comes from, unless it is the browser's.
    Page(&'static str, Option<&'static str>),
    /// In this program, by a crate.
    Rust(&'static str, Read),
}

const fn client(name: &'static str, format: Format, runs: Runs) -> Client {
    Client {
        name,
        format,
        runs,
        clock: None,
        but: &[],
    }
}

impl Client {
    const fn but(mut self, but: &'static [(&'static str, Expected)]) -> Self {
        self.but = but;
        self
    }

    const fn timed(mut self, setting: &'static str, counts: Counts) -> Self {
        self.clock = Some(Clock { setting, counts });
        self
    }

    /// Returns the expected verdict on a recommended keepalive.
    pub fn expected(&self, keepalive: &str) -> Expected {
        let mut but = self.but.iter();
        let other = but.find(|(other, _)| *other == keepalive);
        other.map_or(Expected::Ignored, |(_, expected)| *expected)
    }
}

/// The clients of server-sent events.
pub static EVENTS: [Client; 17] = [
    client(
        "`EventSource` in Chromium",
        Format::Events,
        Runs::Page("eventSource", None),
    ),
    client(
        "`@microsoft/fetch-event-source` in Chromium",
        Format::Events,
        Runs::Page("fetchEventSource", Some("@microsoft/fetch-event-source")),
    )
    // To this client, every blank line ends a message.
    .but(&[(COMMENT, Expected::Event)]),
    client(
        "`eventsource-parser` in Node",
        Format::Events,
        Runs::Node("eventsource_parser"),
    )
    .timed("`bodyTimeout` of undici", Counts::Bytes),
    client(
        "`httpx-sse` in Python",
        Format::Events,
        Runs::Python("httpx_sse"),
    )
    .timed("`timeout` of httpx", Counts::Bytes),
    client(
        "`sseclient-py` in Python",
        Format::Events,
        Runs::Python("sseclient"),
    )
    .timed("`timeout` of requests", Counts::Bytes),
    client(
        "`sseclient` in Python",
        Format::Events,
        Runs::Python("older_sseclient"),
    )
    .timed("`timeout` of requests", Counts::Bytes)
    // To this client, every blank line ends an event.
    .but(&[(COMMENT, Expected::Event)]),
    client(
        "`eventsource-stream` in Rust",
        Format::Events,
        Runs::Rust("eventsource-stream", crates::eventsource_stream),
    )
    .timed("`read_timeout` of reqwest", Counts::Bytes),
    client(
        "`reqwest-eventsource` in Rust",
        Format::Events,
        Runs::Rust("reqwest-eventsource", crates::reqwest_eventsource),
    ),
    client(
        "`eventsource-client` in Rust",
        Format::Events,
        Runs::Rust("eventsource-client", crates::eventsource_client),
    )
    .timed("`read_timeout` of its transport", Counts::Bytes)
    // The stream of this client has comments as items.
    .but(&[(COMMENT, Expected::Event), (COMMENT_LINE, Expected::Event)]),
    client(
        "`openai` in Node, chat completions",
        Format::Chat,
        Runs::Node("openai_chat"),
    )
    .timed("`timeout`", Counts::NoClock),
    client(
        "`openai` in Node, responses",
        Format::Responses,
        Runs::Node("openai_responses"),
    )
    .timed("`timeout`", Counts::NoClock),
    client(
        "`openai` in Python, chat completions",
        Format::Chat,
        Runs::Python("openai_chat"),
    )
    .timed("`timeout`", Counts::Bytes),
    client(
        "`openai` in Python, responses",
        Format::Responses,
        Runs::Python("openai_responses"),
    )
    .timed("`timeout`", Counts::Bytes),
    client(
        "`@anthropic-ai/sdk` in Node",
        Format::Messages,
        Runs::Node("anthropic"),
    )
    .timed("`timeout`", Counts::NoClock),
    client(
        "`anthropic` in Python",
        Format::Messages,
        Runs::Python("anthropic"),
    )
    .timed("`timeout`", Counts::Bytes),
    client(
        "`@modelcontextprotocol/sdk` in Node",
        Format::Tool,
        Runs::Node("mcp"),
    )
    .timed("`timeout`", Counts::Nothing),
    client(
        "`rmcp` in Rust",
        Format::Tool,
        Runs::Rust("rmcp", crates::rmcp),
    )
    .timed("`timeout`", Counts::Nothing),
];

/// Clients of which only the timeout is tried.
pub static TIMED: [Client; 5] = [
    client(
        "`aiohttp` in Python",
        Format::Events,
        Runs::Python("aiohttp_sock_read"),
    )
    .timed("`sock_read`", Counts::Bytes),
    client(
        "`aiohttp` in Python",
        Format::Events,
        Runs::Python("aiohttp_total"),
    )
    .timed("`total`", Counts::Nothing),
    client("`codex exec`", Format::Turn, Runs::Node("codex"))
        .timed("`stream_idle_timeout_ms`", Counts::Events),
    client(
        "`@modelcontextprotocol/sdk` in Node",
        Format::Tool,
        Runs::Node("mcp_progress"),
    )
    .timed("`timeout`, `resetTimeoutOnProgress`", Counts::Progress),
    client(
        "`rmcp` in Rust",
        Format::Tool,
        Runs::Rust("rmcp", crates::rmcp_progress),
    )
    .timed("`timeout`, `reset_timeout_on_progress`", Counts::Progress),
];

/// The readers of lines of JSON.
pub static LINES: [Client; 7] = [
    client("jq", Format::Lines, Runs::Python("jq")),
    client(
        "pandas, `read_json(.., lines=True)`",
        Format::Lines,
        Runs::Python("pandas"),
    ),
    client(
        "DuckDB, `read_ndjson`",
        Format::Lines,
        Runs::Python("duckdb"),
    ),
    client(
        "`serde_json`, `StreamDeserializer`",
        Format::Lines,
        Runs::Rust("serde_json", crates::serde_json_stream),
    ),
    client(
        "`serde_json`, each line",
        Format::Lines,
        Runs::Rust("serde_json", crates::serde_json_lines),
    )
    .but(&[(EMPTY_LINE, Expected::Error)]),
    client(
        "Python, `json.loads` of each line",
        Format::Lines,
        Runs::Python("json_lines"),
    )
    .but(&[(EMPTY_LINE, Expected::Error)]),
    client(
        "Node, `JSON.parse` of each line",
        Format::Lines,
        Runs::Node("json_lines"),
    )
    .but(&[(EMPTY_LINE, Expected::Error)]),
];

/// What a client read from a stream.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Seen {
    pub events: Vec<Value>,
    /// The error that ended the stream, if any.
    pub error: Option<String>,
}

impl Seen {
    fn failed(error: impl Into<String>) -> Self {
        Self {
            error: Some(error.into()),
            ..Self::default()
        }
    }
}

/// The verdicts on each keepalive, in each place of a stream.
#[derive(Debug)]
pub struct Tried {
    pub version: String,
    pub verdicts: Vec<Vec<(Place, Verdict)>>,
}

impl Client {
    /// Starts the client, and returns its version too.
    pub async fn open(&self) -> Result<(String, Session)> {
        let opened = Session::open(&self.runs).await;
        opened.context("the client does not start; run .ci/install")
    }

    /// Tries these keepalives with the client.
    pub async fn try_all(&self, keepalives: &[&'static str]) -> Result<Tried> {
        let (version, mut session) = self.open().await?;
        let mut streams = Vec::new();
        for &place in self.format.places() {
            streams.push((place, self.read_plain(&mut session, place).await?));
        }
        let mut verdicts = Vec::new();
        for &keepalive in keepalives {
            let mut places = Vec::new();
            for (place, without) in &streams {
                let stream = Stream {
                    keepalive: Some(keepalive),
                    ..self.stream(*place)
                };
                let with = self.read(&mut session, stream.router(), None).await?;
                places.push((*place, Verdict::of(without, &with)));
            }
            verdicts.push(places);
        }
        timeout(PATIENCE, session.close()).await??;
        Ok(Tried { version, verdicts })
    }

    /// A stream without keepalives.
    pub fn stream(&self, place: Place) -> Stream {
        Stream {
            format: self.format,
            place,
            silence: Silence::Short,
            keepalive: None,
        }
    }

    /// Reads a stream without keepalives.
    pub async fn read_plain(&self, session: &mut Session, place: Place) -> Result<Seen> {
        let stream = self.stream(place).router();
        let seen = self.read(session, stream, None).await?;
        let events = if place == Place::Alone { 0 } else { 2 };
        if seen.events.len() != events || (events > 0 && seen.error.is_some()) {
            bail!("the client cannot read a stream without keepalives: {seen:?}");
        }
        Ok(seen)
    }

    /// Reads what the server sends, with a timeout of the client's own, if there is one.
    pub async fn read(
        &self,
        session: &mut Session,
        server: Router,
        own: Option<Duration>,
    ) -> Result<Seen> {
        let read = async |url: String| {
            let url = url + self.format.base();
            timeout(PATIENCE, session.read(url, own)).await
        };
        let seen = match serve(server, read).await? {
            Ok(Ok(seen)) => return Ok(seen),
            Ok(Err(error)) => Seen::failed(format!("{error:#}")),
            Err(_) => Seen::failed(format!("no end within {PATIENCE:?}")),
        };
        // The old session cannot be used any longer.
        (_, *session) = Session::open(&self.runs).await?;
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_end_times_out() {
        let client = client(
            "test",
            Format::Events,
            Runs::Rust("serde_json", |_, _| stream::pending().boxed()),
        );
        let error = client.try_all(&[COMMENT]).await.unwrap_err().to_string();
        assert!(error.contains("no end within 60s"), "{error}");
    }
}
