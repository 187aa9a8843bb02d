//! What many idle streams cost: `cargo run --release -p benches --bin idle-streams -- 1000000`

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use benches::{contenders::Contender, figures};
use clap::{Parser, ValueEnum};
use cli::Progress;
use humantime::{format_duration, parse_duration};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

mod measure;

use measure::{Cost, Lateness, Plan};

/// Opens many idle streams, each in a task of its own, on two worker threads, and prints what their
/// keepalives cost and how late they come.
#[derive(Parser)]
struct Args {
    /// How many streams
    #[arg(default_value_t = 300_000)]
    streams: usize,
    /// After which idle time a keepalive is due
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    idle: Duration,
    /// Spread the opening of the streams evenly over this time
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    open_over: Duration,
    /// For how many times `idle` to measure
    #[arg(long, default_value_t = 2)]
    periods: u32,
    /// How many times to measure each contender's cost, in turn; the smallest counts
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Measure only these
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Contender::value_variants().to_vec())]
    only: Vec<Contender>,
    /// Measure only this
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = What::value_variants().to_vec())]
    what: Vec<What>,
    #[command(flatten)]
    file: figures::File,
    /// Measure one contender in this process, and print what is found as JSON
    #[arg(long, hide = true)]
    child: bool,
    #[arg(long, hide = true, default_value_t = 0.0)]
    vary: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Cost,
    Lateness,
    /// The peak rate of keepalives when all streams open within one second.
    Burst,
}

impl What {
    fn open_over(self, args: &Args) -> Duration {
        match self {
            Self::Cost | Self::Lateness => args.open_over,
            Self::Burst => Duration::from_secs(1),
        }
    }

    /// How long it takes to measure: the first idle time of each stream goes unmeasured.
    fn duration(self, args: &Args) -> Duration {
        self.open_over(args) + args.idle * (args.periods + 1)
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
        "an idle time of zero turns keepalives off"
    );
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
    if args.what.contains(&What::Lateness) {
        latenesses(&args, &progress, &mut found)?;
    }
    if args.what.contains(&What::Burst) {
        bursts(&args, &progress, &mut found)?;
    }
    let all = json!({ "streams": args.streams, "plan": plan, "found": found });
    args.file.write(&all)
}

/// How long the measurements take that are asked for.
fn expected(args: &Args) -> Duration {
    let contenders = args.only.len() as u32;
    let runs = |what| match what {
        What::Cost => contenders * args.rounds,
        What::Lateness => contenders,
        What::Burst => BURSTS.len() as u32,
    };
    args.what
        .iter()
        .map(|&what| what.duration(args) * runs(what))
        .sum()
}

fn costs(args: &Args, progress: &Progress, found: &mut Vec<Value>) -> Result<()> {
    let mut rounds = Vec::new();
    for _ in 0..args.rounds {
        for &contender in &args.only {
            let cost = measure::<Cost>(args, progress, contender, What::Cost, &[])?;
            rounds.push((contender, cost));
        }
    }
    progress.print(format!(
        "\n{:18} {:>12} {:>14} {:>8} {:>10} {:>10}",
        "", "ns/keepalive", "bytes/stream", "cores", "due", "sent"
    ));
    for &contender in &args.only {
        let best = rounds
            .iter()
            .filter(|(whose, _)| *whose == contender)
            .map(|(_, cost)| cost)
            .min_by(|a, b| a.cpu_ns_per_keepalive.total_cmp(&b.cpu_ns_per_keepalive))
            .context("no round")?;
        progress.print(format!(
            "{:18} {:>12.0} {:>14.0} {:>8.3} {:>10} {:>10}",
            name(contender),
            best.cpu_ns_per_keepalive,
            best.bytes_per_stream,
            best.cores,
            best.due,
            best.sent
        ));
        found.push(json!({ "what": "cost", "contender": name(contender), "figures": best }));
    }
    Ok(())
}

fn latenesses(args: &Args, progress: &Progress, found: &mut Vec<Value>) -> Result<()> {
    progress.print(format!(
        "\n{:18} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "late by, ms", "p50", "p99", "p99.9", "max", "early"
    ));
    for &contender in &args.only {
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
            "(early: sooner than `idle` after the one before; a grid makes up for lateness)",
        );
    }
    Ok(())
}

/// By how much `idle` is varied when all streams open together.
const BURSTS: [(&str, &str); 2] = [("the same idle", "0"), ("idle varied by 25 %", "0.25")];

fn bursts(args: &Args, progress: &Progress, found: &mut Vec<Value>) -> Result<()> {
    progress.print(
        "\nall opened within one second: keepalives in the fullest 100 ms, and their lateness",
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
        .context("cannot start another process")?;
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
    };
    match args.what[0] {
        What::Cost => {
            serde_json::to_writer(std::io::stdout(), &measure::cost(args.only[0], plan)?)?
        }
        What::Lateness | What::Burst => {
            serde_json::to_writer(std::io::stdout(), &measure::lateness(args.only[0], plan)?)?
        }
    }
    Ok(())
}

fn name(value: impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}
