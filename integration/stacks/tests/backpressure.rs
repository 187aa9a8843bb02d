//! What happens to a client that does not read. The keepalives have three bytes, so that many fit into the buffers.

use std::{
    convert::Infallible,
    future::{pending, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router, body::Body, http::header::CONTENT_TYPE, middleware::map_response, response::Response,
    routing::any,
};
use futures::{Stream, StreamExt, future::join_all, stream};
use http_body_util::BodyExt;
use reqwest::Client;
use stream_keepalive_http::KeepaliveLayer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    time::sleep,
};

use crate::support::{COMMENT, serve, serve_on};

/// Serves events, and counts the frames that the connections have taken.
fn count_frames<S>(
    events: impl Fn() -> S + Clone + Send + Sync + 'static,
    layer: KeepaliveLayer,
) -> (Router, Arc<AtomicUsize>)
where
    S: Stream<Item = &'static str> + Send + 'static,
{
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
    let handler = async move || {
        let body = Body::from_stream(events().map(Ok::<_, Infallible>));
        ([(CONTENT_TYPE, "text/event-stream")], body)
    };
    let app = Router::new()
        .route("/", any(handler))
        .layer(layer)
        .layer(map_response(count_frames));
    (app, count)
}

/// Waits until the connection takes no more frames, and returns how many it has taken.
async fn stalled(count: &AtomicUsize) -> usize {
    let mut last = 0;
    loop {
        sleep(Duration::from_secs(1)).await;
        let now = count.load(Ordering::Relaxed);
        // Skip the start, when none has been sent yet.
        if now == last && now > 0 {
            return now;
        }
        last = now;
    }
}

/// Returns how many keepalives the connection takes before the client closes it. Nobody reads its streams.
async fn taken_over_http2(client: Client, streams: usize) -> usize {
    let layer = KeepaliveLayer::new(Duration::from_millis(1));
    let (app, count) = count_frames(stream::pending, layer);
    let server = serve(app).await;
    let connect = || client.get(format!("http://{server}")).send();
    // The streams share the connection of the first request.
    let first = connect().await.unwrap();
    let responses = join_all((1..streams).map(|_| connect())).await;
    let taken = stalled(&count).await;
    let responses = responses.into_iter().map(Result::unwrap);
    for response in responses.chain([first]) {
        let error = response.bytes().await.unwrap_err();
        assert!(
            format!("{error:?}").contains("too_many_data_frames"),
            "{error:?}"
        );
    }
    println!("{streams} streams that nobody reads: {taken} keepalives");
    taken
}

#[tokio::test]
async fn over_http2_the_client_closes_the_connection() {
    let client = || Client::builder().no_proxy().http2_prior_knowledge();
    // The budget is half of the connection's window, and each keepalive takes 253 bytes of it.
    for streams in [1, 10] {
        let adaptive = client().http2_adaptive_window(true).build().unwrap();
        let taken = taken_over_http2(adaptive, streams).await;
        assert!(taken > 32_767 / 253 && taken < 300, "{streams}: {taken}");
    }
    let taken = taken_over_http2(client().build().unwrap(), 100).await;
    assert!(
        taken > 5 * 1024 * 1024 / 2 / 253 && taken < 20_000,
        "{taken}"
    );
}

/// Sends the same bytes as keepalives do, each flushed on its own, but without the idle time between them.
fn comments() -> impl Stream<Item = &'static str> + Send {
    stream::repeat(COMMENT).then(async |comment| {
        tokio::task::yield_now().await;
        comment
    })
}

/// How many bytes the kernel keeps on each side. With its defaults, the test takes minutes.
const BUFFER: u32 = 64 * 1024;

fn socket() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(BUFFER).unwrap();
    socket.set_recv_buffer_size(BUFFER).unwrap();
    socket
}

#[tokio::test]
async fn over_http1_the_server_waits_after_many_keepalives() {
    let (app, count) = count_frames(comments, KeepaliveLayer::new(Duration::ZERO));
    let listener = socket();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let server = serve_on(listener.listen(1).unwrap(), app, pending());
    let mut client = socket().connect(server).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();

    let taken = stalled(&count).await;
    println!("HTTP/1.1, one stream that nobody reads: {taken} keepalives");
    // Each takes eight bytes.
    assert!(taken > BUFFER as usize / 8, "{taken}");
    // Many idle times later, there are still no more.
    sleep(Duration::from_secs(1)).await;
    assert_eq!(count.load(Ordering::Relaxed), taken);

    // When the client reads, it gets all of them, and more.
    let mut received = 0;
    let mut buffer = vec![0; BUFFER as usize];
    while received <= 8 * taken {
        received += client.read(&mut buffer).await.unwrap();
    }
}
