//! The server as a process that ends with the test.

use std::{net::SocketAddr, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

pub struct Server {
    pub addr: SocketAddr,
    stdin: ChildStdin,
    _child: Child,
    _stdout: Lines<BufReader<ChildStdout>>,
}

pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sse-events"));
    command.args(args).kill_on_drop(true);
    command
}

impl Server {
    pub async fn start(args: &[&str]) -> Self {
        let mut command = command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = stdout.next_line().await.unwrap().expect("it ends at once");
        let addr = line.strip_prefix("listening on ").expect("no address");
        Self {
            addr: addr.parse().unwrap(),
            stdin: child.stdin.take().unwrap(),
            _child: child,
            _stdout: stdout,
        }
    }

    pub async fn type_line(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.stdin.write_all(line.as_bytes()).await.unwrap();
    }
}
