//! gRPC calls that ask for keepalives which their handlers and decoders do not see.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use axum::Router;
use bytes::Bytes;
use futures::TryStreamExt;
use hyper_util::{client::legacy, rt::TokioExecutor};
use programs::{Forwarder, within};
use stream_keepalive_http::{GrpcClientLayer, KeepaliveLayer};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};
use tonic::{
    Code,
    body::Body,
    client::GrpcService,
    codegen::StdError,
    transport::{Channel, Endpoint},
};
use tonic_health::{
    ServingStatus as Serving,
    pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
    server::{HealthReporter, health_reporter},
};
use tonic_web::{GrpcWebClientLayer, GrpcWebLayer};
use tower::ServiceBuilder;

use crate::support::{Reader, VERSIONS, Version, client, serve};

/// A client ends a call after three times that, so it leaves room for a busy machine.
const IDLE: Duration = Duration::from_millis(500);
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const SERVING: &[u8] = b"\0\0\0\0\x02\x08\x01";
const MARKER: &[u8] = b"\0\0\0\0\x06\xf8\xff\xff\xff\x0f\0";

/// The health service, for gRPC and gRPC-Web.
async fn health() -> (SocketAddr, HealthReporter) {
    let (app, reporter) = app();
    (serve(app).await, reporter)
}

fn app() -> (Router, HealthReporter) {
    let (reporter, health) = health_reporter();
    let app = Router::new().route_service(WATCH, health);
    let app = app
        .layer(KeepaliveLayer::new(IDLE))
        .layer(GrpcWebLayer::new());
    (app, reporter)
}

/// A server behind a network that can freeze.
struct Watched {
    reporter: HealthReporter,
    network: Forwarder,
}

async fn watched() -> Watched {
    let (server, reporter) = health().await;
    let network = Forwarder::start(server).await.unwrap();
    Watched { reporter, network }
}

/// Watches a status that changes once, after an idle time that only keepalives survive. Then the network
/// freezes.
async fn sees_changes_only<T>(mut client: HealthClient<T>, servers: &[Watched])
where
    T: GrpcService<Body>,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<StdError> + Send,
{
    let response = client.watch(HealthCheckRequest::default()).await.unwrap();
    assert!(!response.metadata().contains_key("stream-keepalive"));
    let mut statuses = response.into_inner();
    let first = statuses.try_next().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    let idle = timeout(5 * IDLE, statuses.try_next()).await;
    assert!(idle.is_err(), "{idle:?}");
    for server in servers {
        let reporter = &server.reporter;
        reporter.set_service_status("", Serving::NotServing).await;
    }
    let second = statuses.try_next().await.unwrap().unwrap();
    assert_eq!(second.status(), ServingStatus::NotServing);
    for server in servers {
        server.network.freeze();
    }
    let status = within(statuses.try_next()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "nothing received for 1.5s");
}

#[tokio::test]
async fn a_client_of_grpc_web_sees_no_keepalives() {
    for version in VERSIONS {
        let server = watched().await;
        let mut http = legacy::Client::builder(TokioExecutor::new());
        let http = http
            .http2_only(matches!(version, Version::Http2))
            .build_http();
        let web = ServiceBuilder::new()
            .layer(GrpcClientLayer::new())
            .layer(GrpcWebClientLayer::new())
            .service(http);
        let origin = format!("http://{}", server.network.addr).parse().unwrap();
        sees_changes_only(HealthClient::with_origin(web, origin), &[server]).await;
    }
}

#[tokio::test]
async fn a_client_of_grpc_web_that_asks_by_hand_gets_them() {
    // An outer layer for all routes leaves the question to the inner one.
    for (version, outer) in VERSIONS.into_iter().flat_map(|version| {
        [None, Some(Duration::ZERO), Some(10 * IDLE)].map(|outer| (version, outer))
    }) {
        let (app, _reporter) = app();
        let server = serve(match outer {
            Some(idle) => app.layer(KeepaliveLayer::new(idle)),
            None => app,
        })
        .await;
        let request = client(version)
            .post(format!("http://{server}{WATCH}"))
            .header("content-type", "application/grpc-web")
            .header("stream-keepalive", "1")
            .body([0; 5].to_vec());
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["stream-keepalive"], "500");
        // nginx may buffer it if it comes over HTTP/1.
        let asks_nginx = response.headers().contains_key("x-accel-buffering");
        assert_eq!(asks_nginx, matches!(version, Version::Http1));
        let mut reader = Reader::new(response);
        while reader.received.len() < SERVING.len() + 2 * MARKER.len() {
            assert!(reader.read().await.unwrap());
        }
        assert_eq!(reader.received, [SERVING, MARKER, MARKER].concat());
    }
}

#[tokio::test]
async fn a_channel_that_balances_its_load_sees_no_keepalives() {
    let servers = [watched().await, watched().await];
    let endpoints = servers.each_ref().map(|server| {
        let url = format!("http://{}", server.network.addr);
        Endpoint::try_from(url).unwrap()
    });
    let channel = Channel::balance_list(endpoints.into_iter());
    let channel = ServiceBuilder::new()
        .layer(GrpcClientLayer::new())
        .service(channel);
    sees_changes_only(HealthClient::new(channel), &servers).await;
}

/// Starts Google's client for Python, which prints each message.
fn python(args: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let python = std::env::var("PYTHON").unwrap_or("python3".to_owned());
    let mut client = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/watch.py"))
        .args(args)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let messages = BufReader::new(client.stdout.take().unwrap()).lines();
    (client, messages)
}

#[tokio::test]
#[ignore = "needs grpcio and protovalidate: run .ci/install"]
async fn the_python_client_sees_nothing_unless_it_asks() {
    let (server, reporter) = health().await;
    let (_client, mut messages) = python(&[&server.to_string()]);
    assert_eq!(messages.next_line().await.unwrap().unwrap(), "0801");
    assert!(timeout(5 * IDLE, messages.next_line()).await.is_err());
    reporter.set_service_status("", Serving::NotServing).await;
    assert_eq!(messages.next_line().await.unwrap().unwrap(), "0802");
}

#[tokio::test]
#[ignore = "needs grpcio and protovalidate: run .ci/install"]
async fn the_python_client_decodes_default_messages_if_it_asks() {
    let (server, reporter) = health().await;
    let (_client, mut messages) = python(&[&server.to_string(), "ask"]);
    let mut next = async || messages.next_line().await.unwrap().expect("no end");
    assert_eq!(next().await, "promise 500");
    assert_eq!(next().await, "0801 is 1");
    for _ in 0..3 {
        assert_eq!(next().await, "f8ffffff0f00 is 0");
    }
    reporter.set_service_status("", Serving::NotServing).await;
    let status = loop {
        let message = next().await;
        if message != "f8ffffff0f00 is 0" {
            break message;
        }
    };
    assert_eq!(status, "0802 is 2");
}
