//! What the command lines of the programs share: errors of one line, lines of standard input, and the signals that stop
//! a server.

use std::{
    future::Future,
    io::{self, BufRead},
    net::SocketAddr,
    process::{ExitCode, exit},
    thread,
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use tokio::{net::TcpListener, sync::mpsc};

/// Parses the command line. If that fails, it prints one line on stderr and exits with code 2.
pub fn parse<T: Parser>() -> T {
    T::try_parse().unwrap_or_else(|error| {
        if !error.use_stderr() {
            error.exit(); // --help
        }
        let text = error.to_string();
        // Below the first blank line are hints.
        let lines = text.lines().take_while(|line| !line.is_empty());
        eprintln!("{}", lines.map(str::trim).collect::<Vec<_>>().join(" "));
        exit(2)
    })
}

/// Turns the result of a program into its exit code, and prints an error as one line on stderr.
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Starts to listen, and prints the address.
pub async fn listen(addr: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(addr)
        .await
        .with_context(|| format!("cannot listen on {addr}"))?;
    println!("listening on {}", listener.local_addr()?);
    Ok(listener)
}

/// The lines of standard input as they arrive. A server keeps running when standard input ends.
pub fn lines_of_stdin() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    // Tokio's stdin would delay the exit, because its blocking read cannot be cancelled.
    thread::spawn(move || {
        for line in io::stdin().lock().split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// How long open streams may take to end once a server stops. A client that has stopped reading would
/// otherwise hold up the exit.
pub const GRACE: Duration = Duration::from_millis(500);

/// Completes at the first Ctrl-C or SIGTERM after this call.
#[cfg(unix)]
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async { tokio::signal::ctrl_c().await.unwrap_or_default() })
}
