//! Server-Sent Events at `/events`, and a page at `/` that shows them.
//!
//! `cargo run -p sse-events`, open the address, type lines.

use std::{
    convert::Infallible,
    future::{IntoFuture, pending},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::{Query, State},
    http::HeaderMap,
    response::{Html, IntoResponse, Sse, sse::Event},
    routing::get,
};
use clap::Parser;
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use stream_keepalive::KeepaliveExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Sends each line of standard input as an event to every page that is open.
#[derive(Clone, Parser)]
struct Args {
    #[command(flatten)]
    listen: cli::Listen,

    #[command(flatten)]
    keepalive: cli::Keepalive,

    #[command(flatten)]
    immediate: cli::Immediate,
}

/// The lines so far. Its length is the number of the next one.
type Log = watch::Receiver<Vec<String>>;

#[derive(Clone)]
struct App {
    args: Args,
    log: Log,
    /// Tells the numbers of this process from those of one before it.
    boot: u128,
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
        log: read_stdin(),
        boot: SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis(),
        stop: stop.clone(),
    };
    let router = Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/events", get(events))
        .with_state(app);

    let server = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    tokio::select! {
        ended = server.into_future() => Ok(ended?),
        () = grace_over => Ok(()),
    }
}

#[derive(Deserialize)]
struct Resume {
    /// For a page that starts anew: an EventSource of its own sends the header.
    last: Option<String>,
}

async fn events(
    State(app): State<App>,
    Query(resume): Query<Resume>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let header = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let first = app.first_after(header.or(resume.last.as_deref()));

    // A named event: a comment would keep the proxy content too, but no page ever sees one. And it has
    // data, since browsers drop an event without.
    let keepalive = Event::default().event("keepalive").data("still here");
    let events = app
        .events_from(first)
        .keepalive(app.args.keepalive.idle, Ok(keepalive));

    let events = if app.args.immediate.immediate {
        events.immediate()
    } else {
        events
    };
    // The server stops when every response has ended, and a stream that is kept alive does not end by itself.
    let events = events.take_until(app.stop.cancelled_owned());
    // nginx gathers what it passes on, unless it is asked not to.
    ([("x-accel-buffering", "no")], Sse::new(events))
}

impl App {
    /// The number of the first event that the client does not have.
    fn first_after(&self, last_id: Option<&str>) -> usize {
        let now = self.log.borrow().len();
        let Some((boot, number)) = last_id.and_then(|id| id.split_once('-')) else {
            return now;
        };
        match (boot.parse::<u128>(), number.parse::<usize>()) {
            (Ok(boot), Ok(number)) if boot == self.boot => now.min(number.saturating_add(1)),
            // Everything here is newer than what it has.
            _ => 0,
        }
    }

    fn events_from(&self, first: usize) -> impl Stream<Item = Result<Event, Infallible>> + use<> {
        let boot = self.boot;
        Box::pin(stream::unfold(
            (self.log.clone(), first),
            move |(mut log, number)| async move {
                let line = log.wait_for(|log| log.len() > number).await.ok()?[number].clone();
                let event = Event::default().id(format!("{boot}-{number}")).data(line);
                Some((Ok(event), (log, number + 1)))
            },
        ))
    }
}

fn read_stdin() -> Log {
    let (sender, log) = watch::channel(Vec::new());
    let mut lines = cli::lines_of_stdin();
    tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            sender.send_modify(|log| log.push(line));
        }
        // The streams last as long as the sender.
        pending::<()>().await;
    });
    log
}
