//! Runs a proxy as a program, with its own configuration in its own folder.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use anyhow::{Context, Result, bail};
use programs::{Program, free_addr_on, quiet};
use tempfile::TempDir;

use crate::scenario::Scenario;

/// A proxy that streams go through.
pub struct Proxy {
    pub name: &'static str,
    /// The program.
    pub program: &'static str,
    /// The arguments that make it print its version.
    pub version: &'static [&'static str],
    /// The name of its configuration file, which is in its working directory.
    pub config: &'static str,
    /// The arguments that make it run in the foreground.
    ///
    /// `{config}` stands for the name of the configuration file, `{addr}` for the address that it listens on, and `{folder}`
    /// for its working directory.
    pub args: &'static [&'static str],
    pub scenarios: &'static [Scenario],
}

/// Makes the text of a configuration from the address to listen on and the folder that the proxy may write to.
pub type Config = Box<dyn Fn(SocketAddr, &Path) -> String + Send>;

impl Proxy {
    /// Starts it on a free port of loopback, and waits until it accepts connections.
    pub async fn start(&self, config: Config) -> Result<RunningProxy> {
        self.start_on(Ipv4Addr::LOCALHOST.into(), config).await
    }

    /// The same, on this address.
    pub async fn start_on(&self, ip: IpAddr, config: Config) -> Result<RunningProxy> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("log");
        let addr = free_addr_on(ip)?;
        fs::write(folder.path().join(self.config), config(addr, folder.path()))?;
        let output = fs::File::create(&log)?;
        let args = self.args.iter().map(|arg| {
            arg.replace("{config}", self.config)
                .replace("{addr}", &addr.to_string())
                .replace("{folder}", &folder.path().to_string_lossy())
        });
        let mut command = quiet(self.program);
        command
            .args(args)
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .stdout(output.try_clone()?)
            .stderr(output);
        let mut program = Program::start(&mut command)?;
        if program.accepts(addr).await? {
            return Ok(RunningProxy {
                addr,
                program,
                _folder: folder,
            });
        }
        let log = fs::read_to_string(&log)?;
        bail!("{} did not start: {}", self.name, log.trim_end());
    }

    /// Returns its name, and the version number that it prints.
    pub async fn version(&self) -> Result<String> {
        let mut command = programs::piped(self.program);
        let output = command.args(self.version).output().await;
        let output = output.with_context(|| format!("cannot start {}", self.program))?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let number = text
            .split(|c: char| c.is_whitespace() || c == '/' || c == '-')
            .map(|word| word.trim_start_matches('v'))
            .find(|word| {
                let numbers = word.split('.').filter(|part| part.parse::<u16>().is_ok());
                numbers.count() >= 2
            });
        Ok(format!(
            "{} {}",
            self.name,
            number.context("it printed no version")?
        ))
    }
}

/// A proxy that accepts connections.
pub struct RunningProxy {
    pub addr: SocketAddr,
    pub program: Program,
    _folder: TempDir,
}
