//! The server detects a client that vanishes: its stream is dropped, and the count of streams is zero again.

// The tests stop a proxy with a signal.
#![cfg(unix)]

use std::time::Duration;

use programs::{PATIENCE, Program, Server, Signal, quiet};
use proxies::{
    example,
    nginx::{self, CONNECTIONS, Front},
    proxy::RunningProxy,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::Streaming;
use tonic_events::proto::v1::{OperationEvent, backrest_client::BackrestClient};

async fn server(ping: &str) -> Server {
    let args = ["--keepalive", "200ms", "--ping", ping];
    example::server(&args).await.unwrap()
}

async fn grpc_proxy(server: &Server) -> RunningProxy {
    let location = format!("grpc_pass grpc://{};", server.addr);
    nginx::start(Front::Http2, CONNECTIONS, &location)
        .await
        .unwrap()
}

async fn subscriber(nginx: &RunningProxy) -> Streaming<OperationEvent> {
    let url = format!("http://{}", nginx.addr);
    let mut client = BackrestClient::connect(url).await.unwrap();
    let mut events = client.get_operation_events(()).await.unwrap().into_inner();
    events.message().await.unwrap().expect("no keepalive");
    events
}

/// Expects that no subscriber is left within `patience`.
async fn expect_gone(server: &mut Server, patience: Duration) {
    let gone = timeout(patience, server.program.stderr.line_with("subscriber gone")).await;
    let gone = gone.expect("the server did not notice").unwrap();
    assert!(gone.contains("open=0"), "{gone}");
}

async fn expect_still_there(server: &mut Server, patience: Duration) {
    let gone = timeout(patience, server.program.stderr.line_with("subscriber gone")).await;
    assert!(gone.is_err(), "{gone:?}");
}

#[tokio::test]
#[ignore = "needs nginx: run .ci/install"]
async fn a_killed_client_is_detected_behind_nginx_without_a_ping() {
    let mut server = server("0s").await;
    let nginx = grpc_proxy(&server).await;
    let mut command = quiet(example::binary("client").await.unwrap());
    command.args(["--connect", &format!("http://{}", nginx.addr)]);
    let mut client = Program::start(&mut command).unwrap();
    let opened = server.program.stderr.line_with("subscriber opened").await;
    opened.unwrap();

    client.kill().await.unwrap();
    expect_gone(&mut server, PATIENCE).await;
}

#[tokio::test]
#[ignore = "needs nginx: run .ci/install"]
async fn a_proxy_that_hangs_is_detected_by_a_ping() {
    let mut server = server("500ms").await;
    let nginx = grpc_proxy(&server).await;
    let _subscriber = subscriber(&nginx).await;
    nginx.program.send(Signal::SIGSTOP).unwrap();
    expect_gone(&mut server, PATIENCE).await;
}

#[tokio::test]
#[ignore = "needs nginx: run .ci/install"]
async fn a_ping_does_not_close_a_connection_that_works() {
    let mut server = server("500ms").await;
    let nginx = grpc_proxy(&server).await;
    let _subscriber = subscriber(&nginx).await;
    expect_still_there(&mut server, Duration::from_secs(3)).await;
}

#[tokio::test]
#[ignore = "needs nginx: run .ci/install"]
async fn keepalives_alone_do_not_detect_a_proxy_that_hangs() {
    let mut server = server("0s").await;
    let nginx = grpc_proxy(&server).await;
    let _subscriber = subscriber(&nginx).await;
    nginx.program.send(Signal::SIGSTOP).unwrap();
    // The kernel of the proxy still acknowledges the data that the proxy does not read.
    expect_still_there(&mut server, Duration::from_secs(3)).await;
}

#[tokio::test]
#[ignore = "needs nginx: run .ci/install"]
async fn over_http_1_there_is_no_ping_that_could_detect_it() {
    let mut server = server("500ms").await;
    let location = format!("proxy_pass http://{}; proxy_http_version 1.1;", server.addr);
    let nginx = nginx::start(Front::Http1, CONNECTIONS, &location)
        .await
        .unwrap();
    let mut browser = TcpStream::connect(nginx.addr).await.unwrap();
    let call = b"POST /v1.Backrest/GetOperationEvents HTTP/1.1\r\n\
        host: localhost\r\n\
        content-type: application/grpc-web+proto\r\n\
        content-length: 5\r\n\
        \r\n\
        \0\0\0\0\0";
    browser.write_all(call).await.unwrap();
    timeout(PATIENCE, browser.read_u8()).await.unwrap().unwrap();
    nginx.program.send(Signal::SIGSTOP).unwrap();
    expect_still_there(&mut server, Duration::from_secs(3)).await;
}
