//! Server-Sent Events at `/events`, and a page at `/` that shows them.
//!
//! `cargo run -p sse-events`, open the address, type lines.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use axum::{
    Router,
    extract::{Query, State},
    http::HeaderMap,
    response::{Html, IntoResponse, Sse, sse::Event},
    routing::get,
};
use clap::Parser;
use futures::{Stream, stream};
use serde::Deserialize;
use stream_keepalive::KeepaliveExt;
use tokio::{net::TcpListener, sync::watch};

/// Sends each line of standard input as an event to every page that is open.
#[derive(Clone, Parser)]
struct Args {
    /// Where to listen. Port 0 is a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Send a keepalive after each silence of this length; 0s turns it off
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = humantime::parse_duration)]
    keepalive: Duration,

    /// Send one at once if there is no event yet
    #[arg(long)]
    immediate: bool,
}

/// The lines so far. Its length is the number of the next one.
type Log = watch::Receiver<Vec<String>>;

#[derive(Clone)]
struct App {
    args: Args,
    log: Log,
    /// Tells the numbers of this process from those of one before it.
    boot: u128,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", args.listen))?;
    println!("listening on {}", listener.local_addr()?);
    let app = App {
        args,
        log: read_stdin(),
        boot: SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis(),
    };
    let router = Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/events", get(events))
        .with_state(app);
    Ok(axum::serve(listener, router).await?)
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
        .keepalive(app.args.keepalive, Ok(keepalive));

    let events = if app.args.immediate {
        events.immediate()
    } else {
        events
    };
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
    // Not Tokio's stdin: its blocking read would hold up the exit.
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            sender.send_modify(|log| log.push(line));
        }
        // The streams last as long as the sender.
        thread::park();
    });
    log
}
