//! Servers and channels that are connected in memory, so that the clock can be paused.

use std::{convert::Infallible, future::pending, io};

use hyper_util::rt::TokioIo;
use stream_keepalive_http::{GrpcClientLayer, GrpcClientService, KeepaliveLayer};
use tokio::{
    io::{DuplexStream, copy_bidirectional, duplex},
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

/// A server, and the network in front of it.
pub struct Network {
    connections: mpsc::UnboundedSender<DuplexStream>,
    freezes: watch::Sender<()>,
}

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
            freezes: watch::Sender::new(()),
        }
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
        let connector = service_fn(move |_: Uri| {
            let (client, mut outer) = duplex(1 << 20);
            let (mut inner, server) = duplex(1 << 20);
            let mut frozen = freezes.subscribe();
            tokio::spawn(async move {
                tokio::select! {
                    ended = copy_bidirectional(&mut outer, &mut inner) => ended.map(drop),
                    // Both sides stay open, but are no longer read.
                    _ = frozen.changed() => pending().await,
                }
            });
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
