//! Runs one stream in one scenario, and finds out whether it outlives the timeout and gets its event.

use std::{fmt, time::Duration};

use anyhow::Result;
use futures::StreamExt;
use programs::Server;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    client::{self, Item, Protocol},
    example,
    scenario::Scenario,
};

/// A stream that is open hangs if its event takes longer than this.
const HANGS: Duration = Duration::from_secs(20);

/// How the server keeps its streams alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    Nothing,
    /// This many keepalives during the proxy's timeout.
    Keepalive(u32),
    /// A keepalive after three times the proxy's timeout, which is too late even if the proxy is late too.
    TooLate,
    /// This many HTTP/2 PINGs on the connection during the proxy's timeout.
    Ping(u32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It lived for its [`lifetime`](Scenario::lifetime). The event arrived this long after it was sent.
    Alive {
        event_after: Duration,
    },
    Dead {
        after: Duration,
    },
    /// The client did not even get the headers of the response.
    NoHeaders,
    /// The proxy keeps the connection to the client open, but the event does not arrive.
    Hangs,
    /// HTTP/1.1 has no PING.
    NoPing,
}

impl Outcome {
    pub fn is_alive(&self) -> bool {
        matches!(self, Self::Alive { .. })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alive { .. } => write!(f, "alive"),
            Self::Dead { after } => write!(f, "dead at {:.1} s", after.as_secs_f32()),
            Self::NoHeaders => write!(f, "no headers"),
            Self::Hangs => write!(f, "hangs"),
            Self::NoPing => write!(f, "none"),
        }
    }
}

pub async fn run(scenario: &Scenario, strategy: Strategy) -> Result<Outcome> {
    let protocol = scenario.protocol;
    if protocol == Protocol::Sse && matches!(strategy, Strategy::Ping(_)) {
        return Ok(Outcome::NoPing);
    }
    let mut server = start(scenario, strategy).await?;
    let proxy = (scenario.start)(server.addr, scenario.timeout).await?;
    let addr = proxy.as_ref().map_or(server.addr, |proxy| proxy.addr);

    let start = Instant::now();
    let dead = || {
        Ok(Outcome::Dead {
            after: start.elapsed(),
        })
    };
    let end = start + scenario.lifetime();
    let mut items = match timeout_at(end, client::subscribe(protocol, addr)).await {
        Err(_) => return Ok(Outcome::NoHeaders),
        Ok(Err(_)) => return dead(),
        Ok(Ok(items)) => items,
    };
    while let Ok(item) = timeout_at(end, items.next()).await {
        if !matches!(item, Some(Ok(_))) {
            return dead();
        }
    }

    let sent = Instant::now();
    server.program.type_line("backup finished").await?;
    let event = timeout(HANGS, async {
        loop {
            match items.next().await {
                Some(Ok(Item::Keepalive)) => {}
                Some(Ok(Item::Event(text))) => return Some(text),
                Some(Err(_)) | None => return None,
            }
        }
    });
    match event.await {
        Ok(Some(text)) => {
            anyhow::ensure!(text == "backup finished", "unexpected event: {text}");
            Ok(Outcome::Alive {
                event_after: sent.elapsed(),
            })
        }
        Ok(None) => dead(),
        Err(_) => Ok(Outcome::Hangs),
    }
}

async fn start(scenario: &Scenario, strategy: Strategy) -> Result<Server> {
    let timeout = scenario.timeout;
    let text = |duration: Duration| format!("{}ms", duration.as_millis());
    let (keepalive, ping) = match strategy {
        Strategy::Nothing => (Duration::ZERO, Duration::ZERO),
        Strategy::Keepalive(times) => (timeout / times, Duration::ZERO),
        Strategy::TooLate => (3 * timeout, Duration::ZERO),
        Strategy::Ping(times) => (Duration::ZERO, timeout / times),
    };
    let (keepalive, ping) = (text(keepalive), text(ping));
    match scenario.protocol {
        Protocol::Grpc | Protocol::GrpcWeb => {
            example::server(&["--keepalive", &keepalive, "--ping", &ping]).await
        }
        Protocol::Sse => example::sse_server(&["--keepalive", &keepalive]).await,
    }
}
