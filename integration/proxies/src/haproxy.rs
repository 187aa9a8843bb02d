//! HAProxy.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;

use crate::{
    client::Protocol,
    proxy::{Config, Proxy, RunningProxy},
    scenario::{Expected, Scenario, Start, TIMEOUT},
};

pub static HAPROXY: Proxy = Proxy {
    name: "haproxy",
    program: "haproxy",
    version: &["-v"],
    config: "haproxy.cfg",
    args: &["-db", "-f", "{config}"],
    scenarios: &[
        Scenario {
            name: "haproxy_with_http_2",
            description: "HAProxy h2c, `timeout server`",
            protocol: Protocol::Grpc,
            timeout: TIMEOUT,
            start: |server, timeout| with_timeouts(server, Version::Http2, HOUR, timeout),
            expected: Expected::DATA_COUNTS,
        },
        Scenario {
            name: "haproxy_with_http_1",
            description: "HAProxy HTTP/1.1, `timeout server`",
            protocol: Protocol::GrpcWeb,
            timeout: TIMEOUT,
            start: |server, timeout| with_timeouts(server, Version::Http1, HOUR, timeout),
            expected: Expected::DATA_COUNTS,
        },
    ],
};

/// The version of HTTP on both sides.
#[derive(Clone, Copy)]
pub enum Version {
    Http1,
    Http2,
}

/// Starts HAProxy. It uses the servers in turn, skips one that does not accept, and cuts off one that is
/// idle for `timeout`.
pub async fn start(
    servers: &[SocketAddr],
    version: Version,
    timeout: Duration,
) -> Result<RunningProxy> {
    HAPROXY
        .start(config(servers, version, HOUR, timeout, ""))
        .await
}

/// Longer than a test.
pub const HOUR: Duration = Duration::from_secs(3600);

/// The configuration for one server, with these values of `timeout client` and `timeout server`.
pub(crate) fn with_timeouts(
    server: SocketAddr,
    version: Version,
    of_client: Duration,
    of_server: Duration,
) -> Start {
    HAPROXY.with(config(&[server], version, of_client, of_server, ""))
}

/// The configuration for these servers, with more options for the `bind` line.
pub fn config(
    servers: &[SocketAddr],
    version: Version,
    of_client: Duration,
    of_server: Duration,
    bind: &'static str,
) -> Config {
    let proto = match version {
        Version::Http1 => "",
        Version::Http2 => " proto h2",
    };
    let (of_client, of_server) = (of_client.as_millis(), of_server.as_millis());
    let servers = servers
        .iter()
        .map(|server| format!("    server {server} {server}{proto}\n"))
        .collect::<String>();
    Box::new(move |addr, _| {
        format!(
            "
defaults
    mode http
    timeout connect 5s
    timeout client {of_client}ms
    timeout server {of_server}ms
    option redispatch 1
listen events
    bind {addr}{proto} {bind}
{servers}"
        )
    })
}
