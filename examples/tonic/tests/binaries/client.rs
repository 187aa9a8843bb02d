use std::time::{Duration, Instant};

use programs::{Program, within};
use tokio::{io::AsyncReadExt, net::TcpListener, time::sleep};

use crate::process::{CLIENT, server, start};

fn client(addr: &str, args: &[&str]) -> Program {
    let url = format!("http://{addr}");
    start(CLIENT, &[&["--connect", &url], args].concat())
}

#[tokio::test]
async fn it_prints_each_event_with_the_time_since_the_last_one() {
    let (mut server, addr) = server(&["--immediate"]).await;
    let start = Instant::now();
    let mut client = client(&addr, &[]);
    let mut sum = printed(&mut client, "keepalive").await;

    let pause = Duration::from_millis(500);
    sleep(pause).await;
    server.type_line("backup started").await.unwrap();
    let since = printed(&mut client, r#"created 1 "backup started""#).await;
    assert!(since >= pause, "{since:?}");
    sum += since;

    server.type_line("backup finished").await.unwrap();
    sum += printed(&mut client, r#"created 2 "backup finished""#).await;
    // No time is counted twice.
    assert!(sum <= start.elapsed(), "{sum:?}");
}

/// Expects this event, and returns the time that is printed in front of it.
async fn printed(client: &mut Program, event: &str) -> Duration {
    let line = client.stdout.line().await.unwrap();
    let (since, text) = line.trim().split_once(" s  ").expect(&line);
    assert_eq!(text, event);
    Duration::from_secs_f64(since.parse().unwrap())
}

#[tokio::test]
async fn it_reconnects_when_the_server_is_back() {
    let (mut first, addr) = server(&["--immediate"]).await;
    let mut client = client(&addr, &[]);
    client.stdout.line_with("keepalive").await.unwrap();

    first.kill().await.unwrap();
    client.stderr.line_with("reconnecting in").await.unwrap();
    let _second = server(&["--immediate", "--listen", &addr]).await;
    client.stdout.line_with("keepalive").await.unwrap();
}

#[tokio::test]
async fn it_times_out_on_a_server_that_is_idle_for_too_long() {
    let (_server, addr) = server(&["--keepalive", "0s"]).await;
    let start = Instant::now();
    let mut client = client(&addr, &["--idle-timeout", "300ms"]);
    for _ in 0..2 {
        // On a busy machine, the first attempt may not even connect in time.
        let line = client.stderr.line_with("reconnecting in").await.unwrap();
        assert!(line.contains("idle for 300ms"), "{line}");
    }
    // Two idle times, and a delay of at least half a second between them.
    assert!(start.elapsed() >= Duration::from_millis(300 + 500 + 300));
}

#[tokio::test]
async fn it_times_out_on_a_server_that_never_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let mut client = client(&addr, &["--idle-timeout", "300ms"]);
    let (mut connection, _) = within(listener.accept()).await.unwrap();
    let line = client.stderr.line().await.unwrap();
    assert!(line.contains("idle for 300ms"), "{line}");

    // It has closed the connection, and not only dropped the stream.
    let mut request = Vec::new();
    within(connection.read_to_end(&mut request)).await.unwrap();
}

#[tokio::test]
async fn it_stays_with_a_server_that_sends_keepalives() {
    let (_server, addr) = server(&["--keepalive", "200ms"]).await;
    let mut client = client(&addr, &["--idle-timeout", "2s"]);
    for _ in 0..15 {
        client.stdout.line_with("keepalive").await.unwrap();
    }
    // Three seconds later it is still the first connection.
    client.kill().await.unwrap();
    assert_eq!(client.stderr.rest().await.unwrap(), ["connected"]);
}
