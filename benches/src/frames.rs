//! The loads of the layers: bodies of several formats, with and without a layer.
//!
//! Bodies are polled by hand, with one waker.

use std::{
    convert::Infallible,
    hint::black_box,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use axum::http::{Request, Response};
use bytes::Bytes;
use futures::FutureExt;
use http_body::{Body, Frame};
use stream_keepalive_http::{GrpcClientLayer, KeepaliveLayer};
use tower::{Layer, Service, service_fn};

use crate::loads::{IDLE, Load, REPEATS, Round, time};

/// The body of a response that has passed through a layer.
macro_rules! through {
    ($layer:expr, $content_type:expr, $body:expr) => {{
        let (content_type, body) = ($content_type, $body);
        let mut service = $layer.layer(service_fn(async |_: Request<()>| {
            let response = Response::builder()
                .header("content-type", content_type)
                .header("stream-keepalive", "20000");
            Ok::<_, Infallible>(response.body(body.clone()).expect("the response is valid"))
        }));
        let request = Request::post("/a/b").header("content-type", "application/grpc");
        let request = request.body(()).expect("the request is valid");
        let response = service.call(request).now_or_never();
        let response = response.expect("the service is ready");
        response.expect("the service never fails").into_body()
    }};
}

/// Makes every load. Call it in a Tokio runtime with time enabled.
pub fn all() -> Vec<Load> {
    let (sse, lines, grpc) = (
        "text/event-stream",
        "application/x-ndjson",
        "application/grpc",
    );
    let mut cut_events = event(40).repeat(400);
    cut_events.pop();
    let mut loads: Vec<_> = [
        ("event of 40 bytes", sse, event(40)),
        ("event of 16 KiB", sse, event(16 << 10)),
        ("half an event of 16 KiB", sse, vec![b'x'; 16 << 10]),
        ("400 events of 40 bytes, the last one cut", sse, cut_events),
        ("line of 40 bytes", lines, line(40)),
        ("line of 16 KiB", lines, line(16 << 10)),
        ("message of 40 bytes", grpc, message(40)),
        ("message of 16 KiB", grpc, message(16 << 10)),
        ("400 messages of 40 bytes", grpc, message(40).repeat(400)),
    ]
    .into_iter()
    .map(|(name, content_type, chunk)| load(name, content_type, &Ready(chunk.into())))
    .collect();
    let in_turn = Alternating(Ready(event(40).into()), false);
    loads.push(load("event of 40 bytes and pending in turn", sse, &in_turn));
    loads
}

fn load<B>(name: &'static str, content_type: &'static str, body: &B) -> Load
where
    B: Body<Data = Bytes, Error = Infallible> + Clone + Send + Unpin + 'static,
{
    let layer = KeepaliveLayer::new(IDLE).ndjson("\n").grpc(|_| true);
    let mut contenders = vec![
        ("bare", round(body.clone())),
        ("layer", round(through!(layer, content_type, body.clone()))),
    ];
    if content_type == "application/grpc" {
        let stripped = through!(GrpcClientLayer::new(), content_type, body.clone());
        contenders.push(("layer of the client", round(stripped)));
    }
    Load { name, contenders }
}

fn round<B>(mut body: B) -> Round
where
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    Box::new(move || {
        time(|| {
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..REPEATS {
                while black_box(Pin::new(&mut body).poll_frame(&mut cx)).is_pending() {}
            }
        })
    })
}

/// Yields one chunk at every poll.
#[derive(Clone)]
struct Ready(Bytes);

impl Body for Ready {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(self.0.clone()))))
    }
}

/// Yields one chunk at every second poll.
#[derive(Clone)]
struct Alternating(Ready, bool);

impl Body for Alternating {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.1 = !self.1;
        if self.1 {
            return Poll::Pending;
        }
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

fn event(length: usize) -> Vec<u8> {
    format!("data: {}\n\n", "x".repeat(length - 8)).into()
}

fn line(length: usize) -> Vec<u8> {
    let mut line = vec![b'x'; length];
    line[length - 1] = b'\n';
    line
}

fn message(length: usize) -> Vec<u8> {
    let payload = length as u32 - 5;
    [&[0], &payload.to_be_bytes()[..], &vec![0; payload as usize]].concat()
}
