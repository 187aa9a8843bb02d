use std::{future::poll_fn, marker::PhantomPinned, pin::Pin, rc::Rc, task::Poll, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use http::Request;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, StreamBody};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use stream_keepalive::SharedTimers;
use stream_keepalive_http::{KeepaliveBody, KeepaliveLayer, KeepaliveService, ResponseFuture};
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};

use super::{
    COMMENT, IDLE, answer, assert_frames, fill, grpc, layer, next,
    script::{Script, Step, data},
    sse,
};

const END: Option<&str> = Some("end");
const K: Option<&str> = Some(COMMENT);

/// Checks that one keepalive is due now, and the next one after the idle time.
async fn assert_one_is_due(mut body: KeepaliveBody<Script>) {
    let start = Instant::now();
    assert_frames!(body, [K]);
    assert!(start.elapsed().is_zero());
    assert_frames!(body, [K]);
    assert_eq!(start.elapsed(), IDLE);
}

/// Long enough for one keepalive.
const IDLE_TIME: Step = Step::Wait(Duration::from_secs(30));

#[tokio::test(start_paused = true)]
async fn frames_pass_in_order_and_idle_times_are_filled() {
    let steps = [data("data: 1\n\n"), data("data: 2\n\n"), IDLE_TIME];
    let mut body = fill(steps).await;
    assert_frames!(body, [Some("data: 1\n\n"), Some("data: 2\n\n"), K, K, K]);
}

#[tokio::test(start_paused = true)]
async fn a_keepalive_comes_after_the_idle_time() {
    let mut body = fill([]).await;
    let start = Instant::now();
    assert_frames!(body, [K, K, K]);
    assert_eq!(start.elapsed(), 3 * IDLE);
}

#[tokio::test(start_paused = true)]
async fn bodies_that_share_their_timers_are_filled_too() {
    let layer = layer().timers(SharedTimers::new());
    let start = Instant::now();
    for _ in 0..2 {
        let steps = [data("data: 1\n\n")];
        let response = answer(layer.clone(), Request::default(), sse(steps)).await;
        let mut body = response.into_body();
        assert_frames!(body, [Some("data: 1\n\n"), K, K]);
        let shown = format!("{layer:?}");
        assert!(shown.contains("SharedTimers"), "{shown}");
    }
    let elapsed = start.elapsed();
    assert!(
        elapsed >= 4 * IDLE && elapsed < 4 * IDLE + IDLE / 10,
        "{elapsed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_event_that_waits_wins_over_a_keepalive_when_the_budget_is_spent() {
    for layer in [layer(), layer().timers(SharedTimers::new())] {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let frames = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let frames = frames.map(|data: Bytes| Ok::<_, &'static str>(Frame::data(data)));
        let response = sse([]).map(|_| StreamBody::new(frames));
        let mut response = Some(response);
        let service = service_fn(move |_: Request<()>| {
            std::future::ready(Ok::<_, std::convert::Infallible>(response.take().unwrap()))
        });
        let response = layer.layer(service).oneshot(Request::default()).await;
        let mut body = response.unwrap().into_body();

        assert!(body.frame().now_or_never().is_none());
        tokio::time::advance(3 * IDLE).await;
        sender.try_send("data: 1\n\n".into()).unwrap();
        while tokio::task::coop::has_budget_remaining() {
            let _spent = tokio::task::coop::consume_budget().now_or_never();
        }
        assert_frames!(body, [Some("data: 1\n\n"), K]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_keepalive_comes_immediately_if_asked_for() {
    let layer = layer().immediate();
    assert_one_is_due(answer(layer, Request::default(), sse([])).await.into_body()).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_inserted_into_half_an_event_however_long_it_stalls() {
    let steps = [
        data("data: {\"a\":"),
        Step::Wait(5 * IDLE / 2),
        data("1}\n\n"),
    ];
    let mut body = fill(steps).await;
    assert_frames!(body, [Some("data: {\"a\":"), None, Some("1}\n\n"), K]);
}

#[tokio::test(start_paused = true)]
async fn the_idle_clock_restarts_when_nothing_may_be_inserted_into_half_an_event() {
    // Only the idle clock causes polls, two at the end of each idle time. At the end of the first idle time, both find
    // half an event. At the end of the second, the first one finds the rest.
    let steps = [Step::Pending, Step::Pending, Step::Pending];
    let steps = [data("d")]
        .into_iter()
        .chain(steps)
        .chain([data("ata\n\n")]);
    let mut body = fill(steps).await;
    assert_frames!(body, [Some("d")]);
    let start = Instant::now();
    assert_frames!(body, [Some("ata\n\n")]);
    assert_eq!(start.elapsed(), 2 * IDLE);
}

#[tokio::test(start_paused = true)]
async fn after_the_end_nothing_comes() {
    let response = sse([data("data: 1\n\n")]).map(Script::ends);
    let mut body = answer(layer(), Request::default(), response)
        .await
        .into_body();
    assert_frames!(body, [Some("data: 1\n\n"), END, END]);
    tokio::time::advance(2 * IDLE).await;
    assert_frames!(body, [END]);
}

#[tokio::test(start_paused = true)]
async fn after_an_error_nothing_comes() {
    let mut body = fill([data("data: 1\n\n"), Step::Error]).await;
    assert_frames!(body, [Some("data: 1\n\n"), Some("error: reset"), None]);
}

#[tokio::test(start_paused = true)]
async fn after_trailers_nothing_comes() {
    let mut body = fill([data("data: 1\n\n"), Step::Trailers]).await;
    assert_frames!(body, [Some("data: 1\n\n"), Some("trailers"), None]);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_reports_its_end_has_ended() {
    let mut response = sse([data("data: 1\n\n")]);
    response = response.map(Script::ends);
    let mut body = answer(layer(), Request::default(), response)
        .await
        .into_body();
    assert!(!body.is_end_stream());
    assert_frames!(body, [Some("data: 1\n\n")]);
    assert!(!body.is_end_stream());
    assert_frames!(body, [END]);
    assert!(body.is_end_stream());
}

/// A body that knows after its only frame that it has ended.
struct Last(Option<Bytes>);

impl Body for Last {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_last_frame_the_body_reports_its_end() {
    let service = service_fn(async |_: Request<()>| {
        let response = http::Response::builder().header("content-type", "text/event-stream");
        Ok::<_, std::convert::Infallible>(response.body(Last(Some("data: 1\n\n".into()))).unwrap())
    });
    let mut body = layer()
        .layer(service)
        .oneshot(Request::default())
        .await
        .unwrap()
        .into_body();
    assert!(!body.is_end_stream());
    assert_frames!(body, [Some("data: 1\n\n")]);
    assert!(body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn the_size_of_a_filled_body_has_no_upper_bound() {
    let layer = layer().grpc(|_| true);
    let request = Request::post("/a/b").header("content-type", "application/grpc");
    let mut response = grpc([]).map(Script::ends);
    response.body_mut().lower = 10;
    response.body_mut().upper = Some(20);
    let mut body = answer(layer, request.body(()).unwrap(), response)
        .await
        .into_body();
    let bounds = |hint: SizeHint| (hint.lower(), hint.upper());
    assert_eq!(bounds(body.size_hint()), (10, None));
    assert_frames!(body, [END]);
    assert_eq!(bounds(body.size_hint()), (0, Some(0)));
}

#[tokio::test(start_paused = true)]
async fn the_lower_bound_of_an_event_stream_does_not_count_a_mark_that_may_be_removed() {
    let mut response = sse([data("\u{feff}data: 1\n\n")]);
    response.body_mut().lower = 10;
    let mut body = answer(layer(), Request::default(), response.clone())
        .await
        .into_body();
    assert_eq!(body.size_hint().lower(), 7);
    assert_frames!(body, [Some("\u{feff}data: 1\n\n")]);
    assert_eq!(body.size_hint().lower(), 10);
    response.body_mut().lower = 0;
    let body = answer(layer(), Request::default(), response)
        .await
        .into_body();
    assert_eq!(body.size_hint().lower(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_was_away_for_ten_idle_times_gets_one_keepalive() {
    let mut body = fill([]).await;
    poll_fn(|cx| {
        assert!(Pin::new(&mut body).poll_frame(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    tokio::time::advance(10 * IDLE).await;
    assert_one_is_due(body).await;
}

#[tokio::test(start_paused = true)]
async fn a_byte_order_mark_that_comes_first_stays() {
    let mut body = fill([data("\u{feff}"), IDLE_TIME, data("data: 1\n\n")]).await;
    assert_frames!(body, [Some("\u{feff}"), K, Some("data: 1\n\n")]);
}

#[tokio::test(start_paused = true)]
async fn a_byte_order_mark_after_a_keepalive_is_removed() {
    let mut body = fill([IDLE_TIME, data("\u{feff}data: 1\n\n")]).await;
    assert_frames!(body, [K, Some("data: 1\n\n"), K]);
}

#[tokio::test(start_paused = true)]
async fn a_second_byte_order_mark_after_a_keepalive_begins_an_event() {
    let marks = [data("\u{feff}\u{feff}"), IDLE_TIME];
    let steps = [IDLE_TIME].into_iter().chain(marks);
    let mut body = fill(steps.chain([data("\n\n")])).await;
    assert_frames!(body, [K, Some("\u{feff}"), Some("\n\n"), K]);
}

#[tokio::test(start_paused = true)]
async fn the_first_chunk_after_a_keepalive_is_not_copied() {
    for first in ["data: 1\n\n", "\u{feff}data: 1\n\n"] {
        let chunk = Bytes::from(first.to_owned());
        let end = chunk.as_ptr_range().end;
        let steps = [IDLE_TIME, Step::Data(chunk)];
        let mut body = fill(steps).await;
        assert_frames!(body, [K]);
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(frame.as_ptr_range().end, end);
    }
}

#[tokio::test(start_paused = true)]
async fn a_byte_order_mark_in_pieces_is_removed() {
    let pieces = [
        &b"\xEF"[..],
        b"",
        b"\xBB",
        b"\xBFdata: 1\n\n",
        "\u{feff}\n\n".as_bytes(),
    ];
    let steps = [IDLE_TIME].into_iter().chain(pieces.map(data));
    let mut body = fill(steps).await;
    // A second mark is part of the text.
    assert_frames!(body, [K, Some("data: 1\n\n"), Some("\u{feff}\n\n"), K]);
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_is_a_byte_order_mark_is_removed() {
    let mut body = fill([IDLE_TIME, data("\u{feff}"), data("data: 1\n\n")]).await;
    assert_frames!(body, [K, Some("data: 1\n\n"), K]);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_only_begin_like_a_byte_order_mark_stay() {
    for first in ["\u{fefe}\n\n", "data: 1\n\n"] {
        for steps in [vec![data(first)], vec![data(""), data(first)]] {
            let steps = [IDLE_TIME].into_iter().chain(steps);
            let mut body = fill(steps).await;
            assert_frames!(body, [K, Some(first), K]);
        }
    }
    let pieces = [&b"\xEF"[..], b"\xBB", b"\xBE\n\n"];
    let steps = [IDLE_TIME].into_iter().chain(pieces.map(data));
    let mut body = fill(steps).await;
    assert_frames!(body, [K, Some("\u{fefe}\n\n"), K]);
}

#[tokio::test(start_paused = true)]
async fn a_byte_order_mark_after_an_empty_chunk_and_no_keepalive_stays() {
    let mut body = fill([data(""), data("\u{feff}data: 1\n\n")]).await;
    assert_frames!(body, [Some("\u{feff}data: 1\n\n"), K]);
}

/// Returns the body of a response with this content type, in a layer that knows all formats.
async fn filled(
    content_type: &str,
    steps: impl IntoIterator<Item = Step>,
) -> KeepaliveBody<Script> {
    filled_by(content_type, Script::new(steps)).await
}

async fn filled_by(content_type: &str, script: Script) -> KeepaliveBody<Script> {
    let layer = layer().ndjson("\n").grpc(|_| true);
    let request = Request::post("/a/b").header("content-type", "application/grpc");
    let mut response = sse([]).map(|_| script);
    let content_type = content_type.parse().unwrap();
    response.headers_mut().insert("content-type", content_type);
    answer(layer, request.body(()).unwrap(), response)
        .await
        .into_body()
}

#[tokio::test(start_paused = true)]
async fn lines_lose_a_byte_order_mark_after_a_keepalive_too() {
    let line = "{}\n";
    let marked = || [data("\u{feff}"), data(line)];
    let steps = [IDLE_TIME].into_iter().chain(marked());
    let mut body = filled("application/x-ndjson", steps).await;
    assert_frames!(body, [Some("\n"), Some(line), Some("\n")]);

    let mut body = filled("application/x-ndjson", marked()).await;
    assert_frames!(body, [Some("\u{feff}"), Some(line), Some("\n")]);
}

#[tokio::test(start_paused = true)]
async fn the_beginning_of_a_byte_order_mark_comes_before_the_end() {
    for (content_type, keepalive) in [
        ("text/event-stream", COMMENT),
        ("application/x-ndjson", "\n"),
    ] {
        for (last, expected) in [
            (None, "end"),
            (Some(Step::Error), "error: reset"),
            (Some(Step::Trailers), "trailers"),
        ] {
            for (pieces, found) in [
                (&[&b"\xEF"[..], b""][..], Some(&b"\xEF"[..])),
                (&[b"\xEF\xBB"], Some(b"\xEF\xBB")),
                (&[b"\xEF", b"\xBB"], Some(b"\xEF\xBB")),
                (&[b"\xEF\xBB", b"\xBF"], None),
            ] {
                let pieces = pieces.iter().map(|piece| data(*piece));
                let steps = [IDLE_TIME].into_iter().chain(pieces).chain(last.clone());
                let mut body = filled_by(content_type, Script::new(steps).ends()).await;
                assert_frames!(body, [Some(keepalive)]);
                if let Some(found) = found {
                    let frame = body.frame().await.unwrap().unwrap();
                    assert_eq!(frame.into_data().unwrap(), found);
                    assert!(!body.is_end_stream() || last.is_none());
                }
                assert_frames!(body, [Some(expected)]);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_like_a_byte_order_mark_stay_in_messages() {
    let steps = [IDLE_TIME, data("\u{feff}")];
    let mut body = filled("application/grpc", steps).await;
    assert_frames!(body, [Some("\0\0\0\0\0"), Some("\u{feff}")]);
}

/// The content types and what a whole frame and a keepalive look like.
const FORMATS: [(&str, &str, &str); 4] = [
    ("text/event-stream", "data: 1\n\n", COMMENT),
    ("application/x-ndjson", "{}\n", "\n"),
    ("application/grpc", "\0\0\0\0\x01a", "\0\0\0\0\0"),
    (
        "application/connect+json",
        "\0\0\0\0\x02{}",
        "\0\0\0\0\x02{}",
    ),
];

#[tokio::test(start_paused = true)]
async fn empty_chunks_are_dropped_and_are_no_activity() {
    for (content_type, frame, keepalive) in FORMATS {
        for timers in [None, Some(SharedTimers::new())] {
            // An empty chunk comes twice within each idle time.
            let chunks =
                tokio_stream::wrappers::IntervalStream::new(tokio::time::interval(IDLE / 2));
            let chunks = chunks.map(|_| Ok::<_, &'static str>(Frame::data(Bytes::new())));
            let first = stream::iter([Ok(Frame::data(Bytes::from(frame)))]);
            let response = http::Response::builder().header("content-type", content_type);
            let response = response.body(StreamBody::new(first.chain(chunks)));
            let mut response = Some(response.unwrap());
            let service = service_fn(move |_: Request<()>| {
                std::future::ready(Ok::<_, std::convert::Infallible>(response.take().unwrap()))
            });
            let mut layer = layer().ndjson("\n").grpc(|_| true);
            if let Some(timers) = timers {
                layer = layer.timers(timers);
            }
            let request = Request::post("/a/b").header("content-type", "application/grpc");
            let response = layer
                .layer(service)
                .oneshot(request.body(()).unwrap())
                .await;
            let mut body = response.unwrap().into_body();

            assert_frames!(body, [Some(frame)]);
            let start = Instant::now();
            assert_frames!(body, [Some(keepalive), Some(keepalive), Some(keepalive)]);
            let elapsed = start.elapsed();
            // Shared timers are late by up to a sixteenth.
            assert!(
                elapsed >= 3 * IDLE && elapsed < 4 * IDLE,
                "{content_type}: {elapsed:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_chunk_at_the_start_does_not_stand_for_the_immediate_keepalive() {
    for (content_type, _, keepalive) in FORMATS {
        let layer = layer().ndjson("\n").grpc(|_| true).immediate();
        for layer in [layer.clone(), layer.timers(SharedTimers::new())] {
            let request = Request::post("/a/b").header("content-type", "application/grpc");
            let mut response = sse([data(""), data("")]);
            let headers = response.headers_mut();
            headers.insert("content-type", content_type.parse().unwrap());
            let response = answer(layer, request.body(()).unwrap(), response).await;
            let (mut body, start) = (response.into_body(), Instant::now());
            assert_frames!(body, [Some(keepalive)]);
            assert!(start.elapsed().is_zero(), "{content_type}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_nothing_but_empty_chunks_holds_nobody_up_and_gets_keepalives() {
    let empty = stream::repeat_with(|| Ok::<_, &'static str>(Frame::data(Bytes::new())));
    let mut response = Some(sse([]).map(|_| StreamBody::new(empty)));
    let service = service_fn(move |_: Request<()>| {
        std::future::ready(Ok::<_, std::convert::Infallible>(response.take().unwrap()))
    });
    let response = layer().layer(service).oneshot(Request::default()).await;
    let mut body = response.unwrap().into_body();
    assert!(body.frame().now_or_never().is_none());
    tokio::time::advance(IDLE).await;
    assert_frames!(body, [K]);
}

#[tokio::test(start_paused = true)]
async fn a_chunk_is_not_copied() {
    let chunk = Bytes::from(vec![b'x'; 1000]);
    let mut body = fill([Step::Data(chunk.clone())]).await;
    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!((frame.as_ptr(), frame.len()), (chunk.as_ptr(), chunk.len()));
}

#[tokio::test(start_paused = true)]
async fn the_debug_output_of_a_body_shows_its_parts() {
    let shown = format!("{:?}", fill([data("data: 1\n\n")]).await);
    assert!(
        shown.contains("data: 1") && shown.contains("20s"),
        "{shown}"
    );
}

struct NotSend(Rc<()>, PhantomPinned);

impl Body for NotSend {
    type Data = Bytes;
    type Error = ();

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
        _ = &self.0;
        Poll::Ready(None)
    }
}

assert_impl_all!(KeepaliveBody<Script>: Send, Sync, Unpin);
assert_not_impl_any!(KeepaliveBody<NotSend>: Send, Sync, Unpin);
assert_impl_all!(KeepaliveLayer: Clone, Send, Sync, Unpin);
assert_impl_all!(KeepaliveService<()>: Clone, Send, Sync, Unpin);
assert_not_impl_any!(KeepaliveService<NotSend>: Send, Sync, Unpin);
assert_impl_all!(ResponseFuture<()>: Send, Sync, Unpin);
assert_not_impl_any!(ResponseFuture<NotSend>: Send, Sync, Unpin);
