use std::time::Duration;

use anyhow::{Context, Result};
use fantoccini::{Client, ClientBuilder, Locator, error::CmdError};
use hyper_util::client::legacy::connect::HttpConnector;
#[cfg(unix)]
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{PATIENCE, Program, free_addr, quiet};

/// A headless Chromium.
#[derive(Debug)]
pub struct Browser {
    pub client: Client,
    _driver: Program,
    /// Chromium, which does not end when its driver ends.
    #[cfg(unix)]
    process: Option<Pid>,
}

impl Browser {
    /// Starts Chromium, with these arguments in addition to its usual ones, and opens the page.
    pub async fn open(url: &str, args: &[&str]) -> Result<Self> {
        let addr = free_addr()?;
        let mut command = quiet("chromedriver");
        command.arg(format!("--port={}", addr.port()));
        let mut driver = Program::start(&mut command)?;
        anyhow::ensure!(driver.accepts(addr).await?, "chromedriver has ended");
        let own = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ];
        let args = [&own, args].concat();
        let capabilities = json!({
            "acceptInsecureCerts": true,
            "goog:chromeOptions": { "args": args },
        });
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities.as_object().context("no object")?.clone());
        let driver_url = format!("http://{addr}");
        let client = timeout(PATIENCE, builder.connect(&driver_url)).await??;
        let browser = Self {
            #[cfg(unix)]
            process: process(&client),
            client,
            _driver: driver,
        };
        browser.client.goto(url).await?;
        Ok(browser)
    }

    /// The text of the element with this id.
    pub async fn text(&self, id: &str) -> Result<String, CmdError> {
        self.client.find(Locator::Id(id)).await?.text().await
    }

    /// Waits until the element with this id has this text. It looks every 50 ms, so it can miss a
    /// text that is replaced sooner.
    pub async fn wait_for(&self, id: &str, text: &str) -> Result<()> {
        let shown = self.wait_until(id, |shown| shown == text).await;
        shown.with_context(|| format!("waiting for {text:?}"))
    }

    /// Waits until the counter in the element with this id has reached `count`.
    pub async fn wait_for_count(&self, id: &str, count: u64) -> Result<()> {
        let reached = |shown: &str| shown.parse().is_ok_and(|shown: u64| shown >= count);
        let shown = self.wait_until(id, reached).await;
        shown.with_context(|| format!("waiting for {count} or more"))
    }

    async fn wait_until(&self, id: &str, is_right: impl Fn(&str) -> bool) -> Result<()> {
        let mut last = String::new();
        let shown = async {
            loop {
                last = self.text(id).await?;
                if is_right(&last) {
                    return Ok(());
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        let shown = timeout(PATIENCE, shown).await;
        shown.unwrap_or_else(|_| anyhow::bail!("#{id} shows {last:?}"))
    }

    /// Runs a script in the page, and returns what it returns.
    pub async fn run(&self, script: &str) -> Result<Value, CmdError> {
        self.client.execute(script, Vec::new()).await
    }

    /// Returns the version number of Chromium.
    pub fn version(&self) -> Option<&str> {
        self.client.capabilities()?.get("browserVersion")?.as_str()
    }

    /// Closes the browser. It is killed if it is dropped instead.
    pub async fn close(mut self) -> Result<()> {
        self.client.clone().close().await?;
        #[cfg(unix)]
        self.process.take();
        Ok(())
    }
}

#[cfg(unix)]
fn process(client: &Client) -> Option<Pid> {
    let process = client.capabilities()?.get("goog:processID")?.as_i64()?;
    Some(Pid::from_raw(process.try_into().ok()?))
}

#[cfg(unix)]
impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(process) = self.process {
            _ = kill(process, Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;
    use crate::within;

    #[tokio::test]
    #[ignore = "needs chromium: run .ci/install"]
    async fn a_dropped_browser_is_killed() {
        let browser = Browser::open("about:blank", &[]).await.unwrap();
        let options = &browser.client.capabilities().unwrap()["goog:chromeOptions"];
        let debugger = options["debuggerAddress"].as_str().unwrap().to_owned();
        assert!(TcpStream::connect(&debugger).await.is_ok());
        drop(browser);
        within(async {
            while TcpStream::connect(&debugger).await.is_ok() {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}
