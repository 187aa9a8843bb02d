use std::{
    convert::Infallible,
    future::{Pending, Ready, pending, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use static_assertions::assert_impl_all;
use stream_keepalive::SharedTimers;
use stream_keepalive_http::{GrpcClientFuture, GrpcClientLayer, GrpcClientService};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, retry::Policy, service_fn};

use super::{
    Got, IDLE, MARKER, MESSAGE, body, call, data, layers, next, promising, response, send,
    unavailable, within,
};
use crate::script::{self, Script};

fn request(content_type: &str) -> Request<()> {
    let request = Request::post("/a.B/C").header("content-type", content_type);
    request.body(()).unwrap()
}

#[tokio::test]
async fn a_call_with_protobuf_asks_for_keepalives() {
    for content_type in [
        "application/grpc",
        "application/grpc+proto",
        "Application/gRPC ; charset=utf-8",
    ] {
        let (received, _) = send(GrpcClientLayer::new(), request(content_type), response([])).await;
        assert_eq!(received["stream-keepalive"], "1", "{content_type}");
    }
}

#[tokio::test]
async fn other_requests_pass_unchanged_and_so_do_their_responses() {
    let layer = GrpcClientLayer::new().idle_timeout(IDLE);
    for request in [
        request("application/grpc+json"),
        request("application/grpc-web"),
        request("application/json"),
        Request::default(),
    ] {
        let headers = request.headers().clone();
        let marker = script::data(MARKER);
        let (received, response) = send(layer.clone(), request, promising([marker])).await;
        assert_eq!(received, headers);
        assert_eq!(response.headers()["stream-keepalive"], "20000");
        assert_eq!(next(&mut response.into_body()).await, data(MARKER));
    }
}

#[tokio::test]
async fn a_response_that_a_layer_below_has_translated_is_stripped() {
    for content_type in ["application/grpc+proto", "application/grpc-web+proto"] {
        let mut response = promising([script::data(MARKER), script::data(b"x".as_slice())]);
        let content_type = content_type.parse().unwrap();
        response.headers_mut().insert("content-type", content_type);
        let (_, response) = send(GrpcClientLayer::new(), call(), response).await;
        assert!(!response.headers().contains_key("stream-keepalive"));
        assert_eq!(next(&mut response.into_body()).await, data(b"x"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_of_another_content_type_passes_unchanged() {
    let mut response = promising([script::data(MARKER)]);
    let html = "text/html".parse().unwrap();
    response.headers_mut().insert("content-type", html);
    let (_, response) = send(GrpcClientLayer::new(), call(), response).await;
    assert_eq!(response.headers()["stream-keepalive"], "20000");
    let mut body = response.into_body();
    assert_eq!(next(&mut body).await, data(MARKER));
    assert_eq!(within(100 * IDLE, &mut body).await, Got::Nothing);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_the_user_ends_a_response_of_another_content_type_too() {
    for content_type in [Some("text/html"), None] {
        let steps = [
            script::data(MARKER),
            script::Step::Wait(IDLE / 2),
            script::data(MARKER),
        ];
        let mut response = promising(steps);
        response.headers_mut().remove("content-type");
        if let Some(content_type) = content_type {
            let content_type = content_type.parse().unwrap();
            response.headers_mut().insert("content-type", content_type);
        }
        let layer = GrpcClientLayer::new().idle_timeout(IDLE);
        let (_, response) = send(layer, call(), response).await;
        assert_eq!(response.headers()["stream-keepalive"], "20000");
        let mut body = response.into_body();
        assert_eq!(next(&mut body).await, data(MARKER));
        assert_eq!(within(IDLE, &mut body).await, data(MARKER));
        assert_eq!(within(2 * IDLE, &mut body).await, unavailable("20s"));
        assert_eq!(next(&mut body).await, Got::End);
        assert!(body.is_end_stream());
    }
}

#[tokio::test]
async fn a_question_of_the_caller_is_replaced() {
    let mut request = call();
    let value = "2".parse().unwrap();
    request.headers_mut().append("stream-keepalive", value);
    let (received, _) = send(GrpcClientLayer::new(), request, response([])).await;
    let values: Vec<_> = received.get_all("stream-keepalive").iter().collect();
    assert_eq!(values, ["1"]);
}

#[tokio::test]
async fn the_caller_does_not_see_the_promise() {
    let (_, response) = send(GrpcClientLayer::new(), call(), promising([])).await;
    assert!(!response.headers().contains_key("stream-keepalive"));
}

#[tokio::test(start_paused = true)]
async fn two_layers_do_not_cut_off_a_call_that_is_kept_alive() {
    let steps = (0..20).flat_map(|_| [script::Step::Wait(IDLE), script::data(MARKER)]);
    let response = promising(steps);
    let inner = service_fn(|_| async { Ok::<_, ()>(response.clone()) });
    let layer = GrpcClientLayer::new();
    let service = layer.layer(layer.layer(inner));
    let mut body = service.oneshot(call()).await.unwrap().into_body();
    assert_eq!(within(20 * IDLE, &mut body).await, Got::Nothing);
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_the_head_ends_with_a_limit_only() {
    let never = || service_fn(|_| pending::<Result<Response<Script>, ()>>());
    let head = GrpcClientLayer::new().layer(never()).oneshot(call());
    assert!(tokio::time::timeout(1000 * IDLE, head).await.is_err());

    for layer in layers() {
        let head = layer.idle_timeout(IDLE).layer(never()).oneshot(call());
        let begin = tokio::time::Instant::now();
        let response = head.await.unwrap();
        assert_eq!(begin.elapsed().as_secs(), IDLE.as_secs());
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert_eq!(response.headers()["grpc-status"], "14");
        assert_eq!(
            response.headers()["grpc-message"],
            "nothing received for 20s"
        );
        assert!(response.into_body().frame().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_the_head_ends_only_calls() {
    let never = service_fn(|_| pending::<Result<Response<Script>, ()>>());
    let layer = GrpcClientLayer::new().idle_timeout(IDLE);
    let head = layer.layer(never).oneshot(request("application/json"));
    assert!(tokio::time::timeout(100 * IDLE, head).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_head_in_time_begins_the_wait_again() {
    let slow = service_fn(|_| async {
        tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
        Ok::<_, ()>(response([]))
    });
    let layer = GrpcClientLayer::new().idle_timeout(IDLE);
    let mut body = layer.layer(slow).oneshot(call()).await.unwrap().into_body();
    assert_eq!(within(IDLE / 2, &mut body).await, Got::Nothing);
    assert_eq!(within(IDLE, &mut body).await, unavailable("20s"));
}

#[tokio::test]
async fn an_error_instead_of_a_head_passes_unchanged() {
    let fails = service_fn(|_| async { Err::<Response<Script>, _>("refused") });
    let layer = GrpcClientLayer::new().idle_timeout(IDLE);
    let error = layer.layer(fails).oneshot(call()).await.unwrap_err();
    assert_eq!(error, "refused");
}

#[tokio::test(start_paused = true)]
async fn a_promise_that_is_no_number_of_milliseconds_is_none() {
    for promise in [
        "",
        "0",
        "-1",
        "20s",
        "20000, 20000",
        "1e4",
        "99999999999999999999",
        "3600001",
        "18446744073709551615",
        "+20000",
        " 20000",
        "2e4",
    ] {
        let mut response = response([]);
        let value = promise.parse().unwrap();
        response.headers_mut().insert("stream-keepalive", value);
        let mut body = body(GrpcClientLayer::new(), response).await;
        assert_eq!(
            within(1000 * IDLE, &mut body).await,
            Got::Nothing,
            "{promise:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_promise_of_more_than_an_hour_does_not_replace_a_limit_of_the_user() {
    for (promise, expected) in [("3600000", "10800s"), ("3600001", "20s")] {
        let mut response = response([]);
        let promise = promise.parse().unwrap();
        response.headers_mut().insert("stream-keepalive", promise);
        let mut body = body(GrpcClientLayer::new().idle_timeout(IDLE), response).await;
        assert_eq!(within(1000 * IDLE, &mut body).await, unavailable(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn two_promises_are_none() {
    let mut response = promising([]);
    let second = "20000".parse().unwrap();
    response.headers_mut().append("stream-keepalive", second);
    let (_, response) = send(GrpcClientLayer::new(), call(), response).await;
    assert!(!response.headers().contains_key("stream-keepalive"));
    let mut body = response.into_body();
    assert_eq!(within(1000 * IDLE, &mut body).await, Got::Nothing);
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_for_a_second_at_least() {
    for (promise, expected) in [("1", "1s"), ("333", "1s"), ("334", "1.002s")] {
        let mut response = response([]);
        let promise = promise.parse().unwrap();
        response.headers_mut().insert("stream-keepalive", promise);
        let mut body = body(GrpcClientLayer::new(), response).await;
        assert_eq!(within(IDLE, &mut body).await, unavailable(expected));
    }
}

#[test]
fn the_debug_output_of_the_future_names_it() {
    let never = service_fn(|_| pending::<Result<Response<Script>, ()>>());
    let mut service = GrpcClientLayer::new().layer(never);
    let future = pin!(tower::Service::call(&mut service, call()));
    assert_eq!(format!("{future:?}"), "GrpcClientFuture { .. }");
}

/// Calls again if the head of the response says that the server is unavailable.
#[derive(Clone)]
struct CallAgain;

impl<B> Policy<Request<()>, Response<B>, Infallible> for CallAgain {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<()>,
        result: &mut Result<Response<B>, Infallible>,
    ) -> Option<Ready<()>> {
        let status = result.as_ref().unwrap().headers().get("grpc-status")?;
        (status == "14").then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request<()>) -> Option<Request<()>> {
        Some(request.clone())
    }
}

/// Calls a server that does not answer the first calls. Returns the response, and the number of calls.
async fn call_again(
    layer: GrpcClientLayer,
    unanswered: usize,
) -> (Response<impl Body<Data = Bytes>>, usize) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let server = service_fn(move |_| {
        let answers = counted.fetch_add(1, Ordering::Relaxed) >= unanswered;
        async move {
            if !answers {
                pending::<()>().await;
            }
            Ok(promising([script::data(MESSAGE)]))
        }
    });
    let client = ServiceBuilder::new().retry(CallAgain).layer(layer);
    let Ok(response) = client.service(server).oneshot(call()).await;
    (response, calls.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_retries_calls_again_if_no_head_comes() {
    for layer in layers() {
        let begin = Instant::now();
        let (response, calls) = call_again(layer.idle_timeout(IDLE), 2).await;
        assert_eq!(calls, 3);
        assert!(!response.headers().contains_key("grpc-status"));
        assert_eq!(begin.elapsed().as_secs(), 2 * IDLE.as_secs());
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_retries_does_not_see_a_call_that_ends_after_its_head() {
    for layer in layers() {
        let (response, calls) = call_again(layer, 0).await;
        let mut body = pin!(response.into_body());
        let message = body.frame().await.unwrap().ok().unwrap();
        assert_eq!(message.into_data().ok().unwrap(), MESSAGE);
        let end = body.frame().await.unwrap().ok().unwrap();
        assert_eq!(end.into_trailers().ok().unwrap()["grpc-status"], "14");
        assert_eq!(calls, 1);
    }
}

#[test]
fn a_call_takes_its_timer_from_the_queue_of_the_layer() {
    let timers = SharedTimers::new();
    let calls = |idle| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        let layer = GrpcClientLayer::new().timers(timers.clone());
        runtime.block_on(call_again(layer.idle_timeout(idle), 1)).1
    };
    assert_eq!(calls(IDLE), 2);
    // The queue belongs to the runtime that has ended, and has seen the first `IDLE` of its clock.
    assert!(catch_unwind(AssertUnwindSafe(|| calls(4 * IDLE))).is_err());
}

/// A service that is never ready.
struct Busy;

impl Service<Request<()>> for Busy {
    type Response = Response<Script>;
    type Error = Infallible;
    type Future = Pending<Result<Response<Script>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        unreachable!("it is not ready");
    }
}

#[tokio::test]
async fn a_service_that_is_not_ready_is_waited_for() {
    let mut client = GrpcClientLayer::new().layer(Busy);
    assert!(futures::poll!(client.ready()).is_pending());
}

assert_impl_all!(GrpcClientLayer: Clone, Default, Send, Sync, Unpin);
assert_impl_all!(GrpcClientService<()>: Clone, Send, Sync, Unpin);
assert_impl_all!(GrpcClientFuture<std::future::Ready<()>>: Send, Sync, Unpin);
