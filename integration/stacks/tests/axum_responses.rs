use std::{convert::Infallible, io, time::Duration};

use axum::{
    Router,
    response::sse::{Event, Sse},
    routing::get,
};
use futures::{StreamExt, stream};

use crate::support::{COMMENT, Fed, Reader, VERSIONS, client, fed, feed, layer, proxy, serve};

fn events(fed: Fed) -> Router {
    let handler = async move || {
        let events = fed.stream().map(|text| {
            let text = String::from_utf8(text?.to_vec()).unwrap();
            Ok::<_, io::Error>(Event::default().data(text))
        });
        Sse::new(events)
    };
    Router::new().route("/", get(handler))
}

#[tokio::test]
async fn the_events_of_axum_are_kept_alive() {
    for version in VERSIONS {
        let (feed, fed) = feed();
        let server = serve(events(fed).layer(layer())).await;
        let mut reader = Reader::get(version, server).await;
        reader.until(COMMENT, 3).await;
        feed.send("1");
        reader.until("data: 1\n\n", 1).await;
        reader.until(COMMENT, 6).await;
        drop(feed);
        reader.read_rest().await;
        assert_eq!(
            reader.text().replace(COMMENT, ""),
            "data: 1\n\n",
            "{version:?}"
        );
    }
}

#[tokio::test]
async fn without_the_layer_the_events_of_axum_stay_idle() {
    for version in VERSIONS {
        let (feed, fed) = feed();
        let server = serve(events(fed)).await;
        let mut reader = Reader::get(version, server).await;
        assert!(reader.is_idle().await, "{version:?}");
        feed.send("1");
        reader.until("data: 1\n\n", 1).await;
    }
}

#[tokio::test]
async fn a_body_of_lines_is_kept_alive() {
    for version in VERSIONS {
        let (feed, route) = fed("application/x-ndjson");
        let server = serve(Router::new().route("/", route).layer(layer().ndjson("\n"))).await;
        let mut reader = Reader::get(version, server).await;
        reader.until("\n", 3).await;
        feed.send("{\"id\":");
        reader.until("{\"id\":", 1).await;
        assert!(reader.is_idle().await, "{version:?}");
        feed.send("1}\n");
        reader.until("{\"id\":1}\n\n\n", 1).await;
        drop(feed);
        reader.read_rest().await;
        assert_eq!(
            reader.text().trim_matches('\n'),
            "{\"id\":1}",
            "{version:?}"
        );
    }
}

#[tokio::test]
async fn without_the_option_a_body_of_lines_stays_idle() {
    for version in VERSIONS {
        let (_feed, route) = fed("application/x-ndjson");
        let server = serve(Router::new().route("/", route).layer(layer())).await;
        assert!(
            Reader::get(version, server).await.is_idle().await,
            "{version:?}"
        );
    }
}

#[tokio::test]
async fn a_complete_response_is_not_changed() {
    let events = async || ([("content-type", "text/event-stream")], "data: 1\n\n");
    let app = Router::new().route("/", get(events));
    for version in VERSIONS {
        let plain = serve(app.clone()).await;
        let filled = serve(app.clone().layer(layer().immediate())).await;
        let mut heads = Vec::new();
        for server in [plain, filled] {
            for request in [
                client(version).get(format!("http://{server}")),
                client(version).head(format!("http://{server}")),
            ] {
                let response = request.send().await.unwrap();
                let mut headers = response.headers().clone();
                headers.remove("date");
                assert_eq!(headers["content-length"], "9");
                heads.push((response.status(), headers, response.text().await.unwrap()));
            }
        }
        assert_eq!(heads[..2], heads[2..], "{version:?}");
        assert_eq!(
            (&*heads[0].2, &*heads[1].2),
            ("data: 1\n\n", ""),
            "{version:?}"
        );
    }
}

#[tokio::test]
async fn a_stream_stays_open_behind_a_proxy_that_cuts_idle_streams() {
    let limit = Duration::from_secs(1);
    let (_feed, fed) = feed();
    let server = serve(events(fed)).await;
    let mut reader = Reader::get(VERSIONS[0], proxy(server, limit).await).await;
    assert!(reader.read().await.is_err());

    let (feed, fed) = self::feed();
    let server = serve(events(fed).layer(layer())).await;
    let mut reader = Reader::get(VERSIONS[0], proxy(server, limit).await).await;
    // Forty keepalives take two seconds.
    reader.until(COMMENT, 40).await;
    feed.send("1");
    reader.until("data: 1\n\n", 1).await;
}

#[tokio::test]
async fn an_immediate_keepalive_sends_the_head_of_the_response() {
    for version in VERSIONS {
        let events = async || Sse::new(stream::pending::<Result<Event, Infallible>>());
        let forever = stream_keepalive_http::KeepaliveLayer::new(Duration::MAX).immediate();
        let server = serve(Router::new().route("/", get(events)).layer(forever)).await;
        let mut reader = Reader::get(version, server).await;
        reader.until(COMMENT, 1).await;
        assert!(reader.is_idle().await, "{version:?}");
    }
}
