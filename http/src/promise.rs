//! The header with which a gRPC client asks for keepalives, and a server promises them.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};

const STREAM_KEEPALIVE: HeaderName = HeaderName::from_static("stream-keepalive");

/// Asks for keepalives, with the head of a request.
pub(crate) fn ask(request: &mut HeaderMap) {
    request.insert(STREAM_KEEPALIVE, HeaderValue::from_static("1"));
}

/// Returns whether the head of a request asked for keepalives, and removes the question.
pub(crate) fn take_question(request: &mut HeaderMap) -> bool {
    let question = request.remove(STREAM_KEEPALIVE);
    question.is_some_and(|value| value == "1")
}

/// Promises a keepalive whenever the response has been idle for `idle`, with its head.
pub(crate) fn promise(response: &mut HeaderMap, idle: Duration) {
    response.insert(STREAM_KEEPALIVE, millis(idle).into());
}

/// Returns the idle time that the head of a response promised, and removes the promise.
pub(crate) fn take_promise(response: &mut HeaderMap) -> Option<Duration> {
    let millis = response.remove(STREAM_KEEPALIVE)?.to_str().ok()?.parse();
    millis
        .ok()
        .filter(|millis| *millis != 0)
        .map(Duration::from_millis)
}

/// Returns the milliseconds of a duration, rounded up, because a keepalive may not be later than promised.
pub(crate) fn millis(duration: Duration) -> u64 {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    millis.try_into().unwrap_or(u64::MAX)
}

/// Returns whether this is the head of a gRPC call with messages of protobuf, in which a marker has no fields.
pub(crate) fn is_protobuf_call(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|content_type| content_type.split(';').next());
    essence.is_some_and(|essence| {
        ["application/grpc", "application/grpc+proto"]
            .iter()
            .any(|call| call.eq_ignore_ascii_case(essence.trim()))
    })
}
