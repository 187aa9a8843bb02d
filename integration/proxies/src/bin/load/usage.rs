use std::time::Duration;

/// The resources that a process has used so far, as Linux reports them.
pub struct Usage {
    pub cpu: Duration,
    /// The resident memory in bytes.
    pub memory: u64,
}

#[cfg(target_os = "linux")]
impl Usage {
    pub fn of(process: u32) -> anyhow::Result<Self> {
        use anyhow::Context;

        let path = format!("/proc/{process}/stat");
        let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Self::parse(&stat).with_context(|| format!("cannot parse {path}"))
    }

    fn parse(stat: &str) -> Option<Self> {
        use nix::unistd::{SysconfVar, sysconf};

        // The name of the program may contain any character, so parse what follows its closing bracket. The
        // first field there is the third field of proc(5).
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

#[cfg(not(target_os = "linux"))]
impl Usage {
    pub fn of(_: u32) -> anyhow::Result<Self> {
        anyhow::bail!("the usage of the server can only be read on Linux")
    }
}
