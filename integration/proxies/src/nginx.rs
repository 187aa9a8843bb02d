//! nginx.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;

use crate::{
    client::Protocol,
    proxy::{Config, Proxy, RunningProxy},
    scenario::{Expected, Scenario, Start, TIMEOUT},
};

pub static NGINX: Proxy = Proxy {
    name: "nginx",
    program: "nginx",
    version: &["-v"],
    config: "nginx.conf",
    args: &["-p", ".", "-e", "log", "-c", "{config}"],
    scenarios: &[
        Scenario {
            name: "nginx_with_grpc_pass",
            description: "nginx `grpc_pass`, `grpc_read_timeout`",
            protocol: Protocol::Grpc,
            timeout: TIMEOUT,
            start: |server, timeout| {
                let timeout = timeout.as_millis();
                grpc_pass(server, &format!("grpc_read_timeout {timeout}ms;"))
            },
            expected: Expected::BYTES_COUNT,
        },
        Scenario {
            name: "nginx_unbuffered",
            description: "nginx `proxy_pass`, HTTP/1.1, `proxy_read_timeout`, `x-accel-buffering: no`",
            protocol: Protocol::GrpcWeb,
            timeout: TIMEOUT,
            start: |server, timeout| proxy_pass(server, timeout, "proxy_http_version 1.1;"),
            expected: Expected::DATA_COUNTS,
        },
        Scenario {
            name: "nginx_with_its_buffer_on",
            description: "the same, that header ignored: buffering on",
            protocol: Protocol::GrpcWeb,
            timeout: TIMEOUT,
            start: |server, timeout| {
                let more = "proxy_http_version 1.1; proxy_ignore_headers X-Accel-Buffering;";
                proxy_pass(server, timeout, more)
            },
            expected: Expected::DATA_COUNTS,
        },
        Scenario {
            name: "nginx_as_it_comes",
            description: "nginx `proxy_pass` with its defaults: HTTP/1.0, buffering on",
            protocol: Protocol::GrpcWeb,
            timeout: TIMEOUT,
            start: |server, timeout| {
                proxy_pass(server, timeout, "proxy_ignore_headers X-Accel-Buffering;")
            },
            // The keepalives stay in the buffer of nginx.
            expected: Expected::NOTHING_HELPS,
        },
    ],
};

/// Starts nginx for gRPC streams, with these directives in its only location.
pub(crate) fn grpc_pass(server: SocketAddr, more: &str) -> Start {
    let location = format!("grpc_pass grpc://{server}; {more}");
    NGINX.with(config(Front::Http2, CONNECTIONS, &location))
}

fn proxy_pass(server: SocketAddr, timeout: Duration, more: &str) -> Start {
    let timeout = timeout.as_millis();
    let location = format!("proxy_pass http://{server}; proxy_read_timeout {timeout}ms; {more}");
    NGINX.with(config(Front::Http1, CONNECTIONS, &location))
}

/// More than a test opens.
pub const CONNECTIONS: usize = 64;

/// The version of HTTP on the side of the clients.
#[derive(Clone, Copy)]
pub enum Front {
    Http1,
    Http2,
}

/// Starts nginx with this [`config`].
pub async fn start(front: Front, connections: usize, location: &str) -> Result<RunningProxy> {
    NGINX.start(config(front, connections, location)).await
}

/// The configuration of an nginx with these directives in its only location.
///
/// `connections` limits the connections to clients and to the server together.
pub fn config(front: Front, connections: usize, location: &str) -> Config {
    // One plain process, so that killing it leaves nothing behind.
    config_of("master_process off;", front, connections, location)
}

/// The same, with these directives for the main context.
pub fn config_of(
    processes: &'static str,
    front: Front,
    connections: usize,
    location: &str,
) -> Config {
    let protocol = match front {
        Front::Http1 => "",
        Front::Http2 => " http2",
    };
    let location = location.to_owned();
    // nginx writes all its files to its own folder.
    Box::new(move |addr, _| {
        format!(
            "
worker_processes 1;
{processes}
daemon off;
pid pid;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path client_body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen {addr}{protocol};
        location / {{ {location} }}
    }}
}}
"
        )
    })
}
