//! The head and the first bytes of a response decide, over connections of both versions and with both timers.

use std::{iter, time::Duration};

use axum::{
    Extension, Router,
    body::Body,
    http::{
        HeaderName, StatusCode,
        header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE},
    },
    response::AppendHeaders,
    routing::any,
};
use stream_keepalive::SharedTimers;
use stream_keepalive_http::{Idle, KeepaliveLayer};

use crate::support::{
    COMMENT, Feed, IDLE, Reader, VERSIONS, Version, client, fed, feed, layer, serve,
};

/// Each version with each timer.
fn cases() -> impl Iterator<Item = (Version, KeepaliveLayer)> {
    VERSIONS.into_iter().flat_map(|version| {
        let layer = layer().ndjson("\n").grpc(|_| true);
        let shared = layer.clone().timers(SharedTimers::new());
        iter::zip([version; 2], [layer, shared])
    })
}

/// Requests a response with this content type, which the feed sends.
async fn get(
    version: Version,
    layer: KeepaliveLayer,
    content_type: &'static str,
) -> (Feed, Reader) {
    let (feed, route) = fed(content_type);
    let server = serve(Router::new().route("/", route).layer(layer)).await;
    let request = client(version).post(format!("http://{server}"));
    let request = request.header(CONTENT_TYPE, content_type);
    (feed, Reader::new(request.send().await.unwrap()))
}

#[tokio::test]
async fn a_head_that_fixes_the_bytes_keeps_keepalives_out() {
    let digest = HeaderName::from_static("content-digest");
    for (status, name, value, is_filled) in [
        (
            StatusCode::PARTIAL_CONTENT,
            CONTENT_RANGE,
            "bytes 0-8/20",
            false,
        ),
        (StatusCode::OK, digest, "sha-256=:AAAA:", false),
        (StatusCode::OK, CONTENT_ENCODING, "br", false),
        (StatusCode::OK, CONTENT_ENCODING, "none", true),
        // A second content type.
        (StatusCode::OK, CONTENT_TYPE, "text/plain", false),
    ] {
        for (version, layer) in cases() {
            let (feed, body) = feed();
            let head = [(CONTENT_TYPE, "text/event-stream"), (name.clone(), value)];
            let head = AppendHeaders(head);
            let handler = async move || (status, head, Body::from_stream(body.stream()));
            let server = serve(Router::new().route("/", any(handler)).layer(layer)).await;
            // It is silent before its first byte.
            let mut reader = Reader::get(version, server).await;
            assert_eq!(
                reader.is_idle().await,
                !is_filled,
                "{name} over {version:?}"
            );
            feed.send("data: 1\n\n");
            drop(feed);
            reader.read_rest().await;
            let text = reader.text().replace(COMMENT, "");
            assert_eq!(text, "data: 1\n\n", "{name} over {version:?}");
        }
    }
}

#[tokio::test]
async fn a_line_that_begins_no_event_does_not_hold_keepalives_back() {
    for (version, layer) in cases() {
        let (feed, mut reader) = get(version, layer, "text/event-stream").await;
        feed.send("retry: 3000\n");
        reader.until("retry: 3000\n", 1).await;
        let before = reader.text().matches(COMMENT).count();
        reader.until(COMMENT, before + 3).await;
    }
}

#[tokio::test]
async fn lines_lose_a_byte_order_mark_that_would_follow_a_keepalive() {
    for (version, layer) in cases() {
        let (feed, mut reader) = get(version, layer, "application/x-ndjson").await;
        reader.until("\n", 1).await;
        feed.send("\u{feff}{}\n");
        reader.until("{}", 1).await;
        assert_eq!(reader.text().replace('\n', ""), "{}", "{version:?}");
    }
}

#[tokio::test]
async fn nothing_follows_the_last_message_of_connect() {
    const KEEPALIVE: &str = "\0\0\0\0\x02{}";
    const LAST: &str = "\x02\0\0\0\x02{}";
    for (version, layer) in cases() {
        let (feed, mut reader) = get(version, layer, "application/connect+json").await;
        reader.until(KEEPALIVE, 2).await;
        feed.send(LAST);
        reader.until(LAST, 1).await;
        assert!(reader.is_idle().await, "{version:?}");
    }
}

#[tokio::test]
async fn a_response_chooses_its_idle_time() {
    let hour = Duration::from_secs(3600);
    for (of_layer, of_response) in [(hour, IDLE), (IDLE, Duration::ZERO)] {
        for version in VERSIONS {
            let (_feed, body) = feed();
            let head = (
                Extension(Idle(of_response)),
                [(CONTENT_TYPE, "text/event-stream")],
            );
            let handler = async move || (head, Body::from_stream(body.stream()));
            let app = Router::new().route("/", any(handler));
            let server = serve(app.layer(KeepaliveLayer::new(of_layer))).await;
            let mut reader = Reader::get(version, server).await;
            if of_response.is_zero() {
                assert!(reader.is_idle().await, "{version:?}");
            } else {
                reader.until(COMMENT, 3).await;
            }
        }
    }
}

#[tokio::test]
async fn the_layer_of_a_route_decides_below_a_layer_of_all_routes() {
    const SHORT: Duration = IDLE;
    const LONG: Duration = Duration::from_secs(3600);
    for (of_route, of_all, is_filled) in [
        (SHORT, LONG, true),
        (LONG, SHORT, false),
        (Duration::ZERO, SHORT, false),
    ] {
        for (version, shared) in
            iter::zip([VERSIONS, VERSIONS].concat(), [false, false, true, true])
        {
            let [of_route, of_all] = [of_route, of_all].map(|idle| {
                let layer = KeepaliveLayer::new(idle);
                if shared {
                    layer.timers(SharedTimers::new())
                } else {
                    layer
                }
            });
            let (_feed, route) = fed("text/event-stream");
            let app = Router::new()
                .route("/", route.layer(of_route))
                .layer(of_all);
            let mut reader = Reader::get(version, serve(app).await).await;
            if is_filled {
                reader.until(COMMENT, 3).await;
            } else {
                assert!(reader.is_idle().await, "{version:?}");
            }
        }
    }
}
