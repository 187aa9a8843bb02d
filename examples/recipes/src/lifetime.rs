//! Streams that end after about an hour, and tell their clients to reconnect.
//!
//! Clients that stay connected for weeks stay with the same server. A new server gets none of them, and an old one
//! cannot be removed. The last item says that the end is planned, so the client reconnects immediately and resumes
//! after its last message.

use std::{future::ready, time::Duration};

use axum::response::sse::Event;
use futures::{Stream, StreamExt, stream};
use tokio::time::sleep;

/// Ends the stream after `lifetime`, give or take a tenth, with `last`.
///
/// All clients connect at the same time when a server restarts. The random tenth keeps them from reconnecting at the
/// same time as well.
pub fn bounded<S: Stream>(
    messages: S,
    lifetime: Duration,
    last: S::Item,
) -> impl Stream<Item = S::Item> {
    let lifetime = lifetime.mul_f64(0.9 + 0.2 * fastrand::f64());
    messages
        .take_until(sleep(lifetime))
        .chain(stream::once(ready(last)))
}

/// The last server-sent event. A browser reconnects after `retry`, with the id of the last event that it has.
pub fn come_back(retry: Duration) -> Event {
    // The event has data, because a browser drops an event without data, and axum leaves out an empty field.
    Event::default()
        .event("come-back")
        .data("planned")
        .retry(retry)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, pin::pin};

    use proptest::{prelude::*, sample::select};
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::published::{paused, publish};
    use crate::resume::{self, Message};

    const IDLE: Duration = Duration::from_millis(10);
    const LIFETIME: Duration = Duration::from_millis(50);
    const LIVES: usize = 100;

    #[tokio::test(start_paused = true)]
    async fn each_stream_lives_for_an_hour_give_or_take_six_minutes() {
        let hour = Duration::from_secs(3600);
        let mut lifetimes = BTreeSet::new();
        for _ in 0..100 {
            let start = Instant::now();
            let messages: Vec<_> = bounded(stream::pending(), hour, "come back")
                .collect()
                .await;
            assert_eq!(messages, ["come back"]);
            lifetimes.insert(start.elapsed());
        }
        // Tokio's timer may be a millisecond late.
        let latest = hour.mul_f64(1.1) + Duration::from_millis(1);
        assert!(*lifetimes.first().unwrap() >= hour.mul_f64(0.9));
        assert!(*lifetimes.last().unwrap() <= latest);
        // The lifetimes are spread over the whole range.
        assert!(lifetimes.len() > 90, "{}", lifetimes.len());
        let width = *lifetimes.last().unwrap() - *lifetimes.first().unwrap();
        assert!(width > hour / 10, "{width:?}");
    }

    /// An item of the connection.
    #[derive(Clone, Debug)]
    enum Item {
        Message(Message),
        ComeBack,
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn a_client_that_reconnects_a_hundred_times_misses_nothing_and_sees_nothing_twice(
            gaps in prop::collection::vec(select(vec![0_u64, 1, 5, 30]), 1000),
        ) {
            paused().block_on(async {
                let events = gaps.len();
                let log = publish(gaps);

                let wanted = |text: &str| text.ends_with('7');
                let (mut got, mut next, mut lives) = (Vec::new(), 0, 0);
                let client = async {
                    loop {
                        let messages = resume::subscribe(log.clone(), next, wanted, IDLE);
                        let items = bounded(messages.map(Item::Message), LIFETIME, Item::ComeBack);
                        let mut items = pin!(items);
                        // Every stream has to end with `ComeBack`.
                        while let Item::Message(message) = items.next().await.expect("no `ComeBack`") {
                            next = message.next();
                            if let Message::Event { text, .. } = message {
                                got.push(text);
                            }
                        }
                        assert!(items.next().await.is_none());
                        lives += 1;
                        if lives >= LIVES && next == events as u64 {
                            return;
                        }
                    }
                };
                timeout(Duration::from_secs(3600), client).await.expect("the client never gets all events");
                let all = (0..events).map(|number| number.to_string());
                assert_eq!(got, all.filter(|text| wanted(text)).collect::<Vec<_>>());
            });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_server_sent_event_says_when_to_reconnect() {
        use axum::response::{IntoResponse, Sse};

        let last = come_back(Duration::from_millis(250));
        let events = bounded(
            stream::pending(),
            LIFETIME,
            Ok::<_, std::convert::Infallible>(last),
        );
        let mut body = Sse::new(events)
            .into_response()
            .into_body()
            .into_data_stream();
        let event = body.next().await.unwrap().unwrap();
        assert_eq!(event, "event: come-back\ndata: planned\nretry: 250\n\n");
        assert!(body.next().await.is_none());
    }
}
