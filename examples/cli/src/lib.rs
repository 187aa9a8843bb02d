//! What the command-line programs of this repository share: one-line errors, common options, lines of standard
//! input, the signals that stop a server, progress on a terminal, and tables in Markdown pages.

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

pub use options::{GiveUp, Immediate, Keepalive, Listen};
pub use page::fill;
pub use progress::Progress;
pub use stop::{GRACE, cancel_at_signal, stop_signal};

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
