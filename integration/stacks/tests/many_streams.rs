//! Many streams of one HTTP/2 connection, whose client allows 129 keepalives to wait.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, http::header::CONTENT_TYPE, routing::any};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, future::join_all, stream};
use reqwest::Client;
use stream_keepalive::SharedTimers;
use stream_keepalive_http::{GrpcClientLayer, GrpcClientService, KeepaliveLayer};
use tokio::{
    sync::Barrier,
    time::{Instant, sleep_until},
};
use tonic::{
    client::GrpcService,
    codegen::StdError,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::Layer;

use crate::support::serve;

/// Long enough that a busy machine does not undo the spread.
const IDLE: Duration = Duration::from_secs(4);
/// The client is busy for a tenth of the idle time between two reads. The spread takes a quarter of it.
const BUSY: Duration = Duration::from_millis(400);

/// The server allows 200 streams.
const STREAMS: usize = 190;
/// With more calls than these, the client would see that much arrives at the start, and would then allow more to wait.
const CALLS: usize = 165;

/// Serves responses that begin together when this many requests have come.
///
/// They are idle after the first chunk, or from the beginning.
async fn serve_together(
    count: usize,
    content_type: &'static str,
    first: Option<Bytes>,
    layer: Option<KeepaliveLayer>,
) -> SocketAddr {
    let barrier = Arc::new(Barrier::new(count));
    let handler = any(async move || {
        barrier.wait().await;
        let first = stream::iter(first.map(Ok::<_, Infallible>));
        let body = Body::from_stream(first.chain(stream::pending()));
        ([(CONTENT_TYPE, content_type)], body)
    });
    let app = Router::new().route("/{*path}", handler);
    serve(match layer {
        Some(layer) => app.layer(layer),
        None => app,
    })
    .await
}

/// Reads each of the streams from time to time. Returns how many live for two idle times.
///
/// `read` reads what has arrived, and returns whether the stream lives.
async fn read_now_and_then<S>(mut streams: Vec<S>, read: impl Fn(&mut S) -> bool) -> usize {
    let start = Instant::now();
    // On a busy machine, the streams begin some time before this. Read between two keepalives that come together.
    let mut at = BUSY / 4;
    while at < 2 * IDLE + IDLE / 2 {
        sleep_until(start + at).await;
        streams.retain_mut(&read);
        at += BUSY;
    }
    streams.len()
}

fn layers() -> [KeepaliveLayer; 2] {
    let layer = KeepaliveLayer::new(IDLE).grpc(|_| true);
    [layer.clone(), layer.timers(SharedTimers::new())]
}

/// Reads event streams of one client. Returns how many live, and how many keepalives have come.
async fn live_events(layer: Option<KeepaliveLayer>) -> (usize, usize) {
    live_events_after(None, layer).await
}

async fn live_events_after(first: Option<Bytes>, layer: Option<KeepaliveLayer>) -> (usize, usize) {
    let server = serve_together(STREAMS, "text/event-stream", first, layer).await;
    let client = Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .http2_adaptive_window(true);
    let client = client.build().unwrap();
    let connect = |_| client.get(format!("http://{server}/events")).send();
    let responses = join_all((0..STREAMS).map(connect)).await;
    let responses = responses.into_iter().map(Result::unwrap).collect();
    let keepalives = std::cell::Cell::new(0);
    let live = read_now_and_then(responses, |response: &mut reqwest::Response| {
        while let Some(chunk) = response.chunk().now_or_never() {
            let Ok(Some(_)) = chunk else {
                return false;
            };
            keepalives.set(keepalives.get() + 1);
        }
        true
    });
    (live.await, keepalives.get())
}

/// Reads calls of one channel, whose first messages have this size. Returns how many live.
async fn live_calls<T>(
    count: usize,
    size: usize,
    layer: KeepaliveLayer,
    wrap: impl Fn(Channel) -> T,
) -> usize
where
    T: GrpcService<tonic::body::Body> + Clone,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<StdError> + Send,
{
    let message = Some(message_of(size));
    let server = serve_together(count, "application/grpc", message, Some(layer)).await;
    let endpoint = Endpoint::try_from(format!("http://{server}")).unwrap();
    let channel = endpoint.http2_adaptive_window(true).connect().await;
    let client = HealthClient::new(wrap(channel.unwrap()));
    let calls = (0..count).map(async |_| {
        let response = client.clone().watch(HealthCheckRequest::default()).await;
        response.unwrap().into_inner()
    });
    let calls = join_all(calls).await;
    read_now_and_then(calls, |call| {
        while let Some(message) = call.try_next().now_or_never() {
            let Ok(Some(_)) = message else {
                return false;
            };
        }
        true
    })
    .await
}

/// The status `SERVING`, and an unknown field, which a client skips.
fn message_of(size: usize) -> Bytes {
    let rest = size - 10;
    let length = [(rest % 128) as u8 | 0x80, (rest / 128) as u8];
    let payload = [&[0x08, 1, 0x7A][..], &length, &vec![b'x'; rest]].concat();
    let length = u32::try_from(payload.len()).unwrap();
    Bytes::from([&[0][..], &length.to_be_bytes(), &payload].concat())
}

/// Checks that no stream lives. Keepalives that are due together may still arrive in two halves, so this tries again.
async fn assert_all_end<F: Future<Output = usize>>(live: impl Fn() -> F) {
    for _ in 0..5 {
        if live().await == 0 {
            return;
        }
    }
    panic!("the streams live");
}

#[tokio::test]
async fn event_streams_that_begin_together_live() {
    for layer in layers() {
        let (live, keepalives) = live_events(Some(layer)).await;
        assert_eq!(live, STREAMS);
        assert!(keepalives >= 2 * STREAMS, "{keepalives}");
    }
}

#[tokio::test]
async fn event_streams_whose_keepalives_come_together_all_end() {
    for layer in layers() {
        let layer = layer.without_spread();
        assert_all_end(async || live_events(Some(layer.clone())).await.0).await;
    }
    assert_eq!(live_events(None).await, (STREAMS, 0));
}

#[tokio::test]
async fn event_streams_that_send_the_same_small_event_end_without_any_keepalive() {
    let first = Some(Bytes::from("data: 1\n\n"));
    assert_all_end(async || live_events_after(first.clone(), None).await.0).await;
}

#[tokio::test]
async fn event_streams_live_if_their_keepalives_of_256_bytes_come_together() {
    let comment = format!(":{}\n\n", "x".repeat(253));
    for layer in layers() {
        let layer = layer.without_spread().sse(comment.clone());
        assert_eq!(live_events(Some(layer)).await.0, STREAMS);
    }
}

fn plain(channel: Channel) -> Channel {
    channel
}

/// The client gets markers, and removes them.
fn kept(channel: Channel) -> GrpcClientService<Channel> {
    GrpcClientLayer::new().layer(channel)
}

#[tokio::test]
async fn calls_of_one_channel_that_begin_together_live() {
    for layer in layers() {
        assert_eq!(live_calls(CALLS, 256, layer, plain).await, CALLS);
    }
}

#[tokio::test]
async fn calls_of_one_channel_whose_keepalives_come_together_all_end() {
    for layer in layers() {
        let layer = layer.without_spread();
        assert_all_end(async || live_calls(CALLS, 256, layer.clone(), plain).await).await;
    }
}

#[tokio::test]
async fn calls_that_get_markers_live() {
    for layer in layers() {
        assert_eq!(live_calls(CALLS, 256, layer, kept).await, CALLS);
    }
}

#[tokio::test]
async fn calls_whose_markers_come_together_all_end() {
    for layer in layers() {
        let layer = layer.without_spread();
        assert_all_end(async || live_calls(CALLS, 256, layer.clone(), kept).await).await;
    }
}

/// There is no negative control: with so many bytes the window grows, so that more keepalives may wait.
#[tokio::test]
async fn more_calls_with_larger_messages_live() {
    for layer in layers() {
        assert_eq!(
            live_calls(STREAMS, 1000, layer.clone(), plain).await,
            STREAMS
        );
        assert_eq!(live_calls(STREAMS, 1000, layer, kept).await, STREAMS);
    }
}
