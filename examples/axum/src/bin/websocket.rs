//! Events over a WebSocket at `/events`, and a page at `/` that shows them.
//!
//! Run `cargo run -p axum-events --bin websocket -- --keepalive 2s`, open the address that it prints, and type lines.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
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
use tokio::net::TcpListener;

/// Sends each line of standard input to every open page, over a WebSocket.
#[derive(Clone, Parser)]
struct Args {
    /// Listen on this address; port 0 picks a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Send a keepalive whenever a stream has been idle for this long; 0s turns keepalives off
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = humantime::parse_duration)]
    keepalive: Duration,
}

#[derive(Clone)]
struct App {
    args: Args,
    log: Log,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", args.listen))?;
    println!("listening on {}", listener.local_addr()?);
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
        let ended = websocket::serve(socket, feed, start, args.keepalive).await;
        match ended {
            Ok(()) => eprintln!("connection closed"),
            Err(error) => eprintln!("connection closed: {error}"),
        }
    })
}
