//! What filling silence adds to an item: `cargo run --release -p scale --bin items`

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use serde::Serialize;

#[path = "../../../benches/loads/mod.rs"]
mod loads;

/// Measures each load over the bare stream and over every way to fill its silence, in interleaved
/// rounds, and prints the smallest of each.
#[derive(Parser)]
struct Args {
    /// Measure only loads whose names contain this.
    #[arg(default_value = "")]
    load: String,
    /// How many rounds; in each, everything is measured once.
    #[arg(long, default_value_t = 3_000)]
    rounds: u32,
    /// Write the figures to this file too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Figure {
    load: &'static str,
    contender: &'static str,
    ns: f64,
    /// Beyond the bare stream, if it is a stream.
    added: f64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .context("no runtime")?;
    let _guard = runtime.enter();

    let mut figures = Vec::new();
    let chosen = |load: &loads::Load| load.name.contains(&args.load);
    for mut load in loads::all().into_iter().filter(chosen) {
        let mut least = vec![Duration::MAX; load.contenders.len()];
        for _ in 0..args.rounds {
            for ((_, round), least) in load.contenders.iter_mut().zip(&mut least) {
                *least = round().min(*least);
            }
        }
        let ns = |least: Duration| least.as_nanos() as f64 / loads::REPEATS as f64;
        println!("\n{:28} {:>9} {:>9}", load.name, "ns", "added");
        for ((contender, _), &round) in load.contenders.iter().zip(&least) {
            let bare = if *contender == loads::CLOCK {
                0.0
            } else {
                ns(least[0])
            };
            let (ns, added) = (ns(round), ns(round) - bare);
            println!("  {contender:26} {ns:>9.2} {added:>9.2}");
            figures.push(Figure {
                load: load.name,
                contender,
                ns,
                added,
            });
        }
    }
    if let Some(file) = args.json {
        let text = serde_json::to_string_pretty(&figures)?;
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
