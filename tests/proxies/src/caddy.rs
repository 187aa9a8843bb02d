//! Caddy in front of a server.

use std::{net::SocketAddr, time::Duration};

use crate::proxy::Proxy;

/// Starts Caddy, which gives up a `server` that is silent for `silence`.
///
/// It counts that by connection, not by stream: one stream each, or they keep each other alive.
pub async fn start(server: SocketAddr, silence: Duration) -> anyhow::Result<Proxy> {
    let silence = silence.as_millis();
    Proxy::start(
        "caddy",
        |command, _| {
            command.args(["run", "--adapter", "caddyfile", "--config", "config"]);
        },
        |addr, _| {
            format!(
                "
{{
    admin off
    auto_https off
    servers {addr} {{
        protocols h1 h2 h2c
    }}
}}
http://{addr} {{
    bind {}
    reverse_proxy h2c://{server} {{
        transport http {{
            versions h2c 2
            read_timeout {silence}ms
        }}
    }}
}}
",
                addr.ip()
            )
        },
    )
    .await
}
