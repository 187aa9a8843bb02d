//! The page in a real browser, behind a real nginx that cuts off what is silent for two seconds.

mod server;

use std::{
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use fantoccini::{Client, ClientBuilder, Locator};
use harness::{
    nginx::{self, Front},
    process,
    proxy::Proxy,
};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;
use server::Server;
use tokio::{
    net::TcpStream,
    process::Child,
    time::{Instant, sleep, timeout},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A headless browser, which ends with its driver.
struct Browser {
    client: Client,
    _driver: Child,
}

impl Browser {
    async fn open(proxy: &Proxy, scheme: &str) -> Self {
        // Free again at the end of this line.
        let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap();
        let mut command = process::quiet("chromedriver");
        let driver = process::start(command.arg(format!("--port={}", addr.port()))).unwrap();
        let start = Instant::now();
        while TcpStream::connect(addr).await.is_err() {
            assert!(start.elapsed() < PATIENCE, "chromedriver does not accept");
            sleep(Duration::from_millis(20)).await;
        }
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
        let client = timeout(PATIENCE, builder.connect(&url))
            .await
            .expect("no browser")
            .unwrap();
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
        let start = Instant::now();
        while self.text(id).await != text {
            assert!(
                start.elapsed() < PATIENCE,
                "{id} is {}",
                self.text(id).await
            );
            sleep(Duration::from_millis(50)).await;
        }
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

async fn proxy(server: &Server) -> Proxy {
    let location = format!(
        "proxy_pass http://{}; proxy_http_version 1.1; proxy_read_timeout 2s;",
        server.addr
    );
    nginx::start(Front::Http1, 64, &location).await.unwrap()
}

const LIGHT: &str = "--blink-settings=preferredColorScheme=1";
const DARK: &str = "--blink-settings=preferredColorScheme=0";

#[tokio::test]
#[ignore = "needs chromium and nginx: run scripts/install-test-tools"]
async fn with_keepalives_the_page_stays_connected_and_shows_its_event() {
    let mut server = Server::start(&["--keepalive", "500ms", "--immediate"]).await;
    let proxy = proxy(&server).await;
    for (scheme, name) in [(LIGHT, "sse-light"), (DARK, "sse-dark")] {
        let browser = Browser::open(&proxy, scheme).await;
        browser.wait_for("state", "connected").await;
        sleep(Duration::from_secs(8)).await;
        assert_eq!(browser.text("lost").await, "0");
        assert_eq!(browser.text("state").await, "connected");
        let keepalives: u32 = browser.text("keepalives").await.parse().unwrap();
        assert!(keepalives > 4, "{keepalives}");

        server.type_line("backup finished").await;
        browser.wait_for("last", "backup finished").await;
        browser.screenshot(name).await;
        browser.close().await;
    }
}

#[tokio::test]
#[ignore = "needs chromium and nginx: run scripts/install-test-tools"]
async fn without_keepalives_the_page_drops() {
    let server = Server::start(&["--keepalive", "0s"]).await;
    let proxy = proxy(&server).await;
    let browser = Browser::open(&proxy, LIGHT).await;
    let start = Instant::now();
    // nginx gives up before the response has begun, and answers with an error page itself.
    while browser.text("state").await != "reconnecting" {
        assert!(start.elapsed() < PATIENCE, "it does not drop");
        sleep(Duration::from_millis(50)).await;
    }
    browser.close().await;
}

#[tokio::test]
#[ignore = "needs chromium and nginx: run scripts/install-test-tools"]
async fn the_page_comes_back_after_the_server_has_restarted_and_misses_nothing() {
    let args = ["--keepalive", "500ms", "--immediate"];
    let mut server = Server::start(&args).await;
    let addr = server.addr.to_string();
    let proxy = proxy(&server).await;
    let browser = Browser::open(&proxy, LIGHT).await;
    browser.wait_for("state", "connected").await;
    server.type_line("before").await;
    browser.wait_for("last", "before").await;

    drop(server);
    browser.wait_for("state", "reconnecting").await;
    let listen = ["--listen", &addr];
    let mut server = Server::start(&[&args[..], &listen].concat()).await;
    server.type_line("while nobody was there").await;
    browser.wait_for("state", "connected").await;
    browser.wait_for("last", "while nobody was there").await;
    browser.close().await;
}
