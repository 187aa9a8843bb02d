//! Calls of tonic through the layers of the server and of the client, over HTTP/2 in memory.

mod calls;
mod dead_server;
mod network;
mod service;
mod versions;

use std::time::Duration;

use stream_keepalive_http::KeepaliveLayer;
use tonic::Code;

use crate::{
    network::Network,
    service::{Client, Scripted},
};

const IDLE: Duration = Duration::from_secs(20);

/// The time after which a call ends if it receives nothing.
const LIMIT: Duration = Duration::from_secs(60);

fn layer() -> KeepaliveLayer {
    KeepaliveLayer::new(IDLE)
}

/// A server with the layer.
fn server() -> Network {
    Network::new(Some(layer()), Scripted::default())
}

fn words(words: &str) -> Vec<String> {
    words.split_whitespace().map(str::to_owned).collect()
}

#[track_caller]
fn assert_unavailable(status: Result<(), tonic::Status>) {
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "nothing received for 60s");
}
