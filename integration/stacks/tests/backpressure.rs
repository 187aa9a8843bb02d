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

/// A comment of 16 KiB, so that buffers fill soon.
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
    // The stream stays open until the server ends.
    std::mem::forget(feed);
    (serve(app).await, count)
}

/// Waits until the connection takes no more keepalives, and returns how many it has taken.
async fn stalled(count: &AtomicUsize) -> usize {
    let mut last = 0;
    loop {
        sleep(Duration::from_millis(500)).await;
        let now = count.load(Ordering::Relaxed);
        // Skip the start, when none has been sent yet.
        if now == last && now > 0 {
            return now;
        }
        last = now;
    }
}

#[tokio::test]
async fn keepalives_do_not_queue_up_for_a_client_that_does_not_read() {
    for version in VERSIONS {
        let (server, count) = count_keepalives().await;
        let request = client(version).get(format!("http://{server}"));
        let response = request.send().await.unwrap();
        let taken = stalled(&count).await;
        // The limits are the flow control of HTTP/2, and the kernel's buffers for HTTP/1.1.
        assert!(taken < 1000, "{version:?}: {taken}");
        // Many idle times later, there are still no more.
        sleep(Duration::from_secs(1)).await;
        assert_eq!(count.load(Ordering::Relaxed), taken, "{version:?}");

        // When the client reads, it gets more.
        let mut reader = Reader::new(response);
        while count.load(Ordering::Relaxed) < taken + 1000 {
            assert!(reader.read().await.unwrap());
            reader.received.clear();
        }
    }
}
