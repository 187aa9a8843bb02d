//! The binaries as a user runs them: real processes, real ports, real signals.

mod bad_input;
mod client;
mod demo;
mod grpc_web;
mod older_client;
mod process;
mod server;
#[cfg(unix)]
mod stop;
mod subscriber;
