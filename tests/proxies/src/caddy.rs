//! Caddy.
//!
//! It counts idle time by connection, not by stream: streams on one connection keep each other alive.

use crate::{
    client::Protocol,
    proxy::Proxy,
    scenario::{Expected, Scenario, TIMEOUT},
};

pub static CADDY: Proxy = Proxy {
    name: "caddy",
    program: "caddy",
    version: &["version"],
    args: &["run", "--adapter", "caddyfile", "--config", "config.yaml"],
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
