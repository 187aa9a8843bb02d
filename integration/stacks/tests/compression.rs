use axum::{Router, http::header::ACCEPT_ENCODING};
use reqwest::{Client, Response};
use tower_http::compression::CompressionLayer;

use crate::support::{COMMENT, Reader, VERSIONS, Version, client, fed, layer, serve};

/// Asks for gzip, and decompresses the body while it arrives.
async fn get(version: Version, app: Router) -> Reader {
    let server = serve(app).await;
    let client = Client::builder().no_proxy().gzip(true);
    let client = match version {
        Version::Http1 => client.http1_only(),
        Version::Http2 => client.http2_prior_knowledge(),
    };
    let request = client.build().unwrap().get(format!("http://{server}"));
    Reader::new(request.send().await.unwrap())
}

/// Asks for gzip, and does not decompress the body.
async fn get_encoded(version: Version, app: Router) -> Response {
    let server = serve(app).await;
    let request = client(version)
        .get(format!("http://{server}"))
        .header(ACCEPT_ENCODING, "gzip");
    request.send().await.unwrap()
}

#[tokio::test]
async fn compression_outside_passes_each_keepalive_of_lines() {
    for version in VERSIONS {
        let (feed, route) = fed("application/x-ndjson");
        let app = Router::new().route("/", route).layer(layer().ndjson("\n"));
        let mut reader = get(version, app.layer(CompressionLayer::new())).await;
        reader.until("\n", 3).await;
        feed.send("{}\n");
        reader.until("{}\n", 1).await;
        reader.until("\n", 8).await;
        drop(feed);
        reader.read_rest().await;
        assert_eq!(reader.text().trim_matches('\n'), "{}", "{version:?}");

        let (_feed, route) = fed("application/x-ndjson");
        let app = Router::new().route("/", route).layer(layer().ndjson("\n"));
        let response = get_encoded(version, app.layer(CompressionLayer::new())).await;
        assert_eq!(
            response.headers()["content-encoding"],
            "gzip",
            "{version:?}"
        );
    }
}

#[tokio::test]
async fn compression_inside_leaves_lines_without_keepalives() {
    for version in VERSIONS {
        let (feed, route) = fed("application/x-ndjson");
        let app = Router::new()
            .route("/", route)
            .layer(CompressionLayer::new());
        let mut reader = get(version, app.layer(layer().ndjson("\n"))).await;
        feed.send("{}\n");
        reader.until("{}\n", 1).await;
        assert!(reader.is_idle().await, "{version:?}");
        feed.send("{}\n");
        drop(feed);
        reader.read_rest().await;
        assert_eq!(reader.text(), "{}\n{}\n", "{version:?}");
    }
}

#[tokio::test]
async fn compression_does_not_touch_event_streams_on_either_side() {
    for version in VERSIONS {
        for outside in [true, false] {
            let (feed, route) = fed("text/event-stream");
            let app = Router::new().route("/", route);
            let app = if outside {
                app.layer(layer()).layer(CompressionLayer::new())
            } else {
                app.layer(CompressionLayer::new()).layer(layer())
            };
            let response = get_encoded(version, app).await;
            assert!(
                !response.headers().contains_key("content-encoding"),
                "{version:?} {outside}"
            );
            let mut reader = Reader::new(response);
            reader.until(COMMENT, 3).await;
            feed.send("data: 1\n\n");
            reader.until("data: 1\n\n", 1).await;
        }
    }
}
