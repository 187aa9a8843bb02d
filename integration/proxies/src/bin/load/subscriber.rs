use std::time::Duration;

use tokio::time::Instant;
use tonic::Streaming;
use tonic_events::proto::v1::{OperationEvent, operation_event::Event};

/// How the stream of a subscriber ended.
pub enum End {
    /// The event arrived.
    Event(Instant),
    /// The stream ended before the event, for this reason.
    Dropped(String),
    /// The stream did not end, but the event did not arrive in time.
    Missed,
}

/// What a subscriber received.
pub struct Report {
    pub keepalives: u32,
    pub longest_gap: Duration,
    pub end: End,
}

impl Report {
    pub fn missed() -> Self {
        Self {
            keepalives: 0,
            longest_gap: Duration::ZERO,
            end: End::Missed,
        }
    }

    pub fn event_at(&self) -> Option<Instant> {
        match self.end {
            End::Event(at) => Some(at),
            _ => None,
        }
    }
}

/// Counts keepalives until the event or the end.
pub async fn watch(mut events: Streaming<OperationEvent>) -> Report {
    let mut report = Report::missed();
    let mut last = Instant::now();
    loop {
        let message = events.message().await;
        let now = Instant::now();
        report.longest_gap = report.longest_gap.max(now - last);
        last = now;
        report.end = match message {
            Ok(Some(OperationEvent {
                event: Some(Event::KeepAlive(_)),
            })) => {
                report.keepalives += 1;
                continue;
            }
            Ok(Some(_)) => End::Event(now),
            Ok(None) => End::Dropped("the stream ended".into()),
            Err(status) => End::Dropped(format!("{:?}: {}", status.code(), status.message())),
        };
        return report;
    }
}
