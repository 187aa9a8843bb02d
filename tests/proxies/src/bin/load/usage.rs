use std::{fs, time::Duration};

use anyhow::Context;
use nix::unistd::{SysconfVar, sysconf};

/// What a process has used so far. Linux only.
pub struct Usage {
    pub cpu: Duration,
    /// Bytes that are resident.
    pub memory: u64,
}

impl Usage {
    pub fn of(process: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{process}/stat");
        let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Self::parse(&stat).with_context(|| format!("cannot make sense of {path}"))
    }

    fn parse(stat: &str) -> Option<Self> {
        // The name in front may contain anything, so what counts is behind its last bracket. The
        // first field there is the third of proc(5).
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<_> = fields.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let unit = |name| sysconf(name).ok().flatten().map(|unit| unit as u64);
        let ticks = field(14)? + field(15)?;
        Some(Self {
            cpu: Duration::from_secs(ticks) / unit(SysconfVar::CLK_TCK)? as u32,
            memory: field(24)? * unit(SysconfVar::PAGE_SIZE)?,
        })
    }
}
