//! Runs the tonic example behind real proxies, on loopback.
//!
//! A new proxy is a file such as `nginx.rs`, and an entry in [`scenario::PROXIES`].

pub mod apache;
pub mod caddy;
pub mod client;
pub mod compression;
pub mod envoy;
pub mod example;
pub mod half_open;
pub mod haproxy;
pub mod nginx;
pub mod outcome;
pub mod proxy;
pub mod scenario;
