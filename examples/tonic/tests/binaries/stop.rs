use std::time::Instant;

use programs::Signal;
use tonic::Code;

use crate::{process::server, subscriber::Subscriber};

#[tokio::test]
async fn sigterm_ends_the_streams_and_the_process() {
    ends_all(Signal::SIGTERM).await;
}

#[tokio::test]
async fn ctrl_c_ends_the_streams_and_the_process() {
    ends_all(Signal::SIGINT).await;
}

async fn ends_all(signal: Signal) {
    let (mut server, addr) = server(&[]).await;
    let mut subscriber = Subscriber::new(&addr).await;
    server.send(signal).unwrap();

    let status = subscriber.next().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(status.message(), "the server is stopping");
    assert!(server.ended().await.unwrap().success());
    let gone = server.stderr.line_with("subscriber gone").await.unwrap();
    assert!(
        gone.ends_with(r#"reason="the server is stopping""#),
        "{gone}"
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_does_not_delay_the_end() {
    let (mut server, addr) = server(&[]).await;
    let _stuck = Subscriber::new(&addr).await;
    let mut other = Subscriber::new(&addr).await;
    // More than the flow control of HTTP/2 lets the server send.
    server.type_line(&"long ".repeat(600_000)).await.unwrap();
    other.next().await.unwrap();

    let start = Instant::now();
    server.send(Signal::SIGTERM).unwrap();
    assert!(server.ended().await.unwrap().success());
    // It takes half a second on an idle machine.
    let took = start.elapsed();
    assert!(took < programs::LATE, "{took:?}");
}
