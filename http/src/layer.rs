use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use stream_keepalive::SharedTimers;
use tower_layer::Layer;

use crate::{
    KeepaliveService,
    config::{Config, Paths},
    framing::{Lines, Sse},
};

/// A [`Layer`] that inserts keepalives into the streaming responses of a server.
///
/// # What is filled
///
/// A new layer fills server-sent events (`text/event-stream`) with the comment `:\n\n`. It also fills
/// lines if [`ndjson`](Self::ndjson) asks for it, and gRPC calls if [`grpc`](Self::grpc) does.
///
/// A keepalive goes out whenever the body has had nothing to send for `idle`, but never inside a
/// frame. See [`framing`](crate::framing) for what a frame is, and
/// [`Keepalive`](stream_keepalive::Keepalive) for how the idle time is counted. After an error, the
/// trailers or the end, no keepalive goes out.
///
/// # What is left alone
///
/// The layer leaves a response exactly as it is, its headers and its size hint included, if
///
/// - the request was `HEAD` or `CONNECT`,
/// - the status is 1xx, 204 or 304,
/// - the body has ended, or its exact size is known,
/// - there is a `content-length`,
/// - there is a `content-encoding` other than `identity`, or
/// - the content type is none of those above. `application/grpc-web` is not `application/grpc`: put
///   this layer inside `GrpcWebLayer`.
///
/// [`Duration::ZERO`] turns keepalives off.
///
/// # Example
///
/// ```
/// use std::{convert::Infallible, time::Duration};
/// use axum::{Router, response::sse::{Event, Sse}, routing::get};
/// use futures::stream::{self, Stream};
/// use stream_keepalive_http::KeepaliveLayer;
///
/// async fn events() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
///     Sse::new(stream::pending())
/// }
///
/// let app: Router = Router::new()
///     .route("/events", get(events))
///     .layer(KeepaliveLayer::new(Duration::from_secs(20)));
/// ```
#[derive(Clone, Debug)]
pub struct KeepaliveLayer {
    /// Shared, since each request takes it along.
    config: Arc<Config>,
}

impl KeepaliveLayer {
    /// Makes a layer that fills server-sent events with the comment `:\n\n`.
    ///
    /// # Example
    ///
    /// ```
    /// # use {std::time::Duration, stream_keepalive_http::KeepaliveLayer};
    /// let layer = KeepaliveLayer::new(Duration::from_secs(20));
    /// ```
    pub fn new(idle: Duration) -> Self {
        Self {
            config: Arc::new(Config {
                idle,
                immediate: false,
                sse: Sse::comment(),
                lines: None,
                grpc: None,
                timers: None,
            }),
        }
    }

    /// Sends other bytes to clients of server-sent events: one or more whole events or comments.
    ///
    /// Clients drop comments. An event of your own reaches the scripts of a page, which can then tell
    /// that the connection is alive.
    ///
    /// # Panics
    ///
    /// Panics if the bytes are empty or end inside of an event, as [`framing::Sse::new`] does.
    ///
    /// [`framing::Sse::new`]: crate::framing::Sse::new
    ///
    /// # Example
    ///
    /// ```
    /// # use {std::time::Duration, stream_keepalive_http::KeepaliveLayer};
    /// let layer = KeepaliveLayer::new(Duration::from_secs(20)).sse("event: keepalive\ndata:\n\n");
    /// ```
    #[track_caller]
    pub fn sse(self, keepalive: impl Into<Bytes>) -> Self {
        let sse = Sse::new(keepalive);
        self.with(|config| config.sse = sse)
    }

    /// Also fills lines of JSON: one or more whole lines.
    ///
    /// It fills the content types `application/x-ndjson`, `application/ndjson`, `application/jsonl`
    /// and `application/x-jsonlines`. Many readers skip an empty line, `"\n"`. For one that does not,
    /// send a line of your own.
    ///
    /// # Panics
    ///
    /// Panics if the bytes are empty or end inside of a line, as [`framing::Lines::new`] does.
    ///
    /// [`framing::Lines::new`]: crate::framing::Lines::new
    ///
    /// # Example
    ///
    /// ```
    /// # use {std::time::Duration, stream_keepalive_http::KeepaliveLayer};
    /// let layer = KeepaliveLayer::new(Duration::from_secs(20)).ndjson("\n");
    /// ```
    #[track_caller]
    pub fn ndjson(self, keepalive: impl Into<Bytes>) -> Self {
        let lines = Lines::new(keepalive);
        self.with(|config| config.lines = Some(lines))
    }

    /// Also fills the gRPC calls whose path is accepted, with an empty message.
    ///
    /// An empty message is the default value of every protobuf message, and the client gets it as one
    /// more item of the stream. Accept only calls that stream, and whose clients expect such an item: a
    /// unary call has exactly one message.
    ///
    /// The path is that of the request as this layer sees it, such as `"/events.v1.Events/Watch"`. It
    /// is asked for requests with the content type `application/grpc` or `application/grpc+proto`.
    ///
    /// # Example
    ///
    /// ```
    /// # use {std::time::Duration, stream_keepalive_http::KeepaliveLayer};
    /// let layer = KeepaliveLayer::new(Duration::from_secs(20))
    ///     .grpc(|path| path == "/events.v1.Events/Watch");
    /// ```
    pub fn grpc(self, accept: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.with(|config| config.grpc = Some(Paths(Arc::new(accept))))
    }

    /// Sends a keepalive at once if a body has nothing to send when it is first polled.
    ///
    /// The client then gets the head of the response at once, even through a proxy that holds it back
    /// until the first bytes of the body.
    ///
    /// # Example
    ///
    /// ```
    /// # use {std::time::Duration, stream_keepalive_http::KeepaliveLayer};
    /// let layer = KeepaliveLayer::new(Duration::from_secs(20)).immediate();
    /// ```
    pub fn immediate(self) -> Self {
        self.with(|config| config.immediate = true)
    }

    /// Takes the timers of all bodies from `timers`.
    ///
    /// Use it in a server that holds many idle responses open: a timer that is shared costs less CPU
    /// per keepalive. See [`SharedTimers`] for when it pays.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use stream_keepalive::SharedTimers;
    /// use stream_keepalive_http::KeepaliveLayer;
    ///
    /// let timers = SharedTimers::new(); // one for each runtime
    /// let layer = KeepaliveLayer::new(Duration::from_secs(20)).timers(timers);
    /// ```
    pub fn timers(self, timers: SharedTimers) -> Self {
        self.with(|config| config.timers = Some(timers))
    }

    fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }
}

impl<S> Layer<S> for KeepaliveLayer {
    type Service = KeepaliveService<S>;

    fn layer(&self, inner: S) -> KeepaliveService<S> {
        KeepaliveService::new(inner, self.config.clone())
    }
}
