//! A format of one's own: GraphQL subscriptions over `multipart/mixed`, as Apollo's clients read them.
//!
//! Each part is a delimiter, headers, a blank line and JSON on one line. A part with the payload `{}` is a heartbeat.

use std::time::Duration;

use stream_keepalive_http::{
    KeepaliveLayer,
    framing::{Framed, Framing},
};

const HEARTBEAT: &str = "--graphql\r\nContent-Type: application/json\r\n\r\n{}\r\n";

/// Keeps subscriptions alive with heartbeats.
pub fn subscriptions(idle: Duration) -> KeepaliveLayer {
    let filler = Framed::with_framing(Parts::default(), HEARTBEAT);
    KeepaliveLayer::new(idle).format("multipart/mixed", filler)
}

/// Knows whether the stream is between two parts. The parts have the delimiter `--graphql`, and their payload is JSON on
/// one line. After the last part, the delimiter `--graphql--` begins headers that do not end.
#[derive(Clone, Default)]
pub struct Parts {
    place: Place,
    /// Whether the line has a byte other than CR.
    in_line: bool,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Place {
    #[default]
    Between,
    Headers,
    Payload,
}

impl Framing for Parts {
    fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match (byte, self.place) {
                (b'\r', _) => {}
                (b'\n', Place::Headers) if !self.in_line => self.place = Place::Payload,
                (b'\n', Place::Payload) => {
                    self.place = Place::Between;
                    self.in_line = false;
                }
                (b'\n', _) => self.in_line = false,
                (_, place) => {
                    self.in_line = true;
                    if place == Place::Between {
                        self.place = Place::Headers;
                    }
                }
            }
        }
    }

    fn is_between_frames(&self) -> bool {
        self.place == Place::Between
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::{Router, body::Body, body::Bytes, http::Request, routing::get};
    use futures::{StreamExt, stream};
    use multer::Multipart;
    use tokio::time::sleep;
    use tower::ServiceExt;

    use super::*;

    const IDLE: Duration = Duration::from_secs(5);

    const STREAM: &str = concat!(
        "--graphql\r\nContent-Type: application/json\r\n\r\n{\"payload\":{\"data\":{\"number\":1}}}\r\n",
        "--graphql\r\nContent-Type: application/json\r\n\r\n{\"payload\":{\"data\":{\"number\":2}}}\r\n",
        "--graphql--\r\n",
    );

    /// Reads the payloads of a subscription that stalls for three idle times at this offset.
    async fn payloads(stall: usize) -> Vec<String> {
        let (before, after) = STREAM.split_at(stall);
        let handler = async move || {
            let chunks = stream::iter([before, after]).enumerate();
            let chunks = chunks.then(async |(index, chunk)| {
                sleep(IDLE * 7 / 2 * index as u32).await;
                Ok::<_, Infallible>(Bytes::from(chunk))
            });
            let headers = [("content-type", "multipart/mixed;boundary=\"graphql\"")];
            (headers, Body::from_stream(chunks))
        };
        let layer = subscriptions(IDLE).without_spread();
        let app = Router::new().route("/", get(handler)).layer(layer);
        let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
        let mut parts = Multipart::new(response.into_body().into_data_stream(), "graphql");
        let mut payloads = Vec::new();
        while let Some(part) = parts.next_field().await.unwrap() {
            payloads.push(part.text().await.unwrap());
        }
        payloads
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_reads_the_same_parts_and_heartbeats_between_them() {
        let second = STREAM[1..].find("--graphql").unwrap() + 1;
        for stall in 0..=STREAM.len() {
            let mut found = payloads(stall).await;
            let all = found.len();
            found.retain(|payload| payload != "{}");
            let expected = [1, 2]
                .map(|number| format!("{{\"payload\":{{\"data\":{{\"number\":{number}}}}}}}"));
            assert_eq!(found, expected, "{stall}");
            let end = STREAM.len() - "--graphql--\r\n".len();
            let heartbeats = if [0, second, end].contains(&stall) {
                3
            } else {
                0
            };
            assert_eq!(all - found.len(), heartbeats, "{stall}");
        }
    }
}
