//! Tests of streams and responses that are kept alive, in paused time.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::Body,
    http::Request,
    response::{Sse, sse::Event},
    routing::get,
};
use futures::{StreamExt, stream};
use stream_keepalive::KeepaliveExt;
use stream_keepalive_http::KeepaliveLayer;
use tokio::time::sleep;
use tower::ServiceExt;

#[tokio::test(start_paused = true)]
async fn a_stream_gets_three_keepalives_in_a_minute() {
    let events = stream::pending().keepalive(Duration::from_secs(20), "keepalive");
    let minute = events.take_until(sleep(Duration::from_secs(61)));
    assert_eq!(minute.collect::<Vec<_>>().await, ["keepalive"; 3]);
}

#[tokio::test(start_paused = true)]
async fn the_layer_keeps_a_response_of_the_router_alive() {
    let events = async || Sse::new(stream::pending::<Result<Event, Infallible>>());
    let app = Router::new()
        .route("/events", get(events))
        .layer(KeepaliveLayer::new(Duration::from_secs(20)));
    let request = Request::get("/events").body(Body::empty()).unwrap();
    let body = app.oneshot(request).await.unwrap().into_body();
    let minute = body
        .into_data_stream()
        .take_until(sleep(Duration::from_secs(61)));
    let chunks: Vec<_> = minute.map(Result::unwrap).collect().await;
    assert!(chunks.len() >= 3, "{chunks:?}");
    assert!(chunks.iter().all(|chunk| chunk == ":\n\n"), "{chunks:?}");
}
