//! Two servers and one subject: what happens to streams when a server or the broker goes away.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use futures::{
    StreamExt,
    future::{join_all, try_join_all},
};
use programs::{Program, Server, free_addr, piped, quiet, within};
use proxies::{
    client, example,
    haproxy::{self, Version},
};
use tokio::time::{sleep, timeout};
use tonic::{Code, Status, Streaming};
use tonic_events::proto::v1::{OperationEvent, operation_event::Event};

/// A broker that can be restarted at the same address.
struct Broker {
    addr: SocketAddr,
    program: Program,
}

impl Broker {
    async fn start() -> Self {
        Self::start_at(free_addr().unwrap()).await
    }

    async fn start_at(addr: SocketAddr) -> Self {
        let mut command = quiet("nats-server");
        command.args(["-a", &addr.ip().to_string(), "-p", &addr.port().to_string()]);
        let mut program = Program::start(&mut command).unwrap();
        assert!(program.accepts(addr).await.unwrap(), "the broker has ended");
        Self { addr, program }
    }

    async fn kill(&mut self) {
        self.program.kill().await.unwrap();
    }

    async fn restart(&mut self) {
        self.kill().await;
        sleep(Duration::from_millis(300)).await;
        *self = Self::start_at(self.addr).await;
    }

    async fn server(&self, idle_timeout: &str) -> Server {
        self.server_at(idle_timeout, (Ipv4Addr::LOCALHOST, 0).into())
            .await
    }

    async fn server_at(&self, idle_timeout: &str, addr: SocketAddr) -> Server {
        let mut command = piped(env!("CARGO_BIN_EXE_nats-events"));
        command.args(["--listen", &addr.to_string()]);
        command.args(["--nats", &self.addr.to_string()]);
        command.args(["--keepalive", "200ms", "--idle-timeout", idle_timeout]);
        Server::start(&mut command).await.unwrap()
    }
}

async fn open(server: &Server) -> Streaming<OperationEvent> {
    within(client::grpc(server.addr)).await.unwrap()
}

/// A broker, a server, and a subscriber that has seen an event.
async fn live(idle_timeout: &str) -> (Broker, Server, Streaming<OperationEvent>) {
    let broker = Broker::start().await;
    let mut server = broker.server(idle_timeout).await;
    let mut events = open(&server).await;
    let text = publish_until(&mut server, "before", next_text(&mut events)).await;
    assert!(text.unwrap().starts_with("before"));
    (broker, server, events)
}

/// Returns the text of the next event that is not a keepalive.
async fn next_text(events: &mut Streaming<OperationEvent>) -> Result<String, Status> {
    loop {
        let event = events.next().await.expect("an end without a status")?.event;
        if let Some(Event::CreatedOperations(mut list)) = event {
            return Ok(list.operations.remove(0).display_message);
        }
    }
}

/// Makes the server publish one line after the other until `seen` is ready.
async fn publish_until<T>(server: &mut Server, what: &str, seen: impl Future<Output = T>) -> T {
    let publish = async {
        for number in 0.. {
            let line = format!("{what} {number}");
            server.program.type_line(&line).await.unwrap();
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        seen = within(seen) => seen,
        () = publish => unreachable!("it publishes forever"),
    }
}

/// The client of `tonic-events`, as a user runs it.
async fn client(addr: SocketAddr) -> Program {
    let mut command = piped(example::binary("client").await.unwrap());
    command.args([
        "--connect",
        &format!("http://{addr}"),
        "--idle-timeout",
        "2s",
    ]);
    let mut client = Program::start(&mut command).unwrap();
    client.stderr.line_with("connected").await.unwrap();
    client
}

async fn all_see(clients: &mut [Program], text: &str) {
    let lines = clients
        .iter_mut()
        .map(|client| client.stdout.line_with(text));
    try_join_all(lines).await.unwrap();
}

#[tokio::test]
#[ignore = "needs nats-server: run .ci/install"]
async fn both_servers_stream_the_lines_of_either() {
    let broker = Broker::start().await;
    let mut servers = [broker.server("0s").await, broker.server("0s").await];
    for speaker in 0..2 {
        let mut all = join_all(servers.iter().map(open)).await;
        let what = format!("from {speaker}");
        let texts = join_all(all.iter_mut().map(next_text));
        for text in publish_until(&mut servers[speaker], &what, texts).await {
            assert!(text.unwrap().starts_with(&what));
        }
    }
}

#[tokio::test]
#[ignore = "needs nats-server and haproxy: run .ci/install"]
async fn when_a_server_is_killed_its_clients_reconnect_to_the_other() {
    let broker = Broker::start().await;
    let mut servers = [broker.server("2s").await, broker.server("2s").await];
    let addrs = servers.each_ref().map(|server| server.addr);
    let idle = Duration::from_secs(2);
    let proxy = haproxy::start(&addrs, Version::Http2, idle).await.unwrap();

    let mut clients = join_all((0..4).map(|_| client(proxy.addr))).await;
    publish_until(&mut servers[0], "before", all_see(&mut clients, "before")).await;

    let [killed, left] = &mut servers;
    killed.program.kill().await.unwrap();
    // HAProxy picks the servers in turn, so half of the clients were connected to the one that was killed.
    let lost = clients[..].iter_mut().map(|client| async {
        timeout(idle * 3, client.stderr.line_with("reconnecting in")).await
    });
    let lost = join_all(lost).await;
    assert_eq!(
        lost.iter().filter(|lost| lost.is_ok()).count(),
        2,
        "{lost:?}"
    );
    publish_until(left, "after", all_see(&mut clients, "after")).await;
}

#[tokio::test]
#[cfg(unix)]
#[ignore = "needs nats-server: run .ci/install"]
async fn a_signal_ends_the_streams_and_the_process_and_the_client_reconnects() {
    let (broker, mut server, mut events) = live("0s").await;
    let mut client = client(server.addr).await;
    server.program.send(programs::Signal::SIGTERM).unwrap();
    let status = within(next_text(&mut events)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(status.message(), "the server is stopping");
    assert!(server.program.ended().await.unwrap().success());

    let back = client.stderr.line_with("reconnecting in").await.unwrap();
    assert!(back.contains("the server is stopping"), "{back}");
    let _server = broker.server_at("0s", server.addr).await;
    client.stderr.line_with("connected").await.unwrap();
}

#[tokio::test]
#[ignore = "needs nats-server: run .ci/install"]
async fn streams_go_on_when_the_broker_restarts() {
    let (mut broker, mut server, mut events) = live("0s").await;
    broker.restart().await;
    let after = async {
        loop {
            let text = next_text(&mut events).await.unwrap();
            if text.starts_with("after") {
                return;
            }
        }
    };
    publish_until(&mut server, "after", after).await;
}

/// Expects that streams end with a status that says why, and that no new one begins.
async fn expect_that_the_broker_is_missed(server: &Server, events: &mut Streaming<OperationEvent>) {
    let mut keepalives = 0;
    let end = loop {
        match within(events.next())
            .await
            .expect("an end without a status")
        {
            Ok(event) => keepalives += usize::from(event == OperationEvent::keep_alive()),
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::Unavailable, "{end}");
    assert!(end.message().contains("the broker has been idle"), "{end}");
    // Keepalives came until the end, because `idle_timeout` is five times as long as their interval.
    assert!(keepalives >= 2, "{keepalives}");

    // A new stream is refused, or ends with the same status.
    let end = match within(client::grpc(server.addr)).await {
        Ok(mut events) => within(next_text(&mut events)).await.unwrap_err(),
        Err(error) => error.downcast().unwrap(),
    };
    assert_eq!(end.code(), Code::Unavailable, "{end}");
    assert!(end.message().contains("the broker"), "{end}");
}

#[tokio::test]
#[ignore = "needs nats-server: run .ci/install"]
async fn streams_end_with_a_reason_when_the_broker_is_gone() {
    let (mut broker, server, mut events) = live("1s").await;
    broker.kill().await;
    expect_that_the_broker_is_missed(&server, &mut events).await;
}

#[tokio::test]
#[cfg(unix)]
#[ignore = "needs nats-server: run .ci/install"]
async fn streams_end_with_a_reason_when_the_broker_hangs() {
    let (broker, server, mut events) = live("1s").await;
    broker.program.send(programs::Signal::SIGSTOP).unwrap();
    expect_that_the_broker_is_missed(&server, &mut events).await;
}

#[tokio::test]
#[ignore = "needs nats-server: run .ci/install"]
async fn an_idle_subject_is_not_mistaken_for_a_dead_broker() {
    let broker = Broker::start().await;
    let server = broker.server("1s").await;
    let mut events = open(&server).await;
    // Much longer than the timeout of the server.
    for _ in 0..15 {
        within(events.next()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn without_a_broker_the_server_fails_with_one_line() {
    let mut command = piped(env!("CARGO_BIN_EXE_nats-events"));
    let output = within(
        command
            .args(["--nats", &free_addr().unwrap().to_string()])
            .output(),
    )
    .await
    .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.starts_with("error: cannot reach the broker"),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}
