use std::time::Duration;

use anyhow::{Context, Result};
use fantoccini::{Client, ClientBuilder, Locator, error::CmdError};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{PATIENCE, Program, free_addr, quiet};

/// A headless Chromium. It is killed when its value is dropped, with its driver.
#[derive(Debug)]
pub struct Browser {
    pub client: Client,
    driver: Program,
}

impl Browser {
    /// Starts it with these arguments beside its own, and opens the page.
    pub async fn open(url: &str, args: &[&str]) -> Result<Self> {
        let addr = free_addr()?;
        let mut command = quiet("chromedriver");
        command.arg(format!("--port={}", addr.port()));
        // A driver that is killed leaves its browser, so the two are killed as a group.
        #[cfg(unix)]
        command.process_group(0);
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
        Ok(Self { client, driver })
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

    /// Lets the browser end by itself, which removes its files.
    pub async fn close(self) -> Result<()> {
        Ok(self.client.clone().close().await?)
    }
}

#[cfg(unix)]
impl Drop for Browser {
    fn drop(&mut self) {
        use nix::{sys::signal::killpg, unistd::Pid};

        if let Some(id) = self.driver.id().ok().and_then(|id| id.try_into().ok()) {
            // It fails when all of them have ended.
            _ = killpg(Pid::from_raw(id), crate::Signal::SIGKILL);
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// How many processes of a group run.
    fn running(group: &str) -> usize {
        let processes = std::fs::read_dir("/proc").unwrap();
        let stats = processes.filter_map(|process| {
            std::fs::read_to_string(process.unwrap().path().join("stat")).ok()
        });
        let members = stats.filter(|stat| {
            // Behind the name: the state, the parent, the group.
            let (_, rest) = stat.rsplit_once(')').unwrap();
            let fields: Vec<_> = rest.split_whitespace().collect();
            fields[0] != "Z" && fields[2] == group
        });
        members.count()
    }

    #[tokio::test]
    #[ignore = "needs chromium: run scripts/install"]
    async fn a_dropped_browser_ends_with_its_driver() {
        let browser = Browser::open("data:text/html,here", &[]).await.unwrap();
        let group = browser.driver.id().unwrap().to_string();
        assert!(running(&group) > 1);
        drop(browser);
        crate::within(async {
            while running(&group) > 0 {
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }
}
