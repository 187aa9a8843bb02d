//! The page in a real browser, which answers pings but does not show them to scripts.

use std::time::{Duration, Instant};

use programs::{Browser, Forwarder, LATE, Server, piped};
use tokio::time::sleep;

async fn start(keepalive: &str) -> (Server, Forwarder, Browser) {
    let mut command = piped(env!("CARGO_BIN_EXE_websocket"));
    command.args(["--keepalive", keepalive]);
    let server = Server::start(&mut command).await.unwrap();
    let forwarder = Forwarder::start(server.addr).await.unwrap();
    let url = format!("http://{}/", forwarder.addr);
    let browser = Browser::open(&url, &[]).await.unwrap();
    browser.wait_for("state", "connected").await.unwrap();
    (server, forwarder, browser)
}

#[tokio::test]
#[ignore = "needs chromium: run .ci/install"]
async fn the_page_and_the_server_leave_a_connection_that_freezes() {
    let (mut server, forwarder, browser) = start("1s").await;
    server.program.type_line("before").await.unwrap();
    browser.wait_for("last", "before").await.unwrap();

    forwarder.freeze();
    let frozen = Instant::now();
    server.program.type_line("in between").await.unwrap();
    browser.wait_for_count("lost", 1).await.unwrap();
    // Three intervals, and what a busy machine may add.
    assert!(frozen.elapsed() < Duration::from_secs(3) + LATE);
    browser.wait_for("last", "in between").await.unwrap();
    browser.wait_for("state", "connected").await.unwrap();
    server.program.type_line("later").await.unwrap();
    browser.wait_for("last", "later").await.unwrap();

    let gone = server.program.stderr.line().await.unwrap();
    assert_eq!(gone, "connection closed: the client does not answer pings");
    browser.close().await.unwrap();
}

#[tokio::test]
#[ignore = "needs chromium: run .ci/install"]
async fn a_page_that_is_cut_off_before_its_first_line_misses_nothing() {
    let (mut server, forwarder, browser) = start("3s").await;
    browser.wait_for_count("keepalives", 1).await.unwrap();
    forwarder.freeze();
    server.program.type_line("in between").await.unwrap();
    browser.wait_for("last", "in between").await.unwrap();
    browser.close().await.unwrap();
}

#[tokio::test]
#[ignore = "needs chromium: run .ci/install"]
async fn the_page_and_the_server_keep_an_idle_connection_that_is_alive() {
    let (_server, _forwarder, browser) = start("2s").await;
    // Four times the limit of both ends.
    sleep(Duration::from_secs(24)).await;
    assert_eq!(browser.text("lost").await.unwrap(), "0");
    let keepalives = browser.text("keepalives").await.unwrap();
    assert!(keepalives.parse::<u32>().unwrap() >= 6, "{keepalives}");
    browser.close().await.unwrap();
}

#[tokio::test]
#[ignore = "needs chromium: run .ci/install"]
async fn seven_tabs_all_get_the_event() {
    let (mut server, forwarder, browser) = start("1s").await;
    let url = format!("http://{}/", forwarder.addr);
    for _ in 1..7 {
        let tab = browser.client.new_window(true).await.unwrap().handle;
        browser.client.switch_to_window(tab).await.unwrap();
        browser.client.goto(&url).await.unwrap();
        browser.wait_for("state", "connected").await.unwrap();
    }
    server.program.type_line("to all").await.unwrap();
    let tabs = browser.client.windows().await.unwrap();
    assert_eq!(tabs.len(), 7);
    for tab in tabs {
        browser.client.switch_to_window(tab).await.unwrap();
        browser.wait_for("last", "to all").await.unwrap();
    }
    browser.close().await.unwrap();
}
