//! Events over a WebSocket at `/events`, and a page at `/` that shows them.
//!
//! Run `cargo run -p axum-events --bin websocket`, open the address that it prints, and type lines.

use std::process::ExitCode;

use axum::{
    Router,
    extract::{Query, State, WebSocketUpgrade},
    http::header::CONTENT_TYPE,
    response::{Html, Response},
    routing::get,
};
use axum_events::{WATCHDOG, log::Log, websocket};
use clap::Parser;
use futures::StreamExt;
use serde::Deserialize;

/// Sends each line of standard input to every open page, over a WebSocket.
#[derive(Clone, Parser)]
struct Args {
    #[command(flatten)]
    listen: cli::Listen,

    #[command(flatten)]
    keepalive: cli::Keepalive,
}

#[derive(Clone)]
struct App {
    args: Args,
    log: Log,
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::exit_code(run(cli::parse()).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    let listener = args.listen.bind().await?;
    let app = App {
        args,
        log: Log::of_stdin(),
    };
    let watchdog = ([(CONTENT_TYPE, "text/javascript")], WATCHDOG);
    let router = Router::new()
        .route("/", get(Html(include_str!("../../pages/websocket.html"))))
        .route("/watchdog.js", get(watchdog))
        .route("/events", get(events))
        .with_state(app);
    Ok(axum::serve(listener, router).await?)
}

#[derive(Deserialize)]
struct Resume {
    last: Option<String>,
}

async fn events(
    State(App { args, log }): State<App>,
    Query(resume): Query<Resume>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let start = log.resume_point(resume.last.as_deref());
    let feed = log.lines_after(Some(&start)).map(Into::into);
    upgrade.on_upgrade(async move |socket| {
        let ended = websocket::serve(socket, feed, start, args.keepalive.idle).await;
        match ended {
            Ok(()) => eprintln!("connection closed"),
            Err(error) => eprintln!("connection closed: {error}"),
        }
    })
}
