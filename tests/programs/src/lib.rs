use std::{
    future::Future,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    time::timeout,
};

pub const SERVER: &str = env!("CARGO_BIN_EXE_server");
pub const CLIENT: &str = env!("CARGO_BIN_EXE_client");
pub const DEMO: &str = env!("CARGO_BIN_EXE_demo");

/// What bounds every wait: far more than a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(15);

/// One of the binaries. It is killed when the test lets go of it, however the test ends.
pub struct Process {
    child: Child,
    stdin: ChildStdin,
    pub stdout: Output<ChildStdout>,
    pub stderr: Output<ChildStderr>,
}

impl Process {
    pub fn start(program: &str, args: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(args)
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("cannot start");
        Self {
            stdin: child.stdin.take().expect("no stdin"),
            stdout: Output::new(child.stdout.take().expect("no stdout")),
            stderr: Output::new(child.stderr.take().expect("no stderr")),
            child,
        }
    }

    pub async fn type_line(&mut self, line: &str) {
        let line = format!("{line}\n");
        within(self.stdin.write_all(line.as_bytes()))
            .await
            .expect("cannot write");
    }

    #[cfg(unix)]
    pub fn send(&self, signal: nix::sys::signal::Signal) {
        let id = self.child.id().expect("it has ended");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id as i32), signal)
            .expect("cannot signal");
    }

    pub async fn kill(&mut self) {
        within(self.child.kill()).await.expect("cannot kill");
    }

    pub async fn ended(&mut self) -> ExitStatus {
        within(self.child.wait()).await.expect("cannot wait")
    }
}

/// What a process writes, line by line.
pub struct Output<R>(Lines<BufReader<R>>);

impl<R: AsyncRead + Unpin> Output<R> {
    fn new(reader: R) -> Self {
        Self(BufReader::new(reader).lines())
    }

    pub async fn line(&mut self) -> String {
        self.next().await.expect("no line")
    }

    /// Returns the next line that contains `text`.
    pub async fn line_with(&mut self, text: &str) -> String {
        loop {
            let line = self.line().await;
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Returns what is left, once the process has ended.
    pub async fn rest(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.next().await {
            lines.push(line);
        }
        lines
    }

    async fn next(&mut self) -> Option<String> {
        within(self.0.next_line()).await.expect("cannot read")
    }
}

/// Waits, but not for ever.
pub async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("nothing happens")
}

/// Starts the server on a free port, and returns its address too.
pub async fn server(args: &[&str]) -> (Process, String) {
    let mut server = Process::start(SERVER, args);
    let line = server.stdout.line().await;
    let addr = line.strip_prefix("listening on ").expect("no address");
    (server, addr.to_owned())
}
