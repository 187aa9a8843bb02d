//! Empty chunks put no byte on the connection, and some clients do not like them.

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, http::header::CONTENT_TYPE, routing::any};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use reqwest::Client;
use stream_keepalive::SharedTimers;
use stream_keepalive_http::KeepaliveLayer;
use tokio::time::sleep;

use crate::support::{COMMENT, IDLE, Reader, VERSIONS, layer, proxy, serve};

/// Serves events whose body has these chunks.
fn events<S>(chunks: impl Fn() -> S + Clone + Send + Sync + 'static) -> Router
where
    S: Stream<Item = Bytes> + Send + 'static,
{
    let handler = async move || {
        let body = Body::from_stream(chunks().map(Ok::<_, Infallible>));
        ([(CONTENT_TYPE, "text/event-stream")], body)
    };
    Router::new().route("/", any(handler))
}

fn empty_chunks(every: Duration) -> impl Stream<Item = Bytes> + Send {
    stream::repeat(Bytes::new()).then(move |chunk| async move {
        sleep(every).await;
        chunk
    })
}

#[tokio::test]
async fn a_body_that_sends_only_empty_chunks_is_kept_alive() {
    let limit = 20 * IDLE;
    for version in VERSIONS {
        for timers in [None, Some(SharedTimers::new())] {
            let app =
                events(|| stream::iter([Bytes::from("data: 1\n\n")]).chain(empty_chunks(IDLE / 2)));
            let mut layer = layer();
            if let Some(timers) = timers {
                layer = layer.timers(timers);
            }
            let server = serve(app.layer(layer)).await;
            let mut reader = Reader::get(version, proxy(server, limit).await).await;
            reader.until(COMMENT, 30).await;
        }
    }
    // Without the layer, the proxy cuts it. Over HTTP/2, an empty frame has a header, which counts for a proxy.
    let app = events(|| stream::iter([Bytes::from("data: 1\n\n")]).chain(empty_chunks(IDLE / 2)));
    let server = serve(app).await;
    let mut reader = Reader::get(VERSIONS[0], proxy(server, limit).await).await;
    while reader.read().await.unwrap_or(false) {}
    assert_eq!(reader.text(), "data: 1\n\n");
}

#[tokio::test]
async fn an_empty_chunk_at_the_start_does_not_stand_for_the_immediate_keepalive() {
    for version in VERSIONS {
        let app = events(|| stream::iter([Bytes::new()]).chain(stream::pending()));
        let layer = KeepaliveLayer::new(Duration::from_secs(600)).immediate();
        let server = serve(app.layer(layer)).await;
        let mut reader = Reader::get(version, server).await;
        reader.until(COMMENT, 1).await;
    }
}

/// Reads 200 empty chunks and then an event. Returns the event, or `None` if the connection is closed before it.
async fn read_after_empty_chunks(layer: Option<KeepaliveLayer>, http2: bool) -> Option<Bytes> {
    let event = || stream::iter([Bytes::from("data: 1\n\n")]);
    let app = events(move || {
        empty_chunks(Duration::from_millis(1))
            .take(200)
            .chain(event())
    });
    let server = serve(match layer {
        Some(layer) => app.layer(layer),
        None => app,
    })
    .await;
    let client = Client::builder().no_proxy();
    let client = if http2 {
        client.http2_prior_knowledge()
    } else {
        client.http1_only()
    };
    let request = client.build().unwrap().get(format!("http://{server}"));
    let body = request.send().await.unwrap().bytes().await;
    body.ok()
}

#[tokio::test]
async fn empty_chunks_of_an_upstream_close_no_connection() {
    for http2 in [false, true] {
        let layer = KeepaliveLayer::new(Duration::from_secs(600));
        let found = read_after_empty_chunks(Some(layer), http2).await;
        assert_eq!(found.as_deref(), Some(&b"data: 1\n\n"[..]), "{http2}");
        let found = read_after_empty_chunks(None, http2).await;
        assert_eq!(found.is_some(), !http2, "{http2}");
    }
}
