//! Each layer of tower-http compiles outside and inside of the layer, in axum, in tonic and in a `ServiceBuilder`.

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use futures::stream;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use tonic::transport::Server;
use tonic_health::server::health_reporter;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::{
    add_extension::AddExtensionLayer,
    auth::{AddAuthorizationLayer, AsyncRequireAuthorizationLayer},
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    cors::CorsLayer,
    decompression::{DecompressionLayer, RequestDecompressionLayer},
    follow_redirect::FollowRedirectLayer,
    limit::RequestBodyLimitLayer,
    map_request_body::MapRequestBodyLayer,
    map_response_body::MapResponseBodyLayer,
    metrics::InFlightRequestsLayer,
    normalize_path::NormalizePathLayer,
    on_early_drop::{EarlyDropsAsFailures, OnEarlyDropLayer},
    propagate_header::PropagateHeaderLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    sensitive_headers::{
        SetSensitiveHeadersLayer, SetSensitiveRequestHeadersLayer, SetSensitiveResponseHeadersLayer,
    },
    set_header::{
        SetRequestHeaderLayer, SetResponseHeaderLayer, request::SetMultipleRequestHeadersLayer,
        response::SetMultipleResponseHeadersLayer,
    },
    set_status::SetStatusLayer,
    timeout::{RequestBodyTimeoutLayer, ResponseBodyTimeoutLayer, TimeoutLayer},
    trace::{DefaultOnFailure, TraceLayer},
    validate_request::ValidateRequestHeaderLayer,
};

use crate::support::layer;

async fn handle<B>(_: Request<B>) -> Result<Response<Body>, Infallible> {
    let body = Body::from_stream(stream::iter([Ok::<_, Infallible>("data: 1\n\n")]));
    let response = Response::builder().header(header::CONTENT_TYPE, "text/event-stream");
    Ok(response.body(body).unwrap())
}

/// Sends a request through a service, and reads its response.
async fn answer<S, B>(service: S) -> (StatusCode, Bytes)
where
    S: Service<Request<Body>, Response = Response<B>, Error: std::fmt::Debug>,
    B: BodyExt<Error: std::fmt::Debug>,
{
    let request = Request::get("/").body(Body::empty()).unwrap();
    let (head, body) = service.oneshot(request).await.unwrap().into_parts();
    (head.status, body.collect().await.unwrap().to_bytes())
}

/// Sends a request through each layer, outside and inside of the layer of keepalives.
macro_rules! check {
    ($($layer:expr),* $(,)?) => {$(
        let expected = (StatusCode::OK, Bytes::from("data: 1\n\n"));
        let outside = ServiceBuilder::new().layer($layer).layer(layer());
        let outside = outside.service(service_fn(handle));
        assert_eq!(answer(outside).await, expected, stringify!($layer));
        let inside = ServiceBuilder::new().layer(layer()).layer($layer);
        let inside = inside.service(service_fn(handle));
        assert_eq!(answer(inside).await, expected, stringify!($layer));
    )*};
}

const NAME: HeaderName = header::USER_AGENT;

#[tokio::test]
async fn each_layer_compiles_outside_and_inside() {
    let second = Duration::from_secs(60);
    let value = HeaderValue::from_static("a");
    check!(
        AddExtensionLayer::new("extension"),
        AddAuthorizationLayer::bearer("token"),
        AsyncRequireAuthorizationLayer::new(async |request: Request<Body>| Ok::<_, Response<_>>(
            request
        )),
        CatchPanicLayer::new(),
        CompressionLayer::new(),
        CorsLayer::permissive(),
        DecompressionLayer::new(),
        RequestDecompressionLayer::new(),
        RequestBodyLimitLayer::new(1000),
        MapRequestBodyLayer::new(Body::new),
        MapResponseBodyLayer::new(Body::new),
        InFlightRequestsLayer::pair().0,
        NormalizePathLayer::trim_trailing_slash(),
        OnEarlyDropLayer::new(EarlyDropsAsFailures::new(DefaultOnFailure::default())),
        PropagateHeaderLayer::new(NAME),
        SetRequestIdLayer::x_request_id(MakeRequestUuid),
        PropagateRequestIdLayer::x_request_id(),
        SetSensitiveHeadersLayer::new([NAME]),
        SetSensitiveRequestHeadersLayer::new([NAME]),
        SetSensitiveResponseHeadersLayer::new([NAME]),
        SetRequestHeaderLayer::overriding(NAME, value.clone()),
        SetResponseHeaderLayer::overriding(NAME, value.clone()),
        SetMultipleRequestHeadersLayer::overriding(vec![(NAME, value.clone()).into()]),
        SetMultipleResponseHeadersLayer::overriding(vec![(NAME, value.clone()).into()]),
        FollowRedirectLayer::new(),
        SetStatusLayer::new(StatusCode::OK),
        TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, second),
        RequestBodyTimeoutLayer::new(second),
        ResponseBodyTimeoutLayer::new(second),
        TraceLayer::new_for_http(),
        ValidateRequestHeaderLayer::accept("text/event-stream"),
    );
}

#[test]
fn layers_that_answer_for_the_handler_compile_in_axum_and_in_tonic() {
    let layers = ServiceBuilder::new()
        .layer(CorsLayer::permissive())
        .layer(ValidateRequestHeaderLayer::accept("text/event-stream"))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            Duration::from_secs(60),
        ))
        .layer(layer());
    let route = get(async || "");
    let _app: Router = Router::new().route("/", route).layer(layers.clone());
    let (_reporter, health) = health_reporter();
    let _server = Server::builder().layer(layers).add_service(health);
}
