//! How every client treats the recommended keepalives: `cargo test -p clients -- --include-ignored`

use std::process::ExitCode;

use clients::{
    client::{Client, EVENTS, LINES, Runs},
    keepalives::{COMMENT, COMMENT_LINE, EMPTY_LINE},
};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let events = EVENTS
        .iter()
        .map(|client| (client, &[COMMENT, COMMENT_LINE][..]));
    let lines = LINES.iter().map(|client| (client, &[EMPTY_LINE][..]));
    let tests = events.chain(lines).map(|(client, keepalives)| {
        let words = client.name.split(|c: char| !c.is_ascii_alphanumeric());
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        let name = format!("{}_treats_keepalives_as_expected", words.join("_"));
        let installed = matches!(client.runs, Runs::Rust(..));
        Trial::test(name, || check(client, keepalives)).with_ignored_flag(!installed)
    });
    libtest_mimic::run(&Arguments::from_args(), tests.collect()).exit_code()
}

#[tokio::main]
async fn check(client: &Client, keepalives: &[&'static str]) -> Result<(), Failed> {
    let tried = client.try_all(keepalives).await;
    let tried = tried.map_err(|error| format!("{error:#}"))?;
    for (keepalive, places) in keepalives.iter().zip(&tried.verdicts) {
        let expected = client.expected(keepalive);
        for (place, verdict) in places {
            assert!(
                expected.is(verdict),
                "{keepalive:?}, {place:?}: {verdict:?}, expected: {expected:?}"
            );
        }
    }
    Ok(())
}
