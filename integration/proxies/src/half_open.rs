//! A bidirectional call that goes idle in both directions, behind each proxy that passes gRPC on.
//!
//! The other proxies speak HTTP/1.1 to the server, or HTTP/2 without trailers.
//!
//! A proxy may limit the idle time of either side, so it matters which side sends keepalives.

use std::{
    future::ready,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Result, bail};
use futures::{
    FutureExt, StreamExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use programs::PATIENCE;
use stream_keepalive::KeepaliveExt;
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    client::Grpc,
    codegen::{Service, http},
    server::{self, NamedService, StreamingService},
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tonic_events::proto::v1::{OperationEvent, operation_event::Event};
use tonic_prost::ProstCodec;

use crate::{
    apache::APACHE,
    caddy::CADDY,
    envoy::ENVOY,
    haproxy::{HAPROXY, HOUR, Version, with_timeouts},
    nghttpx::NGHTTPX,
    nginx::{NGINX, grpc_pass},
    outcome::Outcome,
    proxy::Proxy,
    scenario::{Start, TIMEOUT},
};

/// Which side sends keepalives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    Nobody,
    Server,
    Client,
    Both,
}

impl Sender {
    pub const ALL: [Self; 4] = [Self::Nobody, Self::Server, Self::Client, Self::Both];

    fn keeps_alive(self, side: Self) -> bool {
        self == side || self == Self::Both
    }
}

/// A proxy with limits on idle time.
pub struct Limits {
    /// Part of the name of its test.
    pub name: &'static str,
    /// The limits, in the terms of the proxy's configuration.
    pub description: &'static str,
    pub proxy: Option<&'static Proxy>,
    start: fn(SocketAddr, Duration) -> Start,
    /// For each of [`Sender::ALL`], whether its keepalives keep the call open.
    pub lives: [bool; 4],
}

pub static LIMITS: [Limits; 11] = [
    Limits {
        name: "no_proxy",
        description: "none",
        proxy: None,
        start: |_, _| ready(Ok(None)).boxed(),
        lives: [true; 4],
    },
    Limits {
        name: "nginx_counting_the_server",
        description: "nginx `grpc_read_timeout`",
        proxy: Some(&NGINX),
        start: |server, timeout| nginx(server, HOUR, timeout),
        lives: [false, true, false, true],
    },
    Limits {
        name: "nginx_counting_the_client",
        description: "nginx `client_body_timeout`",
        proxy: Some(&NGINX),
        start: |server, timeout| nginx(server, timeout, HOUR),
        lives: [false, true, true, true],
    },
    Limits {
        name: "nginx_counting_both",
        description: "nginx, both",
        proxy: Some(&NGINX),
        start: |server, timeout| nginx(server, timeout, timeout),
        lives: [false, true, false, true],
    },
    Limits {
        name: "haproxy_counting_the_server",
        description: "HAProxy `timeout server`",
        proxy: Some(&HAPROXY),
        start: |server, timeout| with_timeouts(server, Version::Http2, HOUR, timeout),
        lives: [false, true, true, true],
    },
    Limits {
        name: "haproxy_counting_the_client",
        description: "HAProxy `timeout client`",
        proxy: Some(&HAPROXY),
        start: |server, timeout| with_timeouts(server, Version::Http2, timeout, HOUR),
        lives: [true; 4],
    },
    Limits {
        name: "haproxy_counting_both",
        description: "HAProxy, both",
        proxy: Some(&HAPROXY),
        start: |server, timeout| with_timeouts(server, Version::Http2, timeout, timeout),
        lives: [false, true, true, true],
    },
    Limits {
        name: "envoy",
        description: "Envoy `stream_idle_timeout`",
        proxy: Some(&ENVOY),
        start: ENVOY.scenarios[0].start,
        lives: [false, true, true, true],
    },
    Limits {
        name: "caddy",
        description: "Caddy h2c, `read_timeout`",
        proxy: Some(&CADDY),
        start: CADDY.scenarios[0].start,
        lives: [false, true, false, true],
    },
    Limits {
        name: "apache",
        description: "Apache mod_proxy_http2, `timeout=`",
        proxy: Some(&APACHE),
        start: APACHE.scenarios[0].start,
        lives: [true; 4],
    },
    Limits {
        name: "nghttpx",
        description: "nghttpx h2c, `backend-read-timeout`",
        proxy: Some(&NGHTTPX),
        start: NGHTTPX.scenarios[0].start,
        lives: [false, true, true, true],
    },
];

fn nginx(server: SocketAddr, of_client: Duration, of_server: Duration) -> Start {
    let (of_client, of_server) = (of_client.as_millis(), of_server.as_millis());
    let more = format!("client_body_timeout {of_client}ms; grpc_read_timeout {of_server}ms;");
    grpc_pass(server, &more)
}

/// Lets a call be idle for four timeouts after its first event, and returns whether its second event arrives.
pub async fn run(limits: &Limits, sender: Sender) -> Result<Outcome> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let server = listener.local_addr()?;
    let echo = Echo {
        idle: idle(sender.keeps_alive(Sender::Server)),
    };
    let serve = Server::builder()
        .add_service(echo)
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
    // The server is aborted when this is dropped.
    let mut tasks = JoinSet::new();
    tasks.spawn(serve);
    let proxy = (limits.start)(server, TIMEOUT).await?;
    let addr = proxy.as_ref().map_or(server, |proxy| proxy.addr);

    let endpoint = Endpoint::from_shared(format!("http://{addr}"))?;
    let mut client = Grpc::new(endpoint.connect().await?);
    client.ready().await?;
    let start = Instant::now();
    let gap = 4 * TIMEOUT;
    let second = stream::once(sleep(gap)).map(|()| event(2));
    let events = stream::iter([event(1)])
        .chain(second)
        .chain(stream::pending());
    let idle = idle(sender.keeps_alive(Sender::Client));
    let call = client.streaming(
        Request::new(events.keepalive(idle, OperationEvent::keep_alive())),
        http::uri::PathAndQuery::from_static("/test.Echo/Talk"),
        codec(),
    );
    let mut answers = match timeout(gap, call).await {
        Err(_) => return Ok(Outcome::NoHeaders),
        Ok(Err(_)) => {
            return Ok(Outcome::Dead {
                after: start.elapsed(),
            });
        }
        Ok(Ok(response)) => response.into_inner(),
    };
    loop {
        match timeout(gap + PATIENCE, answers.message()).await {
            Err(_) => bail!("neither the event nor the end arrives"),
            Ok(Ok(Some(answer))) if answer == event(2) => {
                return Ok(Outcome::Alive {
                    event_after: start.elapsed() - gap,
                });
            }
            Ok(Ok(Some(_))) => {}
            Ok(Ok(None) | Err(_)) => {
                return Ok(Outcome::Dead {
                    after: start.elapsed(),
                });
            }
        }
    }
}

fn event(id: i64) -> OperationEvent {
    Event::DeletedOperations(tonic_events::proto::types::Int64List { values: vec![id] }).into()
}

fn codec() -> ProstCodec<OperationEvent, OperationEvent> {
    ProstCodec::new()
}

/// The idle time after which a side sends a keepalive.
fn idle(keeps_alive: bool) -> Duration {
    if keeps_alive {
        TIMEOUT / 4
    } else {
        Duration::ZERO // never
    }
}

/// Sends each event back, and skips keepalives.
#[derive(Clone)]
struct Echo {
    idle: Duration,
}

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl StreamingService<OperationEvent> for Echo {
    type Response = OperationEvent;
    type ResponseStream = BoxStream<'static, Result<OperationEvent, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<OperationEvent>>) -> Self::Future {
        let real =
            |event: &OperationEvent| ready(!matches!(event.event, Some(Event::KeepAlive(_))));
        let events = request.into_inner().try_filter(real);
        let answers = events.keepalive(self.idle, Ok(OperationEvent::keep_alive()));
        ready(Ok(Response::new(answers.boxed()))).boxed()
    }
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        async move { Ok(server::Grpc::new(codec()).streaming(echo, request).await) }.boxed()
    }
}
