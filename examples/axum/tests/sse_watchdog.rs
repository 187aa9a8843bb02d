//! The page detects a dead connection that nothing has closed.

mod server;

use std::time::{Duration, Instant};

use programs::{Browser, Forwarder, Server, within};
use tokio::{net::TcpListener, time::sleep};

/// A page that is connected through a proxy that can freeze, and that knows the server's keepalive interval.
struct Page {
    server: Server,
    forwarder: Forwarder,
    browser: Browser,
}

impl Page {
    async fn open(keepalive: &str, path: &str) -> Self {
        let server = server::start(&["--keepalive", keepalive, "--immediate"]).await;
        let forwarder = Forwarder::start(server.addr).await.unwrap();
        let url = format!("http://{}/{path}", forwarder.addr);
        let browser = Browser::open(&url, &[]).await.unwrap();
        browser.wait_for("state", "connected").await.unwrap();
        Self {
            server,
            forwarder,
            browser,
        }
    }

    async fn lost(&self) -> String {
        self.browser.text("lost").await.unwrap()
    }

    async fn expect_it_has_reconnected(&mut self) {
        self.browser.wait_for_count("lost", 1).await.unwrap();
        self.browser.wait_for("state", "connected").await.unwrap();
        // It shows new events.
        self.server.program.type_line("later").await.unwrap();
        self.browser.wait_for("last", "later").await.unwrap();
        assert_eq!(self.lost().await, "1");
    }

    /// Simulates that the computer sleeps: its clock jumps, but no timer has run.
    async fn sleep(&self, time: Duration) {
        let script = format!(
            "const now = Date.now; Date.now = () => now() + {};",
            time.as_millis()
        );
        self.browser.run(&script).await.unwrap();
    }
}

/// Tells the page that the computer has a network again.
const ONLINE: &str = r#"dispatchEvent(new Event("online"))"#;

#[tokio::test]
#[ignore = "needs chromium: run .ci/install"]
async fn the_page_leaves_a_connection_that_freezes_and_misses_nothing() {
    for path in ["", "?shared"] {
        let mut page = Page::open("1s", path).await;
        page.server.program.type_line("before").await.unwrap();
        page.browser.wait_for("last", "before").await.unwrap();
        page.forwarder.freeze();
        page.server.program.type_line("in between").await.unwrap();
        page.browser.wait_for("last", "in between").await.unwrap();
        page.expect_it_has_reconnected().await;
        page.browser.close().await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs chromium: run .ci/install"]
async fn the_page_misses_nothing_if_it_leaves_a_connection_before_its_first_event() {
    for path in ["", "?shared"] {
        let mut page = Page::open("1h", path).await;
        page.browser.wait_for_count("keepalives", 1).await.unwrap();
        page.forwarder.freeze();
        let line = "while nothing came through";
        page.server.program.type_line(line).await.unwrap();
        sleep(Duration::from_secs(2)).await;
        page.browser.run(ONLINE).await.unwrap();
        page.browser.wait_for("last", line).await.unwrap();
        page.browser.close().await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs chromium: run .ci/install"]
async fn the_page_leaves_a_connection_that_never_opens() {
    let args = ["--keepalive", "1s", "--immediate"];
    let server = server::start(&args).await;
    let addr = server.addr.to_string();
    let browser = Browser::open(&format!("http://{addr}/"), &[])
        .await
        .unwrap();
    browser.wait_for_count("keepalives", 1).await.unwrap();
    drop(server);
    browser.wait_for("state", "reconnecting").await.unwrap();

    // A listener in place of the server accepts a connection and never answers.
    let listener = TcpListener::bind(&addr).await.unwrap();
    let (hung, _) = within(listener.accept()).await.unwrap();
    within(hung.readable()).await.unwrap();
    drop(listener);
    let _server = server::start(&[&args[..], &["--listen", &addr]].concat()).await;
    browser.wait_for("state", "connected").await.unwrap();
    browser.close().await.unwrap();
    drop(hung);
}

#[tokio::test]
#[ignore = "needs chromium: run .ci/install"]
async fn the_page_stays_with_an_idle_server_that_is_alive() {
    let page = Page::open("2s", "").await;
    // More than four times the limit of the watchdog.
    sleep(Duration::from_secs(26)).await;
    assert_eq!(page.lost().await, "0");
    page.browser.close().await.unwrap();
}

#[tokio::test]
#[ignore = "needs chromium: run .ci/install"]
async fn the_page_stays_with_a_server_that_sends_no_keepalives() {
    let page = Page::open("0s", "").await;
    page.sleep(Duration::from_secs(3_600)).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(page.lost().await, "0");
    page.browser.close().await.unwrap();
}

#[tokio::test]
#[ignore = "needs chromium: run .ci/install"]
async fn after_a_sleep_of_three_intervals_the_watchdog_fires_when_timers_run_again() {
    let mut page = Page::open("1h", "").await;
    page.forwarder.freeze();
    page.sleep(Duration::from_secs(3 * 3_600 - 60)).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(page.lost().await, "0", "the watchdog fires too early");
    page.sleep(Duration::from_secs(60)).await;
    page.expect_it_has_reconnected().await;
    page.browser.close().await.unwrap();
}

#[tokio::test]
#[ignore = "needs chromium: run .ci/install"]
async fn a_connection_may_take_longer_to_open_than_three_intervals() {
    let page = Page::open("1h", "").await;
    let script = r#"
        window.dead = "";
        import("/watchdog.js").then(({ Watchdog }) => {
            let began;
            const watchdog = new Watchdog(() => window.dead ||= String(Date.now() - began));
            watchdog.heard(1_000);
            watchdog.opening();
            began = Date.now();
        });
    "#;
    page.browser.run(script).await.unwrap();
    let dead = within(async {
        loop {
            let dead = page.browser.run("return window.dead").await.unwrap();
            match dead.as_str() {
                Some("") | None => sleep(Duration::from_millis(100)).await,
                Some(after) => return after.parse::<u32>().unwrap(),
            }
        }
    });
    let dead = dead.await;
    assert!(dead >= 5_000, "after {dead} ms");
    page.browser.close().await.unwrap();
}

#[tokio::test]
#[ignore = "needs chromium: run .ci/install"]
async fn a_page_that_becomes_visible_does_not_wait_for_three_intervals() {
    let shown = r#"document.dispatchEvent(new Event("visibilitychange"))"#;
    let interval = Duration::from_secs(10);
    for path in ["", "?shared"] {
        let mut page = Page::open("10s", path).await;
        page.browser.wait_for_count("keepalives", 1).await.unwrap();
        page.browser.run(shown).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(page.lost().await, "0", "no keepalive is overdue yet");

        page.forwarder.freeze();
        let frozen = Instant::now();
        // By then one keepalive is overdue. The watchdog alone would wait for three.
        sleep(interval.mul_f64(1.6)).await;
        assert_eq!(page.lost().await, "0", "nothing has told the page yet");
        page.browser.run(shown).await.unwrap();
        page.expect_it_has_reconnected().await;
        let after = frozen.elapsed();
        assert!(after < 2 * interval + interval / 2, "{after:?}");
        page.browser.close().await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs chromium: run .ci/install"]
async fn a_page_opens_a_new_connection_when_the_computer_is_online_again() {
    for path in ["", "?shared"] {
        let mut page = Page::open("1h", path).await;
        page.forwarder.freeze();
        sleep(Duration::from_secs(2)).await;
        page.browser.run(ONLINE).await.unwrap();
        page.expect_it_has_reconnected().await;
        page.browser.close().await.unwrap();
    }
}
