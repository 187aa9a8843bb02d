//! What stands between server and client, each in a way that is common.

use std::{net::SocketAddr, time::Duration};

use crate::{
    apache, caddy,
    client::Protocol::{self, Grpc, GrpcWeb},
    envoy, haproxy,
    nginx::{self, Front},
    proxy::Proxy,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    Direct,
    NginxGrpc,
    NginxUnbuffered,
    NginxBuffered,
    NginxDefaults,
    HaproxyHttp2,
    HaproxyHttp1,
    Envoy,
    EnvoyWhole,
    Caddy,
    Apache,
}

impl Setup {
    pub const ALL: [Self; 11] = [
        Self::Direct,
        Self::NginxGrpc,
        Self::NginxUnbuffered,
        Self::NginxBuffered,
        Self::NginxDefaults,
        Self::HaproxyHttp2,
        Self::HaproxyHttp1,
        Self::Envoy,
        Self::EnvoyWhole,
        Self::Caddy,
        Self::Apache,
    ];

    /// What it is, in the words of its configuration.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Direct => "none",
            Self::NginxGrpc => "nginx `grpc_pass`, `grpc_read_timeout`",
            Self::NginxUnbuffered => {
                "nginx `proxy_pass`, HTTP/1.1, `proxy_read_timeout`, `x-accel-buffering: no`"
            }
            Self::NginxBuffered => "the same, that header ignored: buffering on",
            Self::NginxDefaults => "nginx `proxy_pass` as it comes: HTTP/1.0, buffering on",
            Self::HaproxyHttp2 => "HAProxy h2c, `timeout server`",
            Self::HaproxyHttp1 => "HAProxy HTTP/1.1, `timeout server`",
            Self::Envoy => "Envoy `stream_idle_timeout`",
            Self::EnvoyWhole => "Envoy route `timeout` (the whole response)",
            Self::Caddy => "Caddy h2c, `read_timeout`",
            Self::Apache => "Apache mod_proxy_http2, `timeout=`",
        }
    }

    pub fn protocol(self) -> Protocol {
        match self {
            Self::NginxUnbuffered
            | Self::NginxBuffered
            | Self::NginxDefaults
            | Self::HaproxyHttp1 => GrpcWeb,
            _ => Grpc,
        }
    }

    /// Starts it in front of a server, with `silence` as its timeout.
    pub async fn start(
        self,
        server: SocketAddr,
        silence: Duration,
    ) -> anyhow::Result<Option<Proxy>> {
        let ms = silence.as_millis();
        let http1 =
            |more: &str| format!("proxy_pass http://{server}; proxy_read_timeout {ms}ms; {more}");
        let buffered = "proxy_ignore_headers X-Accel-Buffering;";
        let proxy = match self {
            Self::Direct => return Ok(None),
            Self::NginxGrpc => {
                let location = format!("grpc_pass grpc://{server}; grpc_read_timeout {ms}ms;");
                nginx::start(Front::Http2, 64, &location).await
            }
            Self::NginxUnbuffered => {
                nginx::start(Front::Http1, 64, &http1("proxy_http_version 1.1;")).await
            }
            Self::NginxBuffered => {
                let more = format!("proxy_http_version 1.1; {buffered}");
                nginx::start(Front::Http1, 64, &http1(&more)).await
            }
            Self::NginxDefaults => nginx::start(Front::Http1, 64, &http1(buffered)).await,
            Self::HaproxyHttp2 => haproxy::start(&[server], " proto h2", silence).await,
            Self::HaproxyHttp1 => haproxy::start(&[server], "", silence).await,
            Self::Envoy => envoy::start(server, silence, Duration::ZERO).await,
            Self::EnvoyWhole => envoy::start(server, Duration::ZERO, silence).await,
            Self::Caddy => caddy::start(server, silence).await,
            Self::Apache => apache::start(server, silence).await,
        };
        proxy.map(Some)
    }
}
