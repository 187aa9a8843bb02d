//! HAProxy.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;

use crate::{
    client::Protocol,
    proxy::{Config, Proxy, RunningProxy},
    scenario::{Expected, Scenario, TIMEOUT},
};

pub static HAPROXY: Proxy = Proxy {
    name: "haproxy",
    program: "haproxy",
    version: &["-v"],
    args: &["-db", "-f", "config.yaml"],
    scenarios: &[
        Scenario {
            name: "haproxy_with_http_2",
            description: "HAProxy h2c, `timeout server`",
            protocol: Protocol::Grpc,
            timeout: TIMEOUT,
            start: |server, timeout| HAPROXY.with(config(&[server], Version::Http2, timeout, "")),
            expected: Expected::DATA_COUNTS,
        },
        Scenario {
            name: "haproxy_with_http_1",
            description: "HAProxy HTTP/1.1, `timeout server`",
            protocol: Protocol::GrpcWeb,
            timeout: TIMEOUT,
            start: |server, timeout| HAPROXY.with(config(&[server], Version::Http1, timeout, "")),
            expected: Expected::DATA_COUNTS,
        },
    ],
};

/// What it speaks on both sides.
#[derive(Clone, Copy)]
pub enum Version {
    Http1,
    Http2,
}

/// Starts HAProxy, which asks the servers in turn, passes over one that does not accept, and cuts off
/// one that is idle for `timeout`.
pub async fn start(
    servers: &[SocketAddr],
    version: Version,
    timeout: Duration,
) -> Result<RunningProxy> {
    HAPROXY.start(config(servers, version, timeout, "")).await
}

/// The same, with more options of the address where it listens.
pub fn config(
    servers: &[SocketAddr],
    version: Version,
    timeout: Duration,
    bind: &'static str,
) -> Config {
    let proto = match version {
        Version::Http1 => "",
        Version::Http2 => " proto h2",
    };
    let timeout = timeout.as_millis();
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
    timeout client 1h
    timeout server {timeout}ms
    option redispatch 1
listen events
    bind {addr}{proto} {bind}
{servers}"
        )
    })
}
