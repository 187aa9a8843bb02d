use std::time::Duration;

use axum::Router;
use tower_http::timeout::ResponseBodyTimeoutLayer;

use crate::support::{COMMENT, Reader, VERSIONS, fed, layer, serve};

const LIMIT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_body_timeout_outside_sees_the_keepalives() {
    for version in VERSIONS {
        let (feed, route) = fed("text/event-stream");
        let app = Router::new().route("/", route).layer(layer());
        let server = serve(app.layer(ResponseBodyTimeoutLayer::new(LIMIT))).await;
        let mut reader = Reader::get(version, server).await;
        // Forty keepalives take two seconds.
        reader.until(COMMENT, 40).await;
        feed.send("data: 1\n\n");
        reader.until("data: 1\n\n", 1).await;
    }
}

#[tokio::test]
async fn a_body_timeout_inside_ends_an_idle_body_despite_the_keepalives() {
    for version in VERSIONS {
        let (_feed, route) = fed("text/event-stream");
        let app = Router::new()
            .route("/", route)
            .layer(ResponseBodyTimeoutLayer::new(LIMIT));
        let server = serve(app.layer(layer())).await;
        let mut reader = Reader::get(version, server).await;
        while let Ok(more) = reader.read().await {
            assert!(more, "the end came, and no error");
        }
        assert!(reader.text().contains(COMMENT), "{version:?}");
        assert_eq!(reader.text().replace(COMMENT, ""), "", "{version:?}");
    }
}

#[tokio::test]
async fn without_the_layer_a_body_timeout_ends_an_idle_body() {
    for version in VERSIONS {
        let (_feed, route) = fed("text/event-stream");
        let app = Router::new()
            .route("/", route)
            .layer(ResponseBodyTimeoutLayer::new(LIMIT));
        let mut reader = Reader::get(version, serve(app).await).await;
        assert!(reader.read().await.is_err(), "{version:?}");
        assert_eq!(reader.text(), "", "{version:?}");
    }
}
