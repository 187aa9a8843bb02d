//! The service. Every subscriber gets all events of one bus.

use std::{
    future::Future,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use stream_keepalive::{Keepalive, KeepaliveExt};
use tokio::{net::TcpListener, sync::broadcast};
use tonic::{
    Request, Response, Status, async_trait,
    metadata::MetadataValue,
    transport::{self, Server, server::TcpIncoming},
};
use tonic_web::GrpcWebLayer;

use crate::{
    logged::Logged,
    proto::v1::{
        OperationEvent,
        backrest_server::{Backrest, BackrestServer},
    },
    subscription::Subscription,
};

/// The metadata with which a client asks for keepalives.
pub const KEEPALIVE: &str = "x-keepalive";

/// Where events come from. Dropping it ends every stream.
pub type Bus = broadcast::Sender<OperationEvent>;

pub struct Events {
    // Weak, so the streams end when the owner of the bus drops it, however many services there are.
    bus: broadcast::WeakSender<OperationEvent>,
    keepalive: Duration,
    immediate: bool,
    on_request: bool,
    open: Arc<AtomicUsize>,
}

#[async_trait]
impl Backrest for Events {
    type GetOperationEventsStream = Logged<Keepalive<Subscription>>;

    async fn get_operation_events(
        &self,
        request: Request<()>,
    ) -> Result<Response<Self::GetOperationEventsStream>, Status> {
        let Some(bus) = self.bus.upgrade() else {
            return Err(Status::unavailable("the server is stopping"));
        };
        let events = Subscription::new(bus.subscribe());

        // A client built before `keep_alive` was added to the message sees an event that is not set.
        let keepalive = match !self.on_request || request.metadata().contains_key(KEEPALIVE) {
            true => self.keepalive,
            false => Duration::ZERO,
        };
        // The line that this example is about.
        let mut events = events.keepalive(keepalive, Ok(OperationEvent::keep_alive()));

        if self.immediate {
            events = events.immediate();
        }
        let events = Logged::new(events, request.remote_addr(), self.open.clone());
        let mut response = Response::new(events);
        // By default, nginx buffers a response until it has some kilobytes. This header turns that off.
        let no = MetadataValue::from_static("no");
        response.metadata_mut().insert("x-accel-buffering", no);
        Ok(response)
    }
}

impl Events {
    /// Serves the events of `bus`, with a keepalive whenever a stream has been idle for `keepalive`.
    pub fn new(bus: &Bus, keepalive: Duration, immediate: bool) -> Self {
        Self {
            bus: bus.downgrade(),
            keepalive,
            immediate,
            on_request: false,
            open: Arc::default(),
        }
    }

    /// Sends keepalives only to clients that ask for them, with the metadata [`KEEPALIVE`].
    pub fn on_request(mut self, on_request: bool) -> Self {
        self.on_request = on_request;
        self
    }

    /// Serves gRPC and gRPC-Web on one port, until `stop` is ready and every stream has ended.
    ///
    /// A client that has sent nothing for `ping` gets a PING, and must answer it within `ping`.
    pub async fn serve(
        self,
        listener: TcpListener,
        ping: Duration,
        stop: impl Future<Output = ()>,
    ) -> Result<(), transport::Error> {
        Server::builder()
            // A PING does not restart the timeouts of proxies, which only count stream data. It lets
            // the server detect a client that has vanished without closing its connection.
            .http2_keepalive_interval((!ping.is_zero()).then_some(ping))
            .http2_keepalive_timeout(Some(ping))
            .accept_http1(true)
            .layer(GrpcWebLayer::new())
            .add_service(BackrestServer::new(self))
            .serve_with_incoming_shutdown(
                TcpIncoming::from(listener).with_nodelay(Some(true)),
                stop,
            )
            .await
    }
}
