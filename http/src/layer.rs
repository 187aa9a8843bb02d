use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::request;
use stream_keepalive::SharedTimers;
use tower_layer::Layer;

use crate::{
    KeepaliveService,
    framing::{Framed, Framing, Lines, Sse},
    plan::{Config, EVENTS, LINES},
};

/// A [`Layer`] that inserts keepalives into the streaming responses of a server.
///
/// [The page of this crate](crate#which-responses-get-keepalives) lists the content types.
///
/// A keepalive is inserted whenever the body has been idle for `idle`, but never into the middle of a
/// [frame](crate::framing). No keepalive follows an error, the trailers or the end of a body. [`Keepalive`]
/// states the other rules.
///
/// The idle time of each body is in the last quarter below `idle`, so that the keepalives of many responses do
/// not all come at the same time. [The page of this crate](crate#many-streams-slow-clients) says why.
///
/// A gRPC client with [`GrpcClientLayer`](crate::GrpcClientLayer) asks for keepalives that nobody sees, and gets
/// them without a setting.
///
/// [`Duration::ZERO`] turns the layer off.
///
/// # Which responses are left unchanged
///
/// The layer leaves a response unchanged, including its headers and size hint, if
///
/// - the request is `HEAD` or `CONNECT`,
/// - the status is 1xx, 204, 205, 206 or 304,
/// - the body has ended, or its exact size is known,
/// - a header holds for certain bytes only: `content-length`, `content-range`, `content-digest`, `repr-digest`,
///   `digest`, `content-md5`, or a `grpc-status`, which says that the call has ended,
/// - there is a `content-encoding` other than `identity` and `none`, or a `transfer-encoding` other than
///   `chunked`,
/// - the content type is not listed, or there are two that differ, or
/// - an inner `KeepaliveLayer` has decided, or the response [turns keepalives off](Idle).
///
/// # What else changes in a response that gets keepalives
///
/// - Empty data frames are dropped. They send nothing over HTTP/1.1, so a proxy does not count them. Clients
///   that use the crate `h2` close a connection on which more than 100 of them have come.
/// - The header `x-accel-buffering: no` is added, if there is no `x-accel-buffering`. Without it, nginx with
///   its buffer on holds the keepalives back. Calls of gRPC over HTTP/2 do not get it, because nginx does not
///   buffer what `grpc_pass` passes on.
/// - The size hint has no upper bound.
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
            config: Arc::new(Config::new(idle)),
        }
    }

    /// Inserts `keepalive` into server-sent events instead. It must be one or more whole events or comments.
    ///
    /// Most clients drop comments. Insert an event if the scripts of a page have to know that the connection
    /// is alive.
    ///
    /// # Panics
    ///
    /// Panics if `keepalive` is empty, begins with a byte-order mark, or ends in the middle of an event or a
    /// comment.
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
        self.with(|config| config.add(EVENTS, sse))
    }

    /// Also inserts `keepalive` into NDJSON. It must be one or more whole lines.
    ///
    /// Most readers skip an empty line, `"\n"`. If yours does not, insert a line that it accepts.
    ///
    /// If your server sends the LF of a line together with the next line, no keepalive is sent between them.
    ///
    /// [The page of this crate](crate#which-responses-get-keepalives) lists the content types. If your server
    /// sends lines under another one, such as `application/json` or `text/plain`, add it with
    /// [`format`](Self::format).
    ///
    /// # Panics
    ///
    /// Panics if `keepalive` is empty, begins with a byte-order mark, or does not end with LF.
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
        self.with(|config| config.add(LINES, lines))
    }

    /// Also inserts empty messages into calls of gRPC, gRPC-Web and Connect if `accept` returns `true` for the
    /// head of the request. If you use the method more than once, one closure that returns `true` is enough.
    ///
    /// An empty message is the default value of every proto3 message. The client gets it as one more
    /// item of the call. Only accept calls whose response is a stream, and whose clients expect such an item.
    /// A unary response must stay a single message. If the default value means something, as `UNKNOWN`
    /// does in `grpc.health.v1`, wrap the stream of messages with `stream-keepalive` instead.
    ///
    /// A client with [`GrpcClientLayer`](crate::GrpcClientLayer) gets keepalives that nobody sees instead, whether
    /// or not `accept` returns `true`.
    ///
    /// `accept` is called only if the content type of the request begins with `application/grpc` or
    /// `application/connect+`.
    ///
    /// Codecs other than protobuf have no default value. Connect with JSON gets `{}`. For any other codec, set
    /// the message with [`format`](Self::format) and [`Grpc::message`](crate::framing::Grpc::message).
    ///
    /// # Example
    ///
    /// ```
    /// # use {std::time::Duration, stream_keepalive_http::KeepaliveLayer};
    /// let layer = KeepaliveLayer::new(Duration::from_secs(20))
    ///     .grpc(|call| call.uri.path() == "/events.v1.Events/Watch")
    ///     .grpc(|call| call.headers.contains_key("x-expects-keepalives"));
    /// ```
    ///
    /// In a nested router of axum, a path has lost its prefix. The whole path is in the extensions:
    ///
    /// ```
    /// # use {std::time::Duration, axum::{Router, extract::OriginalUri}, stream_keepalive_http::KeepaliveLayer};
    /// let layer = KeepaliveLayer::new(Duration::from_secs(20)).grpc(|call| {
    ///     let whole = call.extensions.get::<OriginalUri>();
    ///     whole.is_some_and(|uri| uri.path() == "/api/events.v1.Events/Watch")
    /// });
    /// let app: Router = Router::new().nest("/api", Router::new().layer(layer));
    /// ```
    pub fn grpc(self, accept: impl Fn(&request::Parts) -> bool + Send + Sync + 'static) -> Self {
        self.with(|config| config.calls.add(accept))
    }

    /// Also inserts keepalives into responses of this content type, with a filler of your choice.
    ///
    /// A content type that begins with `+` stands for every one that ends with it, except those of calls. If you
    /// use the method more than once for a content type, the last call counts. [`Framing`] shows a format of your
    /// own.
    ///
    /// Content types of calls begin with `application/grpc` or `application/connect+`. Their filler is used only
    /// for calls that [`grpc`](Self::grpc) accepts, and whose clients do not have a
    /// [`GrpcClientLayer`](crate::GrpcClientLayer).
    ///
    /// # Example
    ///
    /// ```
    /// # use {std::time::Duration, stream_keepalive_http::KeepaliveLayer};
    /// use stream_keepalive_http::framing::{Grpc, Lines};
    ///
    /// let layer = KeepaliveLayer::new(Duration::from_secs(20))
    ///     .format("application/json", Lines::new("\n"))
    ///     .format("application/grpc+json", Grpc::message("{}"));
    /// ```
    pub fn format<F>(self, content_type: &str, filler: Framed<F>) -> Self
    where
        F: Framing + Clone + Send + Sync + 'static,
    {
        self.with(|config| config.add(&[content_type], filler))
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

    /// Gives each body exactly the idle time of the layer, or the one that its response chooses.
    ///
    /// Without this method, the idle times are spread evenly over the last quarter below that. [The page of this
    /// crate](crate#many-streams-slow-clients) says why. The spread also evens out the CPU time of a server.
    ///
    /// # Example
    ///
    /// ```
    /// # use {std::time::Duration, stream_keepalive_http::KeepaliveLayer};
    /// let layer = KeepaliveLayer::new(Duration::from_secs(20)).without_spread();
    /// ```
    pub fn without_spread(self) -> Self {
        self.with(|config| config.spread = false)
    }

    /// Does not add the header `x-accel-buffering: no` to the responses that get keepalives.
    ///
    /// # Example
    ///
    /// ```
    /// # use {std::time::Duration, stream_keepalive_http::KeepaliveLayer};
    /// let layer = KeepaliveLayer::new(Duration::from_secs(20)).without_nginx_header();
    /// ```
    pub fn without_nginx_header(self) -> Self {
        self.with(|config| config.nginx_header = false)
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

/// The idle time of a single response.
///
/// Put it into the extensions of a response to replace the idle time of the layer by a shorter or longer one.
/// [`Duration::ZERO`] turns keepalives off for this response.
///
/// A `KeepaliveLayer` around one route does the same for all responses of the route: if there are two layers,
/// the inner one decides. It then leaves `Idle(Duration::ZERO)` in the extensions, which turns the outer one off.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use axum::{Extension, response::{IntoResponse, sse::{Event, Sse}}};
/// use futures::stream;
/// use stream_keepalive_http::Idle;
///
/// async fn events() -> impl IntoResponse {
///     let events = stream::pending::<Result<Event, axum::Error>>();
///     (Extension(Idle(Duration::from_secs(5))), Sse::new(events))
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle(
    /// The idle time.
    pub Duration,
);
