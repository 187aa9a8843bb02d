//! A proxy as a child process, with a configuration of its own in a folder of its own.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::process::{self, PATIENCE};

/// A proxy that accepts connections, and is killed when it is dropped.
pub struct Proxy {
    pub addr: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Proxy {
    /// Starts `program` with the configuration for a free port, and waits until it accepts.
    ///
    /// `args` completes the command, given the folder; the configuration is the file `config` there, and `config.yaml` for those that go by the ending.
    pub async fn start(
        program: &str,
        args: impl Fn(&mut Command, &Path),
        config: impl Fn(SocketAddr, &Path) -> String,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        // The port is free when it is picked, but somebody may be faster.
        for _ in 0..5 {
            let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
            let config = config(addr, folder.path());
            fs::write(folder.path().join("config"), &config)?;
            fs::write(folder.path().join("config.yaml"), &config)?;
            let log = fs::File::create(folder.path().join("log"))?;
            let mut command = process::quiet(program);
            command
                .current_dir(folder.path())
                .env("HOME", folder.path());
            command.stdout(log.try_clone()?).stderr(log);
            args(&mut command, folder.path());
            let mut child = process::start(&mut command)?;
            if accepts(&mut child, addr).await? {
                return Ok(Self {
                    addr,
                    child,
                    _folder: folder,
                });
            }
        }
        let log = fs::read_to_string(folder.path().join("log"))?;
        bail!("{program} does not start: {}", log.trim_end());
    }

    /// Stops the process: its connections stay open, and say nothing any more.
    pub fn freeze(&self) -> anyhow::Result<()> {
        process::signal(&self.child, Signal::SIGSTOP)
    }
}

/// False when the process has ended.
async fn accepts(child: &mut Child, addr: SocketAddr) -> anyhow::Result<bool> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if child.try_wait()?.is_some() {
            return Ok(false);
        }
        if TcpStream::connect(addr).await.is_ok() {
            return Ok(true);
        }
        sleep(Duration::from_millis(10)).await;
    }
    Err(anyhow::anyhow!("{addr} does not accept")).context("the proxy is stuck")
}
