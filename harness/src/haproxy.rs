//! HAProxy in front of a server.

use std::{net::SocketAddr, time::Duration};

use crate::proxy::Proxy;

/// Starts HAProxy, which cuts off a `server` that is silent for `silence`. `proto` is ` proto h2` on
/// both sides, or nothing for HTTP/1.1.
pub async fn start(server: SocketAddr, proto: &str, silence: Duration) -> anyhow::Result<Proxy> {
    let silence = silence.as_millis();
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
listen events
    bind {addr}{proto}
    server events {server}{proto}
"
            )
        },
    )
    .await
}
