//! What the binaries share at the edges: one line for each thing that goes wrong, no backtrace.

use std::process::{ExitCode, exit};

use clap::Parser;

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
