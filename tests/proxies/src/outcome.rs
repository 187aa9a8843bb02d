//! One stream in one scenario: whether it outlives the timeout, and still gets its event.

use std::{fmt, time::Duration};

use anyhow::Context;
use programs::PATIENCE;
use tokio::time::{Instant, timeout, timeout_at};
use tonic_events::proto::v1::operation_event::Event;

use crate::{client, example, scenario::Scenario};

/// After which idle time the proxies cut a stream.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// How the server keeps its streams alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    Nothing,
    /// Keepalives in the stream.
    Keepalive(Duration),
    /// HTTP/2 PING on the connection.
    Ping(Duration),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It lived for four times the timeout, and its event came that long after it was sent.
    Alive {
        event_after: Duration,
    },
    Dead {
        after: Duration,
    },
    /// The client was not even told that the server had answered.
    NoHeaders,
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
        }
    }
}

pub async fn run(scenario: &Scenario, strategy: Strategy) -> anyhow::Result<Outcome> {
    let text = |duration: Duration| format!("{}ms", duration.as_millis());
    let (keepalive, ping) = match strategy {
        Strategy::Nothing => (Duration::ZERO, Duration::ZERO),
        Strategy::Keepalive(idle) => (idle, Duration::ZERO),
        Strategy::Ping(interval) => (Duration::ZERO, interval),
    };
    let args = ["--keepalive", &text(keepalive), "--ping", &text(ping)];
    let mut server = example::server(&args).await?;
    let proxy = (scenario.start)(server.addr, TIMEOUT).await?;
    let addr = proxy.as_ref().map_or(server.addr, |proxy| proxy.addr);

    let start = Instant::now();
    let end = start + 4 * TIMEOUT;
    let mut events = match timeout_at(end, client::subscribe(scenario.protocol, addr)).await {
        Err(_) => return Ok(Outcome::NoHeaders),
        Ok(Err(_)) => {
            return Ok(Outcome::Dead {
                after: start.elapsed(),
            });
        }
        Ok(Ok(events)) => events,
    };
    while let Ok(message) = timeout_at(end, events.message()).await {
        if !matches!(message, Ok(Some(_))) {
            return Ok(Outcome::Dead {
                after: start.elapsed(),
            });
        }
    }

    let sent = Instant::now();
    server.program.type_line("backup finished").await?;
    let event = timeout(PATIENCE, async {
        loop {
            let event = events
                .message()
                .await?
                .context("the stream has ended")?
                .event;
            if !matches!(event, Some(Event::KeepAlive(_))) {
                return anyhow::Ok(event);
            }
        }
    });
    match event.await {
        Ok(Ok(Some(Event::CreatedOperations(list)))) => {
            let texts = list
                .operations
                .iter()
                .map(|operation| &*operation.display_message);
            anyhow::ensure!(texts.eq(["backup finished"]), "another event: {list:?}");
            Ok(Outcome::Alive {
                event_after: sent.elapsed(),
            })
        }
        Ok(Ok(event)) => anyhow::bail!("another event: {event:?}"),
        Ok(Err(_)) => Ok(Outcome::Dead {
            after: start.elapsed(),
        }),
        Err(_) => anyhow::bail!("the stream lives, and its event does not come"),
    }
}
