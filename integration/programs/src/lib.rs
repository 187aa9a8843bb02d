//! Runs programs for tests and measurements, shows their progress, and writes their results into pages.
//!
//! A program is killed when its value is dropped, even by a panic.

#[cfg(feature = "browser")]
mod browser;
mod forwarder;
pub mod markdown;
mod output;
mod progress;

use std::{
    ffi::OsStr,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::{ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    process::{Child, ChildStdin, Command},
    time::{sleep, timeout},
};

#[cfg(feature = "browser")]
pub use browser::Browser;
pub use forwarder::Forwarder;
#[cfg(unix)]
pub use nix::sys::signal::Signal;
pub use output::Output;
pub use progress::Progress;

/// The limit of every wait. It leaves room for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How much later than expected something may happen on a busy machine.
pub const LATE: Duration = Duration::from_secs(6);

/// A command whose standard streams are pipes to the test.
pub fn piped(program: impl AsRef<OsStr>) -> Command {
    with_streams(program, Stdio::piped)
}

/// A command whose standard streams are null.
pub fn quiet(program: impl AsRef<OsStr>) -> Command {
    with_streams(program, Stdio::null)
}

fn with_streams(program: impl AsRef<OsStr>, stream: fn() -> Stdio) -> Command {
    let mut command = Command::new(program);
    command.stdin(stream()).stdout(stream()).stderr(stream());
    command
}

/// A running program.
#[derive(Debug)]
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    pub stdout: Output,
    pub stderr: Output,
}

impl Program {
    /// Its output is read while it runs, so that it never has to wait for the test.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.kill_on_drop(true).spawn().with_context(|| {
            format!(
                "cannot start {}",
                command.as_std().get_program().to_string_lossy()
            )
        })?;
        Ok(Self {
            stdin: child.stdin.take(),
            stdout: Output::new(child.stdout.take()),
            stderr: Output::new(child.stderr.take()),
            child,
        })
    }

    pub async fn type_line(&mut self, line: &str) -> Result<()> {
        let stdin = self
            .stdin
            .as_mut()
            .context("its standard input is not a pipe")?;
        let line = format!("{line}\n");
        timeout(PATIENCE, stdin.write_all(line.as_bytes())).await??;
        Ok(())
    }

    #[cfg(unix)]
    pub fn send(&self, signal: Signal) -> Result<()> {
        let id = self.id()?.try_into()?;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), signal)
            .with_context(|| format!("cannot send {signal}"))
    }

    /// Kills it, as a crash would.
    pub async fn kill(&mut self) -> Result<()> {
        Ok(timeout(PATIENCE, self.child.kill()).await??)
    }

    pub async fn ended(&mut self) -> Result<ExitStatus> {
        Ok(timeout(PATIENCE, self.child.wait()).await??)
    }

    pub fn id(&self) -> Result<u32> {
        self.child.id().context("the program has ended")
    }

    /// Waits until it accepts connections. Returns `false` if it has ended instead.
    pub async fn accepts(&mut self, addr: SocketAddr) -> Result<bool> {
        let accepts = async {
            loop {
                if self.child.try_wait()?.is_some() {
                    return Ok(false);
                }
                if TcpStream::connect(addr).await.is_ok() {
                    return Ok(true);
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, accepts)
            .await
            .with_context(|| format!("{addr} does not accept connections"))?
    }
}

/// A program that prints the address that it listens on.
#[derive(Debug)]
pub struct Server {
    pub addr: SocketAddr,
    pub program: Program,
}

impl Server {
    /// The command's standard output has to be [`piped`].
    pub async fn start(command: &mut Command) -> Result<Self> {
        let mut program = Program::start(command)?;
        let Ok(line) = program.stdout.line().await else {
            bail!(
                "the server does not listen: {}",
                program.stderr.rest().await?.join("\n")
            );
        };
        let addr = line.strip_prefix("listening on ");
        let addr = addr.with_context(|| format!("this line has no address: {line}"))?;
        Ok(Self {
            addr: addr.parse()?,
            program,
        })
    }
}

/// Returns a loopback address that is not in use, and reserves it for the programs of this process.
pub fn free_addr() -> io::Result<SocketAddr> {
    free_addr_on(Ipv4Addr::LOCALHOST.into())
}

/// The same, for this IP address.
pub fn free_addr_on(ip: IpAddr) -> io::Result<SocketAddr> {
    // The system does not give a bound port to a program that asks for any free port. A server can still listen on it,
    // because these sockets do not listen, and servers set SO_REUSEADDR too.
    static RESERVED: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());

    let socket = match ip {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind((ip, 0).into())?;
    let addr = socket.local_addr()?;
    RESERVED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(socket);
    Ok(addr)
}

/// Allows this process, and the processes that it starts, to open this many files.
#[cfg(unix)]
pub fn allow_open_files(needed: usize) -> Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let needed = needed as u64;
    ensure!(
        needed <= hard,
        "one process must open {needed} files, but may open only {hard}: \
         raise the hard limit (ulimit -Hn, as root) or use a smaller number"
    );
    if needed > soft {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}

#[cfg(not(unix))]
pub fn allow_open_files(_: usize) -> Result<()> {
    Ok(())
}

/// Waits for a future, but not longer than [`PATIENCE`].
pub async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future)
        .await
        .expect("nothing happened in time")
}

#[cfg(all(test, unix))]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = piped("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_server_that_does_not_start_says_why() {
        let error = Server::start(&mut shell("echo no port is free >&2")).await;
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "the server does not listen: no port is free");
    }

    #[tokio::test]
    async fn a_program_that_nobody_reads_runs_to_its_end() {
        // More than a pipe holds.
        let mut command = shell("for i in $(seq 100000); do echo line $i; done");
        let mut program = Program::start(&mut command).unwrap();
        assert!(program.ended().await.unwrap().success());
        assert_eq!(program.stdout.rest().await.unwrap().len(), 100_000);
    }

    #[tokio::test]
    async fn a_dropped_program_is_killed() {
        let mut command = shell("exec sleep 1000");
        let program = Program::start(&mut command).unwrap();
        let id = nix::unistd::Pid::from_raw(program.id().unwrap().try_into().unwrap());
        drop(program);
        within(async {
            while nix::sys::signal::kill(id, None).is_ok() {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    #[tokio::test]
    async fn nobody_else_gets_a_port_that_is_reserved() {
        let addr = free_addr().unwrap();
        // More ports than the system has for programs that ask for any free port.
        for _ in 0..70_000 {
            let other = TcpListener::bind("127.0.0.1:0").unwrap();
            assert_ne!(other.local_addr().unwrap(), addr);
        }
        assert!(TcpStream::connect(addr).await.is_err());

        let server = TcpSocket::new_v4().unwrap();
        server.set_reuseaddr(true).unwrap();
        server.bind(addr).unwrap();
        let _server = server.listen(1).unwrap();
        TcpStream::connect(addr).await.unwrap();
    }
}
