//! A server whose streaming responses are kept alive by one layer.
//!
//! `cargo run -p axum-events --bin layer` prints the commands to look at them.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use anyhow::Context;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::get,
};
use clap::Parser;
use futures::{Stream, StreamExt, stream};
use reqwest::Client;
use stream_keepalive_http::KeepaliveLayer;
use tokio::{net::TcpListener, time::sleep};

/// Short, for the demonstration. Behind a proxy, use at most half of its timeout.
const IDLE: Duration = Duration::from_secs(1);
/// How long the streams are idle.
const PAUSE: Duration = Duration::from_secs(5);

/// Serves streams that pause for five seconds, with and without a layer that keeps them alive.
#[derive(Parser)]
struct Args {
    /// Listen on this address; port 0 picks a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    println!("listening on {address}");
    println!("try:");
    println!("  curl -N http://{address}/events        # server-sent events");
    println!("  curl -N http://{address}/lines         # lines of JSON");
    println!("  curl -N http://{address}/relay         # an upstream that stalls inside an event");
    println!(
        "  curl -N http://{address}/plain/events  # without the layer; also /plain/lines, /plain/relay"
    );
    Ok(axum::serve(listener, app(address)).await?)
}

fn app(address: SocketAddr) -> Router {
    let routes = Router::new()
        .route("/events", get(events))
        .route("/lines", get(lines))
        .route("/relay", get(relay))
        .with_state(format!("http://{address}/upstream"));
    let keepalive = KeepaliveLayer::new(IDLE).ndjson("\n");

    Router::new()
        .merge(routes.clone().layer(keepalive))
        .nest("/plain", routes)
        .route("/upstream", get(upstream))
}

/// Counts, with a long pause after each number.
fn numbers() -> impl Stream<Item = u32> {
    stream::iter(1..).then(async |number| {
        if number > 1 {
            sleep(PAUSE).await;
        }
        number
    })
}

async fn events() -> impl IntoResponse {
    let events = numbers().map(|number| Event::default().data(number.to_string()));
    Sse::new(events.map(Ok::<_, Infallible>))
}

async fn lines() -> impl IntoResponse {
    let lines = numbers().map(|number| Ok::<_, Infallible>(format!("{{\"number\":{number}}}\n")));
    (
        [(CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines),
    )
}

/// Sends each event in two pieces, with a pause inside and a pause after it.
async fn upstream() -> impl IntoResponse {
    let pieces = stream::iter([&b"data: half an"[..], b" event\n\n"]).cycle();
    let pieces = pieces.then(async |piece| {
        sleep(PAUSE).await;
        Ok::<_, Infallible>(Bytes::from_static(piece))
    });
    (
        [(CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(pieces),
    )
}

/// Passes on the chunks of the upstream as they are, even if they end inside an event.
async fn relay(State(upstream): State<String>) -> Response {
    match Client::new().get(upstream).send().await {
        Ok(upstream) => {
            let status = upstream.status();
            let content_type = upstream.headers().get(CONTENT_TYPE).cloned();
            let headers = content_type.map(|content_type| [(CONTENT_TYPE, content_type)]);
            let body = Body::from_stream(upstream.bytes_stream());
            match headers {
                Some(headers) => (status, headers, body).into_response(),
                None => (status, body).into_response(),
            }
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}
