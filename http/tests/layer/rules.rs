use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use stream_keepalive_http::KeepaliveLayer;
use tower::{Layer, Service, ServiceExt, service_fn};

use super::{
    COMMENT, IDLE, answer, grpc, next,
    script::{Script, Step, data},
    sse,
};

const EMPTY_MESSAGE: &str = "\0\0\0\0\0";
const WATCH: &str = "/events.v1.Events/Watch";

fn layer() -> KeepaliveLayer {
    KeepaliveLayer::new(IDLE)
}

fn response(content_type: &str) -> Response<Script> {
    let mut response = sse([]);
    let content_type = HeaderValue::from_bytes(content_type.as_bytes()).unwrap();
    response.headers_mut().insert("content-type", content_type);
    response
}

fn grpc_request(path: &str) -> Request<()> {
    let request = Request::post(path).header("content-type", "application/grpc");
    request.body(()).unwrap()
}

/// Returns the keepalive that a response gets, if any.
async fn keepalive(
    layer: KeepaliveLayer,
    request: Request<()>,
    response: Response<Script>,
) -> Option<String> {
    next(answer(layer, request, response).await.body_mut()).await
}

async fn is_filled(response: Response<Script>) -> bool {
    keepalive(layer(), Request::default(), response)
        .await
        .is_some()
}

#[tokio::test(start_paused = true)]
async fn an_event_stream_gets_comments() {
    let comment = keepalive(layer(), Request::default(), sse([])).await;
    assert_eq!(comment.as_deref(), Some(COMMENT));
}

#[tokio::test(start_paused = true)]
async fn an_event_stream_gets_other_bytes_if_asked_for() {
    let event = "event: keepalive\ndata:\n\n";
    let found = keepalive(layer().sse(event), Request::default(), sse([])).await;
    assert_eq!(found.as_deref(), Some(event));
}

#[tokio::test(start_paused = true)]
async fn lines_are_filled_if_asked_for() {
    for content_type in [
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonlines",
    ] {
        let found = keepalive(layer(), Request::default(), response(content_type)).await;
        assert_eq!(found, None, "{content_type}");
        let layer = layer().ndjson("{}\n");
        let found = keepalive(layer, Request::default(), response(content_type)).await;
        assert_eq!(found.as_deref(), Some("{}\n"), "{content_type}");
    }
}

#[tokio::test(start_paused = true)]
async fn grpc_calls_are_filled_if_their_path_is_accepted() {
    for content_type in ["application/grpc", "application/grpc+proto"] {
        let layer = layer().grpc(|path| path == WATCH);
        let found = keepalive(layer.clone(), grpc_request(WATCH), response(content_type)).await;
        assert_eq!(found.as_deref(), Some(EMPTY_MESSAGE), "{content_type}");
        let other = grpc_request("/events.v1.Events/Get");
        let found = keepalive(layer, other, response(content_type)).await;
        assert_eq!(found, None, "{content_type}");
    }
    assert_eq!(
        keepalive(layer(), grpc_request(WATCH), grpc([])).await,
        None
    );
}

#[tokio::test(start_paused = true)]
async fn the_path_is_asked_for_once_and_only_for_grpc_calls() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let layer = layer().grpc(move |_| count.fetch_add(1, Ordering::Relaxed) < usize::MAX);

    keepalive(layer.clone(), Request::default(), sse([])).await;
    let found = keepalive(layer.clone(), Request::default(), grpc([])).await;
    assert_eq!((found, asked.load(Ordering::Relaxed)), (None, 0));

    let found = keepalive(layer, grpc_request(WATCH), grpc([])).await;
    assert_eq!(
        (found.as_deref(), asked.load(Ordering::Relaxed)),
        (Some(EMPTY_MESSAGE), 1)
    );
}

#[tokio::test(start_paused = true)]
async fn each_format_gets_its_own_keepalive() {
    let layer = layer().sse(": a\n\n").ndjson(" \n").grpc(|_| true);
    for (content_type, expected) in [
        ("text/event-stream", ": a\n\n"),
        ("application/x-ndjson", " \n"),
        ("application/grpc", EMPTY_MESSAGE),
    ] {
        let found = keepalive(layer.clone(), grpc_request(WATCH), response(content_type)).await;
        assert_eq!(found.as_deref(), Some(expected), "{content_type}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_content_type_may_have_parameters_and_any_case() {
    for content_type in [
        "text/event-stream;charset=utf-8",
        "text/event-stream; charset=UTF-8",
        "Text/Event-Stream ; charset=utf-8",
        "TEXT/EVENT-STREAM",
        " text/event-stream",
    ] {
        assert!(is_filled(response(content_type)).await, "{content_type}");
    }
}

#[tokio::test(start_paused = true)]
async fn other_content_types_are_left_alone() {
    let layer = layer().ndjson("\n").grpc(|_| true);
    for content_type in [
        "",
        ";",
        "text/plain",
        "text/event-streams",
        "text/event",
        "text/event-stream/x",
        "text/plain; text/event-stream",
        "application/json",
        "application/octet-stream",
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpc-web-text",
        "application/grpc-web-text+proto",
        "application/grpc+json",
        "text/event-stream\u{e9}",
    ] {
        let found = keepalive(layer.clone(), grpc_request(WATCH), response(content_type)).await;
        assert_eq!(found, None, "{content_type}");
    }
    let mut response = sse([]);
    response.headers_mut().clear();
    assert_eq!(keepalive(layer, grpc_request(WATCH), response).await, None);
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_head_or_connect_request_is_left_alone() {
    for (method, expected) in [
        (Method::HEAD, false),
        (Method::CONNECT, false),
        (Method::GET, true),
        (Method::POST, true),
        (Method::OPTIONS, true),
    ] {
        let request = Request::builder().method(&method).body(()).unwrap();
        let found = keepalive(layer(), request, sse([])).await;
        assert_eq!(found.is_some(), expected, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_without_content_is_left_alone() {
    for (status, expected) in [
        (100, false),
        (101, false),
        (103, false),
        (204, false),
        (205, false),
        (304, false),
        (200, true),
        (500, true),
    ] {
        let mut response = sse([]);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        assert_eq!(is_filled(response).await, expected, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_known_size_is_left_alone() {
    let mut response = sse([]);
    (response.body_mut().lower, response.body_mut().upper) = (100, Some(100));
    assert!(!is_filled(response).await);
}

#[tokio::test(start_paused = true)]
async fn a_body_of_approximately_known_size_is_filled() {
    let mut response = sse([]);
    response.body_mut().lower = 100;
    response.body_mut().upper = Some(200);
    assert!(is_filled(response).await);
}

#[tokio::test(start_paused = true)]
async fn a_response_with_a_content_length_is_left_alone() {
    let mut response = sse([]);
    response
        .headers_mut()
        .insert("content-length", HeaderValue::from_static("100"));
    assert!(!is_filled(response).await);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_has_ended_is_left_alone() {
    let mut response = sse([]);
    response.body_mut().says_that_it_ended = true;
    let body = answer(layer(), Request::default(), response.clone())
        .await
        .into_body();
    assert!(body.is_end_stream());
    assert!(!is_filled(response).await);
}

#[tokio::test(start_paused = true)]
async fn an_encoded_body_is_left_alone() {
    for (encodings, expected) in [
        (&["gzip"][..], false),
        (&["br"], false),
        (&["identity, gzip"], false),
        (&["identity", "gzip"], false),
        (&["identity"], true),
        (&["Identity"], true),
        (&["identity", "identity"], true),
    ] {
        let mut response = sse([]);
        for encoding in encodings {
            let encoding = HeaderValue::from_static(encoding);
            response.headers_mut().append("content-encoding", encoding);
        }
        assert_eq!(is_filled(response).await, expected, "{encodings:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_time_of_zero_turns_keepalives_off() {
    let layer = KeepaliveLayer::new(Duration::ZERO).immediate();
    let mut response = sse([]);
    response.body_mut().upper = Some(200);
    let mut response = answer(layer, Request::default(), response).await;
    assert_eq!(response.body().size_hint().upper(), Some(200));
    assert_eq!(next(response.body_mut()).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_left_alone_is_not_changed() {
    let mut inner = response("text/plain");
    *inner.status_mut() = StatusCode::PARTIAL_CONTENT;
    *inner.version_mut() = Version::HTTP_10;
    inner
        .headers_mut()
        .append("x-b", HeaderValue::from_static("1"));
    inner
        .headers_mut()
        .append("x-b", HeaderValue::from_static("2"));
    inner.extensions_mut().insert("extension");
    *inner.body_mut() = Script::new([data("a"), data(""), Step::Trailers, data("b"), Step::Error]);
    inner.body_mut().lower = 3;
    inner.body_mut().upper = Some(7);

    let mut outer = answer(layer().immediate(), Request::default(), inner.clone()).await;
    assert_eq!(outer.status(), inner.status());
    assert_eq!(outer.version(), inner.version());
    assert_eq!(outer.headers(), inner.headers());
    assert_eq!(outer.extensions().get::<&str>(), Some(&"extension"));
    assert_eq!(
        (
            outer.body().size_hint().lower(),
            outer.body().size_hint().upper()
        ),
        (3, Some(7))
    );
    for frame in ["a", "", "trailers", "b", "error: reset"] {
        assert!(!outer.body().is_end_stream());
        assert_eq!(next(outer.body_mut()).await.as_deref(), Some(frame));
    }
}

#[tokio::test(start_paused = true)]
async fn the_head_of_a_filled_response_is_not_changed() {
    let mut inner = sse([]);
    inner
        .headers_mut()
        .append("x-b", HeaderValue::from_static("1"));
    let outer = answer(layer(), Request::default(), inner.clone()).await;
    assert_eq!(
        (outer.status(), outer.headers()),
        (inner.status(), inner.headers())
    );
}

#[tokio::test]
async fn the_request_is_not_changed() {
    let service = service_fn(async |request: Request<&str>| {
        let (parts, body) = request.into_parts();
        assert_eq!(
            (parts.method, parts.uri.path(), body),
            (Method::PUT, "/a", "body")
        );
        assert_eq!(
            parts.headers,
            HeaderMap::from_iter([(http::header::HOST, "b".parse().unwrap())])
        );
        Ok::<_, Infallible>(sse([]))
    });
    let request = Request::put("/a").header("host", "b").body("body").unwrap();
    layer().layer(service).oneshot(request).await.unwrap();
}

#[tokio::test]
async fn an_error_of_the_service_is_passed_on() {
    let service = service_fn(async |_: Request<()>| Err::<Response<Script>, _>("no"));
    let error = layer()
        .layer(service)
        .oneshot(Request::default())
        .await
        .err();
    assert_eq!(error, Some("no"));
}

#[tokio::test]
async fn readiness_is_that_of_the_service() {
    #[derive(Clone)]
    struct Busy;

    impl Service<Request<()>> for Busy {
        type Response = Response<Script>;
        type Error = &'static str;
        type Future = std::future::Ready<Result<Response<Script>, &'static str>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), &'static str>> {
            Poll::Ready(Err("busy"))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            unreachable!("the service is not ready")
        }
    }

    assert_eq!(layer().layer(Busy).ready().await.err(), Some("busy"));
}

#[tokio::test(start_paused = true)]
async fn a_clone_of_a_layer_keeps_its_settings() {
    let first = layer().ndjson("\n").immediate();
    let second = first.clone().sse(": b\n\n");
    let found = keepalive(first.clone(), Request::default(), sse([])).await;
    assert_eq!(found.as_deref(), Some(COMMENT));
    let found = keepalive(second.clone(), Request::default(), sse([])).await;
    assert_eq!(found.as_deref(), Some(": b\n\n"));
    let found = keepalive(second, Request::default(), response("application/jsonl")).await;
    assert_eq!(found.as_deref(), Some("\n"));
}

#[test]
fn a_keepalive_that_is_not_whole_is_refused() {
    assert!(std::panic::catch_unwind(|| layer().sse(": no blank line")).is_err());
    assert!(std::panic::catch_unwind(|| layer().ndjson("{}")).is_err());
}

#[test]
fn the_debug_output_of_layer_and_service_shows_their_settings() {
    let layer = layer().grpc(|_| true);
    for shown in [format!("{layer:?}"), format!("{:?}", layer.layer("inner"))] {
        assert!(shown.contains("20s"), "{shown}");
        assert!(shown.contains("Paths"), "{shown}");
    }
    assert!(format!("{:?}", layer.layer("inner")).contains("inner"));
}

#[test]
fn the_debug_output_of_a_future_shows_its_name() {
    let mut service = layer().layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(sse([]))
    }));
    assert!(format!("{:?}", service.call(Request::default())).starts_with("ResponseFuture"));
}
