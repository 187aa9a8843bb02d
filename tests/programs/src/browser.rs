//! Chromium, driven by WebDriver.

use anyhow::{Context, Result, bail};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
#[cfg(unix)]
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use tokio::time::timeout;

use crate::{PATIENCE, Program, free_addr, quiet};

/// A headless browser.
#[derive(Debug)]
pub struct Browser {
    pub client: Client,
    _driver: Program,
    /// It does not end with its driver.
    #[cfg(unix)]
    process: Option<Pid>,
}

impl Browser {
    /// Starts it, with these arguments for Chromium besides those that it needs to run here.
    pub async fn open(more: &[&str]) -> Result<Self> {
        let addr = free_addr()?;
        let mut command = quiet("chromedriver");
        command.arg(format!("--port={}", addr.port()));
        let mut driver = Program::start(&mut command)?;
        if !driver.accepts(addr).await? {
            bail!("chromedriver has ended");
        }
        let args = [
            &[
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ],
            more,
        ];
        let capabilities = json!({ "goog:chromeOptions": { "args": args.concat() } });
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities.as_object().expect("it is one").clone());
        let url = format!("http://{addr}");
        let client = timeout(PATIENCE, builder.connect(&url)).await;
        let client = client.context("Chromium does not start")??;
        Ok(Self {
            #[cfg(unix)]
            process: process(&client),
            client,
            _driver: driver,
        })
    }

    /// Returns the number of its version.
    pub fn version(&self) -> Option<&str> {
        self.client.capabilities()?.get("browserVersion")?.as_str()
    }

    /// Closes it. When it is dropped instead, it is killed.
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
    use std::time::Duration;

    use tokio::{net::TcpStream, time::sleep};

    use super::*;
    use crate::within;

    #[tokio::test]
    #[ignore = "needs chromium: run scripts/install"]
    async fn a_dropped_browser_is_killed() {
        let browser = Browser::open(&[]).await.unwrap();
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
