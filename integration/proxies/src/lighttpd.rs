//! lighttpd.

use std::net::SocketAddr;

use crate::{
    client::Protocol,
    proxy::{Config, Proxy},
    scenario::{Expected, Scenario, TIMEOUT},
};

pub static LIGHTTPD: Proxy = Proxy {
    name: "lighttpd",
    program: "lighttpd",
    version: &["-v"],
    config: "lighttpd.conf",
    args: &["-D", "-f", "{config}"],
    scenarios: &[
        Scenario {
            name: "lighttpd_that_streams",
            description: "lighttpd, SSE, `stream-response-body = 1`, `read-timeout`",
            protocol: Protocol::Sse,
            timeout: TIMEOUT,
            start: |server, timeout| {
                let timeout = timeout.as_secs();
                let read = format!(r#", "read-timeout" => {timeout}"#);
                LIGHTTPD.with(config(server, &read, "server.stream-response-body = 1"))
            },
            expected: Expected::DATA_COUNTS,
        },
        Scenario {
            name: "lighttpd_with_an_idle_client",
            description: "the same, `max-write-idle`",
            protocol: Protocol::Sse,
            timeout: TIMEOUT,
            start: |server, timeout| {
                let timeout = timeout.as_secs();
                let more = format!(
                    "server.stream-response-body = 1\n\
                     server.max-read-idle = {timeout}\n\
                     server.max-write-idle = {timeout}"
                );
                LIGHTTPD.with(config(server, "", &more))
            },
            expected: Expected::DATA_COUNTS,
        },
        Scenario {
            name: "lighttpd_as_it_comes",
            description: "lighttpd with its defaults: buffering on",
            protocol: Protocol::Sse,
            timeout: TIMEOUT,
            start: |server, timeout| {
                let timeout = timeout.as_secs();
                let read = format!(r#", "read-timeout" => {timeout}"#);
                LIGHTTPD.with(config(server, &read, ""))
            },
            // lighttpd waits for the end of the response.
            expected: Expected::NOTHING_HELPS,
        },
    ],
};

fn config(server: SocketAddr, backend: &str, more: &str) -> Config {
    let (ip, port) = (server.ip(), server.port());
    let (backend, more) = (backend.to_owned(), more.to_owned());
    Box::new(move |addr, folder| {
        format!(
            r#"
server.modules = ("mod_proxy")
server.document-root = "{}"
server.bind = "{}"
server.port = {}
proxy.server = ("" => (("host" => "{ip}", "port" => {port}{backend})))
{more}
"#,
            folder.display(),
            addr.ip(),
            addr.port()
        )
    })
}
