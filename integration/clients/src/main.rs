//! Tries every keepalive with every client, and writes the tables of docs/clients.md: `cargo run -p clients`

use std::{num::NonZeroUsize, time::Duration};

use anyhow::Result;
use clap::Parser;
use clients::{
    client::{self, Client},
    keepalives::{COMMENTS, EVENTS, LINES},
    table::{self, Row},
};
use futures::{StreamExt, stream};
use programs::{Progress, markdown};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/clients.md");

/// The time that most clients take for one keepalive.
const EXPECTED: Duration = Duration::from_millis(500);

/// Tries every keepalive with every client, and writes the verdicts into docs/clients.md.
#[derive(Parser)]
struct Args {
    /// The number of clients to run at the same time
    #[arg(long, default_value = "4")]
    at_once: NonZeroUsize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Args { at_once } = Args::parse();
    let at_once = at_once.get();
    let events = [&COMMENTS[..], &EVENTS].concat();
    let events = try_clients(&client::EVENTS, &events, at_once).await;
    let lines = try_clients(&client::LINES, &LINES, at_once).await;
    for (name, table) in [
        ("comments", table::write(&events, &COMMENTS, 0)),
        ("events", table::write(&events, &EVENTS, COMMENTS.len())),
        ("lines", table::write(&lines, &LINES, 0)),
    ] {
        println!("{table}");
        markdown::fill(PAGE, name, &table)?;
    }
    Ok(())
}

async fn try_clients<'a>(
    clients: &'a [Client],
    keepalives: &[&'static str],
    at_once: usize,
) -> Vec<Row<'a>> {
    let share = EXPECTED * keepalives.len() as u32 / at_once as u32;
    let progress = Progress::new(share * clients.len() as u32);
    stream::iter(clients)
        .map(async |client| {
            progress.begin(client.name);
            let tried = client.try_all(keepalives).await;
            progress.advance(share);
            match tried {
                Ok(tried) => (client, Some(tried)),
                Err(error) => {
                    progress.warn(format!("cannot try {}: {error:#}", client.name));
                    (client, None)
                }
            }
        })
        .buffered(at_once)
        .collect()
        .await
}
