use std::net::SocketAddr;

use axum::Router;
use base64::{Engine, prelude::BASE64_STANDARD};
use stream_keepalive_http::KeepaliveLayer;
use tonic_health::{
    ServingStatus,
    server::{HealthReporter, health_reporter},
};
use tonic_web::GrpcWebLayer;

use crate::support::{Reader, VERSIONS, Version, client, layer, serve};

const WATCH: &str = "/grpc.health.v1.Health/Watch";
const SERVING: &[u8] = b"\0\0\0\0\x02\x08\x01";
const NOT_SERVING: &[u8] = b"\0\0\0\0\x02\x08\x02";
const EMPTY: &[u8] = &[0; 5];

fn filling() -> KeepaliveLayer {
    layer().grpc(|call| call.uri.path() == WATCH)
}

/// A server with both layers, in either order.
async fn health(wrap: impl FnOnce(Router) -> Router) -> (SocketAddr, HealthReporter) {
    let (reporter, health) = health_reporter();
    let app = Router::new().route_service(WATCH, health);
    (serve(wrap(app)).await, reporter)
}

async fn watch(version: Version, server: SocketAddr, text: bool) -> Reader {
    // The message of the request has length zero.
    let (content_type, body) = if text {
        ("application/grpc-web-text", "AAAAAAA=".into())
    } else {
        ("application/grpc-web", EMPTY.to_vec())
    };
    let request = client(version).post(format!("http://{server}{WATCH}"));
    let request = request
        .header("content-type", content_type)
        .header("accept", content_type);
    let response = request.body(body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let found = response.headers()["content-type"].to_str().unwrap();
    assert!(found.starts_with(content_type), "{found}");
    Reader::new(response)
}

/// Returns the bytes of all messages so far.
fn messages(reader: &Reader, text: bool) -> Vec<u8> {
    if !text {
        return reader.received.clone();
    }
    // In base64, each piece that the server has sent may end with padding.
    let whole = reader.received.chunks_exact(4);
    whole
        .flat_map(|quantum| BASE64_STANDARD.decode(quantum).unwrap())
        .collect()
}

async fn until(reader: &mut Reader, text: bool, end: &[u8]) -> Vec<u8> {
    loop {
        let messages = messages(reader, text);
        if messages.ends_with(end) {
            return messages;
        }
        assert!(
            reader.read().await.unwrap(),
            "the response ended after {messages:?}"
        );
    }
}

#[tokio::test]
async fn calls_are_kept_alive_inside_the_layer_of_grpc_web() {
    for version in VERSIONS {
        for text in [false, true] {
            let (server, reporter) =
                health(|app| app.layer(filling()).layer(GrpcWebLayer::new())).await;
            let mut reader = watch(version, server, text).await;
            let found = until(&mut reader, text, &[SERVING, EMPTY, EMPTY, EMPTY].concat()).await;
            assert!(found.starts_with(SERVING), "{version:?} {text}");
            reporter
                .set_service_status("", tonic_health::ServingStatus::NotServing)
                .await;
            until(&mut reader, text, NOT_SERVING).await;
            let found = until(&mut reader, text, &[NOT_SERVING, EMPTY].concat()).await;
            let rest = &found[SERVING.len()..found.len() - NOT_SERVING.len() - EMPTY.len()];
            assert!(
                rest.iter().all(|byte| *byte == 0) && rest.len() % EMPTY.len() == 0,
                "{rest:?}"
            );
        }
    }
}

#[tokio::test]
async fn outside_the_layer_of_grpc_web_all_calls_are_kept_alive_but_those_in_base64() {
    for version in VERSIONS {
        for text in [false, true] {
            let (server, reporter) =
                health(|app| app.layer(GrpcWebLayer::new()).layer(filling())).await;
            let mut reader = watch(version, server, text).await;
            if text {
                until(&mut reader, text, SERVING).await;
                assert!(reader.is_idle().await, "{version:?}");
            } else {
                until(&mut reader, text, &[SERVING, EMPTY, EMPTY].concat()).await;
            }
            reporter
                .set_service_status("", ServingStatus::NotServing)
                .await;
            until(&mut reader, text, NOT_SERVING).await;
        }
    }
}
