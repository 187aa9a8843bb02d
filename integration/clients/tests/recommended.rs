//! How every client treats the recommended keepalives, and which of them restart its clock:
//! `cargo test -p clients -- --include-ignored`

use std::{process::ExitCode, time::Duration};

use clients::{
    client::{Client, EVENTS, LINES, Runs},
    clock::{Clock, Counts, timed_clients},
    keepalives::{COMMENT, COMMENT_LINE, EMPTY_LINE},
    stream::Stream,
};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let events = EVENTS
        .iter()
        .map(|client| (client, &[COMMENT, COMMENT_LINE][..]));
    let lines = LINES.iter().map(|client| (client, &[EMPTY_LINE][..]));
    let keepalives = events.chain(lines).map(|(client, keepalives)| {
        trial(client, "", "treats keepalives as expected", || {
            check(client, keepalives)
        })
    });
    let clocks = timed_clients().map(|(client, clock)| {
        let counts = format!("counts {}", clock.counts.text());
        trial(client, clock.setting, &counts, || watch(client, clock))
    });
    let models = timed_clients().filter(|(client, _)| client.format.is_of_a_model());
    let models = models.map(|(client, clock)| {
        let what = "outlives the silence of a model behind the layers of the recipe";
        trial(client, clock.setting, what, || outlive(client, clock))
    });
    let tests = keepalives.chain(clocks).chain(models).collect();
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

/// A test whose name is a sentence. It is ignored if the client has to be installed.
fn trial(
    client: &Client,
    setting: &str,
    what: &str,
    test: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let sentence = format!("{} {setting} {what}", client.name);
    let words = sentence.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    let installed = matches!(client.runs, Runs::Rust(..));
    Trial::test(words.join("_"), test).with_ignored_flag(!installed)
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

#[tokio::main]
async fn watch(client: &Client, clock: &Clock) -> Result<(), Failed> {
    let watched = client.watch().await;
    let watched = watched.map_err(|error| format!("{error:#}"))?;
    assert_eq!(watched.counts(), Some(clock.counts), "{watched:?}");
    Ok(())
}

#[tokio::main]
async fn outlive(client: &Client, clock: &Clock) -> Result<(), Failed> {
    let outlives = async |idle| {
        let app = |stream: Stream| {
            let [chat, responses, messages] = [(); 3].map(|()| stream.handler());
            recipes::models::app(chat, responses, messages, idle)
        };
        let outlives = client.outlives(app).await;
        outlives.map_err(|error| format!("{error:#}"))
    };
    assert!(outlives(Duration::from_millis(250)).await?);
    // Without keepalives, only a client without a clock does.
    let without = outlives(Duration::ZERO).await?;
    assert_eq!(without, clock.counts == Counts::NoClock);
    Ok(())
}
