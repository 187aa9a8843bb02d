//! Tries every keepalive with every client, and writes the tables of docs/clients.md: `cargo run -p clients`

use std::{num::NonZeroUsize, time::Duration};

use anyhow::Result;
use clap::Parser;
use clients::{
    client::{self, Client},
    clock,
    keepalives::{COMMENTS, EVENTS, LINES},
    table::{self, Row},
};
use futures::{StreamExt, stream};
use programs::{Progress, markdown};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/clients.md");

/// The time that most clients take for one keepalive.
const EXPECTED: Duration = Duration::from_millis(500);

/// The time that most clients take until their clock is known.
const EXPECTED_CLOCK: Duration = Duration::from_secs(30);

/// Tries every keepalive with every client, and writes the verdicts into docs/clients.md.
#[derive(Parser)]
struct Args {
    /// Try only the clients whose name contains this text, and print the tables without writing them
    name: Option<String>,
    /// The number of clients to run at the same time
    #[arg(long, default_value = "4")]
    at_once: NonZeroUsize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Args { name, at_once } = Args::parse();
    let at_once = at_once.get();
    let chosen = |client: &Client| name.as_ref().is_none_or(|name| client.name.contains(name));
    let keepalives = [&COMMENTS[..], &EVENTS].concat();
    let events = client::EVENTS.iter().filter(|client| chosen(client));
    let events = try_clients(events, &keepalives, at_once).await;
    let lines = client::LINES.iter().filter(|client| chosen(client));
    let lines = try_clients(lines, &LINES, at_once).await;
    let timed = clock::timed_clients().filter(|(client, _)| chosen(client));
    let clocks = each(
        timed,
        |(client, _)| client.name,
        EXPECTED_CLOCK,
        at_once,
        async |(client, _)| client.watch().await,
    );
    let clocks = clocks.await;
    for (mark, table) in [
        ("clocks", table::write_clocks(&clocks)),
        ("comments", table::write(&events, &COMMENTS, 0)),
        ("events", table::write(&events, &EVENTS, COMMENTS.len())),
        ("lines", table::write(&lines, &LINES, 0)),
    ] {
        println!("{table}");
        if name.is_none() {
            markdown::fill(PAGE, mark, &table)?;
        }
    }
    Ok(())
}

async fn try_clients(
    clients: impl Iterator<Item = &'static Client>,
    keepalives: &[&'static str],
    at_once: usize,
) -> Vec<Row<'static>> {
    let expected = EXPECTED * keepalives.len() as u32;
    let attempt = async |client: &'static Client| client.try_all(keepalives).await;
    each(clients, |client| client.name, expected, at_once, attempt).await
}

/// Makes an attempt with each client. The result is `None` if it fails.
async fn each<C: Copy, T>(
    clients: impl Iterator<Item = C>,
    name: impl Fn(C) -> &'static str,
    expected: Duration,
    at_once: usize,
    attempt: impl AsyncFn(C) -> Result<T>,
) -> Vec<(C, Option<T>)> {
    let clients: Vec<_> = clients.collect();
    let share = expected / at_once as u32;
    let progress = Progress::new(share * clients.len() as u32);
    stream::iter(clients)
        .map(async |client| {
            progress.begin(name(client));
            let result = attempt(client).await;
            progress.advance(share);
            match result {
                Ok(result) => (client, Some(result)),
                Err(error) => {
                    progress.warn(format!("cannot try {}: {error:#}", name(client)));
                    (client, None)
                }
            }
        })
        .buffered(at_once)
        .collect()
        .await
}
