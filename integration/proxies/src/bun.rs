//! Bun, with a server that passes on the response of a `fetch`.

use std::time::Duration;

use crate::{
    client::Protocol,
    proxy::Proxy,
    scenario::{Expected, Scenario},
};

pub static BUN: Proxy = Proxy {
    name: "bun",
    program: PROGRAM,
    version: &["--version"],
    config: "server.js",
    args: &["--eval", r#"eval(await Bun.file("{config}").text())"#],
    scenarios: &[Scenario {
        name: "bun",
        description: "Bun `Bun.serve`, SSE, `idleTimeout`, T = 8 s",
        protocol: Protocol::Sse,
        // Bun checks its timeouts every four seconds.
        timeout: Duration::from_secs(8),
        start: |server, timeout| {
            let timeout = timeout.as_secs();
            BUN.with(Box::new(move |addr, _| {
                format!(
                    r#"
Bun.serve({{
    hostname: "{}",
    port: {},
    idleTimeout: {timeout},
    fetch: request => fetch("http://{server}" + new URL(request.url).pathname, request),
}});
"#,
                    addr.ip(),
                    addr.port()
                )
            }))
        },
        expected: Expected::DATA_COUNTS,
    }],
};

/// Where .ci/install puts it.
const PROGRAM: &str = if cfg!(target_arch = "aarch64") {
    "/opt/node-proxies/node_modules/@oven/bun-linux-aarch64/bin/bun"
} else {
    "/opt/node-proxies/node_modules/@oven/bun-linux-x64/bin/bun"
};
