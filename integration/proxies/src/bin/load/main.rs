//! Connects many idle subscribers to one server behind nginx. Shows that none of them is dropped, and what
//! they cost the server.

mod subscriber;
mod usage;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, ensure};
use clap::Parser;
use futures::future::try_join_all;
use programs::{Progress, allow_open_files};
use proxies::{
    example,
    nginx::{self, Front},
};
use tokio::time::{Instant, sleep, timeout_at};
use tonic_events::proto::v1::backrest_client::BackrestClient;

use crate::{
    subscriber::{End, Report, watch},
    usage::Usage,
};

/// The idle time after which nginx cuts a stream.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Below nginx's limit for one connection, which is 128.
const STREAMS_PER_CONNECTION: usize = 100;

/// The number of files that a process has open besides its streams.
const OTHER_FILES: usize = 64;

/// Connects many idle subscribers through nginx, which cuts a stream after 10 idle seconds. Fails if one is
/// dropped.
#[derive(Parser)]
struct Args {
    /// The number of subscribers
    #[arg(value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    subscribers: u32,

    /// Send a keepalive whenever a stream has been idle for this long; 0s turns keepalives off
    #[arg(long, value_name = "DURATION", default_value = "4s", value_parser = humantime::parse_duration)]
    keepalive: Duration,

    /// Stay idle for this long, and then send one event to all subscribers
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    idle: Duration,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let count = args.subscribers as usize;
    let connections = count.div_ceil(STREAMS_PER_CONNECTION);
    // nginx opens the most files: one for each connection of a client, and one for each stream to the server.
    let files = count + connections + OTHER_FILES;
    allow_open_files(files)?;

    let keepalive = humantime::format_duration(args.keepalive).to_string();
    let idle = humantime::format_duration(args.idle);
    println!(
        "{count} subscribers behind nginx, which cuts a stream after {} idle seconds; \
         a keepalive after {keepalive} of idle time; one event after {idle}",
        TIMEOUT.as_secs()
    );
    // Most of the time is spent waiting.
    let progress = Progress::new(args.idle);
    progress.begin("subscribing");
    let mut server = example::server(&["--keepalive", &keepalive]).await?;
    let location = format!(
        "grpc_pass grpc://{}; grpc_read_timeout {}s;",
        server.addr,
        TIMEOUT.as_secs()
    );
    let nginx = nginx::start(Front::Http2, files, &location).await?;
    let url = format!("http://{}", nginx.addr);
    let id = server.program.id()?;
    let before = Usage::of(id)?;

    let start = Instant::now();
    let sizes = (0..connections)
        .map(|connection| STREAMS_PER_CONNECTION.min(count - connection * STREAMS_PER_CONNECTION));
    let watchers = try_join_all(sizes.map(|size| subscribe(&url, size))).await?;
    let watchers: Vec<_> = watchers.into_iter().flatten().collect();
    progress.print(format!(
        "subscribed      {:.1} s",
        start.elapsed().as_secs_f32()
    ));

    let subscribed = Usage::of(id)?;
    progress.begin("waiting");
    sleep(args.idle).await;
    drop(progress);
    let after = Usage::of(id)?;

    server.program.type_line("backup finished").await?;
    let sent = Instant::now();
    let mut reports = Vec::with_capacity(count);
    for watcher in watchers {
        // A subscriber that has no event after the proxy's timeout has missed it.
        match timeout_at(sent + TIMEOUT, watcher).await {
            Ok(report) => reports.push(report?),
            Err(_) => reports.push(Report::missed()),
        }
    }

    let ended = |end: fn(&End) -> bool| reports.iter().filter(|report| end(&report.end)).count();
    let dropped = ended(|end| matches!(end, End::Dropped(_)));
    let missed = ended(|end| matches!(end, End::Missed));
    let keepalives = || reports.iter().map(|report| report.keepalives);
    let fewest = keepalives().min().unwrap_or_default();
    let most = keepalives().max().unwrap_or_default();
    let longest = reports.iter().map(|report| report.longest_gap).max();
    let longest = longest.unwrap_or_default();
    println!("dropped         {dropped}");
    println!("keepalives      {fewest} to {most} each");
    println!("longest gap     {:.2} s", longest.as_secs_f32());
    match reports.iter().filter_map(Report::event_at).max() {
        Some(last) => println!(
            "event           reached {} subscribers, the last after {} ms",
            count - dropped - missed,
            (last - sent).as_millis()
        ),
        None => println!("event           reached no subscriber"),
    }
    let cpu = after.cpu - subscribed.cpu;
    println!(
        "server's CPU    {:.1} % of a core; {:.1} µs per subscriber and second",
        100.0 * cpu.as_secs_f64() / args.idle.as_secs_f64(),
        1e6 * cpu.as_secs_f64() / args.idle.as_secs_f64() / count as f64
    );
    println!(
        "server's memory {:.1} MiB; {:.1} KiB per subscriber",
        after.memory as f64 / 1024.0 / 1024.0,
        after.memory.saturating_sub(before.memory) as f64 / 1024.0 / count as f64
    );

    if let Some(End::Dropped(reason)) = reports
        .iter()
        .map(|report| &report.end)
        .find(|end| matches!(end, End::Dropped(_)))
    {
        anyhow::bail!("{dropped} of {count} subscribers were dropped: {reason}");
    }
    ensure!(
        missed == 0,
        "{missed} of {count} subscribers missed the event"
    );
    ensure!(
        longest <= TIMEOUT,
        "a subscriber was idle for longer than the timeout of nginx"
    );
    // The last one may still be on its way.
    let due = args
        .idle
        .as_millis()
        .checked_div(args.keepalive.as_millis());
    let due = due.unwrap_or_default().saturating_sub(1);
    ensure!(
        u128::from(fewest) >= due,
        "{due} keepalives were due, but a subscriber got only {fewest}"
    );
    Ok(())
}

/// Opens this many streams on one new connection.
async fn subscribe(
    url: &str,
    count: usize,
) -> anyhow::Result<Vec<tokio::task::JoinHandle<Report>>> {
    let mut client = BackrestClient::connect(url.to_owned())
        .await
        .context("cannot connect to nginx")?;
    let mut watchers = Vec::with_capacity(count);
    for _ in 0..count {
        let response = client
            .get_operation_events(())
            .await
            .context("cannot subscribe")?;
        watchers.push(tokio::spawn(watch(response.into_inner())));
    }
    Ok(watchers)
}
