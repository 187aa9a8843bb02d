use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use static_assertions::assert_impl_all;
use stream_keepalive_http::{GrpcClientBody, GrpcClientLayer};
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};

use super::{
    Got, IDLE, MARKER, MESSAGE, body, call, data, layers, next, promising, response, unavailable,
    within,
};
use crate::script::{self, Script, Step};

/// The time after which a call ends if its server has promised keepalives.
const LIMIT: Duration = Duration::from_secs(60);

async fn kept(steps: impl IntoIterator<Item = Step>) -> GrpcClientBody<Script> {
    body(GrpcClientLayer::new(), promising(steps)).await
}

#[tokio::test]
async fn markers_are_removed_and_messages_are_not() {
    let chunk = [MARKER, MESSAGE, MARKER, MARKER, MESSAGE, MARKER].concat();
    for promised in [false, true] {
        let steps = [
            script::data(chunk.clone()),
            script::data(MARKER),
            Step::Trailers,
        ];
        let response = if promised {
            promising(steps)
        } else {
            response(steps)
        };
        let mut body = body(GrpcClientLayer::new(), response).await;
        assert_eq!(next(&mut body).await, data(MESSAGE));
        assert_eq!(next(&mut body).await, data(MESSAGE));
        assert_eq!(next(&mut body).await, Got::Trailers(HeaderMap::new()));
    }
}

#[tokio::test]
async fn a_flood_of_markers_holds_nobody_up() {
    let steps = (0..1000).map(|_| script::data(MARKER));
    let mut body = kept(steps.chain([script::data(MESSAGE)])).await;
    // Other tasks run in between.
    let mut polls = 0;
    let frame = loop {
        polls += 1;
        match body.frame().now_or_never() {
            Some(frame) => break frame.unwrap().unwrap(),
            None => tokio::task::yield_now().await,
        }
    };
    assert_eq!(frame.into_data().unwrap(), MESSAGE);
    assert!(polls > 10, "{polls}");
    // The body wakes its task by itself.
    let steps = (0..1000).map(|_| script::data(MARKER));
    let mut body = kept(steps.chain([script::data(MESSAGE)])).await;
    assert_eq!(within(LIMIT, &mut body).await, data(MESSAGE));
}

#[tokio::test]
async fn a_chunk_without_a_marker_is_not_copied() {
    let chunk = Bytes::from(MESSAGE.repeat(100));
    let mut body = kept([Step::Data(chunk.clone())]).await;
    let Got::Data(found) = next(&mut body).await else {
        panic!("there is a chunk");
    };
    assert_eq!(found.as_ptr_range(), chunk.as_ptr_range());
}

#[tokio::test]
async fn held_back_bytes_come_before_an_error_the_trailers_and_the_end() {
    let begin = || [script::data(MESSAGE), script::data(&MARKER[..7])];
    for (last, expected) in [
        (Some(Step::Error), Got::Error("reset")),
        (Some(Step::Trailers), Got::Trailers(HeaderMap::new())),
        (None, Got::End),
    ] {
        let response = promising(begin().into_iter().chain(last));
        let mut body = body(GrpcClientLayer::new(), response.map(Script::ends)).await;
        assert_eq!(next(&mut body).await, data(MESSAGE));
        assert_eq!(next(&mut body).await, data(&MARKER[..7]));
        assert!(!body.is_end_stream() || expected == Got::End);
        assert_eq!(next(&mut body).await, expected);
        assert_eq!(next(&mut body).await, Got::End);
        assert_eq!(next(&mut body).await, Got::End);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_when_nothing_has_come_for_three_idle_times() {
    for layer in layers() {
        let mut body = body(layer, promising([script::data(MESSAGE)])).await;
        assert_eq!(next(&mut body).await, data(MESSAGE));
        let begin = Instant::now();
        assert_eq!(within(2 * LIMIT, &mut body).await, unavailable("60s"));
        assert_eq!(begin.elapsed().as_secs(), LIMIT.as_secs());
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert_eq!(next(&mut body).await, Got::End);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_when_nothing_has_come_at_all() {
    assert_eq!(
        within(2 * LIMIT, &mut kept([]).await).await,
        unavailable("60s")
    );
}

#[tokio::test(start_paused = true)]
async fn held_back_bytes_come_before_the_end_of_a_call_on_which_nothing_comes() {
    let mut body = kept([script::data(&MARKER[..4])]).await;
    assert_eq!(within(2 * LIMIT, &mut body).await, data(&MARKER[..4]));
    assert!(!body.is_end_stream());
    assert_eq!(next(&mut body).await, unavailable("60s"));
    assert_eq!(next(&mut body).await, Got::End);
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_on_while_keepalives_come() {
    // The latest time at which a keepalive is in time.
    let late = LIMIT - Duration::from_secs(1);
    for layer in layers() {
        let steps = (0..100).flat_map(|_| [Step::Wait(late), script::data(MARKER)]);
        let mut body = body(layer, promising(steps)).await;
        assert_eq!(within(100 * late, &mut body).await, Got::Nothing);
        assert_eq!(within(2 * LIMIT, &mut body).await, unavailable("60s"));
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_keepalive_is_activity_too() {
    let half = LIMIT / 2 + Duration::from_secs(1);
    let steps = MARKER
        .chunks(1)
        .flat_map(|byte| [Step::Wait(half), script::data(byte)]);
    let mut body = kept(steps).await;
    assert_eq!(within(11 * half, &mut body).await, Got::Nothing);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_promised_nothing_is_never_cut_off() {
    let mut body = body(GrpcClientLayer::new(), response([])).await;
    assert_eq!(within(10_000 * LIMIT, &mut body).await, Got::Nothing);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_the_user_ends_calls_of_servers_that_promised_nothing() {
    let layer = GrpcClientLayer::new().idle_timeout(Duration::from_millis(1500));
    let mut idle = body(layer.clone(), response([])).await;
    assert_eq!(within(LIMIT, &mut idle).await, unavailable("1.5s"));
    // A promise replaces it.
    let mut kept = body(layer, promising([])).await;
    assert_eq!(within(LIMIT - IDLE, &mut kept).await, Got::Nothing);
    assert_eq!(within(LIMIT, &mut kept).await, unavailable("60s"));
}

#[tokio::test(start_paused = true)]
async fn the_message_is_ascii_whatever_the_limit_is() {
    let layer = GrpcClientLayer::new().idle_timeout(Duration::from_micros(1500));
    let mut body = body(layer, response([])).await;
    assert_eq!(within(LIMIT, &mut body).await, unavailable("2ms"));
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_was_away_gets_what_came_in_the_meantime() {
    let mut body = kept([Step::Pending, script::data(MESSAGE)]).await;
    assert_eq!(body.frame().now_or_never().map(drop), None);
    tokio::time::advance(100 * LIMIT).await;
    assert_eq!(next(&mut body).await, data(MESSAGE));
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_was_away_gives_the_next_message_time_to_arrive() {
    for layer in layers() {
        let pending = [Step::Pending, Step::Pending, Step::Wait(IDLE)];
        let steps = pending.into_iter().chain([script::data(MESSAGE)]);
        let mut body = body(layer, promising(steps)).await;
        assert_eq!(body.frame().now_or_never().map(drop), None);
        tokio::time::advance(100 * LIMIT).await;
        assert_eq!(body.frame().now_or_never().map(drop), None);
        assert_eq!(within(2 * IDLE, &mut body).await, data(MESSAGE));
    }
}

#[tokio::test(start_paused = true)]
async fn the_inner_body_is_dropped_when_the_call_ends() {
    struct Idle(Arc<()>);

    impl Body for Idle {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            _ = &self.0;
            Poll::Pending
        }
    }

    let alive = Arc::new(());
    let service = service_fn(|_| async {
        let response = Response::builder().header("content-type", "application/grpc");
        let response = response.header("stream-keepalive", "20000");
        Ok::<_, ()>(response.body(Idle(alive.clone())).unwrap())
    });
    let service = GrpcClientLayer::new().layer(service);
    let mut body = service.oneshot(call()).await.unwrap().into_body();
    assert_eq!(within(IDLE, &mut body).await, Got::Nothing);
    assert_eq!(Arc::strong_count(&alive), 2);
    assert_eq!(within(LIMIT, &mut body).await, unavailable("60s"));
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[tokio::test]
async fn an_error_passes_unchanged() {
    let mut body = kept([script::data(MESSAGE), Step::Error]).await;
    assert_eq!(next(&mut body).await, data(MESSAGE));
    assert_eq!(next(&mut body).await, Got::Error("reset"));
}

#[tokio::test]
async fn a_body_that_has_ended_says_so() {
    let mut response = promising([]);
    response.body_mut().says_that_it_ended = true;
    assert!(body(GrpcClientLayer::new(), response).await.is_end_stream());
    let default = GrpcClientBody::<Script>::default();
    assert!(default.is_end_stream());
    assert_eq!(default.size_hint().exact(), Some(0));
}

#[tokio::test]
async fn no_size_is_known_because_some_of_the_bytes_may_be_markers() {
    let mut response = promising([]);
    (response.body_mut().lower, response.body_mut().upper) = (10, Some(20));
    let hint = body(GrpcClientLayer::new(), response).await.size_hint();
    assert_eq!((hint.lower(), hint.upper()), (0, None));
}

#[tokio::test]
async fn the_debug_output_of_a_body_shows_its_parts() {
    let shown = format!("{:?}", kept([script::data("abc")]).await);
    assert!(shown.contains("abc") && shown.contains("60s"), "{shown}");
}

#[tokio::test]
async fn a_body_has_not_ended_while_bytes_of_it_are_held() {
    let begins_a_marker = [MESSAGE, &MARKER[..5]].concat();
    for (chunk, rest) in [
        ([MESSAGE, MARKER, MESSAGE].concat(), MESSAGE),
        (begins_a_marker, &MARKER[..5]),
    ] {
        let mut response = promising([script::data(chunk)]);
        let script = response.body_mut();
        *script = script.clone().ends();
        script.says_that_it_ended = true;
        let mut body = body(GrpcClientLayer::new(), response).await;
        assert_eq!(next(&mut body).await, data(MESSAGE));
        assert!(!body.is_end_stream());
        assert_eq!(next(&mut body).await, data(rest));
        assert_eq!(next(&mut body).await, Got::End);
        assert!(body.is_end_stream());
    }
}

assert_impl_all!(GrpcClientBody<Script>: Send, Sync, Unpin, Default);
