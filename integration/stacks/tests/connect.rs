//! The layers around a server and a client of connectrpc.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use bytes::Bytes;
use connectrpc::{
    ConnectError, ErrorCode, Protocol,
    client::{ClientBody, ClientConfig, ClientTransport, HttpClient, ServiceTransport},
    codec::CodecFormat,
};
use connectrpc_health::{
    HealthClient, StaticChecker, Status, install_static,
    wire::{HEALTH_WATCH_SPEC, HealthCheckRequest, HealthCheckResponse, ServingStatus},
};
use http_body::Body;
use hyper_util::{client::legacy, rt::TokioExecutor};
use programs::{Forwarder, within};
use stream_keepalive_http::{GrpcClientLayer, KeepaliveLayer};
use tokio::time::sleep;
use tower::Layer;

use crate::support::{IDLE, layer, proxy, serve};

/// A client ends a call after three times that, so it leaves room for a busy machine.
const PROMISED: Duration = Duration::from_millis(500);

const PROTOCOLS: [Protocol; 3] = [Protocol::Connect, Protocol::Grpc, Protocol::GrpcWeb];

/// The health service, for all three protocols.
async fn health(layer: Option<KeepaliveLayer>) -> (SocketAddr, Arc<StaticChecker>) {
    let (connect, checker) = install_static(connectrpc::Router::new(), [""]);
    let app = Router::new().fallback_service(connect.into_axum_service());
    let app = match layer {
        Some(layer) => app.layer(layer),
        None => app,
    };
    (serve(app).await, checker)
}

fn watches_only() -> KeepaliveLayer {
    layer().grpc(|call| call.uri.path() == HEALTH_WATCH_SPEC.procedure)
}

/// Watches the status, and passes each message to `see` until it returns `true`.
async fn watch<T>(
    transport: T,
    server: SocketAddr,
    protocol: Protocol,
    format: CodecFormat,
    mut see: impl AsyncFnMut(ServingStatus) -> bool,
) -> Result<(), ConnectError>
where
    T: ClientTransport,
    T::ResponseBody: Body<Data = Bytes> + Unpin,
    <T::ResponseBody as Body>::Error: std::fmt::Display,
{
    let config = ClientConfig::new(format!("http://{server}").parse().unwrap())
        .with_protocol(protocol)
        .with_codec_format(format);
    let client = HealthClient::new(transport, config);
    let mut statuses = client.watch(HealthCheckRequest::default()).await?;
    while let Some(message) = statuses.message::<HealthCheckResponse>().await? {
        let status = message.to_owned_message().status;
        if see(status.as_known().expect("a status of the service")).await {
            return Ok(());
        }
    }
    panic!("the call has ended without an error");
}

#[tokio::test]
async fn calls_of_all_protocols_outlive_a_proxy_that_cuts_idle_connections() {
    for protocol in PROTOCOLS {
        for format in [CodecFormat::Proto, CodecFormat::Json] {
            // The layer does not know messages of JSON in gRPC and gRPC-Web.
            let is_filled = protocol == Protocol::Connect || format == CodecFormat::Proto;
            for layer in [None, Some(watches_only())] {
                let lives = is_filled && layer.is_some();
                let (server, checker) = health(layer).await;
                let proxy = proxy(server, 20 * IDLE).await;
                let (mut keepalives, mut serving) = (0, 0);
                let client = HttpClient::plaintext_http2_only();
                let found = within(watch(client, proxy, protocol, format, async |status| {
                    match status {
                        ServingStatus::UNKNOWN => keepalives += 1,
                        ServingStatus::SERVING => serving += 1,
                        _ => return true,
                    }
                    if keepalives == 30 {
                        checker.set_status("", Status::NotServing).unwrap();
                    }
                    false
                }))
                .await;
                assert_eq!(found.is_ok(), lives, "{protocol} {format:?}: {found:?}");
                assert_eq!(serving, 1, "{protocol} {format:?}");
                assert_eq!(keepalives > 0, lives, "{protocol} {format:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_client_with_the_layer_sees_no_keepalives_and_notices_a_frozen_network() {
    let (server, checker) = health(Some(KeepaliveLayer::new(PROMISED))).await;
    let network = Forwarder::start(server).await.unwrap();
    let mut http = legacy::Client::builder(TokioExecutor::new());
    let http = http.http2_only(true).build_http::<ClientBody>();
    let transport = ServiceTransport::new(GrpcClientLayer::new().layer(http));
    let (protocol, format) = (Protocol::Grpc, CodecFormat::Proto);
    let mut seen = Vec::new();
    let found = watch(transport, network.addr, protocol, format, async |status| {
        seen.push(status);
        if status == ServingStatus::SERVING {
            let checker = checker.clone();
            tokio::spawn(async move {
                // Without keepalives, the call would have ended before.
                sleep(5 * PROMISED).await;
                checker.set_status("", Status::NotServing).unwrap();
            });
        } else {
            network.freeze();
        }
        false
    });
    let error = within(found).await.unwrap_err();
    assert_eq!(seen, [ServingStatus::SERVING, ServingStatus::NOT_SERVING]);
    assert_eq!(error.code, ErrorCode::Unavailable, "{error}");
    assert_eq!(error.message.as_deref(), Some("nothing received for 1.5s"));
}
