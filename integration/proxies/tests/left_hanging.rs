//! A proxy that times out on the server, but does not tell the client.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use programs::within;
use proxies::{
    client::{Item, Protocol, subscribe},
    example,
    node::{HTTP_PROXY, http_proxy},
    scenario::TIMEOUT,
};
use stream_keepalive::KeepaliveExt;
use tokio::time::{sleep, timeout};

#[tokio::test]
#[ignore = "needs http-proxy: run .ci/install"]
async fn http_proxy_leaves_its_client_hanging_until_an_idle_timeout_ends_the_stream() -> Result<()>
{
    let mut server = example::sse_server(&["--keepalive", "0s"]).await?;
    let config = http_proxy(server.addr, "proxyTimeout", TIMEOUT);
    let proxy = HTTP_PROXY.start(config).await?;

    // http-proxy holds the headers back until the first event.
    let headers = subscribe(Protocol::Sse, proxy.addr);
    let events = async {
        loop {
            server.program.type_line("before").await?;
            sleep(Duration::from_millis(50)).await;
        }
    };
    let items = tokio::select! {
        items = within(headers) => items?,
        failed = events => return failed,
    };
    let mut items = items.idle_timeout(4 * TIMEOUT);
    while let Ok(item) = timeout(2 * TIMEOUT, items.next()).await {
        item.context("the stream has ended")??;
    }

    // By now the proxy has timed out.
    server.program.type_line("after").await?;
    let item = within(items.next()).await.transpose()?;
    assert_eq!(item, None::<Item>);
    Ok(())
}
