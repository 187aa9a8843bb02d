use std::{
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, Mutex},
};

use futures::TryStreamExt;
use http::{HeaderMap, HeaderValue, Response};
use stream_keepalive_http::KeepaliveLayer;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::Command,
    time::timeout,
};
use tonic::{
    Streaming,
    codec::CompressionEncoding,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_health::{
    ServingStatus as Serving,
    pb::{
        HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
        health_client::HealthClient,
    },
    server::{HealthReporter, health_reporter},
};

use tower::util::MapResponseLayer;

use crate::support::{IDLE, layer};

const WATCH: &str = "/grpc.health.v1.Health/Watch";

fn filling() -> KeepaliveLayer {
    layer().grpc(|call| call.uri.path() == WATCH)
}

async fn serve(layer: Option<KeepaliveLayer>) -> (SocketAddr, HealthReporter) {
    let (address, reporter, _) = serve_and_record(layer).await;
    (address, reporter)
}

/// The message encodings of the responses so far.
type Encodings = Arc<Mutex<Vec<Option<HeaderValue>>>>;

/// The health service, whose stream is idle until a status changes.
async fn serve_and_record(
    layer: Option<KeepaliveLayer>,
) -> (SocketAddr, HealthReporter, Encodings) {
    let encodings = Encodings::default();
    let record = {
        let encodings = encodings.clone();
        move |headers: &HeaderMap| {
            let encoding = headers.get("grpc-encoding").cloned();
            encodings.lock().unwrap().push(encoding);
        }
    };
    let (reporter, health) = health_reporter();
    let health = health
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(async {
        let server = match layer {
            Some(layer) => {
                let recorded = MapResponseLayer::new(move |response: Response<_>| {
                    record(response.headers());
                    response
                });
                let mut server = Server::builder().layer(recorded).layer(layer);
                server
                    .add_service(health)
                    .serve_with_incoming(incoming)
                    .await
            }
            None => {
                Server::builder()
                    .add_service(health)
                    .serve_with_incoming(incoming)
                    .await
            }
        };
        server.unwrap();
    });
    (address, reporter, encodings)
}

pub async fn connect(server: SocketAddr) -> HealthClient<Channel> {
    let endpoint = Endpoint::try_from(format!("http://{server}")).unwrap();
    HealthClient::new(endpoint.connect().await.unwrap())
}

async fn watch(server: SocketAddr, gzip: bool) -> Streaming<HealthCheckResponse> {
    let mut client = connect(server).await;
    if gzip {
        client = client
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
    }
    let response = client.watch(HealthCheckRequest::default()).await.unwrap();
    let encoding = response
        .metadata()
        .get("grpc-encoding")
        .map(|encoding| encoding.to_str().unwrap());
    assert_eq!(encoding, gzip.then_some("gzip"));
    response.into_inner()
}

async fn next(statuses: &mut Streaming<HealthCheckResponse>) -> ServingStatus {
    statuses.try_next().await.unwrap().expect("no end").status()
}

#[tokio::test]
async fn a_call_is_kept_alive_with_empty_messages() {
    for gzip in [false, true] {
        let (server, reporter) = serve(Some(filling())).await;
        let mut statuses = watch(server, gzip).await;
        assert_eq!(next(&mut statuses).await, ServingStatus::Serving);
        for _ in 0..5 {
            assert_eq!(next(&mut statuses).await, ServingStatus::Unknown);
        }
        reporter.set_service_status("", Serving::NotServing).await;
        let status = loop {
            match next(&mut statuses).await {
                ServingStatus::Unknown => {}
                status => break status,
            }
        };
        assert_eq!(status, ServingStatus::NotServing);
    }
}

#[tokio::test]
async fn a_call_that_is_not_accepted_gets_no_keepalives() {
    for layer in [
        None,
        Some(layer()),
        Some(layer().grpc(|call| call.uri.path() != WATCH)),
    ] {
        let (server, reporter) = serve(layer).await;
        let mut statuses = watch(server, false).await;
        assert_eq!(next(&mut statuses).await, ServingStatus::Serving);
        assert!(timeout(10 * IDLE, statuses.try_next()).await.is_err());
        reporter.set_service_status("", Serving::NotServing).await;
        assert_eq!(next(&mut statuses).await, ServingStatus::NotServing);
    }
}

#[tokio::test]
async fn a_unary_call_of_the_same_service_is_not_changed() {
    let (server, _reporter) = serve(Some(filling().immediate())).await;
    let mut client = connect(server).await;
    let response = client
        .check(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(response.status(), ServingStatus::Serving);
    let unknown = HealthCheckRequest {
        service: "unknown".to_owned(),
    };
    let status = client.check(unknown).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn a_call_that_fails_before_its_first_message_is_not_changed() {
    let (server, _reporter) = serve(Some(filling().immediate())).await;
    let mut client = connect(server).await;
    let unknown = HealthCheckRequest {
        service: "unknown".to_owned(),
    };
    let status = client.watch(unknown).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn a_call_that_ends_after_keepalives_ends_with_its_own_status() {
    for gzip in [false, true] {
        let (server, mut reporter) = serve(Some(filling())).await;
        let mut statuses = watch(server, gzip).await;
        assert_eq!(next(&mut statuses).await, ServingStatus::Serving);
        assert_eq!(next(&mut statuses).await, ServingStatus::Unknown);
        reporter.clear_service_status("").await;
        while let Some(status) = statuses.try_next().await.unwrap() {
            assert_eq!(status.status(), ServingStatus::Unknown);
        }
        let trailers = statuses.trailers().await.unwrap().unwrap();
        assert_eq!(trailers.get("grpc-status").unwrap(), "0");
    }
}

#[tokio::test]
#[ignore = "needs grpcio: run .ci/install"]
async fn the_python_client_reads_empty_messages() {
    let (server, reporter, encodings) = serve_and_record(Some(filling())).await;
    let python = std::env::var("PYTHON").unwrap_or("python3".to_owned());
    let mut client = Command::new(python)
        .args([
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/watch.py"),
            &server.to_string(),
        ])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut messages = BufReader::new(client.stdout.take().unwrap()).lines();
    let mut next = async || messages.next_line().await.unwrap().expect("no end");

    // Field 1 of the message is the status: 1 is SERVING, 2 is NOT_SERVING.
    assert_eq!(next().await, "0801");
    // It asks for gzip by itself.
    let encodings = encodings.lock().unwrap().clone();
    assert_eq!(encodings, [Some(HeaderValue::from_static("gzip"))]);
    for _ in 0..5 {
        assert_eq!(next().await, "");
    }
    reporter.set_service_status("", Serving::NotServing).await;
    let status = loop {
        let message = next().await;
        if !message.is_empty() {
            break message;
        }
    };
    assert_eq!(status, "0802");
}
