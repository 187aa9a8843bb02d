use std::net::SocketAddr;

use axum::{Router, body::Body, http::header::CONTENT_TYPE, routing::get};
use bytes::Bytes;
use eventsource_stream::Eventsource;
use futures::{TryStreamExt, stream};
use stream_keepalive::{Fill, KeepaliveExt};
use stream_keepalive_http::framing;

use crate::support::{COMMENT, IDLE, Reader, VERSIONS, Version, client, fed, layer, serve};

/// A server that passes on what an upstream sends.
fn relay(upstream: SocketAddr, version: Version) -> Router {
    let handler = async move || {
        let upstream = client(version)
            .get(format!("http://{upstream}"))
            .send()
            .await
            .unwrap();
        let content_type = upstream.headers()[CONTENT_TYPE].clone();
        (
            [(CONTENT_TYPE, content_type)],
            Body::from_stream(upstream.bytes_stream()),
        )
    };
    Router::new().route("/", get(handler))
}

/// The same, with a filler and without the layer.
fn filled_relay<F>(upstream: SocketAddr, fill: F) -> Router
where
    F: Fill<reqwest::Result<Bytes>> + Clone + Send + Sync + 'static,
{
    let handler = move || async move {
        let upstream = client(Version::Http1).get(format!("http://{upstream}"));
        let upstream = upstream.send().await.unwrap().bytes_stream();
        Body::from_stream(upstream.keepalive_with(IDLE, fill))
    };
    Router::new().route("/", get(handler))
}

async fn events(received: &[u8]) -> Vec<String> {
    let bytes = stream::iter([Ok::<_, std::io::Error>(received)]);
    let events = bytes.eventsource().map_ok(|event| event.data);
    events.try_collect().await.unwrap()
}

#[tokio::test]
async fn an_upstream_that_stalls_inside_an_event_gets_no_keepalive_there() {
    for version in VERSIONS {
        let (feed, route) = fed("text/event-stream");
        let upstream = serve(Router::new().route("/", route)).await;
        let server = serve(relay(upstream, version).layer(layer())).await;
        let mut reader = Reader::get(version, server).await;

        reader.until(COMMENT, 3).await;
        feed.send("data: {\"a\":");
        reader.until("data: {\"a\":", 1).await;
        assert!(reader.is_idle().await, "{version:?}");
        feed.send("1}\n\n");
        reader.until("1}\n\n", 1).await;
        reader.until(COMMENT, 6).await;
        drop(feed);
        reader.read_rest().await;
        assert_eq!(
            reader.text().replace(COMMENT, ""),
            "data: {\"a\":1}\n\n",
            "{version:?}"
        );
        assert_eq!(events(&reader.received).await, ["{\"a\":1}"], "{version:?}");
    }
}

#[tokio::test]
async fn a_filler_does_the_same_without_the_layer() {
    let (feed, route) = fed("text/event-stream");
    let upstream = serve(Router::new().route("/", route)).await;
    let server = serve(filled_relay(upstream, framing::Sse::comment())).await;
    let mut reader = Reader::get(Version::Http1, server).await;

    feed.send("data: {\"a\":");
    reader.until("data: {\"a\":", 1).await;
    assert!(reader.is_idle().await);
    feed.send("1}\n\n");
    reader.until(COMMENT, 3).await;
    assert_eq!(events(&reader.received).await, ["{\"a\":1}"]);
}

#[tokio::test]
async fn a_plain_keepalive_inside_an_event_breaks_the_event() {
    let (feed, route) = fed("text/event-stream");
    let upstream = serve(Router::new().route("/", route)).await;
    let blind = || Ok(Bytes::from(COMMENT));
    let server = serve(filled_relay(upstream, blind)).await;
    let mut reader = Reader::get(Version::Http1, server).await;

    feed.send("data: {\"a\":");
    reader.until("data: {\"a\":", 1).await;
    reader.until(COMMENT, 1).await;
    feed.send("1}\n\n");
    reader.until("1}\n\n", 1).await;
    assert_eq!(events(&reader.received).await, ["{\"a\"::"]);
}

#[tokio::test]
async fn no_event_is_lost_if_an_upstream_begins_late_with_a_byte_order_mark() {
    for version in VERSIONS {
        let (feed, route) = fed("text/event-stream");
        let upstream = serve(Router::new().route("/", route)).await;
        let server = serve(relay(upstream, version).layer(layer())).await;
        let mut reader = Reader::get(version, server).await;

        reader.until(COMMENT, 1).await;
        feed.send("\u{feff}data: 1\n\n");
        reader.until("data: 1\n\n", 1).await;
        assert_eq!(events(&reader.received).await, ["1"], "{version:?}");
        // Without the removal of the mark, the client would have lost the event.
        assert!(
            events(format!("{COMMENT}\u{feff}data: 1\n\n").as_bytes())
                .await
                .is_empty()
        );
    }
}

#[tokio::test]
async fn the_response_breaks_off_when_the_upstream_does() {
    for version in VERSIONS {
        let (feed, route) = fed("text/event-stream");
        let upstream = serve(Router::new().route("/", route)).await;
        let server = serve(relay(upstream, version).layer(layer())).await;
        let mut reader = Reader::get(version, server).await;
        feed.send("data: 1\n\n");
        reader.until("data: 1\n\n", 1).await;
        feed.fail();
        while let Ok(more) = reader.read().await {
            assert!(more, "the response ended without an error");
        }
        assert_eq!(
            reader.text().replace(COMMENT, ""),
            "data: 1\n\n",
            "{version:?}"
        );
    }
}
