//! Server, proxy and client, each in a network of its own: delay, loss, and a cut without a FIN.

#![cfg(target_os = "linux")]

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result};
use axum::{Router, body::Body, routing::get, serve::ListenerExt};
use futures::{
    StreamExt,
    future::{try_join, try_join_all},
    stream,
};
use programs::{LATE, PATIENCE, Program, Server, piped};
use proxies::{
    client::{self, Item, Protocol},
    example,
    haproxy::{self, HAPROXY, Version},
    network::{Chain, Conditions, Network, Wire},
    nginx::{self, Front, NGINX},
    proxy::{Config, Proxy, RunningProxy},
};
use socket2::SockRef;
use stream_keepalive::KeepaliveExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, sleep, timeout},
};

const KEEPALIVE: &str = "1s";
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);
const PING: Duration = Duration::from_secs(1);

/// The number of streams with delay and loss.
const STREAMS: usize = 30;

/// How long to watch that a cut is not noticed. It is longer than every timeout that could notice it.
const WATCH: Duration = Duration::from_secs(10);

/// When the kernel has ended a connection with a limit of two seconds: a keepalive, the two seconds, and a retransmission.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5).saturating_add(LATE);

/// The tonic example's server behind a proxy, each in a network of its own.
struct Networks {
    chain: Chain,
    server: Server,
    proxy: RunningProxy,
}

impl Networks {
    async fn start(
        server_args: &[&str],
        proxy: &Proxy,
        config: impl FnOnce(SocketAddr) -> Config,
    ) -> Result<Self> {
        // Outside of the network, because the binary may have to be built.
        example::binary("server").await?;
        let chain = Chain::new()?;
        let listen = format!("{}:0", Chain::SERVER);
        let args = [&["--listen", &listen], server_args].concat();
        let server = chain.server.run(example::server(&args)).await?;
        let proxy = proxy.start_on(Chain::PROXY.into(), config(server.addr));
        Ok(Self {
            proxy: chain.proxy.run(proxy).await?,
            server,
            chain,
        })
    }

    async fn with_nginx(server_args: &[&str]) -> Result<Self> {
        Self::start(server_args, &NGINX, |server| nginx(server, "")).await
    }

    /// Starts the client of the tonic example, and waits until it is connected.
    async fn client(&self, idle_timeout: &str) -> Result<Program> {
        let url = format!("http://{}", self.proxy.addr);
        let mut command = piped(example::binary("client").await?);
        command.args(["--connect", &url, "--idle-timeout", idle_timeout]);
        let client = async { Program::start(&mut command) };
        let mut client = self.chain.client.run(client).await?;
        client.stdout.line_with("keepalive").await?;
        Ok(client)
    }
}

fn nginx(server: SocketAddr, more: &str) -> Config {
    let location = format!("grpc_pass grpc://{server}; {more}");
    nginx::config(Front::Http2, 4 * STREAMS, &location)
}

/// Changes the conditions for packets in one place.
type Place = fn(&Chain, Conditions);

const BEFORE_PROXY: Place = |chain, conditions| chain.near.set(conditions);
const BEHIND_PROXY: Place = |chain, conditions| chain.far.set(conditions);
const TO_CLIENT: Place = |chain, conditions| chain.far.there.set(conditions);
const TO_SERVER: Place = |chain, conditions| chain.near.back.set(conditions);

/// Cuts the wire, and expects that the client detects that within its idle timeout. Then mends the wire, and
/// expects that the client reconnects and gets its event.
async fn client_detects(place: Place) -> Result<()> {
    let mut networks = Networks::with_nginx(&["--keepalive", KEEPALIVE, "--ping", "0s"]).await?;
    let idle_timeout = humantime::format_duration(IDLE_TIMEOUT).to_string();
    let mut client = networks.client(&idle_timeout).await?;

    place(&networks.chain, Conditions::CUT);
    let start = Instant::now();
    let reason = client.stderr.line_with("idle for").await?;
    let after = start.elapsed();
    assert!(reason.starts_with("DeadlineExceeded"), "{reason}");
    assert!(after < IDLE_TIMEOUT + LATE, "{after:?}");

    place(&networks.chain, Conditions::default());
    client.stderr.line_with("connected").await?;
    let event = "backup finished";
    networks.server.program.type_line(event).await?;
    client.stdout.line_with(event).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs root, ip and nginx: run .ci/install"]
async fn a_client_detects_a_cut_before_the_proxy_within_its_idle_timeout() -> Result<()> {
    client_detects(BEFORE_PROXY).await
}

#[tokio::test]
#[ignore = "needs root, ip and nginx: run .ci/install"]
async fn a_client_detects_a_cut_behind_the_proxy_within_its_idle_timeout() -> Result<()> {
    client_detects(BEHIND_PROXY).await
}

#[tokio::test]
#[ignore = "needs root, ip and nginx: run .ci/install"]
async fn a_client_that_can_only_send_detects_the_cut_within_its_idle_timeout() -> Result<()> {
    client_detects(TO_CLIENT).await
}

/// The same keepalives, and a PING every so often.
async fn networks_with_ping(ping: Duration) -> Result<Networks> {
    let ping = humantime::format_duration(ping).to_string();
    Networks::with_nginx(&["--keepalive", KEEPALIVE, "--ping", &ping]).await
}

/// Cuts the wire, and returns whether the server logs that its subscriber is gone.
async fn server_detects(networks: &mut Networks, place: Place, patience: Duration) -> Result<bool> {
    // The client waits much longer than the server.
    let _client = networks.client("1h").await?;
    place(&networks.chain, Conditions::CUT);
    let gone = networks.server.program.stderr.line_with("subscriber gone");
    match timeout(patience, gone).await {
        Ok(line) => Ok(line?.contains("open=0")),
        Err(_) => Ok(false),
    }
}

#[tokio::test]
#[ignore = "needs root, ip and nginx: run .ci/install"]
async fn a_server_detects_a_cut_by_its_ping() -> Result<()> {
    let mut networks = networks_with_ping(PING).await?;
    assert!(server_detects(&mut networks, BEFORE_PROXY, 2 * PING + LATE).await?);
    Ok(())
}

#[tokio::test]
#[ignore = "needs root, ip and nginx: run .ci/install"]
async fn a_server_that_can_only_send_detects_the_cut_by_its_ping() -> Result<()> {
    let mut networks = networks_with_ping(PING).await?;
    assert!(server_detects(&mut networks, TO_SERVER, 2 * PING + LATE).await?);
    Ok(())
}

#[tokio::test]
#[ignore = "needs root, ip and nginx: run .ci/install"]
async fn a_server_without_ping_does_not_detect_a_cut() -> Result<()> {
    let mut networks = networks_with_ping(Duration::ZERO).await?;
    assert!(!server_detects(&mut networks, BEFORE_PROXY, WATCH).await?);
    Ok(())
}

/// nginx answers the PING, and its kernel buffers the data that the client does not acknowledge.
#[tokio::test]
#[ignore = "needs root, ip and nginx: run .ci/install"]
async fn the_ping_of_a_server_does_not_detect_a_cut_behind_the_proxy() -> Result<()> {
    let mut networks = networks_with_ping(PING).await?;
    assert!(!server_detects(&mut networks, BEHIND_PROXY, WATCH).await?);
    Ok(())
}

/// `tcp-ut` limits how long sent data may stay unacknowledged, and keepalives are data.
#[tokio::test]
#[ignore = "needs root, ip and haproxy: run .ci/install"]
async fn keepalives_let_a_proxy_with_a_limit_on_unacknowledged_data_detect_a_cut() -> Result<()> {
    let config = |server| {
        let timeout = Duration::from_secs(3600);
        haproxy::config(
            &[server],
            Version::Http2,
            haproxy::HOUR,
            timeout,
            "tcp-ut 2s",
        )
    };
    let args = ["--keepalive", KEEPALIVE, "--ping", "0s"];
    let mut networks = Networks::start(&args, &HAPROXY, config).await?;
    assert!(server_detects(&mut networks, BEHIND_PROXY, UNACKNOWLEDGED).await?);
    Ok(())
}

#[tokio::test]
#[ignore = "needs root, ip and nginx: run .ci/install"]
async fn a_client_without_an_idle_timeout_does_not_detect_a_cut() -> Result<()> {
    let networks = Networks::with_nginx(&["--keepalive", KEEPALIVE]).await?;
    let mut client = networks.client("0s").await?;
    BEHIND_PROXY(&networks.chain, Conditions::CUT);
    let end = timeout(WATCH, client.stderr.line_with("reconnecting in")).await;
    assert!(end.is_err(), "{end:?}");
    Ok(())
}

/// A server of axum and its client over HTTP/1.1, without a proxy between them.
struct Direct {
    wire: Wire,
    _client: TcpStream,
    /// Has a receiver for each stream of the server.
    streams: watch::Sender<()>,
}

const USER_TIMEOUT: Duration = Duration::from_secs(2);

impl Direct {
    /// Connects the client, and waits for longer than the timeout.
    async fn start(idle: Duration, user_timeout: Option<Duration>) -> Result<Self> {
        let streams = watch::Sender::new(());
        let subscribed = streams.clone();
        let events = async move || {
            let guard = subscribed.subscribe();
            let keepalives = stream::pending().keepalive(idle, ":\n\n");
            let keepalives = keepalives.map(move |keepalive| {
                _ = &guard;
                Ok::<_, Infallible>(keepalive)
            });
            Body::from_stream(keepalives)
        };
        let app = Router::new().route("/", get(events));

        let (server, client) = (Network::new()?, Network::new()?);
        let addrs = [Ipv4Addr::new(10, 0, 1, 1), Ipv4Addr::new(10, 0, 1, 2)];
        let wire = Wire::new([(&server, addrs[0]), (&client, addrs[1])])?;
        let listener = async { Ok(TcpListener::bind((addrs[0], 0)).await?) };
        let listener = server.run(listener).await?;
        let addr = listener.local_addr()?;
        let listener = listener.tap_io(move |connection| {
            let set = SockRef::from(&*connection).set_tcp_user_timeout(user_timeout);
            set.expect("Linux has this option");
        });
        tokio::spawn(axum::serve(listener, app).into_future());

        let client = client.run(async { Ok(TcpStream::connect(addr).await?) });
        let mut client = client.await?;
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await?;
        timeout(PATIENCE, client.read_u8()).await??;
        sleep(2 * USER_TIMEOUT).await;
        assert_eq!(streams.receiver_count(), 1);
        Ok(Self {
            wire,
            _client: client,
            streams,
        })
    }

    /// Cuts the wire, and returns whether the server ends the stream.
    async fn server_detects(&self, patience: Duration) -> bool {
        self.wire.set(Conditions::CUT);
        timeout(patience, self.streams.closed()).await.is_ok()
    }
}

#[tokio::test]
#[ignore = "needs root and ip: run .ci/install"]
async fn keepalives_let_a_server_with_a_limit_on_unacknowledged_data_detect_a_cut() -> Result<()> {
    let direct = Direct::start(Duration::from_secs(1), Some(USER_TIMEOUT)).await?;
    assert!(direct.server_detects(UNACKNOWLEDGED).await);
    Ok(())
}

#[tokio::test]
#[ignore = "needs root and ip: run .ci/install"]
async fn without_that_limit_keepalives_do_not_let_a_server_detect_a_cut() -> Result<()> {
    let direct = Direct::start(Duration::from_secs(1), None).await?;
    assert!(!direct.server_detects(WATCH).await);
    Ok(())
}

#[tokio::test]
#[ignore = "needs root and ip: run .ci/install"]
async fn without_keepalives_that_limit_does_not_let_a_server_detect_a_cut() -> Result<()> {
    let direct = Direct::start(Duration::ZERO, Some(USER_TIMEOUT)).await?;
    assert!(!direct.server_detects(WATCH).await);
    Ok(())
}

/// Subscribes, and returns how many keepalives arrived before the event, and when the event arrived.
async fn follow(addr: SocketAddr, idle_timeout: Duration) -> Result<(u32, Instant)> {
    let items = client::subscribe(Protocol::Grpc, addr).await?;
    let mut items = items.idle_timeout(idle_timeout);
    let mut keepalives = 0;
    loop {
        match items
            .next()
            .await
            .context("the stream was idle for too long")??
        {
            Item::Keepalive => keepalives += 1,
            Item::Event(_) => return Ok((keepalives, Instant::now())),
        }
    }
}

/// Both wires delay packets by 200 ms each way, and lose 1 %. The proxy and the clients have the same timeout.
#[tokio::test]
#[ignore = "needs root, ip and nginx: run .ci/install"]
async fn a_stream_with_three_keepalives_per_timeout_survives_delay_and_loss() -> Result<()> {
    const TIMEOUT: Duration = Duration::from_secs(6);
    const CONDITIONS: Conditions = Conditions {
        delay: Duration::from_millis(200),
        loss: 0.01,
    };

    let read_timeout = format!("grpc_read_timeout {}s;", TIMEOUT.as_secs());
    let config = |server| nginx(server, &read_timeout);
    let mut networks = Networks::start(&["--keepalive", "2s"], &NGINX, config).await?;
    networks.chain.near.set(CONDITIONS);
    networks.chain.far.set(CONDITIONS);

    let _inside = networks.chain.client.enter()?;
    let addr = networks.proxy.addr;
    let subscribers = try_join_all((0..STREAMS).map(|_| follow(addr, TIMEOUT)));
    let event = async {
        sleep(5 * TIMEOUT).await;
        let sent = Instant::now();
        let program = &mut networks.server.program;
        program.type_line("backup finished").await?;
        Ok(sent)
    };
    let all = timeout(5 * TIMEOUT + PATIENCE, try_join(subscribers, event)).await;
    let (seen, sent) = all.context("an event did not arrive")??;
    for (keepalives, at) in seen {
        assert!(keepalives > 10, "{keepalives}");
        assert!(at - sent >= 2 * CONDITIONS.delay, "{:?}", at - sent);
    }

    let Chain { near, far, .. } = &networks.chain;
    let lost = [&near.there, &near.back, &far.there, &far.back].map(|way| way.lost());
    assert!(lost.iter().sum::<usize>() > 10, "{lost:?}");
    Ok(())
}
