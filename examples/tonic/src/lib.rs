//! A gRPC service whose event streams outlive the idle timeouts of proxies.
//!
//! Start with [`events`]: it is the service, with the one line that keeps its streams alive.
//! `subscription.rs` and `logged.rs` are the streams below and above that line. The programs are
//! `bin/server.rs`, `bin/client.rs` and `bin/demo`.

pub mod cli;
pub mod events;
mod logged;
pub mod proto;
mod subscription;
