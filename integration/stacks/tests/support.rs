use std::{
    future::pending,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::header::CONTENT_TYPE,
    response::IntoResponse,
    routing::{MethodRouter, any},
    serve::ListenerExt,
};
use bytes::Bytes;
use futures::channel::mpsc;
use programs::PATIENCE;
use reqwest::{Client, Response};
use stream_keepalive_http::KeepaliveLayer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

pub const IDLE: Duration = Duration::from_millis(50);
pub const COMMENT: &str = ":\n\n";

pub fn layer() -> KeepaliveLayer {
    KeepaliveLayer::new(IDLE)
}

#[derive(Clone, Copy, Debug)]
pub enum Version {
    Http1,
    Http2,
}

pub const VERSIONS: [Version; 2] = [Version::Http1, Version::Http2];

pub fn client(version: Version) -> Client {
    let client = Client::builder().no_proxy().no_gzip();
    let client = match version {
        Version::Http1 => client.http1_only(),
        Version::Http2 => client.http2_prior_knowledge(),
    };
    client.build().unwrap()
}

/// Serves HTTP/1.1 and HTTP/2 until the test ends.
pub async fn serve(app: Router) -> SocketAddr {
    serve_until(app, pending()).await
}

/// Serves until `signal` is ready.
pub async fn serve_until(
    app: Router,
    signal: impl Future<Output = ()> + Send + 'static,
) -> SocketAddr {
    serve_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), app, signal)
}

/// Serves the connections of this listener until `signal` is ready.
pub fn serve_on(
    listener: TcpListener,
    app: Router,
    signal: impl Future<Output = ()> + Send + 'static,
) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    let listener = listener.tap_io(|connection| connection.set_nodelay(true).unwrap());
    tokio::spawn(async {
        axum::serve(listener, app)
            .with_graceful_shutdown(signal)
            .await
    });
    address
}

/// Sends data to a response body from a test.
pub struct Feed(mpsc::UnboundedSender<io::Result<Bytes>>);

impl Feed {
    pub fn send(&self, bytes: impl Into<Bytes>) {
        self.0.unbounded_send(Ok(bytes.into())).unwrap();
    }

    pub fn fail(&self) {
        self.0
            .unbounded_send(Err(io::ErrorKind::ConnectionReset.into()))
            .unwrap();
    }
}

/// The body of one response, which a test feeds.
#[derive(Clone)]
pub struct Fed(Arc<Mutex<Option<mpsc::UnboundedReceiver<io::Result<Bytes>>>>>);

impl Fed {
    pub fn stream(&self) -> mpsc::UnboundedReceiver<io::Result<Bytes>> {
        self.0
            .lock()
            .unwrap()
            .take()
            .expect("there is only one request")
    }
}

pub fn feed() -> (Feed, Fed) {
    let (sender, receiver) = mpsc::unbounded();
    (Feed(sender), Fed(Arc::new(Mutex::new(Some(receiver)))))
}

/// A route with one response, which the test feeds.
pub fn fed(content_type: &'static str) -> (Feed, MethodRouter) {
    let (feed, body) = feed();
    let response = move || async move {
        (
            [(CONTENT_TYPE, content_type)],
            Body::from_stream(body.stream()),
        )
            .into_response()
    };
    (feed, any(response))
}

/// A response that is being read.
pub struct Reader {
    response: Response,
    pub received: Vec<u8>,
}

impl Reader {
    pub fn new(response: Response) -> Self {
        let received = Vec::new();
        Self { response, received }
    }

    pub async fn get(version: Version, address: SocketAddr) -> Self {
        let request = client(version).get(format!("http://{address}"));
        Self::new(request.send().await.unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.received).unwrap()
    }

    /// Reads more. Returns `false` at the end.
    pub async fn read(&mut self) -> reqwest::Result<bool> {
        let chunk = timeout(PATIENCE, self.response.chunk())
            .await
            .expect("nothing came in time")?;
        self.received
            .extend_from_slice(chunk.as_deref().unwrap_or_default());
        Ok(chunk.is_some())
    }

    /// Reads until the text contains `part` at least `times` times.
    pub async fn until(&mut self, part: &str, times: usize) {
        while self.text().matches(part).count() < times {
            assert!(
                self.read().await.unwrap(),
                "the response ended after {:?}",
                self.text()
            );
        }
    }

    pub async fn read_rest(&mut self) {
        while self.read().await.unwrap() {}
    }

    /// Returns whether nothing comes for ten idle times.
    pub async fn is_idle(&mut self) -> bool {
        timeout(10 * IDLE, self.response.chunk()).await.is_err()
    }
}

/// A proxy that closes a connection on which the server has sent nothing for a while.
pub async fn proxy(server: SocketAddr, limit: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(server).await.unwrap();
            tokio::spawn(forward(client, server, limit));
        }
    });
    address
}

async fn forward(client: TcpStream, server: TcpStream, limit: Duration) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests =
        tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let mut bytes = [0; 4096];
    while let Ok(Ok(count @ 1..)) = timeout(limit, from_server.read(&mut bytes)).await {
        if to_client.write_all(&bytes[..count]).await.is_err() {
            break;
        }
    }
    requests.abort();
}
