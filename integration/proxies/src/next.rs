//! Next.js, whose rewrites pass requests on to another server.

use std::{net::SocketAddr, time::Duration};

use crate::{
    client::Protocol,
    node::{FOLDER, NODE, version},
    proxy::{Config, Proxy},
    scenario::{Expected, Scenario, TIMEOUT},
};

pub static NEXT: Proxy = Proxy {
    name: "next",
    program: NODE,
    version: version!("next"),
    config: "server.cjs",
    args: &["{config}"],
    scenarios: &[
        Scenario {
            name: "next",
            description: "Next.js `rewrites`, SSE, `experimental.proxyTimeout`, `compress: false`",
            protocol: Protocol::Sse,
            timeout: TIMEOUT,
            start: |server, timeout| NEXT.with(rewrite(server, timeout, false)),
            expected: Expected::DATA_COUNTS,
        },
        Scenario {
            name: "next_that_compresses",
            description: "the same with its default, `compress: true`",
            protocol: Protocol::Sse,
            timeout: TIMEOUT,
            start: |server, timeout| NEXT.with(rewrite(server, timeout, true)),
            expected: Expected::NOTHING_HELPS,
        },
    ],
};

/// Next.js that rewrites every path to the server.
///
/// It runs in development, where it needs no build. Its rewrites are the same in production.
pub fn rewrite(server: SocketAddr, timeout: Duration, compress: bool) -> Config {
    let timeout = timeout.as_millis();
    Box::new(move |addr, _| {
        format!(
            r#"
const {{ existsSync, mkdirSync, symlinkSync, writeFileSync }} = require("fs");
process.env.NEXT_TELEMETRY_DISABLED = "1";
// It wants a folder for pages, and to find itself in the folder of the application.
mkdirSync("pages", {{ recursive: true }});
if (!existsSync("node_modules")) symlinkSync("{FOLDER}node_modules", "node_modules");
writeFileSync("next.config.js", `module.exports = {{
    compress: {compress},
    experimental: {{ proxyTimeout: {timeout} }},
    rewrites: async () => [{{ source: "/:path*", destination: "http://{server}/:path*" }}],
    turbopack: {{ root: "/" }},
}}`);
const next = require("{FOLDER}node_modules/next");
const [hostname, port] = ["{}", {}];
const app = next({{ dev: true, dir: process.cwd(), hostname, port }});
app.prepare().then(() => require("http").createServer(app.getRequestHandler()).listen(port, hostname));
"#,
            addr.ip(),
            addr.port()
        )
    })
}
