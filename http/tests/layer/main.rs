//! The layer fills the responses that it should, and leaves the others as they are.

mod asked;
mod body;
mod rules;
mod script;
mod spread;

use std::{convert::Infallible, future::ready, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use stream_keepalive_http::{KeepaliveBody, KeepaliveLayer};
use tower::{Layer, ServiceExt, service_fn};

use crate::script::{Script, Step};

const IDLE: Duration = Duration::from_secs(20);
const COMMENT: &str = ":\n\n";

fn sse(steps: impl IntoIterator<Item = Step>) -> Response<Script> {
    let response = Response::builder().header("content-type", "text/event-stream");
    response.body(Script::new(steps)).unwrap()
}

fn grpc(steps: impl IntoIterator<Item = Step>) -> Response<Script> {
    let response = Response::builder().header("content-type", "application/grpc");
    response.body(Script::new(steps)).unwrap()
}

/// Sends a request through the layer to a service that returns this response.
async fn answer(
    layer: KeepaliveLayer,
    request: Request<()>,
    response: Response<Script>,
) -> Response<KeepaliveBody<Script>> {
    let service = service_fn(|_| ready(Ok::<_, Infallible>(response.clone())));
    layer.layer(service).oneshot(request).await.unwrap()
}

/// A layer whose keepalives come after exactly this time.
fn layer() -> KeepaliveLayer {
    KeepaliveLayer::new(IDLE).without_spread()
}

/// Returns the body with the layer around an event stream of these steps.
async fn fill(steps: impl IntoIterator<Item = Step>) -> KeepaliveBody<Script> {
    answer(layer(), Request::default(), sse(steps))
        .await
        .into_body()
}

/// Returns a description of the next frame, or `None` if there is none within two idle times.
async fn next<B>(body: &mut B) -> Option<String>
where
    B: Body<Data = Bytes, Error = &'static str> + Unpin,
{
    let frame = tokio::time::timeout(2 * IDLE, body.frame()).await.ok()?;
    Some(match frame.map(|frame| frame.map(Frame::into_data)) {
        Some(Ok(Ok(data))) => String::from_utf8_lossy(&data).into_owned(),
        Some(Ok(Err(_))) => "trailers".to_owned(),
        Some(Err(error)) => format!("error: {error}"),
        None => "end".to_owned(),
    })
}

macro_rules! assert_frames {
    ($body:expr, [$($frame:expr),* $(,)?]) => {{
        let expected: &[Option<&str>] = &[$($frame),*];
        for (index, expected) in expected.iter().enumerate() {
            assert_eq!(next(&mut $body).await.as_deref(), *expected, "frame {index}");
        }
    }};
}
pub(crate) use assert_frames;
