//! Two servers, one subject: what becomes of streams when a server or the broker goes.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::Stdio,
    time::Duration,
};

use futures::{
    StreamExt,
    future::{join_all, try_join_all},
};
use harness::{
    client::{Protocol, subscribe},
    example, haproxy,
    process::{self, PATIENCE, line_with},
    server::Server,
};
use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStderr, ChildStdout, Command},
    time::{Instant, sleep, timeout},
};
use tonic::{Code, Status, Streaming};
use tonic_events::proto::v1::{OperationEvent, operation_event::Event};

/// A broker that can come back at the same address.
struct Broker {
    addr: SocketAddr,
    child: Child,
}

impl Broker {
    async fn start() -> Self {
        Self::start_at(free_addr()).await
    }

    async fn start_at(addr: SocketAddr) -> Self {
        let mut command = process::quiet("nats-server");
        command.args(["-a", &addr.ip().to_string(), "-p", &addr.port().to_string()]);
        let child = process::start(&mut command).unwrap();
        let start = Instant::now();
        while TcpStream::connect(addr).await.is_err() {
            assert!(start.elapsed() < PATIENCE, "the broker does not accept");
            sleep(Duration::from_millis(20)).await;
        }
        Self { addr, child }
    }

    async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    async fn restart(&mut self) {
        self.kill().await;
        sleep(Duration::from_millis(300)).await;
        *self = Self::start_at(self.addr).await;
    }

    async fn server(&self, give_up: &str) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nats-events"));
        command.args(["--nats", &self.addr.to_string()]);
        command.args(["--keepalive", "200ms", "--give-up", give_up]);
        Server::spawn(command, Stdio::inherit()).await.unwrap()
    }
}

/// Nobody listens there.
fn free_addr() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("nothing happens")
}

async fn open(server: &Server) -> Streaming<OperationEvent> {
    within(subscribe(Protocol::Grpc, server.addr))
        .await
        .unwrap()
}

/// A broker, a server, and a subscriber that has seen an event.
async fn live(give_up: &str) -> (Broker, Server, Streaming<OperationEvent>) {
    let broker = Broker::start().await;
    let mut server = broker.server(give_up).await;
    let mut events = open(&server).await;
    let text = publish_until(&mut server, "before", next_text(&mut events)).await;
    assert!(text.unwrap().starts_with("before"));
    (broker, server, events)
}

/// The text of the next event that is one.
async fn next_text(events: &mut Streaming<OperationEvent>) -> Result<String, Status> {
    loop {
        let event = events.next().await.expect("an end without a status")?.event;
        if let Some(Event::CreatedOperations(mut list)) = event {
            return Ok(list.operations.remove(0).display_message);
        }
    }
}

/// Lets the server publish one line after the other until `seen` is ready.
async fn publish_until<T>(server: &mut Server, what: &str, seen: impl Future<Output = T>) -> T {
    let publish = async {
        for number in 0.. {
            server.type_line(&format!("{what} {number}")).await.unwrap();
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        seen = within(seen) => seen,
        () = publish => unreachable!("it publishes for ever"),
    }
}

/// The client of `tonic-events`, as a user runs it.
struct Client {
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
    _child: Child,
}

impl Client {
    async fn start(addr: SocketAddr) -> Self {
        let mut command = Command::new(example::binary("client").await.unwrap());
        command.args(["--connect", &format!("http://{addr}"), "--give-up", "2s"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = process::start(&mut command).unwrap();
        let mut client = Self {
            stdout: BufReader::new(child.stdout.take().unwrap()).lines(),
            stderr: BufReader::new(child.stderr.take().unwrap()).lines(),
            _child: child,
        };
        within(line_with(&mut client.stderr, "connected"))
            .await
            .unwrap();
        client
    }
}

async fn all_see(clients: &mut [Client], text: &str) {
    let lines = clients
        .iter_mut()
        .map(|client| line_with(&mut client.stdout, text));
    try_join_all(lines).await.unwrap();
}

#[tokio::test]
#[ignore = "needs nats-server: run scripts/install-test-tools"]
async fn both_servers_stream_what_is_said_to_either() {
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
#[ignore = "needs nats-server and haproxy: run scripts/install-test-tools"]
async fn when_a_server_is_killed_its_clients_go_on_at_the_other() {
    let broker = Broker::start().await;
    let mut servers = [broker.server("2s").await, broker.server("2s").await];
    let addrs = servers.each_ref().map(|server| server.addr);
    let silence = Duration::from_secs(2);
    let proxy = haproxy::start(&addrs, " proto h2", silence).await.unwrap();

    let mut clients = join_all((0..4).map(|_| Client::start(proxy.addr))).await;
    publish_until(&mut servers[0], "before", all_see(&mut clients, "before")).await;

    let [killed, left] = &mut servers;
    killed.kill().await.unwrap();
    // Each is served in turn, so that half of the clients were at the server that is gone.
    let lost = clients[..].iter_mut().map(|client| async {
        timeout(silence * 3, line_with(&mut client.stderr, "back in")).await
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
#[ignore = "needs nats-server: run scripts/install-test-tools"]
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

/// Streams end, and no new one begins, with a status that says why.
async fn the_broker_is_missed(server: &Server, events: &mut Streaming<OperationEvent>) {
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
    assert!(
        end.message().contains("the broker has fallen silent"),
        "{end}"
    );
    // Alone they would have hidden it: give-up is five times as long.
    assert!(keepalives >= 2, "{keepalives}");

    // A new one is refused at once, or ends likewise.
    let end = match within(subscribe(Protocol::Grpc, server.addr)).await {
        Ok(mut events) => within(next_text(&mut events)).await.unwrap_err(),
        Err(error) => error.downcast().unwrap(),
    };
    assert_eq!(end.code(), Code::Unavailable, "{end}");
    assert!(end.message().contains("the broker"), "{end}");
}

#[tokio::test]
#[ignore = "needs nats-server: run scripts/install-test-tools"]
async fn streams_end_with_a_reason_when_the_broker_is_gone() {
    let (mut broker, server, mut events) = live("1s").await;
    broker.kill().await;
    the_broker_is_missed(&server, &mut events).await;
}

#[tokio::test]
#[ignore = "needs nats-server: run scripts/install-test-tools"]
async fn streams_end_with_a_reason_when_the_broker_hangs() {
    let (broker, server, mut events) = live("1s").await;
    process::signal(&broker.child, Signal::SIGSTOP).unwrap();
    the_broker_is_missed(&server, &mut events).await;
}

#[tokio::test]
#[ignore = "needs nats-server: run scripts/install-test-tools"]
async fn a_quiet_subject_is_no_dead_broker() {
    let broker = Broker::start().await;
    let server = broker.server("1s").await;
    let mut events = open(&server).await;
    // Far longer than it would take to give up.
    for _ in 0..15 {
        within(events.next()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn without_a_broker_the_server_says_so_and_ends() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nats-events"));
    let output = within(command.args(["--nats", &free_addr().to_string()]).output())
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
