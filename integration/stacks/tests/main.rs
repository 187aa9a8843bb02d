//! The layer in real servers, over real connections.

mod axum_responses;
mod backpressure;
mod compression;
mod connect;
mod connection_age;
mod empty_chunks;
mod graceful_shutdown;
mod grpc_layers;
mod grpc_web;
mod heads;
mod many_streams;
mod mcp;
mod relay;
mod support;
mod timeouts;
mod tonic_server;
mod tower_http_layers;
mod websocket;
