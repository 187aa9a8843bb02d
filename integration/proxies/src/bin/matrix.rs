//! Runs every strategy in every scenario, and writes the table of outcomes into docs/proxies.md:
//! `cargo run -p proxies --bin matrix`

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use programs::{Progress, markdown};
use proxies::{
    outcome::{Outcome, Strategy, run},
    scenario::{self, PAGE, PROXIES, Scenario},
};

/// How many streams run with keepalives that are due at the same time as the timeout.
const RACES: usize = 10;

/// Runs an idle stream through every proxy, with and without keepalives, and writes the outcomes into
/// docs/proxies.md.
#[derive(Parser)]
struct Args {
    /// The number of streams to run at the same time
    #[arg(long, default_value_t = 12)]
    at_once: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut strategies = vec![
        Strategy::Nothing,
        Strategy::Keepalive(4),
        Strategy::Keepalive(2),
        Strategy::Ping(4),
    ];
    strategies.resize(strategies.len() + RACES, Strategy::Keepalive(1));
    let versions = try_join_all(PROXIES.map(|proxy| proxy.version())).await?;

    let scenarios: Vec<_> = scenario::all().map(|(_, scenario)| scenario).collect();
    let runs = scenarios.iter().flat_map(|&scenario| {
        let strategies = strategies.iter();
        strategies.map(move |&strategy| (scenario, strategy))
    });
    // Most streams stay open for their whole lifetime.
    let share = |scenario: &Scenario| scenario.lifetime() / args.at_once as u32;
    let all: Duration = scenarios.iter().map(|scenario| share(scenario)).sum();
    let progress = Progress::new(all * strategies.len() as u32);
    let outcomes: Vec<Outcome> = stream::iter(runs)
        .map(async |(scenario, strategy)| {
            progress.begin(scenario.description);
            let outcome = run(scenario, strategy).await;
            progress.advance(share(scenario));
            outcome.with_context(|| format!("{}, {strategy:?}", scenario.description))
        })
        .buffered(args.at_once)
        .try_collect()
        .await?;
    drop(progress);

    let mut table = format!("Run against {}.\n\n", versions.join(", "));
    let headings = [
        "proxy",
        "no keepalive",
        "every T/4",
        "every T/2",
        "every T: alive, of 10:",
        "HTTP/2 PING instead, every T/4",
    ];
    let rows = scenarios.iter().zip(outcomes.chunks(strategies.len()));
    let rows = rows.map(|(scenario, outcomes)| {
        let [nothing, quarter, half, ping, races @ ..] = outcomes else {
            unreachable!("a chunk has an outcome for each strategy")
        };
        let alive = races.iter().filter(|outcome| outcome.is_alive()).count();
        [
            scenario.description.to_owned(),
            nothing.to_string(),
            quarter.to_string(),
            half.to_string(),
            alive.to_string(),
            ping.to_string(),
        ]
    });
    table += &markdown::table(&headings, rows);
    print!("{table}");
    markdown::fill(PAGE, "the table", &table)
}
