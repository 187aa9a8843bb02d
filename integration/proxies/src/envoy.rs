//! Envoy.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;

use crate::{
    client::Protocol,
    proxy::{Config, Proxy, RunningProxy},
    scenario::{Expected, Scenario, TIMEOUT},
};

pub static ENVOY: Proxy = Proxy {
    name: "envoy",
    program: "envoy",
    version: &["--version"],
    config: "envoy.yaml",
    args: &[
        "--config-path",
        "{config}",
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "error",
    ],
    scenarios: &[
        Scenario {
            name: "envoy_with_an_idle_timeout",
            description: "Envoy `stream_idle_timeout`",
            protocol: Protocol::Grpc,
            timeout: TIMEOUT,
            start: |server, timeout| ENVOY.with(config(server, timeout, Duration::ZERO)),
            expected: Expected::DATA_COUNTS,
        },
        Scenario {
            name: "envoy_with_a_limit_on_the_whole_response",
            description: "Envoy route `timeout` (the whole response)",
            protocol: Protocol::Grpc,
            timeout: TIMEOUT,
            start: |server, timeout| ENVOY.with(config(server, Duration::ZERO, timeout)),
            expected: Expected::NOTHING_HELPS,
        },
    ],
};

/// Starts Envoy, which resets a stream that is idle for `timeout`. It speaks the client's version of HTTP on both sides.
pub async fn start(server: SocketAddr, timeout: Duration) -> Result<RunningProxy> {
    ENVOY.start(config(server, timeout, Duration::ZERO)).await
}

/// Returns a configuration that resets a stream that is idle for `idle`, or that takes longer than `whole` altogether.
/// Zero turns a timeout off.
pub fn config(server: SocketAddr, idle: Duration, whole: Duration) -> Config {
    let (idle, whole) = (idle.as_secs_f64(), whole.as_secs_f64());
    let (ip, port) = (server.ip(), server.port());
    Box::new(move |addr, _| {
        format!(
            r#"
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: {}, port_value: {} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: events
          codec_type: AUTO
          stream_idle_timeout: {idle}s
          route_config:
            virtual_hosts:
            - name: events
              domains: ["*"]
              routes:
              - match: {{ prefix: "/" }}
                route: {{ cluster: events, timeout: {whole}s }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: events
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        use_downstream_protocol_config: {{ http2_protocol_options: {{}} }}
    load_assignment:
      cluster_name: events
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }} }}
"#,
            addr.ip(),
            addr.port()
        )
    })
}
