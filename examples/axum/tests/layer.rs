//! Starts the example, and reads the routes that it prints.

use std::net::SocketAddr;

use programs::{Server, piped, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Reads a route until the body contains `end`, and returns the body without its chunk sizes.
async fn read(address: SocketAddr, path: &str, end: &str) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut received = String::new();
    let mut bytes = [0; 1024];
    loop {
        let count = connection.read(&mut bytes).await.unwrap();
        assert!(count > 0, "the end came after {received:?}");
        received += std::str::from_utf8(&bytes[..count]).unwrap();
        let (_, body) = received.split_once("\r\n\r\n").unwrap_or_default();
        let body: String = body.split("\r\n").skip(1).step_by(2).collect();
        if body.contains(end) {
            return body;
        }
    }
}

#[tokio::test]
async fn each_route_is_kept_alive_and_its_plain_counterpart_is_not() {
    let mut command = piped(env!("CARGO_BIN_EXE_layer"));
    command.args(["--listen", "127.0.0.1:0"]);
    let Server { addr, .. } = &Server::start(&mut command).await.unwrap();
    let read = |path, end| read(*addr, path, end);
    // Concurrently, because each takes some seconds.
    let (events, plain_events, lines, plain_lines, relayed, plain_relayed) = within(async {
        tokio::join!(
            read("/events", "data: 2\n\n"),
            read("/plain/events", "data: 2\n\n"),
            read("/lines", "{\"number\":2}\n"),
            read("/plain/lines", "{\"number\":2}\n"),
            read("/relay", " event\n\n:\n\n"),
            read("/plain/relay", " event\n\n"),
        )
    })
    .await;

    assert!(events.starts_with("data: 1\n\n:\n\n"), "{events:?}");
    assert_eq!(events.replace(":\n\n", ""), "data: 1\n\ndata: 2\n\n");
    assert_eq!(plain_events, "data: 1\n\ndata: 2\n\n");

    assert!(lines.starts_with("{\"number\":1}\n\n"), "{lines:?}");
    assert_eq!(plain_lines, "{\"number\":1}\n{\"number\":2}\n");

    assert!(relayed.starts_with(":\n\n"), "{relayed:?}");
    assert_eq!(relayed.replace(":\n\n", ""), "data: half an event\n\n");
    assert_eq!(plain_relayed, "data: half an event\n\n");
}
