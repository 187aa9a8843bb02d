//! Varnish.

use std::{net::SocketAddr, time::Duration};

use crate::{
    client::Protocol,
    proxy::{Config, Proxy},
    scenario::{Expected, Scenario, TIMEOUT},
};

pub static VARNISH: Proxy = Proxy {
    name: "varnishd",
    program: "varnishd",
    version: &["-V"],
    config: "commands.cli",
    // The file is a list of commands, which include the configuration.
    args: &[
        "-F", "-j", "none", "-n", "{folder}", "-a", "{addr}", "-f", "", "-I", "{config}",
    ],
    scenarios: &[
        Scenario {
            name: "varnish",
            description: "Varnish, SSE, `between_bytes_timeout`",
            protocol: Protocol::Sse,
            timeout: TIMEOUT,
            start: |server, timeout| VARNISH.with(config(server, timeout, FAR_AWAY)),
            expected: Expected::DATA_COUNTS,
        },
        Scenario {
            name: "varnish_with_a_limit_on_the_whole_response",
            description: "Varnish, SSE, `send_timeout` (the whole response)",
            protocol: Protocol::Sse,
            timeout: TIMEOUT,
            start: |server, timeout| VARNISH.with(config(server, FAR_AWAY, timeout)),
            expected: Expected::NOTHING_HELPS,
        },
    ],
};

const FAR_AWAY: Duration = Duration::from_secs(3600);

/// Returns a configuration that cuts off a server that is idle for `idle`, and a response that takes longer than
/// `whole` altogether.
fn config(server: SocketAddr, idle: Duration, whole: Duration) -> Config {
    let (idle, whole) = (idle.as_secs_f64(), whole.as_secs_f64());
    let (ip, port) = (server.ip(), server.port());
    Box::new(move |_, _| {
        format!(
            r#"
param.set send_timeout {whole}
vcl.inline events << END
vcl 4.1;
backend events {{ .host = "{ip}"; .port = "{port}"; .between_bytes_timeout = {idle}s; }}
END
vcl.use events
"#
        )
    })
}
