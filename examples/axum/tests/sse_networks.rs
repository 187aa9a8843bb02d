//! The page on a real network that delays packets, loses them, or is cut without a FIN.

#![cfg(target_os = "linux")]

mod server;

use std::time::Duration;

use anyhow::Result;
use programs::{Browser, LATE, Server};
use proxies::{
    network::{Chain, Conditions},
    nginx::{self, CONNECTIONS, Front, NGINX},
    proxy::RunningProxy,
};
use tokio::time::{Instant, sleep};

/// The server's keepalive interval.
const IDLE: Duration = Duration::from_secs(1);

/// A server behind nginx, each in a network of its own.
struct Networks {
    chain: Chain,
    server: Server,
    proxy: RunningProxy,
}

impl Networks {
    async fn start() -> Result<Self> {
        let chain = Chain::new()?;
        let (listen, idle) = (
            format!("{}:0", Chain::SERVER),
            format!("{}s", IDLE.as_secs()),
        );
        let args = ["--listen", &listen, "--keepalive", &idle, "--immediate"];
        let server = async { Ok(server::start(&args).await) };
        let server = chain.server.run(server).await?;
        let location = format!(
            "proxy_pass http://{}; proxy_http_version 1.1; proxy_buffering off;",
            server.addr
        );
        let config = nginx::config(Front::Http1, CONNECTIONS, &location);
        let proxy = NGINX.start_on(Chain::PROXY.into(), config);
        Ok(Self {
            proxy: chain.proxy.run(proxy).await?,
            server,
            chain,
        })
    }

    /// The page, in the client's network.
    async fn page(&self) -> Result<Browser> {
        let url = format!("http://{}/", self.proxy.addr);
        let page = Browser::open(&url, &[]).await?;
        page.wait_for("state", "connected").await?;
        // A keepalive has told it the interval.
        page.wait_for_count("keepalives", 1).await?;
        Ok(page)
    }
}

#[tokio::test]
#[ignore = "needs root, ip, chromium and nginx: run .ci/install"]
async fn the_page_finds_a_cut_within_three_intervals_and_misses_nothing() -> Result<()> {
    let mut networks = Networks::start().await?;
    let _inside = networks.chain.client.enter()?;
    let page = networks.page().await?;
    networks.server.program.type_line("before").await?;
    page.wait_for("last", "before").await?;

    networks.chain.far.set(Conditions::CUT);
    let start = Instant::now();
    page.wait_for("state", "reconnecting").await?;
    let after = start.elapsed();
    assert!(after < 3 * IDLE + LATE, "{after:?}");

    networks.server.program.type_line("in between").await?;
    networks.chain.far.set(Conditions::default());
    page.wait_for("last", "in between").await?;
    page.close().await
}

#[tokio::test]
#[ignore = "needs root, ip, chromium and nginx: run .ci/install"]
async fn delay_and_loss_do_not_make_the_page_reconnect() -> Result<()> {
    let mut networks = Networks::start().await?;
    let conditions = Conditions {
        delay: Duration::from_millis(200),
        loss: 0.01,
    };
    networks.chain.near.set(conditions);
    networks.chain.far.set(conditions);
    let _inside = networks.chain.client.enter()?;
    let page = networks.page().await?;
    sleep(20 * IDLE).await;
    networks.server.program.type_line("backup finished").await?;
    page.wait_for("last", "backup finished").await?;
    assert_eq!(page.text("lost").await?, "0");
    page.close().await
}
