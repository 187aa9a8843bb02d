//! Measures what an idle connection costs a server of axum: `cargo run --release -p benches --bin idle-connections`

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use benches::figures;
use clap::{Parser, ValueEnum};
use humantime::{format_duration, parse_duration};
use programs::{Program, Progress, Server, allow_open_files, piped};
use serde::Serialize;
use serde_json::json;
use tokio::{
    process::Command,
    time::{sleep, timeout},
};

mod client;
mod server;

use server::Keepalives;

/// Opens event streams that stay idle, over loopback, and prints what they cost the server: the memory of a stream
/// with its connection, and the CPU time of a keepalive with its write. The server and the client are processes of
/// their own, so only the server is counted. The memory of the kernel is not counted.
#[derive(Parser)]
struct Args {
    /// The number of streams
    #[arg(default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    streams: u32,
    /// The number of streams of a connection over HTTP/2; axum allows 200
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=200))]
    streams_per_connection: u32,
    /// The idle time after which a keepalive is due; the streams are opened evenly over the same time
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    idle: Duration,
    /// How long to measure, as a multiple of `--idle`
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    periods: u32,
    /// How often to measure each server; the medians are printed
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure only servers with these keepalives
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Keepalives::value_variants().to_vec())]
    only: Vec<Keepalives>,
    /// Measure only these versions of HTTP
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Http::value_variants().to_vec())]
    http: Vec<Http>,
    #[command(flatten)]
    file: figures::File,
    /// Be the server
    #[arg(long, hide = true)]
    serve: bool,
    /// Be the client of this server
    #[arg(long, hide = true)]
    connect: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Http {
    #[value(name = "1.1")]
    Http1,
    #[value(name = "2")]
    Http2,
}

/// What the streams of one server cost.
#[derive(Clone, Copy, Debug, Serialize)]
struct Cost {
    bytes_per_stream: f64,
    /// `None` without keepalives.
    cpu_ns_per_keepalive: Option<f64>,
    /// The share of one core that all streams take together.
    cores: f64,
    keepalives: u64,
}

impl Args {
    /// How long one server is measured: its streams are opened, all become idle, and then keepalives are counted.
    fn duration(&self) -> Duration {
        self.idle * (2 + self.periods)
    }

    fn connections(&self, http: Http) -> u32 {
        match http {
            Http::Http1 => self.streams,
            Http::Http2 => self.streams.div_ceil(self.streams_per_connection),
        }
    }

    /// The files that a process opens: its connections, and a few others.
    fn files(&self) -> usize {
        let connections = self.http.iter().map(|&http| self.connections(http));
        connections.max().unwrap_or_default() as usize + 64
    }
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<()> {
    ensure!(
        args.idle >= Duration::from_millis(100),
        "--idle must be 100 ms or more"
    );
    allow_open_files(args.files())?;
    if args.serve {
        return server::run(args.only[0], args.idle);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match args.connect {
        Some(server) => {
            runtime.block_on(client::open(&args, server))?;
            answer(|_| Ok(client::received()))
        }
        None => runtime.block_on(measure_all(&args)),
    }
}

async fn measure_all(args: &Args) -> Result<()> {
    let plan = format!("idle {}", format_duration(args.idle));
    println!(
        "{} idle event streams of axum, {plan}; over HTTP/2, a connection has {} of them",
        args.streams, args.streams_per_connection
    );
    let servers = args.only.len() * args.http.len();
    let progress = Progress::new(args.duration() * servers as u32 * args.rounds);
    let mut found = Vec::new();
    for &http in &args.http {
        let costs = rounds(args, &progress, http).await?;
        progress.print(format!(
            "\n{:18} {:>14} {:>14} {:>8} {:>10}",
            format!("HTTP/{}", name(http)),
            "bytes/stream",
            "ns/keepalive",
            "cores",
            "sent"
        ));
        for (keepalives, cost) in costs {
            let ns = cost.cpu_ns_per_keepalive;
            progress.print(format!(
                "{:18} {:>14.0} {:>14} {:>8.4} {:>10}",
                name(keepalives),
                cost.bytes_per_stream,
                ns.map_or_else(String::new, |ns| format!("{ns:.0}")),
                cost.cores,
                cost.keepalives
            ));
            found.push(
                json!({ "http": name(http), "keepalives": name(keepalives), "figures": cost }),
            );
        }
    }
    args.file.write(&json!({
        "streams": args.streams,
        "streams_per_connection": args.streams_per_connection,
        "plan": plan,
        "found": found,
    }))
}

/// Measures all servers in several rounds, and returns the medians of each.
async fn rounds(args: &Args, progress: &Progress, http: Http) -> Result<Vec<(Keepalives, Cost)>> {
    let mut rounds: Vec<(Keepalives, Vec<Cost>)> = Vec::new();
    rounds.extend(args.only.iter().map(|&keepalives| (keepalives, Vec::new())));
    for _ in 0..args.rounds {
        for (keepalives, costs) in &mut rounds {
            progress.begin(format!("HTTP/{}: {}", name(http), name(*keepalives)));
            costs.push(measure(args, http, *keepalives).await?);
            progress.advance(args.duration());
        }
    }
    let medians = rounds.into_iter().map(|(keepalives, costs)| {
        let cost = Cost {
            bytes_per_stream: median(costs.iter().map(|cost| cost.bytes_per_stream)),
            cpu_ns_per_keepalive: costs[0]
                .cpu_ns_per_keepalive
                .map(|_| median(costs.iter().filter_map(|cost| cost.cpu_ns_per_keepalive))),
            cores: median(costs.iter().map(|cost| cost.cores)),
            keepalives: costs.iter().map(|cost| cost.keepalives).sum(),
        };
        (keepalives, cost)
    });
    Ok(medians.collect())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn measure(args: &Args, http: Http, keepalives: Keepalives) -> Result<Cost> {
    let command = || -> Result<Command> {
        let mut command = piped(std::env::current_exe()?);
        command
            .args(["--idle", &format_duration(args.idle).to_string()])
            .args(["--http", &name(http)])
            .args(["--only", &name(keepalives)])
            .args([
                "--streams-per-connection",
                &args.streams_per_connection.to_string(),
            ])
            .arg(args.streams.to_string());
        Ok(command)
    };
    let mut server = Server::start(command()?.arg("--serve")).await?;
    let before = ask(&mut server.program, MEMORY).await?;
    let mut client = Program::start(command()?.args(["--connect", &server.addr.to_string()]))?;
    sleep(args.idle).await;
    // The answer comes when all streams are open.
    ask(&mut client, KEEPALIVES).await?;
    sleep(args.idle).await;
    let memory = ask(&mut server.program, MEMORY).await?;

    let start = (
        ask(&mut server.program, CPU).await?,
        ask(&mut client, KEEPALIVES).await?,
    );
    sleep(args.idle * args.periods).await;
    let end = (
        ask(&mut server.program, CPU).await?,
        ask(&mut client, KEEPALIVES).await?,
    );
    let (cpu_ns, keepalives) = (end.0 - start.0, end.1 - start.1);
    Ok(Cost {
        bytes_per_stream: memory.saturating_sub(before) as f64 / f64::from(args.streams),
        cpu_ns_per_keepalive: (keepalives > 0).then(|| cpu_ns as f64 / keepalives as f64),
        cores: cpu_ns as f64 / (args.idle * args.periods).as_nanos() as f64,
        keepalives,
    })
}

// The figures that a child is asked for.
/// The resident memory in bytes.
const MEMORY: &str = "memory";
/// The CPU time in nanoseconds.
const CPU: &str = "cpu";
/// The number of keepalives that have arrived.
const KEEPALIVES: &str = "keepalives";

/// Asks a child for a figure. It prints the figure when it has read the question.
async fn ask(child: &mut Program, what: &str) -> Result<u64> {
    let answer = async {
        child.type_line(what).await?;
        child.stdout.line().await
    };
    let line = match answer.await {
        Ok(line) => line,
        Err(error) => {
            // If it has ended, it says why.
            let reason = timeout(Duration::from_secs(1), child.stderr.line()).await;
            let reason = reason.context("a child does not answer in time")?;
            return Err(reason.map_or(error, anyhow::Error::msg));
        }
    };
    Ok(line.parse()?)
}

/// Answers the parent, until it ends.
fn answer(figure: impl Fn(&str) -> Result<u64>) -> Result<()> {
    for what in std::io::stdin().lines() {
        println!("{}", figure(&what?)?);
    }
    Ok(())
}

fn name(value: impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}
