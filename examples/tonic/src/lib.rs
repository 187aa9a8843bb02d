//! A gRPC service whose event streams outlive the idle timeouts of proxies.
//!
//! To read: [`events`] is the service, with the one line that keeps its streams alive;
//! `subscription.rs` and `logged.rs` are the streams below and above that line. Then
//! `bin/server.rs`, `bin/client.rs` and `bin/demo`.

pub mod events;
mod logged;
pub mod proto;
mod subscription;
