//! Runs an idle bidirectional call behind each proxy that passes gRPC on, and writes the table into
//! docs/proxies.md: `cargo run -p proxies --bin half_open`

use anyhow::{Context, Result};
use clap::Parser;
use futures::{StreamExt, TryStreamExt, stream};
use programs::{Progress, markdown};
use proxies::{
    half_open::{LIMITS, Sender, run},
    outcome::Outcome,
    scenario::{PAGE, TIMEOUT},
};

/// Runs a bidirectional call that goes idle through each proxy that passes gRPC on, with keepalives from
/// neither, either or both sides. Writes the outcomes into docs/proxies.md.
#[derive(Parser)]
struct Args {
    /// The number of calls to run at the same time
    #[arg(long, default_value_t = 8)]
    at_once: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let runs = LIMITS
        .iter()
        .flat_map(|limits| Sender::ALL.map(|sender| (limits, sender)));
    let share = 4 * TIMEOUT / args.at_once as u32;
    let progress = Progress::new(share * (LIMITS.len() * Sender::ALL.len()) as u32);
    let outcomes: Vec<Outcome> = stream::iter(runs)
        .map(async |(limits, sender)| {
            progress.begin(limits.description);
            let outcome = run(limits, sender).await;
            progress.advance(share);
            outcome.with_context(|| format!("{}, {sender:?}", limits.description))
        })
        .buffered(args.at_once)
        .try_collect()
        .await?;
    drop(progress);

    let headings = [
        "limit",
        "no keepalive",
        "the server's",
        "the client's",
        "both",
    ];
    let rows = LIMITS.iter().zip(outcomes.chunks(Sender::ALL.len()));
    let rows = rows.map(|(limits, outcomes)| {
        let outcomes = outcomes.iter().map(Outcome::to_string);
        [limits.description.to_owned()].into_iter().chain(outcomes)
    });
    let table = markdown::table(&headings, rows);
    print!("{table}");
    markdown::fill(PAGE, "half-open calls", &table)
}
