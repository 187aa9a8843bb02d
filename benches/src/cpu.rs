//! The CPU time of this process.

use std::time::Duration;

use anyhow::Result;

#[cfg(unix)]
pub fn time() -> Result<Duration> {
    use anyhow::Context;
    use nix::time::{ClockId, clock_gettime};

    let time =
        clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).context("cannot read the CPU clock")?;
    Ok(time.into())
}

#[cfg(not(unix))]
pub fn time() -> Result<Duration> {
    anyhow::bail!("the CPU time of a process can only be read on Unix")
}
