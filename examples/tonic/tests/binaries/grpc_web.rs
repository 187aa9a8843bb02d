use programs::within;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::process::server;

/// A call as a browser makes it: HTTP/1.1, and a body of one empty message.
const CALL: &[u8] = b"POST /v1.Backrest/GetOperationEvents HTTP/1.1\r\n\
    host: localhost\r\n\
    content-type: application/grpc-web+proto\r\n\
    x-grpc-web: 1\r\n\
    content-length: 5\r\n\
    \r\n\
    \0\0\0\0\0";

/// A message of two bytes: an `OperationEvent` whose field 1, the keepalive, is empty.
const KEEPALIVE: &str = "\0\0\0\0\x02\x0a\0";

#[tokio::test]
async fn a_browser_gets_events_over_http_1_on_the_same_port() {
    let (mut server, addr) = server(&["--keepalive", "1h", "--immediate"]).await;
    let mut browser = TcpStream::connect(&addr).await.unwrap();
    browser.write_all(CALL).await.unwrap();

    let head = read_past(&mut browser, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(
        head.contains("content-type: application/grpc-web"),
        "{head}"
    );
    assert!(head.contains("x-accel-buffering: no\r\n"), "{head}");

    read_past(&mut browser, KEEPALIVE).await;
    server.type_line("backup finished").await.unwrap();
    read_past(&mut browser, "backup finished").await;

    drop(browser);
    let gone = server.stderr.line_with("subscriber gone").await.unwrap();
    assert!(gone.contains("events=1 keepalives=1 open=0"), "{gone}");
}

/// Reads up to the first `end`, and returns what has been read.
async fn read_past(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        text.push(within(stream.read_u8()).await.expect(end).into());
    }
    text
}
