//! Measures the cost of many idle streams: `cargo run --release -p benches --bin idle-streams -- 1000000`

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use benches::{contenders::Contender, figures};
use clap::{Parser, ValueEnum};
use humantime::{format_duration, parse_duration};
use programs::Progress;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

mod cold_line;
mod measure;

use cold_line::{lines_per_keepalive, nanoseconds};
use measure::{Consumer, Cost, Disconnect, Lateness, Memory, Plan};

/// Opens many idle streams, each in a task of its own, on two worker threads. Prints the cost of their
/// keepalives and how late they are.
#[derive(Parser)]
struct Args {
    /// The number of streams
    #[arg(default_value_t = 300_000)]
    streams: usize,
    /// The idle time after which a keepalive is due
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    idle: Duration,
    /// Spread the opening of the streams evenly over this time
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    open_over: Duration,
    /// How long to measure, as a multiple of `--idle`
    #[arg(long, default_value_t = 2)]
    periods: u32,
    /// How often to measure the cost of each contender; the median is printed
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// The code that consumes each stream while its cost is measured
    #[arg(long, value_enum, default_value_t = Consumer::AsyncFnWithLocals)]
    consumer: Consumer,
    /// Measure only these contenders
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Contender::value_variants().to_vec())]
    only: Vec<Contender>,
    /// Measure only these figures; `cold-lines` needs valgrind, and is only measured if it is named
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = WITHOUT_VALGRIND)]
    what: Vec<What>,
    #[command(flatten)]
    file: figures::File,
    /// Measure one contender in this process, and print the figures as JSON
    #[arg(long, hide = true)]
    child: bool,
    #[arg(long, hide = true, default_value_t = 0.0)]
    vary: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// The CPU time of a keepalive, and the memory of a stream.
    Cost,
    /// How late the keepalives are.
    Lateness,
    /// The memory of a stream with each kind of consumer.
    Memory,
    /// The cost of dropping all streams together.
    Disconnect,
    /// The peak rate of keepalives when all streams open within one second.
    Burst,
    /// The cache lines that a keepalive touches and that are not in the cache, and how long one takes.
    ColdLines,
}

const WITHOUT_VALGRIND: [What; 5] = [
    What::Cost,
    What::Lateness,
    What::Memory,
    What::Disconnect,
    What::Burst,
];

impl What {
    fn open_over(self, args: &Args) -> Duration {
        match self {
            Self::Cost | Self::Lateness | Self::Memory => args.open_over,
            Self::Burst | Self::Disconnect => Duration::from_secs(1),
            Self::ColdLines => cold_line::IDLE,
        }
    }

    /// How long the measurement takes.
    fn duration(self, args: &Args) -> Duration {
        let idle_times = match self {
            // The first idle time of each stream is not measured.
            Self::Cost | Self::Lateness | Self::Burst => args.periods + 1,
            Self::Memory => 1,
            Self::Disconnect => 0,
            Self::ColdLines => return cold_line::DURATION,
        };
        self.open_over(args) + args.idle * idle_times
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(
        args.streams > 0 && args.periods > 0 && args.rounds > 0,
        "nothing to measure"
    );
    ensure!(
        !args.idle.is_zero(),
        "--idle must not be zero, which turns keepalives off"
    );
    for &contender in &args.only {
        ensure!(
            args.streams % contender.streams_per_task() == 0,
            "the number of streams must be a multiple of {} for {}",
            contender.streams_per_task(),
            name(contender)
        );
    }
    if args.child {
        return child(&args);
    }
    let plan = format!(
        "idle {}, opened over {}",
        format_duration(args.idle),
        format_duration(args.open_over)
    );
    println!(
        "{} idle streams on two worker threads, {plan}",
        args.streams
    );
    let progress = Progress::new(expected(&args));
    let mut found = Vec::new();
    if args.what.contains(&What::Cost) {
        costs(&args, &progress, &mut found)?;
    }
    if args.what.contains(&What::Memory) {
        memories(&args, &progress, &mut found)?;
    }
    if args.what.contains(&What::Disconnect) {
        disconnects(&args, &progress, &mut found)?;
    }
    if args.what.contains(&What::Lateness) {
        latenesses(&args, &progress, &mut found)?;
    }
    if args.what.contains(&What::Burst) {
        bursts(&args, &progress, &mut found)?;
    }
    if args.what.contains(&What::ColdLines) {
        cold_lines(&args, &progress, &mut found)?;
    }
    let all = json!({ "streams": args.streams, "plan": plan, "found": found });
    args.file.write(&all)
}

/// How long all measurements take.
fn expected(args: &Args) -> Duration {
    let contenders = args.only.len() as u32;
    let runs = |what| match what {
        What::Cost | What::Disconnect => contenders * args.rounds,
        What::Lateness | What::ColdLines => contenders,
        What::Memory => contenders * Consumer::value_variants().len() as u32,
        What::Burst => BURSTS.len() as u32,
    };
    args.what
        .iter()
        .map(|&what| what.duration(args) * runs(what))
        .sum()
}

fn costs(args: &Args, progress: &Progress, found: &mut Vec<Value>) -> Result<()> {
    let costs = rounds::<Cost>(args, progress, What::Cost, |cost| cost.cpu_ns_per_keepalive)?;
    progress.print(format!(
        "\n{:18} {:>12} {:>14} {:>8} {:>10} {:>10}",
        "", "ns/keepalive", "bytes/stream", "cores", "due", "sent"
    ));
    for (contender, cost) in costs {
        progress.print(format!(
            "{:18} {:>12.0} {:>14.0} {:>8.3} {:>10} {:>10}",
            name(contender),
            cost.cpu_ns_per_keepalive,
            cost.bytes_per_stream,
            cost.cores,
            cost.due,
            cost.sent
        ));
        found.push(json!({ "what": "cost", "contender": name(contender), "figures": cost }));
    }
    Ok(())
}

fn memories(args: &Args, progress: &Progress, found: &mut Vec<Value>) -> Result<()> {
    let consumers = Consumer::value_variants();
    let mut head = format!("\n{:18}", "bytes/stream");
    for &consumer in consumers {
        head += &format!(" {:>20}", name(consumer));
    }
    progress.print(head);
    for &contender in &args.only {
        let mut line = format!("{:18}", name(contender));
        let mut bytes = serde_json::Map::new();
        for &consumer in consumers {
            let consumer = name(consumer);
            let more = ["--consumer", &consumer];
            let memory = measure::<Memory>(args, progress, contender, What::Memory, &more)?;
            line += &format!(" {:>20.0}", memory.bytes_per_stream);
            bytes.insert(consumer, memory.bytes_per_stream.into());
        }
        progress.print(line);
        found.push(json!({ "what": "memory", "contender": name(contender), "figures": bytes }));
    }
    Ok(())
}

fn disconnects(args: &Args, progress: &Progress, found: &mut Vec<Value>) -> Result<()> {
    let costs = rounds::<Disconnect>(args, progress, What::Disconnect, |cost| {
        cost.cpu_ns_per_stream
    })?;
    progress.print("\nCPU ns to drop a stream, when all are dropped together");
    for (contender, cost) in costs {
        progress.print(format!(
            "{:18} {:>12.0}",
            name(contender),
            cost.cpu_ns_per_stream
        ));
        found.push(json!({ "what": "disconnect", "contender": name(contender), "figures": cost }));
    }
    Ok(())
}

/// Measures all contenders in several rounds, and returns the median round of each.
fn rounds<T: DeserializeOwned>(
    args: &Args,
    progress: &Progress,
    what: What,
    figure: impl Fn(&T) -> f64,
) -> Result<Vec<(Contender, T)>> {
    let mut rounds: Vec<(Contender, Vec<T>)> = Vec::new();
    rounds.extend(args.only.iter().map(|&contender| (contender, Vec::new())));
    for _ in 0..args.rounds {
        for (contender, found) in &mut rounds {
            let more = ["--consumer", &name(args.consumer)];
            found.push(measure::<T>(args, progress, *contender, what, &more)?);
        }
    }
    let medians = rounds.into_iter().map(|(contender, mut found)| {
        found.sort_by(|a, b| figure(a).total_cmp(&figure(b)));
        let median = found.swap_remove(found.len() / 2);
        (contender, median)
    });
    Ok(medians.collect())
}

fn latenesses(args: &Args, progress: &Progress, found: &mut Vec<Value>) -> Result<()> {
    progress.print(format!(
        "\n{:18} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "late by, ms", "p50", "p99", "p99.9", "max", "early"
    ));
    // The consumer of several streams cannot tell which of them was late.
    let one_stream = |contender: &&Contender| contender.streams_per_task() == 1;
    for &contender in args.only.iter().filter(one_stream) {
        let late = measure::<Lateness>(args, progress, contender, What::Lateness, &[])?;
        progress.print(format!(
            "{:18} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>8}",
            name(contender),
            late.p50,
            late.p99,
            late.p999,
            late.max,
            late.early
        ));
        found.push(json!({ "what": "lateness", "contender": name(contender), "figures": late }));
    }
    if args.only.iter().any(|contender| {
        !matches!(
            contender,
            Contender::Keepalive | Contender::Rearm | Contender::Select
        )
    }) {
        progress.print(
            "(early: less than the idle time after the previous keepalive, because a grid makes up for lateness)",
        );
    }
    Ok(())
}

/// How much the idle time varies between streams when all streams open together.
const BURSTS: [(&str, &str); 2] = [("the same idle", "0"), ("idle varied by 25 %", "0.25")];

fn bursts(args: &Args, progress: &Progress, found: &mut Vec<Value>) -> Result<()> {
    progress.print(
        "\nkeepalives in the busiest 100 ms and their lateness, when all streams open within one second",
    );
    for (label, vary) in BURSTS {
        let more = ["--vary", vary];
        let late = measure::<Lateness>(args, progress, Contender::Keepalive, What::Burst, &more)?;
        progress.print(format!(
            "{label:20} {:>8}   p99.9 {:.2} ms",
            late.peak, late.p999
        ));
        found.push(json!({ "what": "burst", "contender": label, "figures": late }));
    }
    Ok(())
}

fn cold_lines(args: &Args, progress: &Progress, found: &mut Vec<Value>) -> Result<()> {
    let rounds = (0..args.rounds).map(|_| nanoseconds(args.streams));
    let mut rounds = rounds.collect::<Result<Vec<_>>>()?;
    rounds.sort_by(f64::total_cmp);
    let ns = rounds[rounds.len() / 2];
    progress.print(format!(
        "\na cold cache line: {ns:.0} ns, in as much memory as the streams take"
    ));
    for &contender in &args.only {
        progress.begin(format!("cold lines of {}", name(contender)));
        let lines = lines_per_keepalive(contender)?;
        progress.advance(cold_line::DURATION);
        progress.print(format!(
            "{:18} {lines:>12.1} lines/keepalive",
            name(contender)
        ));
        let figures = json!({ "lines_per_keepalive": lines, "ns_per_line": ns });
        found.push(
            json!({ "what": "cold-lines", "contender": name(contender), "figures": figures }),
        );
    }
    Ok(())
}

/// Measures in a process of its own, so that no contender inherits another's heap.
fn measure<T: DeserializeOwned>(
    args: &Args,
    progress: &Progress,
    contender: Contender,
    what: What,
    more: &[&str],
) -> Result<T> {
    progress.begin(format!("{} of {}", name(what), name(contender)));
    let text = |duration| format_duration(duration).to_string();
    let output = Command::new(std::env::current_exe()?)
        .arg("--child")
        .args(["--only", &name(contender)])
        .args(["--what", &name(what)])
        .args(["--idle", &text(args.idle)])
        .args(["--open-over", &text(what.open_over(args))])
        .args(["--periods", &args.periods.to_string()])
        .args(more)
        .arg(args.streams.to_string())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start the process that measures")?;
    ensure!(
        output.status.success(),
        "measuring {} failed",
        name(contender)
    );
    progress.advance(what.duration(args));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn child(args: &Args) -> Result<()> {
    let plan = Plan {
        streams: args.streams,
        idle: args.idle,
        open_over: args.open_over,
        periods: args.periods,
        vary: args.vary,
        consumer: args.consumer,
        streams_per_task: args.only[0].streams_per_task(),
    };
    let (contender, output) = (args.only[0], std::io::stdout());
    match args.what[0] {
        What::Cost => serde_json::to_writer(output, &measure::cost(contender, plan)?)?,
        What::Memory => serde_json::to_writer(output, &measure::memory(contender, plan)?)?,
        What::Disconnect => serde_json::to_writer(output, &measure::disconnect(contender, plan)?)?,
        What::Lateness | What::Burst => {
            serde_json::to_writer(output, &measure::lateness(contender, plan)?)?;
        }
        What::ColdLines => bail!("this is measured with `cost`"),
    }
    Ok(())
}

fn name(value: impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}
