use std::{
    future::ready,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, middleware::map_response, response::Response};
use http_body_util::BodyExt;
use stream_keepalive_http::KeepaliveLayer;
use tokio::time::sleep;

use crate::support::{Reader, VERSIONS, client, fed, serve};

/// Sixteen kibibytes, so that buffers fill soon.
fn keepalive() -> String {
    format!(":{}\n\n", "x".repeat(16 * 1024 - 3))
}

/// A server of one idle stream, and how many keepalives its connection has taken.
async fn count_keepalives() -> (SocketAddr, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let taken = count.clone();
    let count_frames = move |response: Response| {
        let taken = taken.clone();
        ready(response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                taken.fetch_add(1, Ordering::Relaxed);
                frame
            }))
        }))
    };
    let (feed, route) = fed("text/event-stream");
    let app = Router::new()
        .route("/", route)
        .layer(KeepaliveLayer::new(Duration::from_millis(1)).sse(keepalive()))
        .layer(map_response(count_frames));
    // The stream stays open until the server goes.
    std::mem::forget(feed);
    (serve(app).await, count)
}

/// Waits until the connection takes no more, and says how many it took.
async fn stalled(count: &AtomicUsize) -> usize {
    let mut last = 0;
    loop {
        sleep(Duration::from_millis(500)).await;
        let now = count.load(Ordering::Relaxed);
        // The first ones are on their way.
        if now == last && now > 0 {
            return now;
        }
        last = now;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_gets_no_queue_of_keepalives() {
    for version in VERSIONS {
        let (server, count) = count_keepalives().await;
        let request = client(version).get(format!("http://{server}"));
        let response = request.send().await.unwrap();
        let taken = stalled(&count).await;
        // What a client of HTTP/2 grants, and what the kernel buffers for one of HTTP/1.1.
        assert!(taken < 1000, "{version:?}: {taken}");
        // Many idle times later it is still so much.
        sleep(Duration::from_secs(1)).await;
        assert_eq!(count.load(Ordering::Relaxed), taken, "{version:?}");

        // A client that reads gets more.
        let mut reader = Reader::new(response);
        while count.load(Ordering::Relaxed) < taken + 1000 {
            assert!(reader.read().await.unwrap());
            reader.received.clear();
        }
    }
}
