use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use tokio::time::timeout;

use crate::{
    process::{CLIENT, server, start},
    subscriber::{Seen, Subscriber},
};

#[tokio::test]
async fn it_prints_the_port_that_it_listens_on() {
    let (_server, addr) = server(&["--listen", "127.0.0.1:0"]).await;
    let addr: SocketAddr = addr.parse().unwrap();
    assert_eq!(addr.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    assert_ne!(addr.port(), 0);
    Subscriber::new(&addr.to_string()).await;
}

#[tokio::test]
async fn a_line_of_stdin_reaches_every_subscriber() {
    let (mut server, addr) = server(&[]).await;
    let mut subscribers = [Subscriber::new(&addr).await, Subscriber::new(&addr).await];
    for line in ["backup started", "backup finished"] {
        server.type_line(line).await.unwrap();
        for subscriber in &mut subscribers {
            assert_eq!(subscriber.next().await.unwrap(), Seen::Created(line.into()));
        }
    }
}

#[tokio::test]
async fn an_idle_stream_gets_keepalives_and_never_early() {
    let start = Instant::now();
    let (_server, addr) = server(&["--keepalive", "200ms"]).await;
    let mut subscriber = Subscriber::new(&addr).await;
    for count in 1..=3 {
        assert_eq!(subscriber.next().await.unwrap(), Seen::Keepalive);
        assert!(start.elapsed() >= count * Duration::from_millis(200));
    }
}

#[tokio::test]
async fn zero_turns_keepalives_off() {
    let (mut server, addr) = server(&["--keepalive", "0s"]).await;
    let mut subscriber = Subscriber::new(&addr).await;
    let idle = timeout(Duration::from_secs(1), subscriber.next()).await;
    assert!(idle.is_err(), "{idle:?}");

    // The stream was idle, but it still works.
    server.type_line("backup finished").await.unwrap();
    let event = Seen::Created("backup finished".into());
    assert_eq!(subscriber.next().await.unwrap(), event);
}

#[tokio::test]
async fn with_immediate_the_first_keepalive_comes_immediately() {
    let (_server, addr) = server(&["--keepalive", "1h", "--immediate"]).await;
    let mut subscriber = Subscriber::new(&addr).await;
    assert_eq!(subscriber.next().await.unwrap(), Seen::Keepalive);
}

#[tokio::test]
async fn proxies_are_told_not_to_buffer() {
    let (_server, addr) = server(&[]).await;
    let subscriber = Subscriber::new(&addr).await;
    assert_eq!(subscriber.headers.get("x-accel-buffering").unwrap(), "no");
}

#[tokio::test]
async fn the_log_counts_events_keepalives_and_open_streams() {
    let (mut server, addr) = server(&["--keepalive", "1h", "--immediate"]).await;
    let mut first = Subscriber::new(&addr).await;
    let opened = server.stderr.line().await.unwrap();
    assert!(opened.contains("subscriber opened peer=127.0.0.1:"));
    assert!(opened.ends_with("open=1"), "{opened}");

    let second = Subscriber::new(&addr).await;
    let opened = server.stderr.line().await.unwrap();
    assert!(opened.ends_with("open=2"), "{opened}");

    server.type_line("backup finished").await.unwrap();
    assert_eq!(first.next().await.unwrap(), Seen::Keepalive);
    first.next().await.unwrap();
    drop(first);
    let gone = server.stderr.line().await.unwrap();
    let counts = r#"events=1 keepalives=1 open=1 reason="the client left""#;
    assert!(gone.contains("subscriber gone"), "{gone}");
    assert!(gone.ends_with(counts), "{gone}");

    drop(second);
    let gone = server.stderr.line().await.unwrap();
    assert!(gone.contains("open=0"), "{gone}");
}

#[tokio::test]
async fn the_log_says_when_a_killed_client_is_gone() {
    let (mut server, addr) = server(&[]).await;
    let mut client = start(CLIENT, &["--connect", &format!("http://{addr}")]);
    server.stderr.line_with("subscriber opened").await.unwrap();
    client.kill().await.unwrap();
    let gone = server.stderr.line_with("subscriber gone").await.unwrap();
    let counts = r#"events=0 keepalives=0 open=0 reason="the client left""#;
    assert!(gone.ends_with(counts), "{gone}");
}
