//! What the command lines of this repository share: one line for each thing that goes wrong, options
//! that are called alike, lines of standard input, the signals that stop a server, progress on a terminal, tables in
//! pages, and the watchdog of the pages that are served.

mod log;
mod options;
mod page;
mod progress;
mod stop;

use std::{
    io::{self, BufRead},
    process::{ExitCode, exit},
    thread,
};

use clap::Parser;
use tokio::sync::mpsc;

pub use log::{Line, Log};
pub use options::{GiveUp, Immediate, Keepalive, Listen};
pub use page::fill;
pub use progress::Progress;
pub use stop::{GRACE, cancel_at_signal, stop_signal};

/// The script with which a page finds out that its connection is dead.
pub const WATCHDOG: &str = include_str!("watchdog.js");

/// Parses the command line. What is wrong with it takes one line, and exit code 2.
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

/// Turns what `main` ended with into an exit code, and an error into a line on stderr.
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Lines as they come. The end of standard input ends nothing: the server goes on without it.
pub fn lines_of_stdin() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    // Not Tokio's stdin: its blocking read would hold up the exit.
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
