//! The scenarios: a proxy in a common configuration between server and client.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use futures::{FutureExt, future::BoxFuture};

use crate::{
    apache::APACHE,
    bun::BUN,
    caddy::CADDY,
    client::Protocol,
    envoy::ENVOY,
    h2o::H2O,
    haproxy::HAPROXY,
    lighttpd::LIGHTTPD,
    next::NEXT,
    nghttpx::NGHTTPX,
    nginx::NGINX,
    node::{HTTP_PROXY, VITE},
    proxy::{Config, Proxy, RunningProxy},
    squid::SQUID,
    traffic_server::TRAFFIC_SERVER,
    varnish::VARNISH,
};

/// The page that has the tables.
pub const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/proxies.md");

/// Every proxy. The tests, the table in docs/proxies.md and its versions are made from this.
pub static PROXIES: [&Proxy; 15] = [
    &NGINX,
    &HAPROXY,
    &ENVOY,
    &CADDY,
    &APACHE,
    &NGHTTPX,
    &H2O,
    &VARNISH,
    &SQUID,
    &LIGHTTPD,
    &TRAFFIC_SERVER,
    &HTTP_PROXY,
    &VITE,
    &NEXT,
    &BUN,
];

/// The idle time after which most of them cut a stream.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// A proxy in one configuration.
pub struct Scenario {
    /// Part of the name of its test.
    pub name: &'static str,
    /// A description, in the terms of the proxy's configuration.
    pub description: &'static str,
    /// The kind of stream that it carries.
    pub protocol: Protocol,
    /// The idle time after which it cuts a stream: [`TIMEOUT`], or the shortest that it supports.
    pub timeout: Duration,
    /// Starts it in front of a server, with that timeout.
    pub start: fn(SocketAddr, Duration) -> Start,
    pub expected: Expected,
}

impl Scenario {
    /// How long a stream is open before its event.
    pub fn lifetime(&self) -> Duration {
        4 * self.timeout
    }
}

pub type Start = BoxFuture<'static, Result<Option<RunningProxy>>>;

/// Which streams outlive the timeout.
pub struct Expected {
    /// Streams without keepalives.
    pub idle: bool,
    /// Streams with a keepalive every half or quarter of the timeout.
    pub keepalive: bool,
    /// Streams of a server that sends an HTTP/2 PING every quarter of the timeout.
    pub ping: bool,
}

impl Expected {
    /// The behaviour of most proxies.
    pub const DATA_COUNTS: Self = Self {
        idle: false,
        keepalive: true,
        ping: false,
    };

    /// The behaviour of proxies that count bytes of the connection instead of data of the stream.
    pub const BYTES_COUNT: Self = Self {
        ping: true,
        ..Self::DATA_COUNTS
    };

    pub const NOTHING_HELPS: Self = Self {
        keepalive: false,
        ..Self::DATA_COUNTS
    };
}

/// Without a proxy.
static DIRECT: [Scenario; 2] = [
    Scenario {
        name: "no_proxy",
        description: "none",
        protocol: Protocol::Grpc,
        timeout: TIMEOUT,
        start: |_, _| async { Ok(None) }.boxed(),
        expected: Expected {
            idle: true,
            keepalive: true,
            ping: true,
        },
    },
    Scenario {
        name: "no_proxy_and_server_sent_events",
        description: "none, server-sent events",
        protocol: Protocol::Sse,
        timeout: TIMEOUT,
        start: |_, _| async { Ok(None) }.boxed(),
        expected: Expected {
            idle: true,
            keepalive: true,
            ping: false,
        },
    },
];

impl Proxy {
    /// The value of [`Scenario::start`].
    pub(crate) fn with(&'static self, config: Config) -> Start {
        self.start(config).map(|proxy| proxy.map(Some)).boxed()
    }
}

/// Every scenario, and the proxy that it needs.
pub fn all() -> impl Iterator<Item = (Option<&'static Proxy>, &'static Scenario)> {
    let proxies = PROXIES.into_iter().flat_map(|proxy| {
        let scenarios = proxy.scenarios.iter();
        scenarios.map(move |scenario| (Some(proxy), scenario))
    });
    let direct = DIRECT.iter().map(|scenario| (None, scenario));
    direct.chain(proxies)
}
