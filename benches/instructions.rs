//! Counts instructions with callgrind, and fails when a count has grown by more than 3 %.
//!
//! `scripts/check-instructions` runs it. If a count has grown on purpose, write the new count down here.

use std::{hint::black_box, time::Duration};

use benches::loads;
use futures::{StreamExt, stream};
use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use stream_keepalive::KeepaliveExt;
use tokio::runtime::{Builder, EnterGuard, Runtime};

// The instructions for a thousand items: ready ones, items of a channel, and items that each follow a
// poll that returns `Pending`. The last count is for a hundred keepalives, and includes the runtime.
const READY: u64 = 13_378;
const FULL_CHANNEL: u64 = 251_331;
const READY_AND_PENDING: u64 = 256_643;
const KEEPALIVES: u64 = 375_416;

fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, instructions * 103 / 100)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

fn runtime() -> &'static Runtime {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    Box::leak(Box::new(runtime.expect("a runtime can be built")))
}

/// The round of a load over `Keepalive`. It has run once, so the stream has been idle before.
fn load(name: &str) -> (EnterGuard<'static>, loads::Round) {
    let guard = runtime().enter();
    let load = loads::all().into_iter().find(|load| load.name == name);
    let mut contenders = load.expect("the load exists").contenders.into_iter();
    let (_, mut round) = contenders
        .find(|(contender, _)| *contender == "keepalive")
        .expect("the load is measured over Keepalive");
    round();
    (guard, round)
}

#[library_benchmark]
#[bench::ready(args = ("ready"), setup = load, config = at_most(READY))]
#[bench::full_channel(args = ("full mpsc channel"), setup = load, config = at_most(FULL_CHANNEL))]
#[bench::ready_and_pending(args = ("ready and pending in turn"), setup = load, config = at_most(READY_AND_PENDING))]
fn items((guard, mut round): (EnterGuard<'static>, loads::Round)) -> EnterGuard<'static> {
    black_box(round());
    guard
}

#[library_benchmark]
#[bench::hundred(setup = runtime, config = at_most(KEEPALIVES))]
fn keepalives(runtime: &'static Runtime) {
    runtime.block_on(async {
        let idle = stream::pending::<u64>().keepalive(Duration::from_secs(20), 0);
        idle.take(100)
            .for_each(|item| async move { _ = black_box(item) })
            .await;
    });
}

library_benchmark_group!(name = hot_paths; benchmarks = items, keepalives);
main!(library_benchmark_groups = hot_paths);
