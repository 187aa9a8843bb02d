use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use stream_keepalive::SharedTimers;
use tower_layer::Layer;

use crate::{
    KeepaliveService,
    framing::{Lines, Sse},
    plan::{Config, Paths},
};

/// A [`Layer`] that inserts keepalives into the streaming responses of a server.
///
/// [The page of this crate](crate#which-responses-get-keepalives) lists the content types.
///
/// A keepalive is inserted whenever the body has been idle for `idle`, but never into the middle of a
/// [frame](crate::framing). No keepalive follows an error, the trailers or the end of a body. [`Keepalive`]
/// states the other rules.
///
/// [`Duration::ZERO`] turns the layer off.
///
/// # Which responses are left unchanged
///
/// The layer leaves a response unchanged, including its headers and size hint, if
///
/// - the request is `HEAD` or `CONNECT`,
/// - the status is 1xx, 204, 205 or 304,
/// - the body has ended, or its exact size is known,
/// - there is a `content-length`,
/// - there is a `content-encoding` other than `identity`, or
/// - the content type is not listed. `application/grpc-web` is not `application/grpc`, so put this layer
///   inside `GrpcWebLayer`.
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
///
/// [`Keepalive`]: https://docs.rs/stream-keepalive/latest/stream_keepalive/struct.Keepalive.html
#[derive(Clone, Debug)]
pub struct KeepaliveLayer {
    /// Shared, because each request keeps a reference to it.
    config: Arc<Config>,
}

impl KeepaliveLayer {
    /// Creates a layer that inserts the comment `:\n\n` into server-sent events.
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

    /// Inserts `keepalive` into server-sent events instead. It must be one or more whole events or comments.
    ///
    /// Most clients drop comments. Insert an event if the scripts of a page have to know that the connection
    /// is alive.
    ///
    /// # Panics
    ///
    /// Panics if `keepalive` is empty or ends in the middle of an event or a comment.
    ///
    /// # Example
    ///
    /// ```
    /// # use {std::time::Duration, stream_keepalive_http::KeepaliveLayer};
    /// let layer = KeepaliveLayer::new(Duration::from_secs(20)).sse("event: keepalive\ndata: {}\n\n");
    /// ```
    #[track_caller]
    pub fn sse(self, keepalive: impl Into<Bytes>) -> Self {
        let sse = Sse::new(keepalive);
        self.with(|config| config.sse = sse)
    }

    /// Also inserts `keepalive` into NDJSON. It must be one or more whole lines.
    ///
    /// Most readers skip an empty line, `"\n"`. If yours does not, insert a line that it accepts.
    ///
    /// # Panics
    ///
    /// Panics if `keepalive` is empty or does not end with LF.
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

    /// Also inserts empty messages into gRPC calls if `accept` returns `true` for their path.
    ///
    /// An empty message is the default value of every proto3 message. The client gets it as one more
    /// item of the call. Only accept streaming calls whose clients expect such an item, because a unary
    /// call must have exactly one message. If the default value means something, as `UNKNOWN` does in
    /// `grpc.health.v1`, wrap the stream of messages with `stream-keepalive` instead.
    ///
    /// The path is that of the request, such as `"/events.v1.Events/Watch"`. `accept` is called only for
    /// requests with the content type `application/grpc` or `application/grpc+proto`.
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

    /// Sends a keepalive immediately if a body has nothing to send when it is first polled.
    ///
    /// Some proxies hold the response headers back until the first bytes of the body. With this method the
    /// client gets the headers immediately.
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

    /// Takes the timer of each body from `timers`.
    ///
    /// Use it in a server that holds many idle responses. [`SharedTimers`] explains what this saves and
    /// costs.
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
