//! Which keepalives restart the clocks of clients.

use std::time::Duration;

use anyhow::{Result, bail};
use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
};
use programs::PATIENCE;
use tokio::time::{sleep, timeout};

use crate::{
    client::{Client, EVENTS, TIMED},
    keepalives::{EACH_KIND, PROGRESS, RESPONSE},
    stream::{Format, LONG, Place, Silence, Stream},
    verdict::Verdict,
};

/// The timeout of each client. A stream is silent for three times as long.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A timeout of a client.
#[derive(Debug)]
pub struct Clock {
    /// The setting of the timeout.
    pub setting: &'static str,
    /// What the clock is expected to count.
    pub counts: Counts,
}

/// The clients that have a timeout.
pub fn timed_clients() -> impl Iterator<Item = (&'static Client, &'static Clock)> {
    let clients = EVENTS.iter().chain(&TIMED);
    clients.filter_map(|client| Some((client, client.clock.as_ref()?)))
}

/// What restarts a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// Every byte.
    Bytes,
    /// Every event.
    Events,
    /// The progress notifications of the Model Context Protocol.
    Progress,
    /// Nothing, because it limits the whole response.
    Nothing,
    /// There is no clock: the stream lives without a keepalive.
    NoClock,
}

impl Counts {
    /// `Progress` comes last, because the streams of most clients have no progress notifications.
    const ALL: [Self; 5] = [
        Self::Bytes,
        Self::Events,
        Self::Nothing,
        Self::NoClock,
        Self::Progress,
    ];

    /// What to say of a clock after "counts".
    pub fn text(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Events => "events",
            Self::Progress => "progress notifications",
            Self::Nothing => "nothing: it limits the whole response",
            Self::NoClock => "nothing: it ends with the response headers",
        }
    }

    /// Whether a stream with this keepalive, or without one, outlives the timeout.
    fn lives(self, keepalive: Option<&str>) -> bool {
        match self {
            Self::Bytes => keepalive.is_some(),
            Self::Events => keepalive.is_some_and(|keepalive| keepalive.contains("data:")),
            Self::Progress => keepalive == Some(PROGRESS),
            Self::Nothing => false,
            Self::NoClock => true,
        }
    }
}

/// Whether the stream has outlived the timeout, without a keepalive and with each.
#[derive(Debug)]
pub struct Watched {
    pub version: String,
    pub lives: Vec<(Option<&'static str>, bool)>,
}

impl Watched {
    pub fn counts(&self) -> Option<Counts> {
        let agrees = |counts: &Counts| {
            let mut lives = self.lives.iter();
            lives.all(|(keepalive, lives)| counts.lives(*keepalive) == *lives)
        };
        Counts::ALL.into_iter().find(agrees)
    }
}

/// The event of an API that keeps its streams alive, if it is not one of [`EACH_KIND`].
pub fn own_event(format: Format) -> Option<&'static str> {
    match format {
        Format::Responses | Format::Turn => Some(RESPONSE),
        Format::Tool => Some(PROGRESS),
        _ => None,
    }
}

impl Client {
    /// Returns whether a stream with a long silence outlives the timeout, if a server such as `serve` makes sends it.
    pub async fn outlives(&self, serve: impl Fn(Stream) -> Router) -> Result<bool> {
        let (_, mut session) = self.open().await?;
        let plain = self.read_plain(&mut session, Place::Between).await?;
        let stream = Stream {
            silence: Silence::Long,
            ..self.stream(Place::Between)
        };
        let seen = self
            .read(&mut session, serve(stream), Some(TIMEOUT))
            .await?;
        timeout(PATIENCE, session.close()).await??;
        Ok(Verdict::of(&plain, &seen).is_whole())
    }

    /// Finds out which keepalives restart the clock.
    ///
    /// Without its timeout, the client has to read each stream to its end.
    pub async fn watch(&self) -> Result<Watched> {
        let (version, mut session) = self.open().await?;
        let plain = self.read_plain(&mut session, Place::Between).await?;
        let keepalives = EACH_KIND.into_iter().chain(own_event(self.format));
        let mut lives = Vec::new();
        for keepalive in [None].into_iter().chain(keepalives.map(Some)) {
            let stream = Stream {
                silence: Silence::Long,
                keepalive,
                ..self.stream(Place::Between)
            };
            let untimed = self.read(&mut session, stream.router(), None).await?;
            let untimed = Verdict::of(&plain, &untimed);
            if !untimed.is_whole() {
                bail!("{keepalive:?}, without a timeout: {untimed:?}");
            }
            let timed = self
                .read(&mut session, stream.router(), Some(TIMEOUT))
                .await?;
            lives.push((keepalive, Verdict::of(&plain, &timed).is_whole()));
        }
        let watched = Watched { version, lives };
        if watched.counts() == Some(Counts::NoClock) {
            // Otherwise, the timeout may not have reached the client.
            let head_comes_late = self.stream(Place::Between).router().layer(from_fn(late));
            let timed = self
                .read(&mut session, head_comes_late, Some(TIMEOUT))
                .await?;
            if Verdict::of(&plain, &timed).is_whole() {
                bail!("its timeout does not end the wait for the response headers");
            }
        }
        timeout(PATIENCE, session.close()).await??;
        Ok(watched)
    }
}

/// Answers late.
async fn late(request: Request, next: Next) -> Response {
    sleep(LONG).await;
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keepalives::{BYTE, COMMENT, PING};

    fn watched(
        keepalives: &[Option<&'static str>],
        lives: impl Fn(Option<&str>) -> bool,
    ) -> Watched {
        let lives = keepalives
            .iter()
            .map(|keepalive| (*keepalive, lives(*keepalive)));
        Watched {
            version: String::new(),
            lives: lives.collect(),
        }
    }

    #[test]
    fn what_a_clock_counts_follows_from_the_keepalives_that_restart_it() {
        let all = [None, Some(BYTE), Some(COMMENT), Some(PING), Some(PROGRESS)];
        for counts in Counts::ALL {
            let watched = watched(&all, |keepalive| counts.lives(keepalive));
            assert_eq!(watched.counts(), Some(counts));
        }
        let comments_only = watched(&all, |keepalive| keepalive == Some(COMMENT));
        assert_eq!(comments_only.counts(), None);
    }

    #[test]
    fn a_clock_that_nothing_restarts_counts_nothing_even_if_no_progress_was_tried() {
        let most = [None, Some(BYTE), Some(COMMENT), Some(PING)];
        assert_eq!(watched(&most, |_| false).counts(), Some(Counts::Nothing));
    }
}
