//! The limit: cache lines that are not in the cache when a keepalive touches them.

use std::{hint::black_box, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use benches::{contenders::Contender, cpu};
use humantime::format_duration;

use crate::{measure::Cost, name};

/// The memory of a stream, approximately.
const BYTES_PER_STREAM: usize = 512;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line {
    next: usize,
}

/// Follows pointers through as much memory as the streams take. Returns the time of one step, which cannot begin before
/// the last one has ended.
pub fn nanoseconds(streams: usize) -> Result<f64> {
    const STEPS: u32 = 2_000_000;

    let count = streams * BYTES_PER_STREAM / size_of::<Line>();
    let mut lines: Vec<_> = (0..count).map(|next| Line { next }).collect();
    // Sattolo's shuffle makes one cycle of all lines.
    for last in (1..count).rev() {
        let other = fastrand::usize(..last);
        let next = lines[last].next;
        lines[last].next = lines[other].next;
        lines[other].next = next;
    }
    let mut at = 0;
    let before = cpu::time()?;
    for _ in 0..STEPS {
        at = lines[at].next;
    }
    let took = cpu::time()? - before;
    black_box(at);
    Ok(took.as_nanos() as f64 / f64::from(STEPS))
}

// Valgrind is about fifty times slower, so there are fewer streams, and the cache is smaller in proportion.
const STREAMS: usize = 20_000;
const CACHE: &str = "1048576,16,64";
pub const IDLE: Duration = Duration::from_secs(3);

/// Two measurements: what it takes to open the streams is in both, and cancels out.
const PERIODS: [u32; 2] = [1, 4];

/// How long [`lines_per_keepalive`] takes.
pub const DURATION: Duration = IDLE.saturating_mul(2 * 2 + PERIODS[0] + PERIODS[1]);

/// Runs the streams in valgrind's model of a processor. Returns how many lines a keepalive touches that are not in the
/// cache.
pub fn lines_per_keepalive(contender: Contender) -> Result<f64> {
    let (sent, misses) = run(contender, PERIODS[0])?;
    let (more_sent, more_misses) = run(contender, PERIODS[1])?;
    Ok((more_misses - misses) / (more_sent - sent))
}

/// Returns how many keepalives were sent, and how many lines of the whole process were not in the cache.
fn run(contender: Contender, periods: u32) -> Result<(f64, f64)> {
    let idle = format_duration(IDLE).to_string();
    let output = Command::new("valgrind")
        .args([
            "--tool=cachegrind",
            "--cache-sim=yes",
            "--cachegrind-out-file=/dev/null",
        ])
        .arg(format!("--LL={CACHE}"))
        .arg(std::env::current_exe()?)
        .args(["--child", "--what", "cost", "--only", &name(contender)])
        .args(["--idle", &idle, "--open-over", &idle])
        .args(["--periods", &periods.to_string(), &STREAMS.to_string()])
        .output()
        .context("cannot start valgrind")?;
    ensure!(output.status.success(), "valgrind failed");
    let cost: Cost = serde_json::from_slice(&output.stdout)?;
    let summary = String::from_utf8_lossy(&output.stderr);
    let misses = misses(&summary).context("valgrind counted no misses")?;
    Ok((cost.sent as f64, misses))
}

/// Finds the number in a line such as `==7== LL misses:  1,234  ( 1,000 rd + 234 wr)`.
fn misses(summary: &str) -> Option<f64> {
    let (_, line) = summary.split_once("LL misses:")?;
    let number = line.split_whitespace().next()?;
    number.replace(',', "").parse().ok()
}
