//! A keepalive that carries a resume point, as Kubernetes' bookmarks and etcd's progress notices do.
//!
//! A subscriber that wants few of many events would have to come back to where its last one was, and
//! all between would be looked through again. The keepalive tells it how far the stream has come.

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
    /// Everything before this number has been sent, if it was asked for.
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

/// The events from number `first` on for which `wanted` holds.
pub fn subscribe<W>(
    log: watch::Receiver<Vec<String>>,
    first: u64,
    wanted: W,
    idle: Duration,
) -> impl Stream<Item = Message>
where
    W: Fn(&str) -> bool,
{
    // How far this stream has come. Not how far the log has: what the stream has not looked at yet
    // must not be skipped.
    // `Fill::observe` cannot note it: the keepalive has to stand above the filter, or events that nobody wants
    // would keep it from being sent, and there it does not see what the filter has dropped.
    let seen = Arc::new(AtomicU64::new(first));
    let progress = seen.clone();
    let events = stream::unfold((log, first), async |(mut log, number)| {
        let there = log.wait_for(|log| log.len() as u64 > number).await.ok()?;
        let text = there[number as usize].clone();
        drop(there);
        Some((Message::Event { number, text }, (log, number + 1)))
    });
    events
        .filter(move |message| {
            seen.store(message.next(), Relaxed);
            ready(match message {
                Message::Event { text, .. } => wanted(text),
                Message::Progress { .. } => true,
            })
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

    const IDLE: Duration = Duration::from_millis(10);
    const CUTS: usize = 100;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn a_client_that_is_cut_off_a_hundred_times_misses_nothing_and_sees_nothing_twice(
            lives in prop::collection::vec(0_u64..60, CUTS),
            gaps in prop::collection::vec(select(vec![0_u64, 1, 5, 30]), 300),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(async {
                let (sender, log) = watch::channel(Vec::new());
                let events = gaps.len();
                tokio::spawn(async move {
                    for (number, gap) in gaps.into_iter().enumerate() {
                        sleep(Duration::from_millis(gap)).await;
                        sender.send_modify(|log| log.push(number.to_string()));
                    }
                    sender.closed().await;
                });

                let wanted = |text: &str| text.ends_with('7');
                let (mut got, mut next) = (Vec::new(), 0);
                // The last life is long enough for all the rest.
                for life in lives.into_iter().chain([100_000]) {
                    let mut messages = pin!(subscribe(log.clone(), next, wanted, IDLE));
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
                let all: Vec<_> = (0..events).map(|number| number.to_string()).collect();
                let all: Vec<_> = all.into_iter().filter(|text| wanted(text)).collect();
                assert_eq!(got, all);
                // Keepalives, not events, brought it here.
                assert_eq!(next, events as u64);
            });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_keepalive_never_promises_what_has_not_been_looked_at() {
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
