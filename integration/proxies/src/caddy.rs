//! Caddy.
//!
//! It counts the idle time of a connection and not of a stream, so the streams of a connection keep each other alive.

use std::net::SocketAddr;

use anyhow::Result;

use crate::{
    client::Protocol,
    proxy::{Proxy, RunningProxy},
    scenario::{Expected, Scenario, TIMEOUT},
};

pub static CADDY: Proxy = Proxy {
    name: "caddy",
    program: "caddy",
    version: &["version"],
    config: "Caddyfile",
    args: &["run", "--adapter", "caddyfile", "--config", "{config}"],
    scenarios: &[Scenario {
        name: "caddy",
        description: "Caddy h2c, `read_timeout`",
        protocol: Protocol::Grpc,
        timeout: TIMEOUT,
        start: |server, timeout| {
            let timeout = timeout.as_millis();
            CADDY.with(Box::new(move |addr, _| {
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
            read_timeout {timeout}ms
        }}
    }}
}}
",
                    addr.ip()
                )
            }))
        },
        expected: Expected::BYTES_COUNT,
    }],
};

/// Starts Caddy for a browser: HTTP/2 over TLS at `https://localhost`, with its own certificate.
pub async fn with_tls(server: SocketAddr) -> Result<RunningProxy> {
    let config = move |addr: SocketAddr, _: &_| {
        format!(
            "
{{
    admin off
    auto_https disable_redirects
    skip_install_trust
    servers {{
        protocols h1 h2
    }}
}}
https://localhost:{} {{
    bind {}
    tls internal
    reverse_proxy {server}
}}
",
            addr.port(),
            addr.ip()
        )
    };
    CADDY.start(Box::new(config)).await
}
