use std::time::Duration;

use anyhow::{Context, Result};
use fantoccini::{Client, ClientBuilder, Locator, error::CmdError};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{PATIENCE, Program, free_addr, quiet};

/// A headless Chromium, which ends with its driver.
#[derive(Debug)]
pub struct Browser {
    pub client: Client,
    _driver: Program,
}

impl Browser {
    /// Starts it with these arguments beside its own, and opens the page.
    pub async fn open(url: &str, args: &[&str]) -> Result<Self> {
        let addr = free_addr()?;
        let mut command = quiet("chromedriver");
        command.arg(format!("--port={}", addr.port()));
        let mut driver = Program::start(&mut command)?;
        anyhow::ensure!(driver.accepts(addr).await?, "chromedriver has ended");
        let own: &[&str] = &[
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ];
        let args = [own, args].concat();
        let capabilities = json!({
            "acceptInsecureCerts": true,
            "goog:chromeOptions": { "args": args },
        });
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities.as_object().context("no object")?.clone());
        let driver_url = format!("http://{addr}");
        let client = timeout(PATIENCE, builder.connect(&driver_url)).await??;
        client.goto(url).await?;
        Ok(Self {
            client,
            _driver: driver,
        })
    }

    /// The text of the element with this id.
    pub async fn text(&self, id: &str) -> Result<String, CmdError> {
        self.client.find(Locator::Id(id)).await?.text().await
    }

    /// Waits until the element with this id has this text.
    pub async fn wait_for(&self, id: &str, text: &str) -> Result<()> {
        let mut last = String::new();
        let shown = async {
            loop {
                last = self.text(id).await?;
                if last == text {
                    return Ok(());
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        let shown = timeout(PATIENCE, shown).await;
        shown.unwrap_or_else(|_| anyhow::bail!("#{id} shows {last:?}, not {text:?}"))
    }

    /// Runs a script in the page, and returns what it returns.
    pub async fn run(&self, script: &str) -> Result<Value, CmdError> {
        self.client.execute(script, Vec::new()).await
    }

    /// Closes the browser. Without it the browser ends only some time after its driver.
    pub async fn close(self) -> Result<()> {
        Ok(self.client.close().await?)
    }
}
