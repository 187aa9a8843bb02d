//! Decides which responses are filled, that is, get keepalives, and which keepalives.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, TRANSFER_ENCODING},
    request,
};
use http_body::Body;
use stream_keepalive::SharedTimers;

use crate::{
    Idle, KeepaliveBody,
    framing::{AnyFiller, Framed, Framing, Grpc, Sse},
    promise,
    timer::IdleTimer,
};

/// The settings of a layer.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) idle: Duration,
    pub(crate) spread: bool,
    pub(crate) immediate: bool,
    pub(crate) nginx_header: bool,
    pub(crate) calls: Calls,
    pub(crate) timers: Option<SharedTimers>,
    formats: Vec<Format>,
    /// How many bodies have been filled, in all clones of the layer.
    bodies: Arc<AtomicU32>,
}

impl Config {
    pub(crate) fn new(idle: Duration) -> Self {
        let mut config = Self {
            idle,
            spread: true,
            immediate: false,
            nginx_header: true,
            calls: Calls::default(),
            timers: None,
            formats: Vec::new(),
            bodies: Arc::default(),
        };
        config.add(EVENTS, Sse::comment());
        config.add(PROTOBUF, Grpc::new());
        config.add(&["application/connect+json"], Grpc::message("{}"));
        config
    }

    /// Adds content types with their filler. The last one that is added for a content type counts.
    pub(crate) fn add<F>(&mut self, content_types: &[&str], filler: Framed<F>)
    where
        F: Framing + Clone + Send + Sync + 'static,
    {
        let make: Arc<Make> = Arc::new(move || filler.clone().into_any());
        self.formats
            .extend(content_types.iter().map(|content_type| Format {
                content_type: (*content_type).to_owned(),
                make: make.clone(),
            }));
    }

    /// Returns the filler for a response with these headers.
    fn filler(&self, headers: &HeaderMap, is_accepted_call: bool) -> Option<AnyFiller> {
        let content_type = content_type(headers)?;
        if is_call(content_type) && !is_accepted_call {
            return None;
        }
        let mut formats = self.formats.iter().rev();
        let format = formats.find(|format| format.is(content_type))?;
        Some((format.make)())
    }

    /// Returns the idle time of the next body, which is in the last quarter below `idle`.
    ///
    /// The multiples of the golden ratio fill the quarter evenly, however many bodies there are.
    fn spread(&self, idle: Duration) -> Duration {
        const GOLDEN_RATIO: u32 = 0x9E37_79B9; // its fractional part, times 2^32
        let body = self.bodies.fetch_add(1, Ordering::Relaxed);
        let part = f64::from(body.wrapping_mul(GOLDEN_RATIO)) / 2_f64.powi(32);
        idle - (idle / 4).mul_f64(part)
    }
}

type Make = dyn Fn() -> AnyFiller + Send + Sync;

/// A content type, or a suffix of many such as `+ndjson`, and what makes its filler.
///
/// A suffix says what the messages of a call are, not how they are framed. So it does not stand for calls.
#[derive(Clone)]
struct Format {
    content_type: String,
    make: Arc<Make>,
}

impl Format {
    fn is(&self, content_type: &str) -> bool {
        let is_suffix = self.content_type.starts_with('+') && !is_call(content_type);
        let skipped = if is_suffix {
            content_type.len().saturating_sub(self.content_type.len())
        } else {
            0
        };
        let end = content_type.as_bytes().get(skipped..);
        end.is_some_and(|end| end.eq_ignore_ascii_case(self.content_type.as_bytes()))
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.content_type.fmt(f)
    }
}

type Accept = dyn Fn(&request::Parts) -> bool + Send + Sync;

/// Decides which calls are filled, by the heads of their requests.
#[derive(Clone, Default)]
pub(crate) struct Calls(Vec<Arc<Accept>>);

impl Calls {
    pub(crate) fn add(&mut self, accept: impl Fn(&request::Parts) -> bool + Send + Sync + 'static) {
        self.0.push(Arc::new(accept));
    }

    fn accept(&self, request: &request::Parts) -> bool {
        content_type(&request.headers).is_some_and(is_call)
            && self.0.iter().any(|accept| accept(request))
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Calls").field(&self.0.len()).finish()
    }
}

pub(crate) const EVENTS: &[&str] = &["text/event-stream"];

/// Lines of JSON. The last one is a suffix.
pub(crate) const LINES: &[&str] = &[
    "application/x-ndjson",
    "application/ndjson",
    "text/x-ndjson",
    "application/jsonl",
    "application/x-jsonl",
    "application/jsonlines",
    "application/x-jsonlines",
    "application/json-lines",
    "application/jsonstream",
    "application/x-json-stream",
    "application/stream+json",
    "+ndjson",
];

/// Messages of protobuf, in gRPC, gRPC-Web and Connect.
const PROTOBUF: &[&str] = &[
    "application/grpc",
    "application/grpc+proto",
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/connect+proto",
];

/// Returns whether only the responses to calls that are accepted are filled. Any codec may follow.
pub(crate) fn is_call(content_type: &str) -> bool {
    ["application/grpc", "application/connect+"]
        .iter()
        .any(|call| {
            let start = content_type.get(..call.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(call))
        })
}

/// Returns whether nginx passes this call on with `grpc_pass`, which does not hold responses back.
fn is_grpc_over_http2(request: &request::Parts) -> bool {
    let is_grpc = |content_type: &str| {
        let split = content_type.split_at_checked("application/grpc".len());
        split.is_some_and(|(grpc, codec)| {
            grpc.eq_ignore_ascii_case("application/grpc")
                && (codec.is_empty() || codec.starts_with('+'))
        })
    };
    request.version == Version::HTTP_2 && content_type(&request.headers).is_some_and(is_grpc)
}

/// Returns the content type without its parameters, unless there are two that differ.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<&str> {
    let mut found = headers.get_all(CONTENT_TYPE).iter().map(essence);
    let first = found.next()??;
    let all_agree = found.all(|other| other.is_some_and(|other| other.eq_ignore_ascii_case(first)));
    all_agree.then_some(first)
}

/// Drops parameters such as `charset`.
fn essence(content_type: &HeaderValue) -> Option<&str> {
    Some(content_type.to_str().ok()?.split(';').next()?.trim())
}

/// What the request says about its response.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    config: Arc<Config>,
    /// Whether the response to the request can have a body.
    may_have_body: bool,
    is_accepted_call: bool,
    /// Whether the client asks for keepalives that its decoder does not see.
    asks: bool,
    nginx_header: bool,
}

impl Plan {
    pub(crate) fn new(config: &Arc<Config>, request: &mut request::Parts) -> Self {
        let is_accepted_call = config.calls.accept(request);
        let asks = promise::asks(request);
        if !config.idle.is_zero() {
            promise::take_question(request, asks);
        }
        Self {
            config: config.clone(),
            may_have_body: !matches!(request.method, Method::HEAD | Method::CONNECT),
            is_accepted_call,
            asks,
            nginx_header: config.nginx_header && !is_grpc_over_http2(request),
        }
    }

    pub(crate) fn carry_out<B>(&self, mut response: Response<B>) -> Response<KeepaliveBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        let config = &*self.config;
        let chosen = response.extensions().get::<Idle>();
        let idle = chosen.map_or(config.idle, |chosen| chosen.0);
        let takes_markers = self.asks && promise::is_protobuf_call(response.headers());
        let filler = if idle.is_zero() || !self.may_be_filled(&response) {
            None
        } else if takes_markers {
            Some(Grpc::marker().into_any())
        } else {
            config.filler(response.headers(), self.is_accepted_call)
        };
        if idle.is_zero() || filler.is_some() {
            // The decision is made, also for a layer outside of this one.
            response.extensions_mut().insert(Idle(Duration::ZERO));
        }
        let Some(filler) = filler else {
            return response.map(KeepaliveBody::unfilled);
        };

        if takes_markers {
            promise::promise(response.headers_mut(), idle);
        }
        if self.nginx_header {
            let header = response.headers_mut().entry(X_ACCEL_BUFFERING);
            header.or_insert(HeaderValue::from_static("no"));
        }
        let idle = if config.spread {
            config.spread(idle)
        } else {
            idle
        };
        let timer = IdleTimer::new(config.timers.as_ref());
        let immediate = config.immediate;
        response.map(|body| KeepaliveBody::filled(body, idle, filler, timer, immediate))
    }

    /// Returns whether keepalives may be added to the body, whatever its content type is.
    fn may_be_filled<B: Body>(&self, response: &Response<B>) -> bool {
        let body = response.body();
        let may_grow = !body.is_end_stream() && body.size_hint().exact().is_none();
        self.may_have_body && may_grow && !head_fixes_bytes(response.status(), response.headers())
    }
}

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The headers that hold only for the bytes that the handler sends.
const FIXING: [HeaderName; 7] = [
    CONTENT_LENGTH,
    CONTENT_RANGE,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
    // The call has ended without a message.
    HeaderName::from_static("grpc-status"),
];

/// Returns whether the head of a response says which bytes its body has, so that others may not be added.
fn head_fixes_bytes(status: StatusCode, headers: &HeaderMap) -> bool {
    // A 205 must not have a body either (RFC 9110, section 15.3.6), and a keepalive would be one.
    let is_fixed_by_status = status.is_informational()
        || matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        );
    is_fixed_by_status
        || FIXING.iter().any(|name| headers.contains_key(name))
        || has_coding(headers, &CONTENT_ENCODING, &["identity", "none"])
        || has_coding(headers, &TRANSFER_ENCODING, &["chunked"])
}

/// Returns whether this header names a coding that is not one of the harmless ones.
fn has_coding(headers: &HeaderMap, name: &HeaderName, harmless: &[&str]) -> bool {
    let is_harmless = |coding: &str| {
        let coding = coding.trim();
        harmless
            .iter()
            .any(|name| name.eq_ignore_ascii_case(coding))
    };
    let mut values = headers.get_all(name).iter();
    values.any(|value| {
        !value
            .to_str()
            .is_ok_and(|codings| codings.split(',').all(is_harmless))
    })
}
