//! Servers and channels that are connected in memory, so that the clock can be paused.

use std::{
    convert::Infallible,
    future::pending,
    io,
    sync::{Arc, Mutex},
};

use hyper_util::rt::TokioIo;
use memchr::memmem;
use stream_keepalive_http::{GrpcClientLayer, GrpcClientService, KeepaliveLayer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy, duplex, split},
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{
    body::Body,
    codegen::http,
    server::NamedService,
    transport::{Channel, Endpoint, Server, Uri},
};
use tower::{Layer, Service, service_fn};

use super::IDLE;

/// A server, and the network in front of it.
pub struct Network {
    connections: mpsc::UnboundedSender<DuplexStream>,
    wire: Wire,
    freezes: watch::Sender<()>,
}

/// What a connection has in common with the others.
#[derive(Clone)]
struct Wire {
    /// How many bytes of the server a connection passes on before it freezes.
    limit: u64,
    /// All that has come from the server.
    received: Arc<Mutex<Vec<u8>>>,
}

/// A message with one field, which no proto declares.
const MARKER: &[u8] = b"\0\0\0\0\x06\xf8\xff\xff\xff\x0f\0";

type Response = http::Response<Body>;

impl Network {
    /// Serves a service with a layer, or without one.
    pub fn new<S>(layer: Option<KeepaliveLayer>, service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = Response, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let (connections, incoming) = mpsc::unbounded_channel();
        let incoming = UnboundedReceiverStream::new(incoming);
        let incoming = futures::StreamExt::map(incoming, Ok::<_, io::Error>);
        tokio::spawn(async move {
            match layer {
                Some(layer) => {
                    let mut server = Server::builder().layer(layer);
                    server
                        .add_service(service)
                        .serve_with_incoming(incoming)
                        .await
                }
                None => {
                    let mut server = Server::builder();
                    server
                        .add_service(service)
                        .serve_with_incoming(incoming)
                        .await
                }
            }
        });
        Self {
            connections,
            wire: Wire {
                limit: u64::MAX,
                received: Arc::default(),
            },
            freezes: watch::Sender::new(()),
        }
    }

    /// Each connection freezes when this many bytes have come from the server.
    pub fn that_freezes_after(mut self, bytes: u64) -> Self {
        self.wire.limit = bytes;
        self
    }

    /// How many bytes have come from the server.
    pub fn received(&self) -> usize {
        self.wire.received.lock().unwrap().len()
    }

    /// How many keepalives have come from the server.
    pub fn markers(&self) -> usize {
        memmem::find_iter(&self.wire.received.lock().unwrap(), MARKER).count()
    }

    /// Asserts that so many keepalives have come as calls get that are idle for this many seconds.
    #[track_caller]
    pub fn assert_kept_alive_for(&self, seconds: usize) {
        let (markers, least) = (self.markers(), seconds / IDLE.as_secs() as usize - 5);
        assert!(markers >= least, "{markers} keepalives in {seconds} s");
    }

    /// A channel without our layer.
    pub async fn plain(&self) -> Channel {
        self.connect(Endpoint::from_static("http://server")).await
    }

    /// A channel with our layer.
    pub async fn kept(&self) -> GrpcClientService<Channel> {
        GrpcClientLayer::new().layer(self.plain().await)
    }

    pub async fn connect(&self, endpoint: Endpoint) -> Channel {
        let (connections, freezes) = (self.connections.clone(), self.freezes.clone());
        let wire = self.wire.clone();
        let connector = service_fn(move |_: Uri| {
            let (client, outer) = duplex(1 << 20);
            let (inner, server) = duplex(1 << 20);
            tokio::spawn(forward(inner, outer, wire.clone(), freezes.subscribe()));
            let sent = connections.send(server);
            async move {
                sent.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
                Ok::<_, io::Error>(TokioIo::new(client))
            }
        });
        endpoint.connect_with_connector(connector).await.unwrap()
    }

    /// From now on, nothing comes through the connections that are open.
    pub fn freeze(&self) {
        self.freezes.send_replace(());
    }
}

/// Forwards a connection until it freezes. Then both sides stay open, but are no longer read.
async fn forward(
    server: DuplexStream,
    client: DuplexStream,
    wire: Wire,
    mut frozen: watch::Receiver<()>,
) -> io::Result<()> {
    let (from_server, mut to_server) = split(server);
    let (mut from_client, mut to_client) = split(client);
    let mut from_server = from_server.take(wire.limit);
    let answers = async {
        let mut bytes = [0; 8192];
        loop {
            match from_server.read(&mut bytes).await? {
                0 if from_server.limit() == 0 => pending().await,
                0 => return Ok(0),
                count => {
                    let bytes = &bytes[..count];
                    wire.received.lock().unwrap().extend_from_slice(bytes);
                    to_client.write_all(bytes).await?;
                }
            }
        }
    };
    tokio::select! {
        // First, because a busy connection uses up the budget of the task.
        biased;
        _ = frozen.changed() => pending().await,
        ended = answers => ended.map(drop),
        ended = copy(&mut from_client, &mut to_server) => ended.map(drop),
    }
}
