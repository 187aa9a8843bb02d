//! The page in a real browser, behind a real nginx that cuts off what is silent for two seconds.

mod server;

use std::time::Duration;

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use programs::{Program, Server, free_addr, quiet, within};
use proxies::{
    nginx::{self, CONNECTIONS, Front},
    proxy::RunningProxy,
};
use serde_json::json;
use tokio::time::sleep;

/// A headless browser, which ends with its driver.
struct Browser {
    client: Client,
    _driver: Program,
}

impl Browser {
    async fn open(proxy: &RunningProxy, scheme: &str) -> Self {
        let addr = free_addr().unwrap();
        let mut command = quiet("chromedriver");
        command.arg(format!("--port={}", addr.port()));
        let mut driver = Program::start(&mut command).unwrap();
        assert!(
            driver.accepts(addr).await.unwrap(),
            "chromedriver has ended"
        );
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=760,460",
            scheme,
        ];
        let capabilities = json!({ "goog:chromeOptions": { "args": args } });
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities.as_object().unwrap().clone());
        let url = format!("http://{addr}");
        let client = within(builder.connect(&url)).await.unwrap();
        client
            .goto(&format!("http://{}/", proxy.addr))
            .await
            .unwrap();
        Self {
            client,
            _driver: driver,
        }
    }

    async fn text(&self, id: &str) -> String {
        let element = self.client.find(Locator::Id(id)).await.unwrap();
        element.text().await.unwrap()
    }

    async fn wait_for(&self, id: &str, text: &str) {
        within(async {
            while self.text(id).await != text {
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    /// Writes what the page looks like into docs, where SCREENSHOTS is set.
    async fn screenshot(&self, name: &str) {
        let png = self.client.screenshot().await.unwrap();
        assert!(png.starts_with(b"\x89PNG"), "not a picture");
        if std::env::var_os("SCREENSHOTS").is_some() {
            let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
            std::fs::write(format!("{docs}/{name}.png"), png).unwrap();
        }
    }

    async fn close(self) {
        self.client.close().await.unwrap();
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
#[ignore = "needs chromium and nginx: run scripts/install"]
async fn with_keepalives_the_page_stays_connected_and_shows_its_event() {
    let mut server = server::start(&["--keepalive", "500ms", "--immediate"]).await;
    let proxy = proxy(&server).await;
    for (scheme, name) in [(LIGHT, "sse-light"), (DARK, "sse-dark")] {
        let browser = Browser::open(&proxy, scheme).await;
        browser.wait_for("state", "connected").await;
        sleep(Duration::from_secs(8)).await;
        assert_eq!(browser.text("lost").await, "0");
        assert_eq!(browser.text("state").await, "connected");
        let keepalives: u32 = browser.text("keepalives").await.parse().unwrap();
        assert!(keepalives > 4, "{keepalives}");

        server.program.type_line("backup finished").await.unwrap();
        browser.wait_for("last", "backup finished").await;
        browser.screenshot(name).await;
        browser.close().await;
    }
}

#[tokio::test]
#[ignore = "needs chromium and nginx: run scripts/install"]
async fn without_keepalives_the_page_drops() {
    let server = server::start(&["--keepalive", "0s"]).await;
    let proxy = proxy(&server).await;
    let browser = Browser::open(&proxy, LIGHT).await;
    // nginx gives up before the response has begun, and answers with an error page itself.
    browser.wait_for("state", "reconnecting").await;
    browser.close().await;
}

#[tokio::test]
#[ignore = "needs chromium and nginx: run scripts/install"]
async fn the_page_comes_back_after_the_server_has_restarted_and_misses_nothing() {
    let args = ["--keepalive", "500ms", "--immediate"];
    let mut server = server::start(&args).await;
    let addr = server.addr.to_string();
    let proxy = proxy(&server).await;
    let browser = Browser::open(&proxy, LIGHT).await;
    browser.wait_for("state", "connected").await;
    server.program.type_line("before").await.unwrap();
    browser.wait_for("last", "before").await;

    drop(server);
    browser.wait_for("state", "reconnecting").await;
    let listen = ["--listen", &addr];
    let mut server = server::start(&[&args[..], &listen].concat()).await;
    server
        .program
        .type_line("while nobody was there")
        .await
        .unwrap();
    browser.wait_for("state", "connected").await;
    browser.wait_for("last", "while nobody was there").await;
    browser.close().await;
}
