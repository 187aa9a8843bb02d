//! Decides which responses are filled, that is, get keepalives, and which keepalives.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body::Body;
use stream_keepalive::{SharedTimers, TokioTimer};

use crate::{
    KeepaliveBody,
    body::Filler,
    framing::{Grpc, Lines, Sse},
    timer::IdleTimer,
};

#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) idle: Duration,
    pub(crate) immediate: bool,
    pub(crate) sse: Sse,
    pub(crate) lines: Option<Lines>,
    pub(crate) grpc: Option<Paths>,
    pub(crate) timers: Option<SharedTimers>,
}

impl Config {
    fn timer(&self) -> IdleTimer {
        match &self.timers {
            Some(timers) => IdleTimer::Shared(timers.timer()),
            None => IdleTimer::Own(TokioTimer::new()),
        }
    }
}

/// Decides which gRPC calls are filled, by their path.
#[derive(Clone)]
pub(crate) struct Paths(pub(crate) Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl fmt::Debug for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Paths").finish_non_exhaustive()
    }
}

/// What the request says about its response.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    /// Leave the response unchanged: `idle` is zero, or the request is `HEAD` or `CONNECT`.
    Leave,
    Fill {
        config: Arc<Config>,
        grpc: bool,
    },
}

impl Plan {
    pub(crate) fn new<B>(config: &Arc<Config>, request: &Request<B>) -> Self {
        if config.idle.is_zero() || matches!(*request.method(), Method::HEAD | Method::CONNECT) {
            return Self::Leave;
        }
        let grpc = config.grpc.as_ref().is_some_and(|Paths(accept)| {
            Format::of(request.headers()) == Some(Format::Grpc) && accept(request.uri().path())
        });
        Self::Fill {
            config: config.clone(),
            grpc,
        }
    }

    pub(crate) fn carry_out<B>(&self, response: Response<B>) -> Response<KeepaliveBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        match self {
            Self::Fill { config, grpc } if may_be_filled(&response) => {
                let filler = match Format::of(response.headers()) {
                    Some(Format::Sse) => Some(Filler::Sse(config.sse.clone())),
                    Some(Format::Lines) => config.lines.clone().map(Filler::Lines),
                    Some(Format::Grpc) => grpc.then(|| Filler::Grpc(Grpc::new())),
                    None => None,
                };
                response.map(|body| match filler {
                    Some(filler) => {
                        let timer = config.timer();
                        KeepaliveBody::filled(body, config.idle, filler, timer, config.immediate)
                    }
                    None => KeepaliveBody::unfilled(body),
                })
            }
            _ => response.map(KeepaliveBody::unfilled),
        }
    }
}

/// Returns whether the body may be filled, whatever its content type is.
fn may_be_filled<B: Body>(response: &Response<B>) -> bool {
    let (status, headers, body) = (response.status(), response.headers(), response.body());
    let is_empty = matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    );
    let has_content = !status.is_informational() && !is_empty;
    let has_length = headers.contains_key(CONTENT_LENGTH) || body.size_hint().exact().is_some();
    has_content && !has_length && !body.is_end_stream() && !is_encoded(headers)
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// A format that has a filler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Sse,
    Lines,
    Grpc,
}

const FORMATS: [(&str, Format); 7] = [
    ("text/event-stream", Format::Sse),
    ("application/x-ndjson", Format::Lines),
    ("application/ndjson", Format::Lines),
    ("application/jsonl", Format::Lines),
    ("application/x-jsonlines", Format::Lines),
    ("application/grpc", Format::Grpc),
    ("application/grpc+proto", Format::Grpc),
];

impl Format {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        // Drop parameters such as `charset`.
        let essence = content_type.split(';').next()?.trim();
        let mut formats = FORMATS.iter();
        let (_, format) = formats.find(|(name, _)| name.eq_ignore_ascii_case(essence))?;
        Some(*format)
    }
}
