use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use axum::{Router, body::Body, extract::OriginalUri, routing::post};
use futures::stream;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, request};
use http_body::Body as _;
use http_body_util::BodyExt;
use stream_keepalive_http::{
    Idle, KeepaliveBody, KeepaliveLayer,
    framing::{Grpc, Lines, Sse},
};
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneService};

use super::{
    COMMENT, IDLE, answer, grpc, layer, next,
    script::{Script, Step, data},
    sse,
};

const EMPTY_MESSAGE: &str = "\0\0\0\0\0";
const WATCH: &str = "/events.v1.Events/Watch";

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
        "text/x-ndjson",
        "application/jsonl",
        "application/x-jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
        "application/json-lines",
        "application/jsonstream",
        "application/x-json-stream",
        "application/stream+json",
        "application/vnd.acme.events+ndjson",
        "application/vnd.acme.events+NDJSON; charset=utf-8",
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
        let layer = layer().grpc(|call| call.uri.path() == WATCH);
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
async fn the_closure_is_called_once_and_only_for_calls() {
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
        "application/json-seq",
        "application/octet-stream",
        "application/problem+json",
        "ndjson",
        "application/connect",
        "application/connect+cbor",
        "application/proto",
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
        (206, false),
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
        (&["none"], true),
        (&["None"], true),
        (&["none, gzip"], false),
        (&["nonesuch"], false),
        (&["\u{e9}"], false),
    ] {
        let mut response = sse([]);
        for encoding in encodings {
            let encoding = HeaderValue::from_bytes(encoding.as_bytes()).unwrap();
            response.headers_mut().append("content-encoding", encoding);
        }
        assert_eq!(is_filled(response).await, expected, "{encodings:?}");
    }
}

/// A content type of each format, with a request for it.
fn formats() -> [(&'static str, Request<()>); 4] {
    [
        ("text/event-stream", Request::default()),
        ("application/x-ndjson", Request::default()),
        ("application/grpc", grpc_request(WATCH)),
        ("application/connect+json", grpc_request(WATCH)),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_body_with_a_transfer_coding_is_left_alone() {
    for (codings, expected) in [
        (&["gzip, chunked"][..], false),
        (&["gzip", "chunked"], false),
        (&["deflate"], false),
        (&["chunked"], true),
        (&["Chunked"], true),
    ] {
        for (content_type, request) in formats() {
            let mut response = response(content_type);
            for coding in codings {
                let coding = HeaderValue::from_static(coding);
                response.headers_mut().append("transfer-encoding", coding);
            }
            let layer = layer().ndjson("\n").grpc(|_| true);
            let found = keepalive(layer, request, response).await;
            assert_eq!(found.is_some(), expected, "{codings:?} {content_type}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_whose_bytes_the_head_fixes_is_left_alone() {
    for header in [
        "content-range",
        "content-digest",
        "repr-digest",
        "digest",
        "content-md5",
        "grpc-status",
    ] {
        for (content_type, request) in formats() {
            let layer = || layer().ndjson("\n").grpc(|_| true).immediate();
            let mut response = response(content_type);
            let found = keepalive(layer(), request.clone(), response.clone()).await;
            assert!(found.is_some(), "{content_type}");
            response
                .headers_mut()
                .insert(header, HeaderValue::from_static("0"));
            let mut answer = answer(layer(), request, response.clone()).await;
            assert_eq!(answer.headers(), response.headers());
            assert_eq!(next(answer.body_mut()).await, None, "{header}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_with_two_content_types_that_differ_is_left_alone() {
    for (second, expected) in [
        ("text/plain", false),
        ("application/x-ndjson", false),
        ("\u{e9}", false),
        ("text/event-stream", true),
        ("Text/Event-Stream; charset=utf-8", true),
    ] {
        for second_is_first in [false, true] {
            let mut types = ["text/event-stream", second];
            if second_is_first {
                types.reverse();
            }
            let mut response = sse([]);
            response.headers_mut().clear();
            for content_type in types {
                let content_type = HeaderValue::from_bytes(content_type.as_bytes()).unwrap();
                response.headers_mut().append("content-type", content_type);
            }
            let found = keepalive(layer().ndjson("\n"), Request::default(), response).await;
            assert_eq!(found.is_some(), expected, "{types:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nginx_is_asked_not_to_hold_the_keepalives_back() {
    let header = |response: &Response<_>| response.headers().get("x-accel-buffering").cloned();
    let found = answer(layer(), Request::default(), sse([])).await;
    assert_eq!(header(&found.map(drop)).unwrap(), "no");

    let layer_without = layer().without_nginx_header();
    let found = answer(layer_without, Request::default(), sse([])).await;
    assert_eq!(header(&found.map(drop)), None);

    let mut response_with = sse([]);
    response_with
        .headers_mut()
        .insert("x-accel-buffering", HeaderValue::from_static("yes"));
    let found = answer(layer(), Request::default(), response_with).await;
    assert_eq!(header(&found.map(drop)).unwrap(), "yes");

    let found = answer(layer(), Request::default(), response("text/plain")).await;
    assert_eq!(header(&found.map(drop)), None);
}

#[tokio::test(start_paused = true)]
async fn calls_are_filled_if_any_of_the_closures_accepts_them() {
    let layer = layer()
        .grpc(|call| call.uri.path() == WATCH)
        .grpc(|call| call.headers.contains_key("x-expects-keepalives"));
    let asking = |path| {
        let mut request = grpc_request(path);
        let header = HeaderValue::from_static("1");
        request.headers_mut().insert("x-expects-keepalives", header);
        request
    };
    for (request, expected) in [
        (grpc_request(WATCH), true),
        (asking("/events.v1.Events/Get"), true),
        (asking(WATCH), true),
        (grpc_request("/events.v1.Events/Get"), false),
    ] {
        let description = format!("{request:?}");
        let found = keepalive(layer.clone(), request, grpc([])).await;
        assert_eq!(found.is_some(), expected, "{description}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_a_nested_router_the_whole_path_is_in_the_extensions() {
    const WHOLE: &str = "/api/events.v1.Events/Watch";
    let whole = |call: &request::Parts| {
        let uri = call.extensions.get::<OriginalUri>();
        uri.is_some_and(|uri| uri.path() == WHOLE)
    };
    let path = |path| move |call: &request::Parts| call.uri.path() == path;
    for (inside, layer, expected) in [
        (true, layer().grpc(whole), true),
        (true, layer().grpc(path(WATCH)), true),
        (true, layer().grpc(path(WHOLE)), false),
        (false, layer().grpc(whole), true),
        (false, layer().grpc(path(WATCH)), false),
        (false, layer().grpc(path(WHOLE)), true),
    ] {
        let handler = async || {
            let pending = stream::pending::<Result<&str, Infallible>>();
            (
                [("content-type", "application/grpc")],
                Body::from_stream(pending),
            )
        };
        let nested = Router::new().route(WATCH, post(handler));
        let app = if inside {
            Router::new().nest("/api", nested.layer(layer))
        } else {
            Router::new().nest("/api", nested).layer(layer)
        };
        let response = app
            .oneshot(grpc_request(WHOLE).map(|()| Body::empty()))
            .await;
        let mut body = response.unwrap().into_body();
        let found = tokio::time::timeout(2 * IDLE, body.frame()).await;
        assert_eq!(found.is_ok(), expected, "{inside}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_of_grpc_web_and_connect_get_a_message_of_their_codec() {
    for (content_type, expected) in [
        ("application/grpc-web", EMPTY_MESSAGE),
        ("application/grpc-web+proto", EMPTY_MESSAGE),
        ("application/connect+proto", EMPTY_MESSAGE),
        ("application/connect+json", "\0\0\0\0\x02{}"),
    ] {
        let layer = || layer().grpc(|call| call.uri.path() == WATCH);
        let request = |path| {
            Request::post(path)
                .header("content-type", content_type)
                .body(())
                .unwrap()
        };
        let found = keepalive(layer(), request(WATCH), response(content_type)).await;
        assert_eq!(found.as_deref(), Some(expected), "{content_type}");
        let found = keepalive(layer(), request("/a.B/C"), response(content_type)).await;
        assert_eq!(found, None, "{content_type}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_last_message_of_connect_and_grpc_web_nothing_comes() {
    for (content_type, last) in [
        ("application/grpc-web+proto", &b"\x80\0\0\0\x01a"[..]),
        ("application/connect+proto", b"\x02\0\0\0\x02{}"),
        ("application/connect+json", b"\x02\0\0\0\x02{}"),
    ] {
        let mut response = response(content_type);
        *response.body_mut() = Script::new([data(last)]);
        let layer = layer().grpc(|_| true);
        let mut answer = answer(layer, grpc_request(WATCH), response).await;
        let last = String::from_utf8_lossy(last).into_owned();
        assert_eq!(next(answer.body_mut()).await, Some(last), "{content_type}");
        assert_eq!(next(answer.body_mut()).await, None, "{content_type}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_content_type_of_ones_own_gets_its_own_filler() {
    let layer = layer()
        .format("application/json", Lines::new(" \n"))
        .format("text/event-stream", Sse::new(": a\n\n"))
        .format("+xml", Lines::new("<!-- -->\n"))
        .format("application/grpc+json", Grpc::message("{}"))
        .format("application/x-replaced", Lines::new("1\n"))
        .format("application/x-replaced", Lines::new("2\n"))
        .grpc(|call| call.uri.path() == WATCH);
    for (content_type, expected) in [
        ("application/json", Some(" \n")),
        ("Application/JSON; charset=utf-8", Some(" \n")),
        ("text/event-stream", Some(": a\n\n")),
        ("application/soap+xml", Some("<!-- -->\n")),
        ("application/xml", None),
        ("application/x-replaced", Some("2\n")),
        ("application/grpc+json", Some("\0\0\0\0\x02{}")),
    ] {
        let found = keepalive(layer.clone(), grpc_request(WATCH), response(content_type)).await;
        assert_eq!(found.as_deref(), expected, "{content_type}");
    }
    // A call has to be accepted, whatever its codec is.
    let other = grpc_request("/events.v1.Events/Get");
    let found = keepalive(layer, other, response("application/grpc+json")).await;
    assert_eq!(found, None);
}

#[tokio::test(start_paused = true)]
async fn a_suffix_does_not_stand_for_the_content_type_of_a_call() {
    let layer = layer()
        .ndjson("\n")
        .format("+json", Lines::new("\n"))
        .format("+proto", Lines::new("\n"))
        .grpc(|_| true);
    for (content_type, expected) in [
        ("application/grpc+json", None),
        ("application/grpc+ndjson", None),
        ("application/grpc-web-text+proto", None),
        ("application/connect+ndjson", None),
        ("application/grpc+proto", Some(EMPTY_MESSAGE)),
        ("application/connect+json", Some("\0\0\0\0\x02{}")),
        ("application/ld+json", Some("\n")),
    ] {
        let found = keepalive(layer.clone(), grpc_request(WATCH), response(content_type)).await;
        assert_eq!(found.as_deref(), expected, "{content_type}");
    }
}

/// A service with these layers, of which the first is the innermost.
async fn through(
    layers: Vec<KeepaliveLayer>,
    mut response: Response<Script>,
    idle: Option<Duration>,
) -> Response<Body> {
    response.extensions_mut().extend(
        idle.map(|idle| {
            let mut extensions = http::Extensions::new();
            extensions.insert(Idle(idle));
            extensions
        })
        .unwrap_or_default(),
    );
    let service = service_fn(move |_: Request<()>| {
        let response = response.clone().map(Body::new);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut service = BoxCloneService::new(service);
    for layer in layers {
        service = BoxCloneService::new(
            layer
                .layer(service)
                .map_response(|response| response.map(Body::new)),
        );
    }
    service.oneshot(Request::default()).await.unwrap()
}

/// Returns when the first three frames come, and what they are.
async fn frames(response: Response<Body>) -> Vec<(u64, String)> {
    let start = tokio::time::Instant::now();
    let mut body = response.into_body();
    let mut frames = Vec::new();
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(20 * IDLE, body.frame()).await {
        let data = frame.into_data().unwrap();
        frames.push((
            start.elapsed().as_secs(),
            String::from_utf8(data.to_vec()).unwrap(),
        ));
        if frames.len() == 3 {
            break;
        }
    }
    frames
}

fn comments(idle: u64) -> Vec<(u64, String)> {
    (1..=3).map(|n| (n * idle, COMMENT.to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_response_chooses_its_idle_time() {
    let of = async |layers, idle| frames(through(layers, sse([]), idle).await).await;
    assert_eq!(of(vec![layer()], None).await, comments(20));
    for idle in [5, 60] {
        let chosen = Some(Duration::from_secs(idle));
        assert_eq!(of(vec![layer()], chosen).await, comments(idle));
        assert_eq!(of(vec![layer(), layer()], chosen).await, comments(idle));
        // The layer is off for all other responses.
        let off = KeepaliveLayer::new(Duration::ZERO).without_spread();
        assert_eq!(of(vec![off], chosen).await, comments(idle));
    }
    assert_eq!(of(vec![layer()], Some(Duration::ZERO)).await, []);
    assert_eq!(
        of(vec![layer().immediate(), layer()], Some(Duration::ZERO)).await,
        []
    );
}

#[tokio::test(start_paused = true)]
async fn an_inner_layer_decides() {
    let of = async |layers| frames(through(layers, sse([]), None).await).await;
    for idle in [5, 20, 60] {
        let inner = || KeepaliveLayer::new(Duration::from_secs(idle)).without_spread();
        assert_eq!(of(vec![inner(), layer()]).await, comments(idle));
        assert_eq!(of(vec![inner(), layer(), layer()]).await, comments(idle));
        assert_eq!(of(vec![inner(), layer().immediate()]).await, comments(idle));
        let timers = layer().timers(stream_keepalive::SharedTimers::new());
        assert_eq!(of(vec![inner(), timers]).await, comments(idle));
    }
    let off = || KeepaliveLayer::new(Duration::ZERO);
    assert_eq!(of(vec![off(), layer()]).await, []);
    assert_eq!(of(vec![off(), layer(), layer()]).await, []);
    assert_eq!(of(vec![layer(), off()]).await, comments(20));
}

#[tokio::test(start_paused = true)]
async fn an_inner_layer_that_does_not_know_the_format_leaves_it_to_the_outer_one() {
    let layers = vec![layer(), layer().ndjson("\n")];
    let response = through(layers, response("application/jsonl"), None).await;
    assert_eq!(frames(response).await[0], (20, "\n".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_empty_body_of_a_layer_of_tower_http_is_not_filled() {
    let body = KeepaliveBody::<http_body_util::Empty<bytes::Bytes>>::default();
    assert!(body.is_end_stream());
    let body: KeepaliveBody<Body> = KeepaliveBody::default();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "");
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
async fn the_rest_of_the_head_of_a_filled_response_is_not_changed() {
    let mut inner = sse([]);
    inner
        .headers_mut()
        .append("x-b", HeaderValue::from_static("1"));
    let mut outer = answer(layer(), Request::default(), inner.clone()).await;
    outer.headers_mut().remove("x-accel-buffering");
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
        assert!(
            shown.contains("20s") && shown.contains("text/event-stream"),
            "{shown}"
        );
        assert!(shown.contains("Calls(1)"), "{shown}");
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
