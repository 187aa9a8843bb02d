//! nghttpx, the proxy of nghttp2.

use std::{net::SocketAddr, time::Duration};

use crate::{
    client::Protocol,
    proxy::{Config, Proxy},
    scenario::{Expected, Scenario, TIMEOUT},
};

pub static NGHTTPX: Proxy = Proxy {
    name: "nghttpx",
    program: "nghttpx",
    version: &["-v"],
    config: "nghttpx.conf",
    args: &["--conf", "{config}"],
    scenarios: &[
        Scenario {
            name: "nghttpx_with_http_2",
            description: "nghttpx h2c, `backend-read-timeout`",
            protocol: Protocol::Grpc,
            timeout: TIMEOUT,
            start: |server, timeout| NGHTTPX.with(config(server, ";;proto=h2", timeout)),
            expected: Expected::BYTES_COUNT,
        },
        Scenario {
            name: "nghttpx_with_http_1",
            description: "nghttpx HTTP/1.1, SSE, `backend-read-timeout`",
            protocol: Protocol::Sse,
            timeout: TIMEOUT,
            start: |server, timeout| NGHTTPX.with(config(server, "", timeout)),
            expected: Expected::DATA_COUNTS,
        },
    ],
};

fn config(server: SocketAddr, proto: &'static str, timeout: Duration) -> Config {
    let timeout = timeout.as_millis();
    Box::new(move |addr, _| {
        format!(
            "
frontend={},{};no-tls
backend={},{}{proto}
backend-read-timeout={timeout}ms
workers=1
single-process=yes
accesslog-file=/dev/null
errorlog-file=/dev/stderr
",
            addr.ip(),
            addr.port(),
            server.ip(),
            server.port()
        )
    })
}
