//! Keeps the streaming responses of an HTTP server alive through proxies.
//!
//! Proxies and load balancers close a response that has sent nothing for a while, often for 60 seconds.
//! [`KeepaliveLayer`] inserts a keepalive whenever a response has been idle for a given time. It is a tower
//! layer, so your handlers do not change.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use axum::{Router, response::sse::{Event, Sse}, routing::get};
//! use futures::stream;
//! use stream_keepalive_http::KeepaliveLayer;
//!
//! let events = async || Sse::new(stream::pending::<Result<Event, axum::Error>>());
//! let app: Router = Router::new()
//!     .route("/events", get(events))
//!     .layer(KeepaliveLayer::new(Duration::from_secs(20)));
//! ```
//!
//! Set the idle time to at most half of the shortest proxy timeout. If that is the usual 60 seconds, use 20
//! seconds.
//!
//! # Which responses get keepalives
//!
//! | content type | when | keepalive |
//! |---|---|---|
//! | `text/event-stream` | always | the comment `:\n\n`, or other bytes with [`sse`](KeepaliveLayer::sse) |
//! | lines of JSON: `application/x-ndjson`, `ndjson`, `jsonl`, `x-jsonl`, `jsonlines`, `x-jsonlines`, `json-lines`, `jsonstream`, `x-json-stream` or `stream+json`, `text/x-ndjson`, and every `+ndjson` | with [`ndjson`](KeepaliveLayer::ndjson) | the bytes that you pass, usually `"\n"` |
//! | `application/grpc` or `grpc+proto` | if the client asks for it, as [`GrpcClientLayer`] does | a message that the layer of the client removes |
//! | `application/grpc`, `grpc+proto`, `grpc-web`, `grpc-web+proto` or `connect+proto` | with [`grpc`](KeepaliveLayer::grpc), if it accepts the call | an empty message |
//! | `application/connect+json` | the same | the message `{}` |
//! | any other | with [`format`](KeepaliveLayer::format) | that of your filler |
//!
//! A keepalive is never inserted into the middle of an event, a line or a message. [`framing`] explains how
//! this works. [`KeepaliveLayer`](KeepaliveLayer#which-responses-are-left-unchanged) lists the responses
//! that are left unchanged.
//!
//! # The order of layers
//!
//! In axum, the last `.layer(..)` is the outermost one. In tonic's `Server::builder()`, it is the first one.
//!
//! | other layer | where to put [`KeepaliveLayer`] | what happens if it is outside |
//! |---|---|---|
//! | `GrpcWebLayer` of tonic-web | inside | calls in base64, `application/grpc-web-text`, and clients that ask for keepalives get none |
//! | `CompressionLayer` of tower-http | inside | compressed bodies get no keepalives; event streams are not compressed by default, so for them both orders work |
//! | `ResponseBodyTimeoutLayer` of tower-http | inside | the timeout does not see the keepalives and ends the body |
//!
//! The other layers of tower-http can be on either side. If there are two layers of keepalives, the inner one
//! decides ([`Idle`]).
//!
//! # Clients
//!
//! Most clients drop comments in their parser. In a client, put an idle timeout below the parser, on the
//! bytes. If scripts in a browser have to see the keepalives, send an event with
//! [`sse`](KeepaliveLayer::sse). Give it JSON data, because some clients parse the data of every event as
//! JSON.
//!
//! A gRPC client with [`GrpcClientLayer`] does not see the keepalives, and detects a dead server.
//! [`grpc`](KeepaliveLayer::grpc) says what other gRPC clients get.
//!
//! # One response, one route
//!
//! A response chooses its own idle time with the extension [`Idle`], and so does a route with a layer of its
//! own. The innermost layer decides, and zero turns keepalives off:
//!
//! ```
//! use std::time::Duration;
//! use axum::{Extension, Router, response::sse::{Event, Sse}, routing::get};
//! use futures::stream;
//! use stream_keepalive_http::{Idle, KeepaliveLayer};
//!
//! let events = || Sse::new(stream::pending::<Result<Event, axum::Error>>());
//! let rare = async move || (Extension(Idle(Duration::from_secs(50))), events());
//! let never = async move || events();
//! let app: Router = Router::new()
//!     .route("/rare", get(rare))
//!     .route("/never", get(never).layer(KeepaliveLayer::new(Duration::ZERO)))
//!     .layer(KeepaliveLayer::new(Duration::from_secs(20)));
//! ```
//!
//! # Many streams, slow clients
//!
//! Clients that use the crate `h2` 0.4.16 or later, such as hyper, reqwest and tonic, treat many small frames
//! that have not been read yet as an attack. They then close the HTTP/2 connection with all its streams. If
//! responses begin at the same time, or send the same event, their keepalives would all come at the same time.
//! The layer therefore gives each body an idle time between three quarters of `idle` and `idle`.
//!
//! If a client does not read, its keepalives pile up, and such a client closes the connection in the end. The
//! page docs/proxies.md of the repository has the figures.
//!
//! # Shutdown
//!
//! A graceful shutdown waits for open responses, and a response that is kept alive does not end by itself. End
//! your streams when the shutdown begins, for example with `take_until(token.cancelled_owned())`.
//!
//! # Features
//!
//! - `tokio`, on by default: the layers. Without it, the crate consists of [`framing`], and builds for
//!   wasm32-unknown-unknown.
//!
//! # Runtimes
//!
//! The layer needs Tokio with the time driver enabled. If a server holds ten thousand idle responses or
//! more, pass [`SharedTimers`] to [`timers`](KeepaliveLayer::timers).
//!
//! # Body types
//!
//! The data type of the body must be [`Bytes`](https://docs.rs/bytes/1/bytes/struct.Bytes.html), as in axum,
//! tonic, hyper, reqwest and tower-http.
//!
//! # Streams that are not responses
//!
//! [`framing`] contains the fillers that make the keepalives. They also work without the layer, with any
//! stream of bytes. The crate [`stream-keepalive`] inserts keepalives into any other stream, and ends streams
//! that have been idle for too long.
//!
//! # Minimum Rust version
//!
//! This crate needs Rust 1.85. A minor release may raise the minimum; a patch release does not.
//!
//! [`stream-keepalive`]: https://docs.rs/stream-keepalive
//! [`SharedTimers`]: https://docs.rs/stream-keepalive/latest/stream_keepalive/struct.SharedTimers.html
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "tokio")]
mod body;
#[cfg(feature = "tokio")]
mod client;
#[cfg(feature = "tokio")]
mod frames;
pub mod framing;
#[cfg(feature = "tokio")]
mod layer;
#[cfg(feature = "tokio")]
mod plan;
#[cfg(feature = "tokio")]
mod promise;
#[cfg(feature = "tokio")]
mod service;
#[cfg(feature = "tokio")]
mod timer;

#[cfg(feature = "tokio")]
pub use crate::{
    body::KeepaliveBody,
    client::{GrpcClientBody, GrpcClientFuture, GrpcClientLayer, GrpcClientService},
    layer::{Idle, KeepaliveLayer},
    service::{KeepaliveService, ResponseFuture},
};

#[cfg(all(feature = "tokio", target_arch = "wasm32", target_os = "unknown"))]
compile_error!(
    "on wasm32-unknown-unknown, use stream-keepalive-http with `default-features = false`"
);

// Compiles and runs the code of the README.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
mod readme {}
