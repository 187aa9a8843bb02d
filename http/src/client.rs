//! Asks for keepalives in gRPC calls, removes them, and ends calls that receive nothing more.

mod body;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body::Body;
use pin_project_lite::pin_project;
use stream_keepalive::{IdleTimeout, SharedTimers};
use tower_layer::Layer;
use tower_service::Service;

pub use self::body::GrpcClientBody;
use crate::{framing::StripMarkers, promise, timer::IdleTimer};

/// A [`Layer`] for gRPC clients. The server keeps their calls alive, and users of the client see no keepalives.
///
/// The layer does three things:
///
/// - It asks for keepalives, with the header `stream-keepalive: 1`. A server with
///   [`KeepaliveLayer`](crate::KeepaliveLayer) promises them with its idle time. Other servers ignore the
///   header.
/// - It removes the keepalives below the decoder, so unary calls, interceptors and limits on the size of a
///   message work as before.
/// - It ends a call with `UNAVAILABLE`, and resets its stream, if the server has promised keepalives and the
///   call has received nothing for three times the server's idle time, and for a second at least. A server that
///   has promised none is never cut off, unless you set an [`idle_timeout`](Self::idle_timeout).
///
/// Only the time during which the consumer waits for a message counts as idle. A consumer that does not read
/// does not end its call.
///
/// Put the layer around a channel of tonic, or any other service that sends requests. Requests of other
/// content types than `application/grpc` and `application/grpc+proto` pass unchanged.
///
/// The layer can be around `GrpcWebClientLayer` of tonic-web, which translates calls to gRPC-Web. It
/// returns only whole messages, so a call ends if a large message takes longer than three idle times to arrive.
///
/// # Example
///
/// ```
/// use stream_keepalive_http::GrpcClientLayer;
/// use tonic::transport::Channel;
/// use tower::ServiceBuilder;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let channel = Channel::from_static("http://127.0.0.1:50051").connect_lazy();
/// let channel = ServiceBuilder::new().layer(GrpcClientLayer::new()).service(channel);
/// let client = tonic::client::Grpc::new(channel); // or a generated client
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct GrpcClientLayer {
    settings: Settings,
}

#[derive(Clone, Debug, Default)]
struct Settings {
    idle_timeout: Duration,
    timers: Option<SharedTimers>,
}

impl Settings {
    fn timer(&self) -> IdleTimer {
        IdleTimer::new(self.timers.as_ref())
    }
}

impl GrpcClientLayer {
    /// Creates a layer that only ends calls whose server sends keepalives.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also ends a call with `UNAVAILABLE` if its server has promised no keepalives and the call has received
    /// nothing for `idle`.
    ///
    /// The wait for the response head counts too, for every server. The head of a call with one response comes
    /// with its message, so `idle` has to be longer than your slowest unary call and your longest upload.
    ///
    /// A response of another content type is limited too, such as the error page of a proxy.
    ///
    /// [`Duration::ZERO`] turns this off, which is the default.
    ///
    /// # Example
    ///
    /// ```
    /// # use {std::time::Duration, stream_keepalive_http::GrpcClientLayer};
    /// let layer = GrpcClientLayer::new().idle_timeout(Duration::from_secs(300));
    /// ```
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.settings.idle_timeout = idle;
        self
    }

    /// Takes the timer of each call from `timers`.
    ///
    /// Use it in a client with many calls that are idle. [`SharedTimers`] explains what this saves and costs.
    ///
    /// # Example
    ///
    /// ```
    /// use stream_keepalive::SharedTimers;
    /// use stream_keepalive_http::GrpcClientLayer;
    ///
    /// let timers = SharedTimers::new(); // one for each runtime
    /// let layer = GrpcClientLayer::new().timers(timers);
    /// ```
    pub fn timers(mut self, timers: SharedTimers) -> Self {
        self.settings.timers = Some(timers);
        self
    }
}

impl<S> Layer<S> for GrpcClientLayer {
    type Service = GrpcClientService<S>;

    fn layer(&self, inner: S) -> GrpcClientService<S> {
        GrpcClientService {
            inner,
            settings: self.settings.clone(),
        }
    }
}

/// The service that [`GrpcClientLayer`] creates.
///
/// # Example
///
/// ```
/// use stream_keepalive_http::GrpcClientService;
/// use tonic::{client::Grpc, transport::Channel};
///
/// struct Client {
///     grpc: Grpc<GrpcClientService<Channel>>,
/// }
/// ```
#[derive(Clone, Debug)]
pub struct GrpcClientService<S> {
    inner: S,
    settings: Settings,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for GrpcClientService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<GrpcClientBody<ResBody>>;
    type Error = S::Error;
    type Future = GrpcClientFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> GrpcClientFuture<S::Future> {
        let asks = promise::is_protobuf_call(request.headers());
        let idle_timeout = if asks {
            promise::ask(request.headers_mut());
            self.settings.idle_timeout
        } else {
            Duration::ZERO
        };
        let head = Once {
            future: Some(self.inner.call(request)),
        };
        GrpcClientFuture {
            head: IdleTimeout::new(head, idle_timeout).with_timer(self.settings.timer()),
            settings: self.settings.clone(),
            asks,
        }
    }
}

pin_project! {
    /// The future that [`GrpcClientService`] returns.
    #[must_use = "futures do nothing unless polled"]
    pub struct GrpcClientFuture<F>
    where
        F: Future,
    {
        #[pin]
        head: IdleTimeout<Once<F>, fn() -> F::Output, IdleTimer>,
        settings: Settings,
        asks: bool,
    }
}

impl<F, E, B> Future for GrpcClientFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<GrpcClientBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let idle_timeout = this.head.idle();
        let Some(response) = ready!(this.head.poll_next(cx)) else {
            return Poll::Ready(Ok(unavailable_head(idle_timeout)));
        };
        Poll::Ready(response.map(|mut response| {
            let (mut limit, mut markers) = (idle_timeout, None);
            if *this.asks && promise::may_hold_markers(response.headers()) {
                markers = Some(StripMarkers::new());
                if let Some(idle) = promise::take_promise(response.headers_mut()) {
                    limit = SHORTEST.max(MISSED * idle);
                }
            }
            if markers.is_none() && limit.is_zero() {
                return response.map(GrpcClientBody::unchanged);
            }
            let timer = this.settings.timer();
            response.map(|body| GrpcClientBody::limited(body, limit, timer, markers))
        }))
    }
}

impl<F: Future> fmt::Debug for GrpcClientFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcClientFuture").finish_non_exhaustive()
    }
}

/// How many idle times of the server may pass without a byte. A keepalive may be late on a bad network, but
/// two missing keepalives in a row mean that the server is gone.
const MISSED: u32 = 3;

/// The shortest limit that a promise sets. A lost packet alone can take that long to be sent again.
const SHORTEST: Duration = Duration::from_secs(1);

/// A response that has ended with `UNAVAILABLE`.
fn unavailable_head<B: Body<Data = Bytes>>(idle: Duration) -> Response<GrpcClientBody<B>> {
    let mut response = Response::new(GrpcClientBody::default());
    *response.headers_mut() = unavailable(idle);
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// The status of a call that has received nothing for `idle`, as headers or trailers.
fn unavailable(idle: Duration) -> HeaderMap {
    // In whole milliseconds, the duration needs no `µ`, which would have to be percent-encoded.
    let idle = Duration::from_millis(promise::millis(idle));
    let message = HeaderValue::try_from(format!("nothing received for {idle:?}"));
    let mut status = HeaderMap::with_capacity(3);
    status.insert("grpc-status", HeaderValue::from_static("14"));
    status.insert("grpc-message", message.expect("it is ASCII"));
    status
}

pin_project! {
    /// A future as a stream of one item, so that an idle timeout can limit it.
    struct Once<F> {
        #[pin]
        future: Option<F>,
    }
}

impl<F: Future> Stream for Once<F> {
    type Item = F::Output;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let mut future = self.project().future;
        let Some(running) = future.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let output = ready!(running.poll(cx));
        future.set(None);
        Poll::Ready(Some(output))
    }
}
