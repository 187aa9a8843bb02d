//! A subscriber that falls behind a broadcast channel, over server-sent events and lines of JSON.
//!
//! The channel drops events that a slow subscriber has not read in time. If the stream went on, it would have a gap
//! that the client does not know of, and keepalives would make it look healthy. Here the stream ends, and its last
//! item tells the client to fetch the state again.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    response::{Sse, sse::Event},
};
use futures::{Stream, StreamExt, stream};
use stream_keepalive::KeepaliveExt;
use tokio::sync::broadcast::{Receiver, error::RecvError};

/// How many events a subscriber has missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lagged(pub u64);

/// The events of the channel. If the subscriber falls behind, the last item is an error.
pub fn subscribe<T: Clone>(bus: Receiver<T>) -> impl Stream<Item = Result<T, Lagged>> {
    stream::unfold(Some(bus), async |bus| {
        let mut bus = bus?;
        match bus.recv().await {
            Ok(event) => Some((Ok(event), Some(bus))),
            Err(RecvError::Lagged(missed)) => Some((Err(Lagged(missed)), None)),
            Err(RecvError::Closed) => None,
        }
    })
}

/// Server-sent events, and an event `refetch` at the end if the client has missed some.
///
/// An error would not do: it breaks off the response, and the browser reconnects as if nothing had been lost.
pub fn events(
    bus: Receiver<String>,
    idle: Duration,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = subscribe(bus).map(|event| {
        Ok(match event {
            Ok(json) => Event::default().data(json),
            Err(Lagged(missed)) => Event::default().event("refetch").data(missed.to_string()),
        })
    });
    Sse::new(events.keepalive(idle, Ok(Event::default().comment(""))))
}

/// Lines of JSON, and a line `{"refetch":7}` at the end if the client has missed seven.
pub fn lines(bus: Receiver<String>, idle: Duration) -> Body {
    let lines = subscribe(bus).map(|event| match event {
        Ok(json) => json + "\n",
        Err(Lagged(missed)) => format!("{{\"refetch\":{missed}}}\n"),
    });
    let lines = lines.keepalive(idle, "\n".to_owned());
    Body::from_stream(lines.map(Ok::<_, Infallible>))
}

#[cfg(test)]
mod tests {
    use std::{future::ready, pin::pin, sync::Mutex};

    use axum::response::IntoResponse;
    use tokio::{
        sync::broadcast,
        time::{sleep, timeout},
    };
    use tokio_stream::wrappers::BroadcastStream;

    use super::*;

    const IDLE: Duration = Duration::from_secs(20);
    /// How many events the channel holds.
    const CAPACITY: usize = 4;

    /// Sends more than the channel holds, once the body has begun.
    async fn overrun(open: impl FnOnce(Receiver<String>) -> Body) -> String {
        let (bus, subscriber) = broadcast::channel(CAPACITY);
        let mut body = open(subscriber).into_data_stream();
        bus.send("0".to_owned()).unwrap();
        let first = body.next().await.unwrap().unwrap();
        // The client does not read while these come.
        for number in 1..=CAPACITY + 2 {
            bus.send(number.to_string()).unwrap();
        }
        // Keepalives must not hide the lag.
        sleep(10 * IDLE).await;
        let mut text = String::from_utf8(first.to_vec()).unwrap();
        // The channel is still open, so only the lag can end the body.
        let rest = timeout(IDLE / 2, async {
            while let Some(bytes) = body.next().await {
                text += std::str::from_utf8(&bytes.unwrap()).unwrap();
            }
        });
        rest.await.expect("the body ends after the gap");
        text
    }

    #[tokio::test(start_paused = true)]
    async fn server_sent_events_end_with_an_event_that_makes_the_client_refetch() {
        let text = overrun(|bus| events(bus, IDLE).into_response().into_body()).await;
        assert_eq!(text, "data: 0\n\nevent: refetch\ndata: 2\n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn lines_end_with_a_line_that_makes_the_client_refetch() {
        let text = overrun(|bus| lines(bus, IDLE)).await;
        assert_eq!(text, "0\n{\"refetch\":2}\n");
    }

    /// A list that grows, and a channel with the numbers that are added.
    struct Server {
        list: Mutex<Vec<u32>>,
        bus: broadcast::Sender<u32>,
    }

    impl Server {
        fn push(&self, number: u32) {
            let mut list = self.list.lock().unwrap();
            list.push(number);
            // It fails when there is no subscriber.
            _ = self.bus.send(number);
        }

        fn fetch(&self) -> (Receiver<u32>, Vec<u32>) {
            let list = self.list.lock().unwrap();
            (self.bus.subscribe(), list.clone())
        }
    }

    /// Runs a client that is sometimes slower than the server. Returns the lists of both at the end, and how often
    /// the client has fetched the list.
    async fn follow<S>(open: impl Fn(Receiver<u32>) -> S) -> (Vec<u32>, Vec<u32>, usize)
    where
        S: Stream<Item = Result<u32, Lagged>>,
    {
        let (bus, _) = broadcast::channel(CAPACITY);
        let server = Server {
            list: Mutex::default(),
            bus,
        };
        let serve = async {
            for number in 0..300 {
                // The client keeps up with some bursts, and not with others.
                sleep(Duration::from_millis(if number % 7 < 5 { 1 } else { 30 })).await;
                server.push(number);
            }
        };
        let (mut have, mut fetched) = (Vec::new(), 0);
        let client = async {
            loop {
                let (bus, list) = server.fetch();
                have = list;
                fetched += 1;
                let mut events = pin!(open(bus));
                while let Some(Ok(number)) = events.next().await {
                    have.push(number);
                    sleep(Duration::from_millis(8)).await;
                }
            }
        };
        tokio::select! {
            () = client => {}
            () = async { serve.await; sleep(IDLE).await } => {}
        }
        let list = server.list.into_inner().unwrap();
        (have, list, fetched)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_refetches_misses_nothing_however_often_it_falls_behind() {
        let (have, list, fetched) = follow(subscribe).await;
        assert_eq!(have, list);
        assert!(fetched > 10, "{fetched}");
    }

    #[tokio::test(start_paused = true)]
    async fn if_the_stream_skips_the_error_the_client_has_a_gap_and_does_not_know() {
        let skip = |bus| BroadcastStream::new(bus).filter_map(|event| ready(event.ok().map(Ok)));
        let (have, list, fetched) = follow(skip).await;
        assert!(have.len() < list.len());
        assert_eq!(fetched, 1);
    }
}
