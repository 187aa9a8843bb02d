//! Measures the cost that is added to an item or a frame: `cargo run --release -p benches --bin items`

use std::time::Duration;

use anyhow::Result;
use benches::{figures, frames, loads, runtime};
use clap::Parser;
use programs::Progress;
use serde::Serialize;
use tokio::task::unconstrained;

/// Measures each load with the bare stream or body and with every contender, in interleaved rounds. Prints the
/// smallest time of each.
#[derive(Parser)]
struct Args {
    /// Measure only loads whose names contain this text
    #[arg(default_value = "")]
    load: String,
    /// The number of rounds, in each of which everything is measured once
    #[arg(long, default_value_t = 3_000)]
    rounds: u32,
    #[command(flatten)]
    file: figures::File,
}

/// The approximate time of a round of one load.
const EXPECTED: Duration = Duration::from_millis(1);

#[derive(Serialize)]
struct Figure {
    load: &'static str,
    contender: &'static str,
    ns: f64,
    /// The difference to the bare stream, if it is a stream.
    added: f64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    // On a worker, as streams usually are. `unconstrained`, because everything is polled in one task,
    // whose budget would run out.
    let task = unconstrained(async move { measure(&args) });
    let runtime = runtime(1)?;
    runtime.block_on(runtime.spawn(task))?
}

fn measure(args: &Args) -> Result<()> {
    let mut loads = loads::all();
    loads.extend(frames::all());
    loads.retain(|load| load.name.contains(&args.load));
    let progress = Progress::new(EXPECTED * args.rounds * loads.len() as u32);
    let mut figures = Vec::new();
    for mut load in loads {
        progress.begin(load.name);
        let mut least = vec![Duration::MAX; load.contenders.len()];
        for _ in 0..args.rounds {
            progress.advance(EXPECTED);
            for ((_, round), least) in load.contenders.iter_mut().zip(&mut least) {
                *least = round().min(*least);
            }
        }
        let ns = |least: Duration| least.as_nanos() as f64 / loads::REPEATS as f64;
        progress.print(format!("\n{:28} {:>9} {:>9}", load.name, "ns", "added"));
        for ((contender, _), &round) in load.contenders.iter().zip(&least) {
            let bare = if *contender == loads::CLOCK {
                0.0
            } else {
                ns(least[0])
            };
            let (ns, added) = (ns(round), ns(round) - bare);
            progress.print(format!("  {contender:26} {ns:>9.2} {added:>9.2}"));
            figures.push(Figure {
                load: load.name,
                contender,
                ns,
                added,
            });
        }
    }
    args.file.write(&figures)
}
