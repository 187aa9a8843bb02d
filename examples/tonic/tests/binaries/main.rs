//! Runs the binaries as a user does: with real processes, real ports and real signals.

mod bad_input;
mod client;
mod demo;
mod grpc_web;
mod invisible;
mod older_client;
mod process;
mod server;
#[cfg(unix)]
mod stop;
mod subscriber;
