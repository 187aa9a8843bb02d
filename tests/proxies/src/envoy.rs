//! Envoy in front of a server.

use std::{net::SocketAddr, time::Duration};

use crate::proxy::Proxy;

/// Starts Envoy, which resets a stream that is silent for `silence`, or that takes longer than
/// `whole` altogether; zero turns either off.
pub async fn start(
    server: SocketAddr,
    silence: Duration,
    whole: Duration,
) -> anyhow::Result<Proxy> {
    let (silence, whole) = (silence.as_secs_f64(), whole.as_secs_f64());
    let (ip, port) = (server.ip(), server.port());
    Proxy::start(
        "envoy",
        |command, _| {
            command.args(["--config-path", "config.yaml", "--concurrency", "1"]);
            command.args(["--disable-hot-restart", "--log-level", "error"]);
        },
        |addr, _| {
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
          codec_type: HTTP2
          stream_idle_timeout: {silence}s
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
        explicit_http_config: {{ http2_protocol_options: {{}} }}
    load_assignment:
      cluster_name: events
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }} }}
"#,
                addr.ip(),
                addr.port()
            )
        },
    )
    .await
}
