//! gRPC calls with the layers of stream-keepalive-http on both sides, behind real proxies.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use programs::{Forwarder, LATE, Signal, piped};
use proxies::{
    caddy::CADDY,
    envoy, haproxy,
    nginx::{self, CONNECTIONS, Front},
    proxy::RunningProxy,
};
use stream_keepalive_http::{GrpcClientLayer, GrpcClientService, KeepaliveLayer};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep, timeout},
};
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_health::{
    ServingStatus as Serving,
    pb::{
        HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
        health_client::HealthClient,
    },
    server::{HealthReporter, health_reporter},
};
use tower::Layer;

/// The idle timeout of a proxy that should cut off a response.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The idle timeout of a proxy that should not.
const LONG: Duration = Duration::from_secs(100);

const IDLE: Duration = Duration::from_millis(500);

/// The time after which a client ends a call that receives nothing.
const LIMIT: Duration = Duration::from_millis(1500);

/// The health service, whose stream is idle until a status changes. With an idle time of zero, the layer is off.
async fn serve(idle: Duration) -> Result<(SocketAddr, HealthReporter)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let (reporter, server) = server(listener, idle);
    tokio::spawn(server);
    Ok((addr, reporter))
}

fn server(
    listener: TcpListener,
    idle: Duration,
) -> (
    HealthReporter,
    impl Future<Output = Result<(), tonic::transport::Error>>,
) {
    let (reporter, health) = health_reporter();
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let mut server = Server::builder().layer(KeepaliveLayer::new(idle));
    (
        reporter,
        server.add_service(health).serve_with_incoming(incoming),
    )
}

type Kept = HealthClient<GrpcClientService<Channel>>;

async fn channel(addr: SocketAddr) -> Result<Channel> {
    Ok(Endpoint::try_from(format!("http://{addr}"))?
        .connect()
        .await?)
}

async fn kept(addr: SocketAddr) -> Result<Kept> {
    Ok(HealthClient::new(
        GrpcClientLayer::new().layer(channel(addr).await?),
    ))
}

async fn watch(client: &mut Kept) -> Result<Streaming<HealthCheckResponse>> {
    let request = HealthCheckRequest::default();
    let mut statuses = client.watch(request).await?.into_inner();
    assert_eq!(next(&mut statuses).await?, ServingStatus::Serving);
    Ok(statuses)
}

async fn next(statuses: &mut Streaming<HealthCheckResponse>) -> Result<ServingStatus> {
    let status = timeout(LONG, statuses.message()).await??;
    Ok(status.context("the stream has ended")?.status())
}

/// Returns when a stream without messages ends, and its status.
///
/// HAProxy and Caddy end the response of a stream that they cut off. There are no trailers, and tonic treats
/// that as the status `OK`.
async fn end(mut statuses: Streaming<HealthCheckResponse>) -> Result<(Duration, Status)> {
    let start = Instant::now();
    let ended = timeout(LONG, statuses.message()).await?;
    let after = start.elapsed();
    match ended {
        Ok(None) => Ok((after, Status::ok(""))),
        Ok(Some(message)) => bail!("unexpected message: {message:?}"),
        Err(status) => Ok((after, status)),
    }
}

/// Starts a proxy, with this idle timeout.
trait Start: AsyncFn(SocketAddr, Duration) -> Result<RunningProxy> {}

impl<F: AsyncFn(SocketAddr, Duration) -> Result<RunningProxy>> Start for F {}

async fn with_nginx(server: SocketAddr, timeout: Duration) -> Result<RunningProxy> {
    let timeout = timeout.as_millis();
    let location = format!("grpc_pass grpc://{server}; grpc_read_timeout {timeout}ms;");
    nginx::start(Front::Http2, CONNECTIONS, &location).await
}

async fn with_envoy(server: SocketAddr, timeout: Duration) -> Result<RunningProxy> {
    envoy::start(server, timeout).await
}

async fn with_haproxy(server: SocketAddr, timeout: Duration) -> Result<RunningProxy> {
    haproxy::start(&[server], haproxy::Version::Http2, timeout).await
}

async fn with_caddy(server: SocketAddr, timeout: Duration) -> Result<RunningProxy> {
    let start = (CADDY.scenarios[0].start)(server, timeout);
    start.await?.context("Caddy is a proxy")
}

/// Waits until the proxy cuts off a stream.
async fn cut_off_by_proxy(statuses: Streaming<HealthCheckResponse>) -> Result<()> {
    let (after, status) = end(statuses).await?;
    // nginx skips the last 300 ms.
    assert!(
        TIMEOUT - IDLE < after && after < TIMEOUT + LATE,
        "{after:?}"
    );
    assert!(!status.message().contains("nothing received"), "{status}");
    Ok(())
}

/// An idle stream dies unless both sides have their layer, and unary calls pass.
async fn idle_streams_live(start: impl Start) -> Result<()> {
    // The server does not send keepalives, so the proxy cuts the stream off. The client does not.
    let (off, _reporter) = serve(Duration::ZERO).await?;
    let proxy = start(off, TIMEOUT).await?;
    let statuses = watch(&mut kept(proxy.addr).await?).await?;
    cut_off_by_proxy(statuses).await?;

    // The client does not ask.
    let (on, reporter) = serve(IDLE).await?;
    let proxy = start(on, TIMEOUT).await?;
    let mut plain = HealthClient::new(channel(proxy.addr).await?);
    let request = HealthCheckRequest::default();
    let mut statuses = plain.watch(request.clone()).await?.into_inner();
    assert_eq!(next(&mut statuses).await?, ServingStatus::Serving);
    cut_off_by_proxy(statuses).await?;

    // Both sides.
    let proxy = start(on, TIMEOUT).await?;
    let mut client = kept(proxy.addr).await?;
    let mut statuses = watch(&mut client).await?;
    let idle = timeout(3 * TIMEOUT, statuses.message()).await;
    assert!(idle.is_err(), "{idle:?}");
    let check = client.check(request).await?.into_inner();
    assert_eq!(check.status(), ServingStatus::Serving);
    reporter.set_service_status("", Serving::NotServing).await;
    assert_eq!(next(&mut statuses).await?, ServingStatus::NotServing);
    Ok(())
}

/// Where a connection freezes.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    BeforeProxy,
    BehindProxy,
}

/// A forwarder that freezes ends the call in time. Behind the proxy, a new connection works.
async fn a_freeze_is_noticed(start: impl Start, place: Place) -> Result<()> {
    let (server, _reporter) = serve(IDLE).await?;
    let (forwarder, addr, _proxy);
    if place == Place::BeforeProxy {
        forwarder = Forwarder::start(server).await?;
        _proxy = start(forwarder.addr, LONG).await?;
        addr = _proxy.addr;
    } else {
        _proxy = start(server, LONG).await?;
        forwarder = Forwarder::start(_proxy.addr).await?;
        addr = forwarder.addr;
    }
    let mut statuses = watch(&mut kept(addr).await?).await?;
    // While keepalives come, the call goes on.
    assert!(timeout(3 * LIMIT, statuses.message()).await.is_err());

    forwarder.freeze();
    let (after, status) = end(statuses).await?;
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "nothing received for 1.5s");
    assert!(after < LIMIT + LATE, "{after:?}");
    if place == Place::BehindProxy {
        watch(&mut kept(addr).await?).await?;
    }
    Ok(())
}

async fn a_stopped_server_is_noticed(start: impl Start) -> Result<()> {
    let mut command = piped(env!("CARGO_BIN_EXE_health"));
    let server = programs::Server::start(command.arg("500ms")).await?;
    let proxy = start(server.addr, LONG).await?;
    let mut client = kept(proxy.addr).await?;
    let mut statuses = watch(&mut client).await?;
    assert!(timeout(2 * LIMIT, statuses.message()).await.is_err());

    server.program.send(Signal::SIGSTOP)?;
    let (after, status) = end(statuses).await?;
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "nothing received for 1.5s");
    assert!(after < LIMIT + LATE, "{after:?}");

    server.program.send(Signal::SIGCONT)?;
    watch(&mut client).await?;
    Ok(())
}

macro_rules! behind {
    ($proxy:ident, $start:ident, $needs:literal) => {
        mod $proxy {
            use super::*;

            #[tokio::test]
            #[ignore = $needs]
            async fn an_idle_stream_lives_with_both_layers_only() -> Result<()> {
                idle_streams_live($start).await
            }

            #[tokio::test]
            #[ignore = $needs]
            async fn a_freeze_before_the_proxy_is_noticed() -> Result<()> {
                a_freeze_is_noticed($start, Place::BeforeProxy).await
            }

            #[tokio::test]
            #[ignore = $needs]
            async fn a_freeze_behind_the_proxy_is_noticed() -> Result<()> {
                a_freeze_is_noticed($start, Place::BehindProxy).await
            }

            #[tokio::test]
            #[ignore = $needs]
            async fn a_stopped_server_is_noticed() -> Result<()> {
                super::a_stopped_server_is_noticed($start).await
            }
        }
    };
}

behind!(nginx_proxy, with_nginx, "needs nginx: run .ci/install");
behind!(envoy_proxy, with_envoy, "needs envoy: run .ci/install");
behind!(
    haproxy_proxy,
    with_haproxy,
    "needs haproxy: run .ci/install"
);
behind!(caddy_proxy, with_caddy, "needs caddy: run .ci/install");

#[cfg(target_os = "linux")]
mod networks {
    use proxies::{
        envoy::ENVOY,
        haproxy::HAPROXY,
        network::{Chain, Conditions},
        nginx::NGINX,
        proxy::{Config, Proxy},
    };

    use super::*;

    async fn a_cut_is_noticed(
        proxy: &Proxy,
        config: impl FnOnce(SocketAddr) -> Config,
        cut: impl Fn(&Chain),
    ) -> Result<()> {
        let chain = Chain::new()?;
        let listener = async { Ok(TcpListener::bind((Chain::SERVER, 0)).await?) };
        let listener = chain.server.run(listener).await?;
        let config = config(listener.local_addr()?);
        let (_reporter, server) = server(listener, IDLE);
        tokio::spawn(server);
        let proxy = proxy.start_on(Chain::PROXY.into(), config);
        let proxy = chain.proxy.run(proxy).await?;
        let mut client = chain.client.run(kept(proxy.addr)).await?;
        let mut statuses = watch(&mut client).await?;
        assert!(timeout(2 * LIMIT, statuses.message()).await.is_err());

        cut(&chain);
        let (after, status) = end(statuses).await?;
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.message(), "nothing received for 1.5s");
        assert!(after < LIMIT + LATE, "{after:?}");

        chain.near.set(Conditions::default());
        chain.far.set(Conditions::default());
        // TCP repeats what was lost, and the channel goes on.
        sleep(LATE).await;
        watch(&mut client).await?;
        Ok(())
    }

    fn with_nginx(server: SocketAddr) -> Config {
        nginx::config(
            Front::Http2,
            CONNECTIONS,
            &format!("grpc_pass grpc://{server};"),
        )
    }

    fn with_envoy(server: SocketAddr) -> Config {
        envoy::config(server, LONG, Duration::ZERO)
    }

    fn with_haproxy(server: SocketAddr) -> Config {
        haproxy::config(&[server], haproxy::Version::Http2, LONG, LONG, "")
    }

    macro_rules! cuts {
        ($module:ident, $proxy:expr, $config:ident, $needs:literal) => {
            mod $module {
                use super::*;

                #[tokio::test]
                #[ignore = $needs]
                async fn a_cut_before_the_proxy_is_noticed() -> Result<()> {
                    a_cut_is_noticed(&$proxy, $config, |chain| chain.near.set(Conditions::CUT))
                        .await
                }

                #[tokio::test]
                #[ignore = $needs]
                async fn a_cut_behind_the_proxy_is_noticed() -> Result<()> {
                    a_cut_is_noticed(&$proxy, $config, |chain| chain.far.set(Conditions::CUT)).await
                }
            }
        };
    }

    cuts!(
        nginx_proxy,
        NGINX,
        with_nginx,
        "needs root, ip and nginx: run .ci/install"
    );
    cuts!(
        envoy_proxy,
        ENVOY,
        with_envoy,
        "needs root, ip and envoy: run .ci/install"
    );
    cuts!(
        haproxy_proxy,
        HAPROXY,
        with_haproxy,
        "needs root, ip and haproxy: run .ci/install"
    );
}
