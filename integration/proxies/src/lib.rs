//! Runs the examples behind real proxies, on loopback.
//!
//! To add a proxy, write a file such as `nginx.rs`, and add an entry to [`scenario::PROXIES`].

pub mod apache;
pub mod bun;
pub mod caddy;
pub mod client;
pub mod compression;
pub mod envoy;
pub mod example;
pub mod h2o;
pub mod half_open;
pub mod haproxy;
pub mod lighttpd;
#[cfg(target_os = "linux")]
pub mod network;
pub mod next;
pub mod nghttpx;
pub mod nginx;
pub mod node;
pub mod outcome;
pub mod proxy;
pub mod scenario;
pub mod squid;
pub mod traffic_server;
pub mod varnish;
