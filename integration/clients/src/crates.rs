//! The clients in Rust.

use std::{iter, time::Duration};

use anyhow::{Context, Result, bail};
use eventsource_client::{Client as _, ClientBuilder, ReconnectOptions, SSE};
use eventsource_stream::Eventsource;
use futures::{
    StreamExt, TryFutureExt, TryStreamExt,
    future::ready,
    stream::{self, BoxStream},
};
use launchdarkly_sdk_transport::HyperTransport;
use rmcp::{
    ClientHandler, RoleClient, ServiceExt,
    model::{
        CallToolRequestParams, ClientRequest, ProgressNotificationParam, Request, ServerResult,
    },
    service::{NotificationContext, PeerRequestOptions},
    transport::StreamableHttpClientTransport,
};
use serde_json::{Deserializer, Value, json};
use tokio::sync::mpsc;

/// Reads a stream with a client and its timeout, if there is one, and returns the events as JSON.
pub type Read = fn(String, Option<Duration>) -> Events;

type Events = BoxStream<'static, Result<Value>>;

/// Returns the version of a crate that this program is built with.
pub fn version(name: &str) -> Result<&'static str> {
    let lock = include_str!("../../../Cargo.lock");
    let entry = format!("\nname = \"{name}\"\nversion = \"");
    let (_, version) = lock
        .split_once(&entry)
        .context("the crate is not in Cargo.lock")?;
    let (version, _) = version.split_once('"').context("no version")?;
    Ok(version)
}

fn event(name: &str, data: &str) -> Value {
    json!({ "event": name, "data": data })
}

async fn get(url: String, timeout: Option<Duration>) -> Result<reqwest::Response> {
    let mut client = reqwest::Client::builder().no_proxy();
    if let Some(timeout) = timeout {
        client = client.read_timeout(timeout);
    }
    Ok(client.build()?.get(url).send().await?)
}

pub fn eventsource_stream(url: String, timeout: Option<Duration>) -> Events {
    get(url, timeout)
        .map_ok(|response| response.bytes_stream().eventsource().err_into())
        .try_flatten_stream()
        .map_ok(|message| event(&message.event, &message.data))
        .boxed()
}

pub fn reqwest_eventsource(url: String, _: Option<Duration>) -> Events {
    use reqwest_eventsource::{Error, Event, EventSource};

    EventSource::get(url)
        // Without this, it would reconnect after the end.
        .take_while(|event| ready(!matches!(event, Err(Error::StreamEnded))))
        .err_into()
        .try_filter_map(async |read| {
            Ok(match read {
                Event::Open => None,
                Event::Message(message) => Some(event(&message.event, &message.data)),
            })
        })
        .boxed()
}

pub fn eventsource_client(url: String, timeout: Option<Duration>) -> Events {
    use eventsource_client::Error;

    let open = || {
        let mut transport = HyperTransport::builder();
        if let Some(timeout) = timeout {
            transport = transport.read_timeout(timeout);
        }
        let transport = transport.build_http()?;
        let client = ClientBuilder::for_url(&url)?
            .reconnect(ReconnectOptions::reconnect(false).build())
            .build_with_transport(transport);
        anyhow::Ok(client.stream())
    };
    ready(open())
        .map_ok(|events| {
            events
                .take_while(|event| ready(!matches!(event, Err(Error::Eof))))
                .err_into()
        })
        .try_flatten_stream()
        .try_filter_map(async |read| {
            Ok(match read {
                SSE::Connected(_) => None,
                SSE::Event(read) => Some(event(&read.event_type, &read.data)),
                SSE::Comment(text) => Some(json!({ "comment": text })),
            })
        })
        .boxed()
}

/// Passes on the progress notifications of the server.
struct Progress(mpsc::UnboundedSender<Value>);

impl ClientHandler for Progress {
    async fn on_progress(
        &self,
        progress: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        _ = self.0.send(json!(progress.message));
    }
}

/// Calls a tool, whose timeout nothing restarts.
pub fn rmcp(url: String, timeout: Option<Duration>) -> Events {
    call_tool(url, timeout.map(PeerRequestOptions::with_timeout))
}

/// Calls a tool, whose timeout its progress restarts.
pub fn rmcp_progress(url: String, timeout: Option<Duration>) -> Events {
    let options = timeout.map(PeerRequestOptions::with_timeout);
    call_tool(
        url,
        options.map(PeerRequestOptions::reset_timeout_on_progress),
    )
}

fn call_tool(url: String, options: Option<PeerRequestOptions>) -> Events {
    let call = async move {
        let (progress, mut messages) = mpsc::unbounded_channel();
        let client = Progress(progress).serve(StreamableHttpClientTransport::from_uri(url));
        let client = client.await?;
        let call = ClientRequest::CallToolRequest(Request::new(CallToolRequestParams::new("none")));
        let call = client.send_cancellable_request(call, options.unwrap_or_default());
        let ServerResult::CallToolResult(answer) = call.await?.await_response().await? else {
            bail!("this is not the answer of a tool");
        };
        client.cancel().await?;
        let messages = iter::from_fn(move || messages.try_recv().ok());
        let answer = answer.content.into_iter().map(serde_json::to_value);
        anyhow::Ok(stream::iter(messages.map(Ok).chain(answer)).err_into())
    };
    call.try_flatten_stream().boxed()
}

/// `serde_json` with the whole body, as a stream of values.
pub fn serde_json_stream(url: String, timeout: Option<Duration>) -> Events {
    let read = async move {
        let body = get(url, timeout).await?.bytes().await?;
        let values = Deserializer::from_slice(&body).into_iter();
        anyhow::Ok(stream::iter(values.collect::<Vec<_>>()).err_into())
    };
    read.try_flatten_stream().boxed()
}

/// `serde_json` with each line.
pub fn serde_json_lines(url: String, timeout: Option<Duration>) -> Events {
    let read = async move {
        let body = get(url, timeout).await?.bytes().await?;
        let lines = body.split_inclusive(|byte| *byte == b'\n');
        let values: Vec<_> = lines.map(serde_json::from_slice).collect();
        anyhow::Ok(stream::iter(values).err_into())
    };
    read.try_flatten_stream().boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_crate_is_that_of_the_lock_file() {
        let number = version("eventsource-stream").unwrap();
        assert!(number.starts_with("0.2."), "{number}");
        assert!(version("no-such-crate").is_err());
    }
}
