//! The loads that are measured, and the contenders that they are measured with.

pub mod contenders;
pub mod cpu;
pub mod figures;
pub mod frames;
pub mod loads;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};

/// A runtime with time enabled. With `--cfg tokio_unstable`, it has Tokio's alternative timer.
pub fn runtime(workers: usize) -> Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    #[cfg(tokio_unstable)]
    builder.enable_alt_timer();
    builder
        .worker_threads(workers)
        .enable_time()
        .build()
        .context("cannot build a runtime")
}
