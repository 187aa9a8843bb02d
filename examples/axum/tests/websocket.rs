//! The server with a Rust client.

use std::{io, net::SocketAddr, pin::pin, sync::Mutex, time::Duration};

use axum::{Router, extract::WebSocketUpgrade, routing::get};
use axum_events::{
    log::Line,
    websocket::{Event, listen, serve},
};
use futures::{Stream, StreamExt, stream};
use programs::{Forwarder, within};
use tokio::{
    net::TcpListener,
    sync::oneshot,
    time::{sleep, timeout},
};
use tokio_tungstenite::{connect_async, tungstenite};

const IDLE: Duration = Duration::from_millis(500);

fn event(number: u32) -> Event {
    Event::Line {
        id: number.to_string(),
        text: format!("line {number}"),
    }
}

fn line(number: u32) -> Line {
    let Event::Line { id, text } = event(number) else {
        unreachable!()
    };
    Line { id, text }
}

/// A feed that is idle for ten idle times, and then has one line.
fn idle() -> impl Stream<Item = Event> + Send + 'static {
    let later = stream::once(async {
        sleep(10 * IDLE).await;
        event(1)
    });
    later.chain(stream::pending())
}

/// A feed that is never idle.
fn busy() -> impl Stream<Item = Event> + Send + 'static {
    stream::iter(1..).then(async |number| {
        sleep(IDLE / 50).await;
        event(number)
    })
}

/// The result of the server's end of a connection.
type Ended = oneshot::Receiver<anyhow::Result<()>>;

/// A server with one connection.
async fn server(feed: impl Stream<Item = Event> + Send + 'static) -> (SocketAddr, Ended) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, ended) = oneshot::channel();
    let connection = Mutex::new(Some((feed, sender)));
    let handler = move |upgrade: WebSocketUpgrade| {
        let (feed, sender) = connection.lock().unwrap().take().unwrap();
        let response = upgrade.on_upgrade(async move |socket| {
            _ = sender.send(serve(socket, feed, "0".to_owned(), IDLE).await);
        });
        std::future::ready(response)
    };
    let handler = std::sync::Arc::new(handler);
    let app = Router::new().route("/", get(move |upgrade| handler(upgrade)));
    tokio::spawn(async { axum::serve(listener, app).await });
    (addr, ended)
}

async fn connect(
    addr: SocketAddr,
) -> impl Stream<Item = Result<tungstenite::Message, tungstenite::Error>> + Unpin {
    let (socket, _) = within(connect_async(format!("ws://{addr}"))).await.unwrap();
    socket
}

#[tokio::test]
async fn a_keepalive_is_a_message_that_carries_the_interval_and_where_to_resume() {
    let (addr, _ended) = server(idle()).await;
    let socket = connect(addr).await;
    let mut texts = pin!(socket.filter_map(async |message| {
        let message = message.unwrap();
        message.is_text().then(|| message.into_text().unwrap())
    }));
    // Immediately, and then whenever the feed is idle.
    for _ in 0..3 {
        let text = within(texts.next()).await.unwrap();
        assert_eq!(text.as_str(), r#"{"keepalive":{"id":"0","idle":500}}"#);
    }
    let after_the_line = within(async {
        loop {
            let text = texts.next().await.unwrap();
            if text.contains("line 1") {
                return texts.next().await.unwrap();
            }
        }
    });
    let text = after_the_line.await;
    assert_eq!(text.as_str(), r#"{"keepalive":{"id":"1","idle":500}}"#);
}

#[tokio::test]
async fn a_client_keeps_an_idle_connection_that_is_alive() {
    let (addr, _ended) = server(idle()).await;
    let mut lines = pin!(listen(connect(addr).await, 3 * IDLE));
    assert_eq!(within(lines.next()).await.unwrap().unwrap(), line(1));
}

#[tokio::test]
async fn a_client_detects_a_dead_connection() {
    let (addr, _ended) = server(busy()).await;
    let forwarder = Forwarder::start(addr).await.unwrap();
    let mut lines = pin!(listen(connect(forwarder.addr).await, 3 * IDLE));
    assert_eq!(within(lines.next()).await.unwrap().unwrap(), line(1));
    forwarder.freeze();
    let error = within(async {
        loop {
            if let Err(error) = lines
                .next()
                .await
                .expect("the stream ends without an error")
            {
                return error;
            }
        }
    });
    let error = error.await;
    assert!(
        matches!(&error, tungstenite::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut),
        "{error}"
    );
    assert!(lines.next().await.is_none());
}

/// Expects the server to notice that its client is gone.
async fn detects_a_dead_client(feed: impl Stream<Item = Event> + Send + 'static) {
    let (addr, ended) = server(feed).await;
    let forwarder = Forwarder::start(addr).await.unwrap();
    let mut socket = connect(forwarder.addr).await;
    within(socket.next()).await.unwrap().unwrap();
    forwarder.freeze();
    let error = within(ended).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the client does not answer pings");
}

#[tokio::test]
async fn the_server_detects_a_dead_client() {
    detects_a_dead_client(idle()).await;
}

#[tokio::test]
async fn the_server_detects_a_dead_client_even_if_the_feed_is_never_idle() {
    detects_a_dead_client(busy()).await;
}

/// Expects the server to keep a client that reads, and sends nothing by itself.
async fn keeps_a_client_that_only_reads(feed: impl Stream<Item = Event> + Send + 'static) {
    let (addr, mut ended) = server(feed).await;
    let socket = connect(addr).await;
    let read = socket.for_each(async |message| drop(message.unwrap()));
    let end = timeout(12 * IDLE, read).await;
    assert!(
        end.is_err(),
        "the client was dropped: {:?}",
        ended.try_recv()
    );
}

#[tokio::test]
async fn the_server_keeps_a_client_that_only_reads() {
    keeps_a_client_that_only_reads(idle()).await;
}

#[tokio::test]
async fn the_server_keeps_a_client_that_only_reads_even_if_the_feed_is_never_idle() {
    keeps_a_client_that_only_reads(busy()).await;
}

#[tokio::test]
async fn the_end_of_the_feed_closes_the_connection() {
    let (addr, ended) = server(stream::iter([event(1)])).await;
    let lines: Vec<_> = within(listen(connect(addr).await, 3 * IDLE).collect()).await;
    let lines: Result<Vec<_>, _> = lines.into_iter().collect();
    assert_eq!(lines.unwrap(), [line(1)]);
    within(ended).await.unwrap().unwrap();
}
