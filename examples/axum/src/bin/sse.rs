//! Server-sent events at `/events`, and a page at `/` that shows them.
//!
//! Run `cargo run -p axum-events -- --keepalive 2s --immediate`, open the address that it prints, and type lines.

use std::{convert::Infallible, future::IntoFuture, net::SocketAddr, time::Duration};

use anyhow::Context;

use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderMap, header::CONTENT_TYPE},
    response::{Html, IntoResponse, Sse, sse::Event},
    routing::{MethodRouter, get},
};
use axum_events::{
    WATCHDOG,
    log::{Line, Log},
};
use clap::Parser;
use futures::StreamExt;
use serde::Deserialize;
use stream_keepalive::{Fill, KeepaliveExt};
use tokio::{net::TcpListener, signal, time::sleep};
use tokio_util::sync::CancellationToken;

/// Sends each line of standard input as a server-sent event to every open page.
#[derive(Clone, Parser)]
struct Args {
    /// Listen on this address; port 0 picks a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Send a keepalive whenever a stream has been idle for this long; 0s turns keepalives off
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = humantime::parse_duration)]
    keepalive: Duration,

    /// Send the first keepalive immediately, unless an event is ready
    #[arg(long)]
    immediate: bool,
}

#[derive(Clone)]
struct App {
    args: Args,
    log: Log,
    /// Cancelled when the server stops.
    stop: CancellationToken,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let stop = CancellationToken::new();
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", args.listen))?;
    println!("listening on {}", listener.local_addr()?);
    let app = App {
        args,
        log: Log::of_stdin(),
        stop: stop.clone(),
    };
    let router = Router::new()
        .route(
            "/",
            get(async || Html(include_str!("../../pages/sse.html"))),
        )
        .route("/events.js", script(include_str!("../../pages/events.js")))
        .route("/shared.js", script(include_str!("../../pages/shared.js")))
        .route("/watchdog.js", script(WATCHDOG))
        .route("/events", get(events))
        .with_state(app);

    let server =
        axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    tokio::select! {
        ended = server.into_future() => Ok(ended?),
        () = async {
            stop_signal().await;
            stop.cancel();
            // A client that has stopped reading would otherwise hold up the exit.
            sleep(Duration::from_millis(500)).await;
        } => Ok(()),
    }
}

/// Completes at Ctrl-C or SIGTERM.
async fn stop_signal() {
    let interrupted = async { signal::ctrl_c().await.expect("cannot wait for Ctrl-C") };
    #[cfg(unix)]
    let terminated = async {
        use signal::unix::{SignalKind, signal};
        let mut terminated = signal(SignalKind::terminate()).expect("cannot wait for SIGTERM");
        terminated.recv().await;
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        () = interrupted => {}
        () = terminated => {}
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

/// What a page gets. The id of either says where the page resumes.
enum Message {
    Line(Line),
    Keepalive { id: String },
}

/// Makes keepalives that say where the page resumes: after the last line that this stream has passed on, or where it
/// began. Without them, a page that is cut off before its first line would miss the lines until it is back.
struct ResumePoint(String);

impl Fill<Message> for ResumePoint {
    fn fill(&mut self) -> Option<Message> {
        let id = self.0.clone();
        Some(Message::Keepalive { id })
    }

    fn observe(&mut self, message: &Message) -> bool {
        if let Message::Line(line) = message {
            self.0.clone_from(&line.id);
        }
        true
    }
}

async fn events(
    State(app): State<App>,
    Query(resume): Query<Resume>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let header = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let start = app.log.resume_point(header.or(resume.last.as_deref()));
    let lines = app.log.lines_after(Some(&start)).map(Message::Line);
    let idle = app.args.keepalive;
    let messages = lines.keepalive_with(idle, ResumePoint(start));
    let messages = if app.args.immediate {
        messages.immediate()
    } else {
        messages
    };

    let interval = idle.as_millis().to_string();
    let events = messages.map(move |message| {
        Ok::<_, Infallible>(match message {
            Message::Line(Line { id, text }) => Event::default().id(id).data(text),
            // A named event, because a page cannot see a comment. A browser drops an event without data. This data tells
            // the page how long the server may be idle.
            Message::Keepalive { id } => Event::default().event("keepalive").id(id).data(&interval),
        })
    });
    // The server stops when every response has ended. A stream that is kept alive does not end by itself.
    let events = events.take_until(app.stop.cancelled_owned());
    // By default, nginx buffers a response. This header turns that off.
    ([("x-accel-buffering", "no")], Sse::new(events))
}
