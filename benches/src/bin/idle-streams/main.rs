//! What many idle streams cost: `cargo run --release -p scale -- 1000000`

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use humantime::Duration;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

mod contender;
mod measure;

use contender::Contender;
use measure::{Cost, Lateness, Plan};

/// Opens many idle streams, each in a task of its own, on two worker threads, and prints what their
/// keepalives cost and how late they come.
#[derive(Parser)]
struct Args {
    /// How many streams.
    #[arg(default_value_t = 300_000)]
    streams: usize,
    /// How long a silence lasts before a keepalive is due.
    #[arg(long, default_value = "30s")]
    idle: Duration,
    /// Spread the opening of the streams evenly over this time.
    #[arg(long, default_value = "30s")]
    open_over: Duration,
    /// For how many times `idle` to measure.
    #[arg(long, default_value_t = 2)]
    periods: u32,
    /// How many times to measure each contender's cost, in turn. The smallest counts.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Measure only these.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Contender::value_variants().to_vec())]
    only: Vec<Contender>,
    /// Measure only this.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = What::value_variants().to_vec())]
    what: Vec<What>,
    /// Write the figures to this file too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure one contender in this process, and print what is found as JSON.
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
    println!(
        "{} idle streams on two worker threads, idle {}, opened over {}",
        args.streams, args.idle, args.open_over
    );
    let mut found = Vec::new();
    if args.what.contains(&What::Cost) {
        costs(&args, &mut found)?;
    }
    if args.what.contains(&What::Lateness) {
        latenesses(&args, &mut found)?;
    }
    if args.what.contains(&What::Burst) {
        bursts(&args, &mut found)?;
    }
    if let Some(file) = &args.json {
        let plan = format!("idle {}, opened over {}", args.idle, args.open_over);
        let all = json!({ "streams": args.streams, "plan": plan, "found": found });
        fs::write(file, serde_json::to_string_pretty(&all)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn costs(args: &Args, found: &mut Vec<Value>) -> Result<()> {
    let mut rounds = Vec::new();
    for _ in 0..args.rounds {
        for &contender in &args.only {
            rounds.push((
                contender,
                measure::<Cost>(args, contender, What::Cost, &[])?,
            ));
        }
    }
    println!(
        "\n{:18} {:>12} {:>14} {:>8} {:>10} {:>10}",
        "", "ns/keepalive", "bytes/stream", "cores", "due", "sent"
    );
    for &contender in &args.only {
        let best = rounds
            .iter()
            .filter(|(whose, _)| *whose == contender)
            .map(|(_, cost)| cost)
            .min_by(|a, b| a.cpu_ns_per_keepalive.total_cmp(&b.cpu_ns_per_keepalive))
            .context("no round")?;
        println!(
            "{:18} {:>12.0} {:>14.0} {:>8.3} {:>10} {:>10}",
            name(contender),
            best.cpu_ns_per_keepalive,
            best.bytes_per_stream,
            best.cores,
            best.due,
            best.sent
        );
        found.push(json!({ "what": "cost", "contender": name(contender), "figures": best }));
    }
    Ok(())
}

fn latenesses(args: &Args, found: &mut Vec<Value>) -> Result<()> {
    println!(
        "\n{:18} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "late by, ms", "p50", "p99", "p99.9", "max", "early"
    );
    for &contender in &args.only {
        let late = measure::<Lateness>(args, contender, What::Lateness, &[])?;
        println!(
            "{:18} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>8}",
            name(contender),
            late.p50,
            late.p99,
            late.p999,
            late.max,
            late.early
        );
        found.push(json!({ "what": "lateness", "contender": name(contender), "figures": late }));
    }
    if args.only.iter().any(|contender| {
        !matches!(
            contender,
            Contender::Keepalive | Contender::Rearm | Contender::Select
        )
    }) {
        println!("(early: sooner than `idle` after the one before; a grid makes up for lateness)");
    }
    Ok(())
}

fn bursts(args: &Args, found: &mut Vec<Value>) -> Result<()> {
    println!(
        "\nall opened within one second: keepalives in the fullest 100 ms, and their lateness"
    );
    for (label, vary) in [("the same idle", "0"), ("idle varied by 25 %", "0.25")] {
        let late = measure::<Lateness>(args, Contender::Keepalive, What::Burst, &["--vary", vary])?;
        println!("{label:20} {:>8}   p99.9 {:.2} ms", late.peak, late.p999);
        found.push(json!({ "what": "burst", "contender": label, "figures": late }));
    }
    Ok(())
}

/// Measures in a process of its own, so that no contender inherits another's heap.
fn measure<T: DeserializeOwned>(
    args: &Args,
    contender: Contender,
    what: What,
    more: &[&str],
) -> Result<T> {
    let open_over = match what {
        What::Burst => "1s".to_owned(),
        What::Cost | What::Lateness => args.open_over.to_string(),
    };
    let output = Command::new(std::env::current_exe()?)
        .arg("--child")
        .args(["--only", &name(contender)])
        .args(["--what", &name(what)])
        .args(["--idle", &args.idle.to_string()])
        .args(["--open-over", &open_over])
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
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn child(args: &Args) -> Result<()> {
    let plan = Plan {
        streams: args.streams,
        idle: *args.idle,
        open_over: *args.open_over,
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
