//! The subject: the server of an example, as its own process.

use std::{net::SocketAddr, process::Stdio};

use anyhow::Context;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::{
    example,
    process::{self, PATIENCE},
};

/// The server, and what can be said to it.
pub struct Server {
    pub addr: SocketAddr,
    child: Child,
    stdin: ChildStdin,
    // Held open: the server would not survive a write to a closed one.
    _stdout: Lines<BufReader<ChildStdout>>,
    log: Option<Lines<BufReader<ChildStderr>>>,
}

impl Server {
    /// Starts it on a free port, without its log.
    pub async fn start(args: &[&str]) -> anyhow::Result<Self> {
        Self::start_with(args, Stdio::null()).await
    }

    /// Starts it on a free port. Its log has to be read, or it comes to a stop.
    pub async fn start_logged(args: &[&str]) -> anyhow::Result<Self> {
        Self::start_with(args, Stdio::piped()).await
    }

    async fn start_with(args: &[&str], stderr: Stdio) -> anyhow::Result<Self> {
        let mut command = Command::new(example::binary("server").await?);
        command.args(args);
        Self::spawn(command, stderr).await
    }

    /// Starts any server that prints where it listens, and takes lines.
    pub async fn spawn(mut command: Command, stderr: Stdio) -> anyhow::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = process::start(command.stderr(stderr))?;
        let stdin = child.stdin.take().context("no stdin")?;
        let stdout = child.stdout.take().context("no stdout")?;
        let mut stdout = BufReader::new(stdout).lines();
        let line = timeout(PATIENCE, stdout.next_line()).await??;
        let line = line.context("the server ended at once")?;
        let addr = line.strip_prefix("listening on ").context("no address")?;
        Ok(Self {
            addr: addr.parse()?,
            stdin,
            _stdout: stdout,
            log: child.stderr.take().map(|log| BufReader::new(log).lines()),
            child,
        })
    }

    /// Makes every subscriber get an event of that text.
    pub async fn type_line(&mut self, line: &str) -> anyhow::Result<()> {
        let line = format!("{line}\n");
        Ok(self.stdin.write_all(line.as_bytes()).await?)
    }

    /// Returns the next line of the log that contains `text`.
    pub async fn log_line_with(&mut self, text: &str) -> anyhow::Result<String> {
        let log = self.log.as_mut().context("it is not logged")?;
        process::line_with(log, text).await
    }

    /// Kills it, as a crash would.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }
}
