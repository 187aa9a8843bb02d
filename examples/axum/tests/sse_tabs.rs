//! Seven tabs of the page. A browser opens at most six connections to a server that speaks HTTP/1.1.

mod server;

use std::time::Duration;

use fantoccini::wd::TimeoutConfiguration;
use programs::{Browser, Server};
use proxies::caddy;
use tokio::time::sleep;

const TABS: usize = 7;

async fn start() -> Server {
    server::start(&["--keepalive", "500ms", "--immediate"]).await
}

/// Opens this many tabs, and expects each to connect.
async fn open(url: &str, tabs: usize) -> Browser {
    let browser = Browser::open(url, &[]).await.unwrap();
    browser.wait_for("state", "connected").await.unwrap();
    for _ in 1..tabs {
        next_tab(&browser).await;
        browser.client.goto(url).await.unwrap();
        browser.wait_for("state", "connected").await.unwrap();
    }
    browser
}

async fn next_tab(browser: &Browser) {
    let tab = browser.client.new_window(true).await.unwrap().handle;
    browser.client.switch_to_window(tab).await.unwrap();
}

/// Expects each tab to show the next event.
async fn expect_an_event_in_each_tab(mut server: Server, browser: Browser) {
    let tabs = browser.client.windows().await.unwrap();
    assert_eq!(tabs.len(), TABS);
    server.program.type_line("to all").await.unwrap();
    for tab in tabs {
        browser.client.switch_to_window(tab).await.unwrap();
        browser.wait_for("last", "to all").await.unwrap();
        assert_eq!(browser.text("lost").await.unwrap(), "0");
    }
    browser.close().await.unwrap();
}

#[tokio::test]
#[ignore = "needs chromium: run .ci/install"]
async fn over_http_1_the_seventh_tab_does_not_even_load() {
    let mut server = start().await;
    let url = format!("http://{}/", server.addr);
    let browser = open(&url, TABS - 1).await;
    next_tab(&browser).await;
    let patience = TimeoutConfiguration::new(None, Some(Duration::from_secs(5)), None);
    browser.client.update_timeouts(patience).await.unwrap();
    let error = browser.client.goto(&url).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    // The other tabs still get events, but no other request of theirs is answered.
    let tabs = browser.client.windows().await.unwrap();
    browser
        .client
        .switch_to_window(tabs[0].clone())
        .await
        .unwrap();
    server.program.type_line("to six").await.unwrap();
    browser.wait_for("last", "to six").await.unwrap();
    let script = r#"
        const request = { cache: "no-store", signal: AbortSignal.timeout(2_000) };
        return fetch("watchdog.js", request).then(() => "answered", error => error.name);
    "#;
    assert_eq!(browser.run(script).await.unwrap(), "TimeoutError");

    // The seventh tab loads when another one is closed.
    browser.client.close_window().await.unwrap();
    browser
        .client
        .switch_to_window(tabs[TABS - 1].clone())
        .await
        .unwrap();
    sleep(Duration::from_millis(500)).await;
    browser.client.goto(&url).await.unwrap();
    browser.wait_for("state", "connected").await.unwrap();
    browser.close().await.unwrap();
}

#[tokio::test]
#[ignore = "needs chromium: run .ci/install"]
async fn over_http_1_seven_tabs_that_share_a_connection_all_get_the_event() {
    let server = start().await;
    let browser = open(&format!("http://{}/?shared", server.addr), TABS).await;
    expect_an_event_in_each_tab(server, browser).await;
}

#[tokio::test]
#[ignore = "needs chromium and caddy: run .ci/install"]
async fn over_http_2_seven_tabs_all_get_the_event() {
    let server = start().await;
    let proxy = caddy::with_tls(server.addr).await.unwrap();
    let browser = open(&format!("https://localhost:{}/", proxy.addr.port()), TABS).await;
    let script = "return performance.getEntriesByType('navigation')[0].nextHopProtocol";
    assert_eq!(browser.run(script).await.unwrap(), "h2");
    expect_an_event_in_each_tab(server, browser).await;
}
