//! A server with the APIs of OpenAI and Anthropic, whose clients need different keepalives.

use std::time::Duration;

use axum::{Router, routing::MethodRouter};
use stream_keepalive_http::KeepaliveLayer;

/// The event that OpenAI's API sends while a response takes long.
pub const RESPONSE: &str =
    "event: keepalive\ndata: {\"type\":\"keepalive\",\"sequence_number\":0}\n\n";

/// The event that Anthropic's API sends.
pub const PING: &str = "event: ping\ndata: {\"type\": \"ping\"}\n\n";

/// Keeps the responses of each API alive with what its clients understand.
pub fn app(
    chat: MethodRouter,
    responses: MethodRouter,
    messages: MethodRouter,
    idle: Duration,
) -> Router {
    // Most clients of chat completions parse every event as a chunk, so they get the comment `:\n\n`.
    let comments = KeepaliveLayer::new(idle);
    let keepalives = comments.clone().sse(RESPONSE);
    let pings = comments.clone().sse(PING);
    Router::new()
        .route("/v1/chat/completions", chat.layer(comments))
        .route("/v1/responses", responses.layer(keepalives))
        .route("/v1/messages", messages.layer(pings))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::{
        body::{Body, Bytes},
        http::{Request, header::CONTENT_TYPE},
        routing::post,
    };
    use futures::{StreamExt, TryStreamExt, stream};
    use tokio::time::sleep;
    use tower::ServiceExt;

    use super::*;

    const IDLE: Duration = Duration::from_secs(10);

    /// A model that thinks between its two events.
    async fn answer() -> ([(&'static str, &'static str); 1], Body) {
        let events = stream::iter(["data: 1\n\n", "data: 2\n\n"]).then(async |event| {
            sleep(IDLE * 5 / 2).await;
            Ok::<_, Infallible>(Bytes::from_static(event.as_bytes()))
        });
        let headers = [(CONTENT_TYPE.as_str(), "text/event-stream")];
        (headers, Body::from_stream(events))
    }

    #[tokio::test(start_paused = true)]
    async fn each_api_gets_its_own_keepalive_between_its_events() {
        for (path, keepalive) in [
            ("/v1/chat/completions", ":\n\n"),
            ("/v1/responses", RESPONSE),
            ("/v1/messages", PING),
        ] {
            let app = app(post(answer), post(answer), post(answer), IDLE);
            let request = Request::post(path).body(Body::empty()).unwrap();
            let response = app.oneshot(request).await.unwrap();
            let chunks = response.into_body().into_data_stream();
            let chunks: Vec<_> = chunks.try_collect().await.unwrap();
            let body = String::from_utf8(chunks.concat()).unwrap();
            // The idle time of a body is in the last quarter below `IDLE`, so there are two or three.
            let rest = body.replace(keepalive, "");
            assert_eq!(rest, "data: 1\n\ndata: 2\n\n", "{path}");
            let keepalives = body.matches(keepalive).count();
            assert!((4..=6).contains(&keepalives), "{path}: {keepalives}");
        }
    }
}
