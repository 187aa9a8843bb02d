//! Server-Sent Events at `/events`, and a page at `/` that shows them.
//!
//! Run `cargo run -p sse-events`, open the address that it prints, and type lines.

use std::{convert::Infallible, future::IntoFuture, process::ExitCode};

use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderMap, header::CONTENT_TYPE},
    response::{Html, IntoResponse, Sse, sse::Event},
    routing::{MethodRouter, get},
};
use clap::Parser;
use cli::{Line, Log};
use futures::StreamExt;
use serde::Deserialize;
use stream_keepalive::KeepaliveExt;
use tokio_util::sync::CancellationToken;

/// Sends each line of standard input as a server-sent event to every open page.
#[derive(Clone, Parser)]
struct Args {
    #[command(flatten)]
    listen: cli::Listen,

    #[command(flatten)]
    keepalive: cli::Keepalive,

    #[command(flatten)]
    immediate: cli::Immediate,
}

#[derive(Clone)]
struct App {
    args: Args,
    log: Log,
    /// Cancelled when the server stops.
    stop: CancellationToken,
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::exit_code(run(cli::parse()).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let grace_over = cli::cancel_at_signal(stop.clone())?;
    let listener = args.listen.bind().await?;
    let app = App {
        args,
        log: Log::of_stdin(),
        stop: stop.clone(),
    };
    let router = Router::new()
        .route("/", get(async || Html(include_str!("page/index.html"))))
        .route("/events.js", script(include_str!("page/events.js")))
        .route("/shared.js", script(include_str!("page/shared.js")))
        .route("/watchdog.js", script(cli::WATCHDOG))
        .route("/events", get(events))
        .with_state(app);

    let server = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    tokio::select! {
        ended = server.into_future() => Ok(ended?),
        () = grace_over => Ok(()),
    }
}

fn script(text: &'static str) -> MethodRouter<App> {
    get(async move || ([(CONTENT_TYPE, "text/javascript")], text))
}

#[derive(Deserialize)]
struct Resume {
    /// The id of the last event, from a page that has opened a new `EventSource`. An `EventSource` that reconnects by
    /// itself sends it in the header.
    last: Option<String>,
}

async fn events(
    State(app): State<App>,
    Query(resume): Query<Resume>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let header = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let lines = app.log.lines_after(header.or(resume.last.as_deref()));
    let events = lines.map(|Line { id, text }| Ok(Event::default().id(id).data(text)));

    // A named event, because a page cannot see a comment. A browser drops an event without data. This data tells the
    // page how long the server may be idle.
    let idle = app.args.keepalive.idle;
    let keepalive = Event::default().event("keepalive");
    let keepalive = keepalive.data(idle.as_millis().to_string());
    let events = events.keepalive(idle, Ok::<_, Infallible>(keepalive));

    let events = if app.args.immediate.immediate {
        events.immediate()
    } else {
        events
    };
    // The server stops when every response has ended. A stream that is kept alive does not end by itself.
    let events = events.take_until(app.stop.cancelled_owned());
    // By default, nginx buffers a response. This header turns that off.
    ([("x-accel-buffering", "no")], Sse::new(events))
}
