//! The header with which a gRPC client asks for keepalives, and a server promises them.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, request};

use crate::plan::{content_type, is_call};

const STREAM_KEEPALIVE: HeaderName = HeaderName::from_static("stream-keepalive");
const YES: &str = "1";

/// Asks for keepalives, with the head of a request.
pub(crate) fn ask(request: &mut HeaderMap) {
    request.insert(STREAM_KEEPALIVE, HeaderValue::from_static(YES));
}

/// Marks a request whose client has asked, in its extensions, so that an inner layer knows it too.
#[derive(Clone, Copy)]
struct Asked;

/// Returns whether the client asks for keepalives, and removes the header.
///
/// Otherwise, a handler that copies the metadata of a call into a call of its own would ask for keepalives that
/// nobody removes.
pub(crate) fn take_question(request: &mut request::Parts) -> bool {
    let question = request.headers.remove(STREAM_KEEPALIVE);
    if question.is_some_and(|value| value == YES) && is_protobuf_call(&request.headers) {
        request.extensions.insert(Asked);
    }
    request.extensions.get::<Asked>().is_some()
}

/// Promises keepalives after `idle`, with the head of a response.
pub(crate) fn promise(response: &mut HeaderMap, idle: Duration) {
    response.insert(STREAM_KEEPALIVE, millis(idle).into());
}

/// Returns the idle time that the head of a response promises, and removes the header, so that neither the
/// caller nor an outer layer takes the promise for its own.
pub(crate) fn take_promise(response: &mut HeaderMap) -> Option<Duration> {
    let promise = response.remove(STREAM_KEEPALIVE)?;
    let millis = promise.to_str().ok()?.parse().ok()?;
    (millis != 0).then_some(Duration::from_millis(millis))
}

/// Returns the milliseconds of a duration, rounded up, because a keepalive may not be later than promised.
pub(crate) fn millis(duration: Duration) -> u64 {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    millis.try_into().unwrap_or(u64::MAX)
}

/// Returns whether this is the head of a gRPC call with messages of protobuf, to which a marker can be added.
pub(crate) fn is_protobuf_call(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|content_type| {
        ["application/grpc", "application/grpc+proto"]
            .iter()
            .any(|call| call.eq_ignore_ascii_case(content_type))
    })
}

/// Returns whether this is the head of a response that may hold markers. A layer below may have translated it, and
/// left the content type of gRPC-Web, as that of tonic-web does.
pub(crate) fn may_hold_markers(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(is_call)
}
