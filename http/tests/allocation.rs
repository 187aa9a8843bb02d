//! No frame costs an allocation, and no chunk is copied.

use std::{
    convert::Infallible,
    future::ready,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::StreamBody;
use stream_keepalive_http::{
    GrpcClientBody, GrpcClientLayer, KeepaliveBody, KeepaliveLayer, framing::Lines,
};
use tower::{Layer, Service, service_fn};

/// A service whose response has these headers and a body that yields one chunk again and again.
fn server<const N: usize>(
    headers: [(&'static str, &'static str); N],
    chunk: &Bytes,
) -> impl Service<
    Request<()>,
    Response = Response<impl Body<Data = Bytes, Error = Infallible> + Unpin>,
    Error = Infallible,
> {
    service_fn(move |_| {
        let mut response = Response::builder();
        for (name, value) in headers {
            response = response.header(name, value);
        }
        let frames = stream::repeat(chunk.clone()).map(|chunk| Ok(Frame::data(chunk)));
        ready(Ok(response.body(StreamBody::new(frames)).unwrap()))
    })
}

/// Sends a call, and returns the body of its response.
fn call<B>(
    mut service: impl Service<Request<()>, Response = Response<B>, Error = Infallible>,
) -> B {
    let request = Request::post("/a/b").header("content-type", "application/grpc");
    let response = service.call(request.body(()).unwrap()).now_or_never();
    response.unwrap().unwrap().into_body()
}

/// A body that yields one chunk again and again, with the layer around it.
fn filled(
    content_type: &'static str,
    chunk: &Bytes,
) -> KeepaliveBody<impl Body<Data = Bytes, Error = Infallible> + Unpin> {
    let layer = KeepaliveLayer::new(Duration::from_secs(20))
        .ndjson("\n")
        .grpc(|_| true)
        .format("application/json", Lines::new("\n"));
    call(layer.layer(server([("content-type", content_type)], chunk)))
}

/// A call of a client, whose body yields one chunk again and again.
fn received(chunk: &Bytes) -> GrpcClientBody<impl Body<Data = Bytes, Error = Infallible> + Unpin> {
    let headers = [
        ("content-type", "application/grpc"),
        ("stream-keepalive", "20000"),
    ];
    call(GrpcClientLayer::new().layer(server(headers, chunk)))
}

#[test]
fn a_frame_that_a_client_receives_costs_no_allocation_and_no_copy() {
    const MARKER: &[u8] = b"\0\0\0\0\x06\xf8\xff\xff\xff\x0f\0";
    let message = &[b"\0\0\0\0\x64", &[b'x'; 100][..]].concat();
    for chunk in [
        message.clone(),
        message.repeat(400),
        [MARKER, message, MARKER, message, MARKER].concat(),
        // Whole only together with the next chunk.
        [&MARKER[4..], message, &MARKER[..4]].concat(),
        message[50..]
            .iter()
            .chain(&message[..50])
            .copied()
            .collect(),
    ] {
        let chunk = Bytes::from(chunk);
        let shared = chunk.clone();
        let mut body = received(&chunk);
        let mut cx = Context::from_waker(Waker::noop());
        let mut next = || loop {
            match Pin::new(&mut body).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => break frame.into_data().unwrap(),
                Poll::Ready(_) => panic!("the body does not end"),
                Poll::Pending => {}
            }
        };
        let measured = measure(|| {
            for _ in 0..100 {
                let data = next();
                let is_part = shared.as_ptr_range().contains(&data.as_ptr());
                assert!(is_part || MARKER.starts_with(&data));
            }
        });
        assert_eq!(measured.count_total, 0, "{shared:?}");
    }
}

#[test]
fn a_frame_costs_no_allocation_and_no_copy() {
    let event = format!("data: {}\n\n", "x".repeat(10_000));
    for (content_type, chunk) in [
        ("text/event-stream", event.as_str()),
        ("text/event-stream", "data: half an event\n"),
        ("application/x-ndjson", "{\"id\":1}\n{"),
        ("application/grpc", "\0\0\0\0\x02ab\0\0\0"),
        ("application/connect+json", "\0\0\0\0\x02{}\0\0\0"),
        ("application/json", "{}\n"),
        ("text/event-stream", "retry: 3000\nunknown\ndat"),
    ] {
        // Made from a vector, so that a copy would allocate.
        let chunk = Bytes::from(chunk.as_bytes().to_vec());
        // The first clone allocates the part that all clones share.
        let shared = chunk.clone();
        let mut body = filled(content_type, &chunk);
        let mut cx = Context::from_waker(Waker::noop());
        let measured = measure(|| {
            for _ in 0..100 {
                let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) else {
                    panic!("the body is always ready");
                };
                let data = frame.into_data().unwrap();
                assert_eq!((data.as_ptr(), data.len()), (shared.as_ptr(), shared.len()));
            }
        });
        assert_eq!(measured.count_total, 0, "{content_type}");
    }
}
