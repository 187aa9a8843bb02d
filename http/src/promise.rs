//! The header with which a gRPC client asks for keepalives, and a server promises them.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, request};

use crate::plan::{content_type, is_call};

const STREAM_KEEPALIVE: HeaderName = HeaderName::from_static("stream-keepalive");
const YES: &str = "1";

/// The longest idle time that can be promised, in milliseconds. Three times an hour fits into every timer.
const LONGEST: u64 = 3_600_000;

/// Asks for keepalives, with the head of a request.
pub(crate) fn ask(request: &mut HeaderMap) {
    request.insert(STREAM_KEEPALIVE, HeaderValue::from_static(YES));
}

/// Marks a request whose client has asked, in its extensions, so that an inner layer knows it too.
#[derive(Clone, Copy)]
struct Asked;

/// Returns whether the client of a call asks for keepalives.
pub(crate) fn asks(request: &request::Parts) -> bool {
    let asks = || only_value(&request.headers).is_some_and(|value| value == YES);
    is_protobuf_call(&request.headers) && (request.extensions.get::<Asked>().is_some() || asks())
}

/// Removes the question from the head of a call, and notes it for an inner layer if it has been asked.
///
/// A handler that copies the metadata of a call into a call of its own would otherwise ask for keepalives that
/// nobody removes. A request of another content type keeps its question, because an inner service may translate it
/// into a call, as that of tonic-web does.
pub(crate) fn take_question(request: &mut request::Parts, asks: bool) {
    if is_protobuf_call(&request.headers) {
        request.headers.remove(STREAM_KEEPALIVE);
    }
    if asks {
        request.extensions.insert(Asked);
    }
}

/// Promises keepalives after `idle`, with the head of a response, unless that is too long.
pub(crate) fn promise(response: &mut HeaderMap, idle: Duration) {
    let millis = millis(idle);
    if millis <= LONGEST {
        response.insert(STREAM_KEEPALIVE, millis.into());
    }
}

/// Returns the idle time that the head of a response promises, and removes the header, so that neither the
/// caller nor an outer layer takes the promise for its own.
pub(crate) fn take_promise(response: &mut HeaderMap) -> Option<Duration> {
    let promise = only_value(response).and_then(millis_of);
    response.remove(STREAM_KEEPALIVE);
    promise.map(Duration::from_millis)
}

/// Returns the number of milliseconds, if it is one and not too large.
fn millis_of(promise: &HeaderValue) -> Option<u64> {
    let digits = promise.to_str().ok()?;
    // A number may also begin with a plus sign.
    let is_plain = digits.bytes().all(|digit| digit.is_ascii_digit());
    let millis = digits.parse().ok().filter(|_| is_plain)?;
    (1..=LONGEST).contains(&millis).then_some(millis)
}

/// Returns the value of the header, unless there are two.
fn only_value(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut values = headers.get_all(STREAM_KEEPALIVE).iter();
    values.next().filter(|_| values.next().is_none())
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
