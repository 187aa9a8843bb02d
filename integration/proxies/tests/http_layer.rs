//! Server-sent events with the layer of stream-keepalive-http, behind real proxies.
//!
//! Without the layer an idle response is cut off. With the layer it stays open, and its event is unchanged.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::{Body, Bytes},
    http::header::CONTENT_TYPE,
    routing::get,
};
use futures::{StreamExt, stream};
use proxies::{
    envoy, haproxy,
    nginx::{self, CONNECTIONS, Front},
    proxy::RunningProxy,
};
use reqwest::Client;
use stream_keepalive_http::KeepaliveLayer;
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};

/// The idle time after which the proxy cuts off a response.
const TIMEOUT: Duration = Duration::from_secs(2);
const EVENT: &str = "data: {\"id\":1}\n\n";

/// Serves a response with one event, which is sent long after the proxy's timeout, in two pieces.
async fn serve(layer: Option<KeepaliveLayer>) -> Result<SocketAddr> {
    let events = async || {
        let (first, second) = EVENT.split_at(8);
        let late = |piece, pause| {
            stream::once(async move {
                sleep(pause).await;
                Ok::<_, std::io::Error>(Bytes::from_static(str::as_bytes(piece)))
            })
        };
        // A keepalive is due between the two pieces.
        let events = late(first, 2 * TIMEOUT).chain(late(second, TIMEOUT / 2));
        (
            [(CONTENT_TYPE, "text/event-stream")],
            Body::from_stream(events),
        )
    };
    let app = Router::new().route("/", get(events));
    let app = match layer {
        Some(layer) => app.layer(layer),
        None => app,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok(addr)
}

/// Reads the response to its end, and returns it with the time that this took.
async fn read(proxy: &RunningProxy, front: Front) -> (reqwest::Result<String>, Duration) {
    let start = Instant::now();
    (fetch(proxy, front).await, start.elapsed())
}

async fn fetch(proxy: &RunningProxy, front: Front) -> reqwest::Result<String> {
    let client = Client::builder().no_proxy();
    let client = match front {
        Front::Http1 => client.http1_only(),
        Front::Http2 => client.http2_prior_knowledge(),
    };
    let response = client
        .build()?
        .get(format!("http://{}", proxy.addr))
        .send()
        .await?;
    response.error_for_status()?.text().await
}

async fn check<P>(front: Front, start: impl Fn(SocketAddr) -> P) -> Result<()>
where
    P: Future<Output = Result<RunningProxy>>,
{
    let plain = start(serve(None).await?).await?;
    let layer = KeepaliveLayer::new(TIMEOUT / 4).immediate();
    let filled = start(serve(Some(layer)).await?).await?;
    let (plain, filled) = futures::join!(read(&plain, front), read(&filled, front));
    let (plain, lived) = plain;
    assert!(
        !plain.is_ok_and(|plain| plain.contains("data")),
        "without the layer"
    );
    assert!(lived >= TIMEOUT, "cut after {lived:?}");
    let (filled, _) = filled;
    let filled = filled.context("with the layer")?;
    assert!(filled.matches(":\n\n").count() > 4, "{filled:?}");
    assert_eq!(filled.replace(":\n\n", ""), EVENT);
    Ok(())
}

async fn check_nginx(front: Front) -> Result<()> {
    check(front, async |server| {
        let timeout = TIMEOUT.as_millis();
        let location = format!(
            "proxy_pass http://{server}; proxy_http_version 1.1; proxy_buffering off; \
             proxy_read_timeout {timeout}ms;"
        );
        nginx::start(front, CONNECTIONS, &location).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs nginx: run .ci/install"]
async fn an_idle_response_stays_open_behind_nginx_in_http_1() -> Result<()> {
    check_nginx(Front::Http1).await
}

#[tokio::test]
#[ignore = "needs nginx: run .ci/install"]
async fn an_idle_response_stays_open_behind_nginx_in_http_2() -> Result<()> {
    check_nginx(Front::Http2).await
}

#[tokio::test]
#[ignore = "needs haproxy: run .ci/install"]
async fn an_idle_response_stays_open_behind_haproxy_in_http_1() -> Result<()> {
    check(Front::Http1, async |server| {
        haproxy::start(&[server], haproxy::Version::Http1, TIMEOUT).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs haproxy: run .ci/install"]
async fn an_idle_response_stays_open_behind_haproxy_in_http_2() -> Result<()> {
    check(Front::Http2, async |server| {
        haproxy::start(&[server], haproxy::Version::Http2, TIMEOUT).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs envoy: run .ci/install"]
async fn an_idle_response_stays_open_behind_envoy_in_http_1() -> Result<()> {
    check(Front::Http1, async |server| {
        envoy::start(server, TIMEOUT).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs envoy: run .ci/install"]
async fn an_idle_response_stays_open_behind_envoy_in_http_2() -> Result<()> {
    check(Front::Http2, async |server| {
        envoy::start(server, TIMEOUT).await
    })
    .await
}
