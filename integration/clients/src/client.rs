//! The clients, and the expected verdicts.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    crates::{self, Read},
    keepalives::{COMMENT, COMMENT_LINE, EMPTY_LINE},
    session::{LIMIT, Session},
    stream::{Format, Place, Stream},
    verdict::Verdict,
};

/// A client that keepalives are tried with.
#[derive(Debug)]
pub struct Client {
    pub name: &'static str,
    pub format: Format,
    pub runs: Runs,
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
        but: &[],
    }
}

impl Client {
    const fn but(mut self, but: &'static [(&'static str, Expected)]) -> Self {
        self.but = but;
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
pub static EVENTS: [Client; 16] = [
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
    ),
    client(
        "`httpx-sse` in Python",
        Format::Events,
        Runs::Python("httpx_sse"),
    ),
    client(
        "`sseclient-py` in Python",
        Format::Events,
        Runs::Python("sseclient"),
    ),
    client(
        "`sseclient` in Python",
        Format::Events,
        Runs::Python("older_sseclient"),
    )
    // To this client, every blank line ends an event.
    .but(&[(COMMENT, Expected::Event)]),
    client(
        "`eventsource-stream` in Rust",
        Format::Events,
        Runs::Rust("eventsource-stream", crates::eventsource_stream),
    ),
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
    // The stream of this client has comments as items.
    .but(&[(COMMENT, Expected::Event), (COMMENT_LINE, Expected::Event)]),
    client(
        "`openai` in Node, chat completions",
        Format::Chat,
        Runs::Node("openai_chat"),
    ),
    client(
        "`openai` in Node, responses",
        Format::Responses,
        Runs::Node("openai_responses"),
    ),
    client(
        "`openai` in Python, chat completions",
        Format::Chat,
        Runs::Python("openai_chat"),
    ),
    client(
        "`openai` in Python, responses",
        Format::Responses,
        Runs::Python("openai_responses"),
    ),
    client(
        "`@anthropic-ai/sdk` in Node",
        Format::Messages,
        Runs::Node("anthropic"),
    ),
    client(
        "`anthropic` in Python",
        Format::Messages,
        Runs::Python("anthropic"),
    ),
    client(
        "`rmcp` in Rust",
        Format::Tool,
        Runs::Rust("rmcp", crates::rmcp),
    ),
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
    /// Tries these keepalives with the client.
    pub async fn try_all(&self, keepalives: &[&'static str]) -> Result<Tried> {
        let opened = Session::open(&self.runs).await;
        let (version, mut session) =
            opened.context("the client does not start; run .ci/install")?;
        let mut streams = Vec::new();
        for &place in self.format.places() {
            let seen = self.read(&mut session, place, None).await?;
            let events = if place == Place::Alone { 0 } else { 2 };
            if seen.events.len() != events || (events > 0 && seen.error.is_some()) {
                bail!("the client cannot read a stream without keepalives: {seen:?}");
            }
            streams.push((place, seen));
        }
        let mut verdicts = Vec::new();
        for &keepalive in keepalives {
            let mut places = Vec::new();
            for (place, without) in &streams {
                let with = self.read(&mut session, *place, Some(keepalive)).await?;
                places.push((*place, Verdict::of(without, &with)));
            }
            verdicts.push(places);
        }
        timeout(LIMIT, session.close()).await??;
        Ok(Tried { version, verdicts })
    }

    async fn read(
        &self,
        session: &mut Session,
        place: Place,
        keepalive: Option<&'static str>,
    ) -> Result<Seen> {
        let stream = Stream {
            format: self.format,
            place,
            keepalive,
        };
        let read = async |url: String| timeout(LIMIT, session.read(url)).await;
        let seen = match stream.serve(read).await? {
            Ok(Ok(seen)) => return Ok(seen),
            Ok(Err(error)) => Seen::failed(format!("{error:#}")),
            Err(_) => Seen::failed(format!("no end within {LIMIT:?}")),
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
            Runs::Rust("serde_json", |_| stream::pending().boxed()),
        );
        let error = client.try_all(&[COMMENT]).await.unwrap_err().to_string();
        assert!(error.contains("no end within 15s"), "{error}");
    }
}
