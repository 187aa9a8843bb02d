//! Runs the tonic example behind real proxies: child processes on loopback, which end with the value
//! that stands for them, on panic too.

pub mod apache;
pub mod caddy;
pub mod client;
pub mod envoy;
pub mod example;
pub mod haproxy;
pub mod nginx;
pub mod process;
pub mod proxy;
pub mod server;
pub mod setup;
pub mod trial;
