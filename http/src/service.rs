use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    KeepaliveBody,
    plan::{Config, Plan},
};

/// The service that [`KeepaliveLayer`](crate::KeepaliveLayer) creates.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use axum::Router;
/// use stream_keepalive_http::{KeepaliveLayer, KeepaliveService};
/// use tower::Layer;
///
/// let layer = KeepaliveLayer::new(Duration::from_secs(20));
/// let app: KeepaliveService<Router> = layer.layer(Router::new());
/// ```
#[derive(Clone, Debug)]
pub struct KeepaliveService<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> KeepaliveService<S> {
    pub(crate) fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for KeepaliveService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<KeepaliveBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> ResponseFuture<S::Future> {
        let (mut head, body) = request.into_parts();
        let plan = Plan::new(&self.config, &mut head);
        ResponseFuture {
            inner: self.inner.call(Request::from_parts(head, body)),
            plan,
        }
    }
}

pin_project! {
    /// The future that [`KeepaliveService`] returns.
    ///
    /// # Example
    ///
    /// ```
    /// use axum::{body::Body, routing::future::RouteFuture};
    /// use std::convert::Infallible;
    /// use stream_keepalive_http::ResponseFuture;
    ///
    /// type Future = ResponseFuture<RouteFuture<Infallible>>;
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        plan: Plan,
    }
}

impl<F, E, B> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<KeepaliveBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx));
        Poll::Ready(response.map(|response| this.plan.carry_out(response)))
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
