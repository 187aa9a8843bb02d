//! A JSON document that takes minutes, with white space before it as keepalives.
//!
//! JSON allows white space before a document, and parsers skip it. Once the first space has been sent, the response has
//! a status and headers, so nothing but the document can say how the work has ended.

use std::time::Duration;

use axum::{
    Json,
    body::{Body, Bytes},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use serde::Serialize;
use stream_keepalive::KeepaliveExt;
use tokio::time::timeout;

/// The document of work that has failed, as in RFC 9457. It contains the status, because the status of the response may
/// have been sent before.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    pub status: u16,
    pub title: String,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = [(CONTENT_TYPE, "application/problem+json")];
        (status, headers, Json(self)).into_response()
    }
}

/// Answers with the document that `work` makes, and with a space before it for each `idle` that it takes.
///
/// Work that ends within `idle` gets a response with a status and headers of its own. Later, the status is 200, whatever
/// happens. Work that takes longer than `limit` ends with a [`Problem`].
pub async fn respond<F, T>(work: F, idle: Duration, limit: Duration) -> Response
where
    F: Future<Output = Result<T, Problem>> + Send + 'static,
    T: Serialize + Send + 'static,
{
    // Keepalives make work that hangs look healthy forever, so it needs a limit of its own.
    let mut work = Box::pin(timeout(limit, work).map(move |done| {
        done.unwrap_or_else(|_| {
            let title = format!("the work takes longer than {limit:?}");
            Err(Problem { status: 504, title })
        })
    }));
    if let Ok(early) = timeout(idle, &mut work).await {
        return early.map(Json).into_response();
    }
    // The document is one item, so no space gets into it.
    let document = work.map(|done| match done {
        Ok(value) => serde_json::to_vec(&value).map(Bytes::from),
        Err(problem) => serde_json::to_vec(&problem).map(Bytes::from),
    });
    let body = document
        .into_stream()
        .keepalive_with(idle, || Ok(Bytes::from_static(b" ")))
        .immediate();
    let headers = [
        (CONTENT_TYPE.as_str(), "application/json"),
        ("x-accel-buffering", "no"),
    ];
    (headers, Body::from_stream(body)).into_response()
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use axum::{Router, routing::get};
    use futures::TryStreamExt;
    use serde_json::{Value, json};
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::served::body_of;

    const IDLE: Duration = Duration::from_millis(100);
    const LIMIT: Duration = Duration::from_secs(1);

    fn done() -> Result<Value, Problem> {
        Ok(json!({ "rows": [1, 2, 3] }))
    }

    fn failed() -> Result<Value, Problem> {
        let title = "the database is gone".to_owned();
        Err(Problem { status: 503, title })
    }

    async fn after(wait: Duration, result: Result<Value, Problem>) -> Result<Value, Problem> {
        sleep(wait).await;
        result
    }

    /// The chunks of the body, each with the time at which it came.
    async fn timed(response: Response) -> Vec<(Duration, Bytes)> {
        let start = Instant::now();
        let chunks = response.into_body().into_data_stream();
        let timed = chunks.map_ok(|chunk| (start.elapsed(), chunk));
        timed.try_collect().await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_space_goes_out_for_each_idle_time_and_then_the_document_in_one_piece() {
        let start = Instant::now();
        let work = after(3 * IDLE + IDLE / 2, done());
        let response = respond(work, IDLE, LIMIT).await;
        assert_eq!(start.elapsed(), IDLE);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let mut chunks = timed(response).await;
        let document = chunks.pop().unwrap();
        assert_eq!(
            document,
            (2 * IDLE + IDLE / 2, r#"{"rows":[1,2,3]}"#.into())
        );
        let spaces: Vec<_> = (0..=2).map(|n| (n * IDLE, Bytes::from(" "))).collect();
        assert_eq!(chunks, spaces);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_ends_within_the_idle_time_has_a_status_and_headers_of_its_own() {
        let response = respond(after(IDLE / 2, failed()), IDLE, LIMIT).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let response = respond(ready(done()), IDLE, LIMIT).await;
        assert_eq!(response.status(), StatusCode::OK);
        let chunks = timed(response).await;
        assert_eq!(chunks, [(Duration::ZERO, r#"{"rows":[1,2,3]}"#.into())]);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_fails_later_has_status_200_and_the_real_one_in_the_document() {
        let response = respond(after(2 * IDLE, failed()), IDLE, LIMIT).await;
        assert_eq!(response.status(), StatusCode::OK);
        let (_, document) = timed(response).await.pop().unwrap();
        let document: Value = serde_json::from_slice(&document).unwrap();
        assert_eq!(document["status"], 503);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_hangs_ends_at_its_limit() {
        let start = Instant::now();
        let response = respond(pending::<Result<Value, _>>(), IDLE, LIMIT).await;
        let chunks = timeout(2 * LIMIT, timed(response)).await;
        let (_, document) = chunks.expect("the work has no limit").pop().unwrap();
        let document: Value = serde_json::from_slice(&document).unwrap();
        assert_eq!(document["status"], 504);
        assert_eq!(start.elapsed(), LIMIT);
    }

    #[tokio::test]
    async fn a_client_parses_the_document_with_the_spaces_before_it() {
        let handler = async || respond(after(5 * IDLE, done()), IDLE, LIMIT).await;
        let body = body_of(Router::new().route("/", get(handler))).await;
        let body: Vec<_> = body.try_collect().await.unwrap();
        let body = body.concat();
        assert!(body.starts_with(b"  "), "{body:?}");
        let document: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(document, done().unwrap());
    }
}
