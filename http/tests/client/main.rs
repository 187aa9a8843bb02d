//! The layer of gRPC clients asks for keepalives, removes them, and ends calls that receive nothing.

mod body;
mod head;
#[path = "../layer/script.rs"]
mod script;

use std::{
    convert::Infallible,
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use stream_keepalive::SharedTimers;
use stream_keepalive_http::{GrpcClientBody, GrpcClientLayer};
use tower::{Layer, ServiceExt, service_fn};

use crate::script::{Script, Step};

/// The idle time that a server promises.
const IDLE: Duration = Duration::from_secs(20);
const MARKER: &[u8] = b"\0\0\0\0\x06\xf8\xff\xff\xff\x0f\0";
const MESSAGE: &[u8] = b"\0\0\0\0\x02\x08\x01";

fn call() -> Request<()> {
    let request = Request::post("/a.B/C").header("content-type", "application/grpc");
    request.body(()).unwrap()
}

fn response(steps: impl IntoIterator<Item = Step>) -> Response<Script> {
    let response = Response::builder().header("content-type", "application/grpc");
    response.body(Script::new(steps)).unwrap()
}

/// The same, from a server that sends keepalives.
fn promising(steps: impl IntoIterator<Item = Step>) -> Response<Script> {
    let mut response = response(steps);
    let promise = IDLE.as_millis().to_string().parse().unwrap();
    response.headers_mut().insert("stream-keepalive", promise);
    response
}

/// The layer with each kind of timer.
fn layers() -> [GrpcClientLayer; 2] {
    let layer = GrpcClientLayer::new();
    [layer.clone(), layer.timers(SharedTimers::new())]
}

/// Sends a request to a service that returns this response. Also returns the headers that the service gets.
async fn send(
    layer: GrpcClientLayer,
    request: Request<()>,
    response: Response<Script>,
) -> (HeaderMap, Response<GrpcClientBody<Script>>) {
    let received = Arc::new(Mutex::new(HeaderMap::new()));
    let service = service_fn(|request: Request<()>| {
        *received.lock().unwrap() = request.headers().clone();
        ready(Ok::<_, Infallible>(response.clone()))
    });
    let response = layer.layer(service).oneshot(request).await.unwrap();
    let received = received.lock().unwrap().clone();
    (received, response)
}

/// Returns the body that the caller gets.
async fn body(layer: GrpcClientLayer, response: Response<Script>) -> GrpcClientBody<Script> {
    send(layer, call(), response).await.1.into_body()
}

/// What a caller gets of a body.
#[derive(Debug, PartialEq)]
enum Got {
    Data(Bytes),
    Trailers(HeaderMap),
    Error(&'static str),
    End,
    /// Nothing came within the time.
    Nothing,
}

fn data(data: &[u8]) -> Got {
    Got::Data(Bytes::copy_from_slice(data))
}

/// The trailers that end a call that has received nothing.
fn unavailable(time: &str) -> Got {
    let message = format!("nothing received for {time}");
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "14".parse().unwrap());
    trailers.insert("grpc-message", message.parse().unwrap());
    Got::Trailers(trailers)
}

/// Returns what comes within this time.
async fn within<B>(time: Duration, body: &mut B) -> Got
where
    B: Body<Data = Bytes, Error = &'static str> + Unpin,
{
    let Ok(frame) = tokio::time::timeout(time, body.frame()).await else {
        return Got::Nothing;
    };
    match frame {
        Some(Ok(frame)) => match frame.into_data() {
            Ok(data) => Got::Data(data),
            Err(frame) => Got::Trailers(frame.into_trailers().unwrap()),
        },
        Some(Err(error)) => Got::Error(error),
        None => Got::End,
    }
}

/// Returns what comes next, without a wait.
async fn next(body: &mut GrpcClientBody<Script>) -> Got {
    within(Duration::ZERO, body).await
}
