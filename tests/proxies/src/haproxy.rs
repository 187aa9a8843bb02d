//! HAProxy in front of servers.

use std::{net::SocketAddr, time::Duration};

use crate::proxy::Proxy;

/// Starts HAProxy, which asks the servers in turn, passes over one that does not accept, and cuts off
/// one that is silent for `silence`. `proto` is ` proto h2` on both sides, or nothing for HTTP/1.1.
pub async fn start(
    servers: &[SocketAddr],
    proto: &str,
    silence: Duration,
) -> anyhow::Result<Proxy> {
    let silence = silence.as_millis();
    let servers = servers
        .iter()
        .map(|server| format!("    server {server} {server}{proto}\n"))
        .collect::<String>();
    Proxy::start(
        "haproxy",
        |command, _| {
            command.args(["-db", "-f", "config"]);
        },
        |addr, _| {
            format!(
                "
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server {silence}ms
    option redispatch 1
listen events
    bind {addr}{proto}
{servers}"
            )
        },
    )
    .await
}
