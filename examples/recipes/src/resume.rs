//! A keepalive that carries a resume point, like Kubernetes' bookmarks and etcd's progress notifications.
//!
//! A subscriber that wants only a few of many events would resume after its last one, and all events since then
//! would be filtered again. The keepalive tells it how far the stream has come.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::{Stream, StreamExt, future::ready, stream};
use stream_keepalive::KeepaliveExt;
use tokio::sync::watch;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Event {
        number: u64,
        text: String,
    },
    /// All wanted events before this number have been sent.
    Progress {
        next: u64,
    },
}

impl Message {
    /// Where to resume after this message.
    pub fn next(&self) -> u64 {
        match self {
            Self::Event { number, .. } => number + 1,
            Self::Progress { next } => *next,
        }
    }
}

/// The wanted events, starting with number `first`.
pub fn subscribe<W>(
    log: watch::Receiver<Vec<String>>,
    first: u64,
    wanted: W,
    idle: Duration,
) -> impl Stream<Item = Message>
where
    W: Fn(&str) -> bool,
{
    with_progress(numbered(log, first), first, wanted, idle)
}

/// The same, with a slow preparation of each event. A few events are prepared at a time.
pub fn subscribe_slowly<W, P, F>(
    log: watch::Receiver<Vec<String>>,
    first: u64,
    wanted: W,
    idle: Duration,
    prepare: P,
) -> impl Stream<Item = Message>
where
    W: Fn(&str) -> bool,
    P: Fn((u64, String)) -> F,
    F: Future<Output = (u64, String)>,
{
    let events = numbered(log, first).map(prepare).buffered(AT_ONCE);
    with_progress(events, first, wanted, idle)
}

/// How many events are prepared at a time.
const AT_ONCE: usize = 4;

/// The events of the log with their numbers, starting with number `first`.
fn numbered(log: watch::Receiver<Vec<String>>, first: u64) -> impl Stream<Item = (u64, String)> {
    stream::unfold((log, first), async |(mut log, number)| {
        let there = log.wait_for(|log| log.len() as u64 > number).await.ok()?;
        let text = there[number as usize].clone();
        drop(there);
        Some(((number, text), (log, number + 1)))
    })
}

/// Drops events that are not wanted, and adds keepalives that say how far the stream has come.
fn with_progress<S, W>(
    events: S,
    first: u64,
    wanted: W,
    idle: Duration,
) -> impl Stream<Item = Message>
where
    S: Stream<Item = (u64, String)>,
    W: Fn(&str) -> bool,
{
    // This is the position of the stream and not the length of the log, because a client must not skip events that
    // the stream has not seen yet.
    // `Fill::observe` cannot record it. The keepalive must be above the filter, or else unwanted events would count as
    // activity. Up there, the filler does not see the events that the filter has dropped.
    let seen = Arc::new(AtomicU64::new(first));
    let progress = seen.clone();
    events
        // The position is recorded directly below the keepalive. A stage between the two could still hold an event
        // when a keepalive says that it has been sent.
        .filter_map(move |(number, text)| {
            seen.store(number + 1, Relaxed);
            ready(wanted(&text).then_some(Message::Event { number, text }))
        })
        .keepalive_with(idle, move || Message::Progress {
            next: progress.load(Relaxed),
        })
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use proptest::{prelude::*, sample::select};
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::published::{paused, publish};

    const IDLE: Duration = Duration::from_millis(10);
    const CUTS: usize = 100;

    /// A subscription: the log, the number of the first event, and which events are wanted.
    type Request = (watch::Receiver<Vec<String>>, u64, fn(&str) -> bool);

    /// Follows a log with a client that is cut off again and again. Returns the events that it got, the events that it
    /// should have got, and its position at the end.
    fn follow<S>(
        lives: Vec<u64>,
        gaps: Vec<u64>,
        open: impl Fn(Request) -> S,
    ) -> (Vec<String>, Vec<String>, u64)
    where
        S: Stream<Item = Message>,
    {
        paused().block_on(async {
            let events = gaps.len();
            let log = publish(gaps);

            let wanted = |text: &str| text.ends_with('7');
            let (mut got, mut next) = (Vec::new(), 0);
            // The last connection lives long enough to get the rest.
            for life in lives.into_iter().chain([100_000]) {
                let mut messages = pin!(open((log.clone(), next, wanted)));
                let live = async {
                    while let Some(message) = messages.next().await {
                        next = message.next();
                        if let Message::Event { text, .. } = message {
                            got.push(text);
                        }
                    }
                };
                _ = timeout(Duration::from_millis(life), live).await;
            }
            let all = (0..events).map(|number| number.to_string());
            (got, all.filter(|text| wanted(text)).collect(), next)
        })
    }

    /// Takes up to three idle times, so keepalives are inserted while it holds events.
    async fn prepare((number, text): (u64, String)) -> (u64, String) {
        // Some later events are ready before earlier ones.
        sleep(IDLE * (3 - number % 3) as u32).await;
        (number, text)
    }

    /// A wrong version: the keepalive counts events as sent that the slow stage still holds.
    fn recorded_too_early((log, first, wanted): Request) -> impl Stream<Item = Message> {
        let seen = Arc::new(AtomicU64::new(first));
        let progress = seen.clone();
        numbered(log, first)
            .inspect(move |(number, _)| seen.store(number + 1, Relaxed))
            .map(prepare)
            .buffered(AT_ONCE)
            .filter_map(move |(number, text)| {
                ready(wanted(&text).then_some(Message::Event { number, text }))
            })
            .keepalive_with(IDLE, move || Message::Progress {
                next: progress.load(Relaxed),
            })
    }

    fn lives() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(0_u64..60, CUTS)
    }

    fn gaps() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(select(vec![0_u64, 1, 5, 30]), 300)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn a_client_that_is_cut_off_a_hundred_times_misses_nothing_and_sees_nothing_twice(
            lives in lives(),
            gaps in gaps(),
        ) {
            let events = gaps.len() as u64;
            let (got, all, next) = follow(lives, gaps, |(log, first, wanted)| subscribe(log, first, wanted, IDLE));
            assert_eq!(got, all);
            // Few events are wanted, so this position comes from a keepalive.
            assert_eq!(next, events);
        }

        #[test]
        fn neither_does_a_client_of_a_stream_with_a_slow_stage(lives in lives(), gaps in gaps()) {
            let events = gaps.len() as u64;
            let (got, all, next) = follow(lives, gaps, |(log, first, wanted)| {
                subscribe_slowly(log, first, wanted, IDLE, prepare)
            });
            assert_eq!(got, all);
            assert_eq!(next, events);
        }

        #[test]
        fn a_position_that_is_recorded_below_the_slow_stage_loses_events(lives in lives(), gaps in gaps()) {
            let (got, all, _) = follow(lives, gaps, recorded_too_early);
            assert!(got.len() < all.len(), "{got:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_keepalive_does_not_count_events_that_the_stream_has_not_seen() {
        let (sender, log) = watch::channel(vec!["a".to_owned()]);
        let mut messages = pin!(subscribe(log, 0, |_| true, IDLE));
        assert_eq!(messages.next().await.unwrap().next(), 1);
        sleep(IDLE * 10).await; // nobody polls, and the log grows
        sender.send_modify(|log| log.push("b".to_owned()));
        let text = "b".to_owned();
        assert_eq!(
            messages.next().await,
            Some(Message::Event { number: 1, text })
        );
        assert_eq!(messages.next().await, Some(Message::Progress { next: 2 }));
    }
}
