//! What every client makes of the recommended keepalive: `cargo test -p clients -- --include-ignored`

use std::process::ExitCode;

use clients::{
    client::{Client, EVENTS, LINES, Runs},
    keepalives::{COMMENT, EMPTY_LINE},
};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let events = EVENTS.iter().map(|client| (client, COMMENT));
    let lines = LINES.iter().map(|client| (client, EMPTY_LINE));
    let tests = events.chain(lines).map(|(client, keepalive)| {
        let words = client.name.split(|c: char| !c.is_ascii_alphanumeric());
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        let name = format!("{}_makes_of_it_what_is_expected", words.join("_"));
        let installed = matches!(client.runs, Runs::Rust(..));
        Trial::test(name, || check(client, keepalive)).with_ignored_flag(!installed)
    });
    libtest_mimic::run(&Arguments::from_args(), tests.collect()).exit_code()
}

#[tokio::main]
async fn check(client: &Client, keepalive: &'static str) -> Result<(), Failed> {
    let tried = client.try_all(&[keepalive]).await;
    let tried = tried.map_err(|error| format!("{error:#}"))?;
    for (place, verdict) in tried.verdicts.iter().flatten() {
        let expected = client.expected;
        assert!(
            expected.is(verdict),
            "{place:?}: {verdict:?}, not {expected:?}"
        );
    }
    Ok(())
}
