//! Child processes.

use std::{process::Stdio, time::Duration};

use anyhow::Context;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, BufReader, Lines},
    process::{Child, Command},
};

/// What bounds every wait for a process: far more than a busy machine needs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Starts a process that is killed when it is dropped.
pub fn start(command: &mut Command) -> anyhow::Result<Child> {
    let program = command.as_std().get_program().to_owned();
    command
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))
}

/// Sends a signal to a process that runs.
pub fn signal(child: &Child, signal: Signal) -> anyhow::Result<()> {
    let id = child.id().context("the process has ended")?;
    kill(Pid::from_raw(id.try_into()?), signal).context("cannot send a signal")
}

/// Returns the next line that contains `text`.
pub async fn line_with<R>(lines: &mut Lines<BufReader<R>>, text: &str) -> anyhow::Result<String>
where
    R: AsyncRead + Unpin,
{
    loop {
        let line = lines.next_line().await?.context("the process has ended")?;
        if line.contains(text) {
            return Ok(line);
        }
    }
}

/// A command with nothing on its standard streams.
pub fn quiet(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}
