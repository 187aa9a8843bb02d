//! The page in a real browser, behind a real nginx that closes a connection after two idle seconds.

mod server;

use std::time::Duration;

use programs::{Browser, Server};
use proxies::{
    nginx::{self, CONNECTIONS, Front},
    proxy::RunningProxy,
};
use tokio::time::sleep;

async fn open(proxy: &RunningProxy, scheme: &str) -> Browser {
    let url = format!("http://{}/", proxy.addr);
    let args = ["--window-size=760,460", scheme];
    Browser::open(&url, &args).await.unwrap()
}

/// Takes a screenshot. It is written to docs if the environment variable `SCREENSHOTS` is set.
async fn screenshot(browser: &Browser, name: &str) {
    let png = browser.client.screenshot().await.unwrap();
    assert!(png.starts_with(b"\x89PNG"), "the screenshot is not a PNG");
    if std::env::var_os("SCREENSHOTS").is_some() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
        std::fs::write(format!("{docs}/{name}.png"), png).unwrap();
    }
}

async fn proxy(server: &Server) -> RunningProxy {
    let location = format!(
        "proxy_pass http://{}; proxy_http_version 1.1; proxy_read_timeout 2s;",
        server.addr
    );
    nginx::start(Front::Http1, CONNECTIONS, &location)
        .await
        .unwrap()
}

const LIGHT: &str = "--blink-settings=preferredColorScheme=1";
const DARK: &str = "--blink-settings=preferredColorScheme=0";

#[tokio::test]
#[ignore = "needs chromium and nginx: run .ci/install"]
async fn with_keepalives_the_page_stays_connected_and_shows_its_event() {
    let mut server = server::start(&["--keepalive", "500ms", "--immediate"]).await;
    let proxy = proxy(&server).await;
    for (scheme, name) in [(LIGHT, "sse-light"), (DARK, "sse-dark")] {
        let browser = open(&proxy, scheme).await;
        browser.wait_for("state", "connected").await.unwrap();
        sleep(Duration::from_secs(8)).await;
        assert_eq!(browser.text("lost").await.unwrap(), "0");
        assert_eq!(browser.text("state").await.unwrap(), "connected");
        let keepalives = browser.text("keepalives").await.unwrap();
        assert!(keepalives.parse::<u32>().unwrap() > 4, "{keepalives}");

        server.program.type_line("backup finished").await.unwrap();
        browser.wait_for("last", "backup finished").await.unwrap();
        screenshot(&browser, name).await;
        browser.close().await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs chromium and nginx: run .ci/install"]
async fn without_keepalives_the_page_loses_its_connection() {
    let server = server::start(&["--keepalive", "0s"]).await;
    let proxy = proxy(&server).await;
    let browser = open(&proxy, LIGHT).await;
    // nginx times out before the response has begun, and answers with an error page.
    browser.wait_for("state", "reconnecting").await.unwrap();
    browser.close().await.unwrap();
}

#[tokio::test]
#[ignore = "needs chromium and nginx: run .ci/install"]
async fn a_page_that_is_cut_off_before_its_first_event_misses_nothing() {
    // One keepalive comes immediately. nginx cuts the page off before the next one.
    let mut server = server::start(&["--keepalive", "1h", "--immediate"]).await;
    let proxy = proxy(&server).await;
    let browser = open(&proxy, LIGHT).await;
    browser.wait_for_count("keepalives", 1).await.unwrap();
    browser.wait_for("state", "reconnecting").await.unwrap();
    // Chromium waits for three seconds.
    let line = "while the page was away";
    server.program.type_line(line).await.unwrap();
    browser.wait_for("last", line).await.unwrap();
    browser.close().await.unwrap();
}

#[tokio::test]
#[ignore = "needs chromium and nginx: run .ci/install"]
async fn the_page_reconnects_after_a_restart_of_the_server_and_misses_nothing() {
    let args = ["--keepalive", "500ms", "--immediate"];
    let mut server = server::start(&args).await;
    let addr = server.addr.to_string();
    let proxy = proxy(&server).await;
    let browser = open(&proxy, LIGHT).await;
    browser.wait_for("state", "connected").await.unwrap();
    server.program.type_line("before").await.unwrap();
    browser.wait_for("last", "before").await.unwrap();

    drop(server);
    browser.wait_for("state", "reconnecting").await.unwrap();
    let listen = ["--listen", &addr];
    let mut server = server::start(&[&args[..], &listen].concat()).await;
    let line = "while nobody was there";
    server.program.type_line(line).await.unwrap();
    browser.wait_for("state", "connected").await.unwrap();
    browser.wait_for("last", line).await.unwrap();
    browser.close().await.unwrap();
}
