//! Runs every cure through every proxy, and writes the table into docs/proxies.md:
//! `cargo run -p harness --bin matrix`

use std::{fs, process::Command};

use anyhow::{Context, Result};
use clap::Parser;
use futures::{StreamExt, TryStreamExt, stream};
use harness::{
    setup::Setup,
    trial::{Cure, Outcome, SILENCE, run},
};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/proxies.md");
const BEGIN: &str = "<!-- the table -->\n";
const END: &str = "<!-- end of the table -->";

/// How many streams race against the timeout.
const RACES: usize = 10;

/// Runs a silent stream through every proxy, with and without keepalives, and writes what becomes of
/// it into docs/proxies.md.
#[derive(Parser)]
struct Args {
    /// How many streams to run at a time.
    #[arg(long, default_value_t = 12)]
    at_once: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut cures = vec![
        Cure::Nothing,
        Cure::Keepalive(SILENCE / 4),
        Cure::Keepalive(SILENCE / 2),
        Cure::Ping(SILENCE / 4),
    ];
    cures.resize(cures.len() + RACES, Cure::Keepalive(SILENCE));

    let trials = Setup::ALL
        .into_iter()
        .flat_map(|setup| cures.iter().map(move |&cure| (setup, cure)));
    let outcomes: Vec<Outcome> = stream::iter(trials)
        .map(|(setup, cure)| async move {
            run(setup, cure)
                .await
                .with_context(|| format!("{setup:?}, {cure:?}"))
        })
        .buffered(args.at_once)
        .try_collect()
        .await?;

    let mut table = format!("Run against {}.\n\n", versions()?);
    table += "| proxy | no keepalive | every T/4 | every T/2 | every T, alive of 10 | HTTP/2 PING instead, every T/4 |\n";
    table += "|---|---|---|---|---:|---|\n";
    for (setup, outcomes) in Setup::ALL.iter().zip(outcomes.chunks(cures.len())) {
        let [nothing, quarter, half, ping, races @ ..] = outcomes else {
            unreachable!("a chunk has an outcome for each cure")
        };
        let alive = races.iter().filter(|outcome| outcome.is_alive()).count();
        table += &format!(
            "| {} | {nothing} | {quarter} | {half} | {alive} | {ping} |\n",
            setup.describe()
        );
    }
    print!("{table}");

    let page = fs::read_to_string(PAGE).with_context(|| format!("cannot read {PAGE}"))?;
    let (before, rest) = page
        .split_once(BEGIN)
        .context("docs/proxies.md has no table")?;
    let (_, after) = rest.split_once(END).context("the table has no end")?;
    fs::write(PAGE, format!("{before}{BEGIN}{table}{END}{after}"))?;
    Ok(())
}

/// What each program says of itself, cut to its name and number.
fn versions() -> Result<String> {
    let programs = [
        ("nginx", "-v"),
        ("haproxy", "-v"),
        ("envoy", "--version"),
        ("caddy", "version"),
        ("apache2", "-v"),
    ];
    let versions = programs.map(|(program, flag)| {
        let output = Command::new(program).arg(flag).output();
        let output = output.with_context(|| format!("cannot start {program}"))?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let number = text
            .split(|c: char| c.is_whitespace() || c == '/' || c == '-')
            .map(|word| word.trim_start_matches('v'))
            .find(|word| {
                word.split('.')
                    .filter(|part| part.parse::<u16>().is_ok())
                    .count()
                    >= 3
            });
        Ok(format!("{program} {}", number.context("no version")?))
    });
    Ok(versions.into_iter().collect::<Result<Vec<_>>>()?.join(", "))
}
