//! What a frame costs with the layer and without it, for bodies that always have one.

use std::{
    convert::Infallible,
    hint::black_box,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::FutureExt;
use http::{Request, Response};
use http_body::{Body, Frame};
use stream_keepalive_http::KeepaliveLayer;
use tower::{Layer, Service, service_fn};

/// A body that yields one chunk again and again.
struct Repeat(Bytes);

impl Body for Repeat {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(self.0.clone()))))
    }
}

/// The body of a response that has passed through the layer, or would have.
fn body(
    content_type: &'static str,
    chunk: &Bytes,
    filled: bool,
) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
    let idle = if filled {
        Duration::from_secs(20)
    } else {
        Duration::ZERO
    };
    let layer = KeepaliveLayer::new(idle).ndjson("\n").grpc(|_| true);
    let mut service = layer.layer(service_fn(async |_: Request<()>| {
        let response = Response::builder().header("content-type", content_type);
        Ok::<_, Infallible>(response.body(Repeat(chunk.clone())).unwrap())
    }));
    let request = Request::post("/a/b").header("content-type", "application/grpc");
    let response = service
        .call(request.body(()).unwrap())
        .now_or_never()
        .unwrap();
    response.unwrap().into_body()
}

fn event(length: usize) -> Vec<u8> {
    format!("data: {}\n\n", "x".repeat(length - 8)).into()
}

fn message(length: usize) -> Vec<u8> {
    let payload = length as u32 - 5;
    [&[0], &payload.to_be_bytes()[..], &vec![0; payload as usize]].concat()
}

fn frames(criterion: &mut Criterion) {
    for (name, content_type, chunk) in [
        ("event of 40 bytes", "text/event-stream", event(40)),
        ("event of 16 KiB", "text/event-stream", event(16 << 10)),
        (
            "half an event of 16 KiB",
            "text/event-stream",
            vec![b'x'; 16 << 10],
        ),
        (
            "400 events of 40 bytes, the last one cut",
            "text/event-stream",
            {
                let mut events = event(40).repeat(400);
                events.pop();
                events
            },
        ),
        (
            "line of 40 bytes",
            "application/x-ndjson",
            [&[b'x'; 39][..], b"\n"].concat(),
        ),
        (
            "line of 16 KiB",
            "application/x-ndjson",
            vec![b'\n'; 16 << 10],
        ),
        ("message of 40 bytes", "application/grpc", message(40)),
        ("message of 16 KiB", "application/grpc", message(16 << 10)),
        (
            "400 messages of 40 bytes",
            "application/grpc",
            message(40).repeat(400),
        ),
    ] {
        let chunk = Bytes::from(chunk);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(chunk.len() as u64));
        for (name, filled) in [("without the layer", false), ("with the layer", true)] {
            let mut body = body(content_type, &chunk, filled);
            let mut cx = Context::from_waker(Waker::noop());
            group.bench_function(name, |bencher| {
                bencher.iter(|| black_box(Pin::new(&mut body).poll_frame(&mut cx)));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, frames);
criterion_main!(benches);
