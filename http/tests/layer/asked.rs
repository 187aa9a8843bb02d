//! gRPC calls whose client asks for keepalives that its decoder does not see.

use std::{
    convert::Infallible,
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::BodyExt;
use stream_keepalive::SharedTimers;
use stream_keepalive_http::{Idle, KeepaliveBody, KeepaliveLayer, framing::Grpc};
use tokio::time::Instant;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use super::{
    IDLE, answer, grpc, next,
    script::{Script, Step, data},
    sse,
};

const MARKER: &[u8] = b"\0\0\0\0\x06\xf8\xff\xff\xff\x0f\0";

fn layer() -> KeepaliveLayer {
    KeepaliveLayer::new(IDLE)
}

fn call(content_type: &str) -> Request<()> {
    let request = Request::post("/events.v1.Events/Watch").header("content-type", content_type);
    request.body(()).unwrap()
}

fn asking() -> Request<()> {
    let mut request = call("application/grpc");
    let yes = "1".parse().unwrap();
    request.headers_mut().insert("stream-keepalive", yes);
    request
}

/// Returns the promise, and the keepalive.
async fn promise_and_keepalive(
    layer: KeepaliveLayer,
    request: Request<()>,
    response: Response<Script>,
) -> (Option<String>, Option<Vec<u8>>) {
    let mut response = answer(layer, request, response).await;
    let promise = response.headers().get("stream-keepalive");
    let promise = promise.map(|promise| promise.to_str().unwrap().to_owned());
    let frame = tokio::time::timeout(2 * IDLE, response.body_mut().frame()).await;
    let keepalive = frame
        .ok()
        .map(|frame| frame.unwrap().unwrap().into_data().unwrap().to_vec());
    (promise, keepalive)
}

/// Returns the bytes that come within two idle times.
async fn frame(response: &mut Response<KeepaliveBody<Script>>) -> Bytes {
    let frame = tokio::time::timeout(2 * IDLE, response.body_mut().frame());
    frame.await.unwrap().unwrap().unwrap().into_data().unwrap()
}

fn kept(idle: &str) -> (Option<String>, Option<Vec<u8>>) {
    (Some(idle.to_owned()), Some(MARKER.to_vec()))
}

const LEFT_ALONE: (Option<String>, Option<Vec<u8>>) = (None, None);

#[tokio::test(start_paused = true)]
async fn a_call_that_asks_gets_markers_and_the_promise() {
    let found = promise_and_keepalive(layer(), asking(), grpc([])).await;
    assert_eq!(found, kept("20000"));
}

#[tokio::test(start_paused = true)]
async fn a_call_with_the_content_type_of_protobuf_may_ask() {
    let (mut request, mut response) = (asking(), grpc([]));
    let proto = || "application/grpc+proto; charset=utf-8".parse().unwrap();
    request.headers_mut().insert("content-type", proto());
    response.headers_mut().insert("content-type", proto());
    let found = promise_and_keepalive(layer(), request, response).await;
    assert_eq!(found, kept("20000"));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_does_not_ask_is_left_alone() {
    let found = promise_and_keepalive(layer(), call("application/grpc"), grpc([])).await;
    assert_eq!(found, LEFT_ALONE);
    for value in ["0", "2", "yes", ""] {
        let mut request = asking();
        let value = value.parse().unwrap();
        request.headers_mut().insert("stream-keepalive", value);
        assert_eq!(
            promise_and_keepalive(layer(), request, grpc([])).await,
            LEFT_ALONE
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_of_another_content_type_cannot_ask() {
    for content_type in [
        "application/grpc+json",
        "application/grpc-web",
        "application/json",
    ] {
        let mut request = asking();
        let value = content_type.parse().unwrap();
        request.headers_mut().insert("content-type", value);
        let mut response = grpc([]);
        let value = content_type.parse().unwrap();
        response.headers_mut().insert("content-type", value);
        let found = promise_and_keepalive(layer(), request, response).await;
        assert_eq!(found, LEFT_ALONE, "{content_type}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_of_another_content_type_gets_no_markers() {
    let found = promise_and_keepalive(layer(), asking(), sse([])).await;
    assert_eq!(found, (None, Some(b":\n\n".to_vec())));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_asks_gets_markers_even_if_its_path_is_accepted() {
    let layer = layer().grpc(|_| true);
    let found = promise_and_keepalive(layer.clone(), asking(), grpc([])).await;
    assert_eq!(found, kept("20000"));
    let empty = (None, Some(vec![0; 5]));
    let found = promise_and_keepalive(layer, call("application/grpc"), grpc([])).await;
    assert_eq!(found, empty);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_has_ended_gets_no_promise() {
    let mut ended = grpc([]);
    ended.body_mut().says_that_it_ended = true;
    let mut trailers_only = grpc([]);
    let status = "5".parse().unwrap();
    trailers_only.headers_mut().insert("grpc-status", status);
    for response in [ended, trailers_only] {
        let response = answer(layer(), asking(), response).await;
        assert!(!response.headers().contains_key("stream-keepalive"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_is_off_promises_nothing() {
    let off = KeepaliveLayer::new(Duration::ZERO);
    assert_eq!(
        promise_and_keepalive(off, asking(), grpc([])).await,
        LEFT_ALONE
    );
}

#[tokio::test(start_paused = true)]
async fn a_response_that_chooses_its_idle_time_promises_that() {
    for (idle, expected) in [
        (Duration::from_secs(30), kept("30000")),
        (Duration::from_micros(1500), kept("2")),
        (Duration::ZERO, LEFT_ALONE),
    ] {
        let mut response = grpc([]);
        response.extensions_mut().insert(Idle(idle));
        assert_eq!(
            promise_and_keepalive(layer(), asking(), response).await,
            expected
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_inner_layer_answers_and_the_outer_one_adds_nothing() {
    for (inner, expected) in [
        (Duration::from_secs(30), kept("30000")),
        (Duration::ZERO, LEFT_ALONE),
    ] {
        let service = ServiceBuilder::new()
            .layer(layer())
            .layer(KeepaliveLayer::new(inner).without_spread())
            .service(service_fn(|_| ready(Ok::<_, Infallible>(grpc([])))));
        let mut response = service.oneshot(asking()).await.unwrap();
        let promise = response.headers().get("stream-keepalive");
        assert_eq!(
            promise.map(|promise| promise.to_str().unwrap()),
            expected.0.as_deref()
        );
        let begin = Instant::now();
        let frame = tokio::time::timeout(3 * IDLE, response.body_mut().frame()).await;
        assert_eq!(frame.is_ok(), expected.1.is_some());
        if frame.is_ok() {
            assert_eq!(begin.elapsed().as_secs(), 30);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_promise_is_the_longest_idle_time_of_the_spread() {
    let mut times = Vec::new();
    let layer = layer();
    for _ in 0..10 {
        let mut response = answer(layer.clone(), asking(), grpc([])).await;
        assert_eq!(response.headers()["stream-keepalive"], "20000");
        let begin = Instant::now();
        assert_eq!(frame(&mut response).await, MARKER);
        times.push(begin.elapsed());
    }
    assert!(
        times
            .iter()
            .all(|time| *time <= IDLE + Duration::from_millis(1)),
        "{times:?}"
    );
    assert!(times.iter().max() > times.iter().min(), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn shared_timers_and_an_immediate_keepalive_work_as_in_other_formats() {
    let layer = layer().timers(SharedTimers::new()).immediate();
    let mut response = answer(layer, asking(), grpc([])).await;
    for within in [Duration::ZERO, IDLE, IDLE] {
        let within = within + Duration::from_millis(2);
        let frame = tokio::time::timeout(within, response.body_mut().frame()).await;
        assert_eq!(
            frame.unwrap().unwrap().unwrap().into_data().unwrap(),
            MARKER
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_marker_is_never_inside_a_message_nor_after_the_trailers() {
    let half = data(&b"\0\0\0\0\x02a"[..]);
    let mut response = answer(layer(), asking(), grpc([half.clone()])).await;
    assert_eq!(
        next(response.body_mut()).await.unwrap().as_bytes(),
        b"\0\0\0\0\x02a"
    );
    assert_eq!(next(response.body_mut()).await, None);
    let mut response = answer(layer(), asking(), grpc([Step::Trailers])).await;
    assert_eq!(next(response.body_mut()).await.as_deref(), Some("trailers"));
    assert_eq!(next(response.body_mut()).await, None);
}

#[tokio::test]
async fn a_handler_does_not_see_the_question() {
    let seen = seen_by_handler(layer(), asking()).await;
    assert_eq!(seen, *call("application/grpc").headers());
}

/// Returns the headers that the handler gets.
async fn seen_by_handler(layer: KeepaliveLayer, request: Request<()>) -> HeaderMap {
    let seen = Arc::new(Mutex::new(HeaderMap::new()));
    let service = layer.layer(service_fn(|request: Request<()>| {
        *seen.lock().unwrap() = request.headers().clone();
        ready(Ok::<_, Infallible>(grpc([])))
    }));
    service.oneshot(request).await.unwrap();
    let seen = seen.lock().unwrap();
    seen.clone()
}

#[tokio::test]
async fn a_layer_that_cannot_answer_leaves_the_question() {
    let mut web = asking();
    let content_type = "application/grpc-web+proto".parse().unwrap();
    web.headers_mut().insert("content-type", content_type);
    let off = KeepaliveLayer::new(Duration::ZERO);
    for (layer, request) in [(layer(), web), (off, asking())] {
        let headers = request.headers().clone();
        assert_eq!(seen_by_handler(layer, request).await, headers);
    }
}

#[tokio::test(start_paused = true)]
async fn an_inner_layer_answers_through_one_that_is_off() {
    let inner = layer().layer(service_fn(|_| ready(Ok::<_, Infallible>(grpc([])))));
    let service = KeepaliveLayer::new(Duration::ZERO).layer(inner);
    let mut response = service.oneshot(asking()).await.unwrap();
    assert_eq!(response.headers()["stream-keepalive"], "20000");
    let frame = tokio::time::timeout(2 * IDLE, response.body_mut().frame()).await;
    assert_eq!(
        frame.unwrap().unwrap().unwrap().into_data().unwrap(),
        MARKER
    );
}

#[tokio::test(start_paused = true)]
async fn a_response_chooses_its_idle_time_in_a_layer_that_is_off_too() {
    let mut response = grpc([]);
    let idle = Idle(Duration::from_secs(30));
    response.extensions_mut().insert(idle);
    let off = KeepaliveLayer::new(Duration::ZERO);
    assert_eq!(
        promise_and_keepalive(off, asking(), response).await,
        kept("30000")
    );
}

#[tokio::test(start_paused = true)]
async fn two_questions_are_none() {
    for value in ["1", "2"] {
        let mut request = asking();
        let value = value.parse().unwrap();
        request.headers_mut().append("stream-keepalive", value);
        assert_eq!(
            promise_and_keepalive(layer(), request, grpc([])).await,
            LEFT_ALONE
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_time_of_more_than_an_hour_is_not_promised() {
    const HOUR: Duration = Duration::from_secs(3600);
    for (idle, promise) in [
        (HOUR, Some("3600000")),
        (HOUR + Duration::from_millis(1), None),
        (Duration::MAX, None),
    ] {
        let layer = KeepaliveLayer::new(idle).immediate();
        let found = promise_and_keepalive(layer, asking(), grpc([])).await;
        assert_eq!(found, (promise.map(str::to_owned), Some(MARKER.to_vec())));
    }
}

#[tokio::test(start_paused = true)]
async fn calls_over_http_2_get_no_header_for_nginx() {
    for layer in [layer(), layer().grpc(|_| true)] {
        for (request, version, expected) in [
            (asking(), Version::HTTP_2, false),
            (call("application/grpc+json"), Version::HTTP_2, false),
            // A layer outside translates the call, and nginx may buffer it.
            (asking(), Version::HTTP_11, true),
            (call("application/grpc-web"), Version::HTTP_2, true),
            (call("application/json"), Version::HTTP_2, true),
        ] {
            let content_type = request.headers()["content-type"].clone();
            let mut response = grpc([]);
            if content_type == "application/json" {
                response = sse([]);
            } else {
                let content_type = content_type.clone();
                response.headers_mut().insert("content-type", content_type);
            }
            let mut request = request;
            *request.version_mut() = version;
            let layer = layer
                .clone()
                .format("application/grpc+json", Grpc::message("{}"));
            let mut answer = answer(layer, request, response).await;
            let has_header = answer.headers().contains_key("x-accel-buffering");
            let is_filled = next(answer.body_mut()).await.is_some();
            assert_eq!(has_header, expected && is_filled, "{content_type:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_idle_time_of_a_call_begins_after_its_last_message() {
    let message = b"\0\0\0\0\x02\x08\x01";
    let steps = [
        Step::Wait(IDLE - Duration::from_secs(1)),
        data(&message[..]),
    ];
    let layer = layer().without_spread();
    let mut response = answer(layer, asking(), grpc(steps)).await;
    assert_eq!(frame(&mut response).await, &message[..]);
    let begin = Instant::now();
    assert_eq!(frame(&mut response).await, MARKER);
    assert_eq!(begin.elapsed().as_secs(), IDLE.as_secs());
}
