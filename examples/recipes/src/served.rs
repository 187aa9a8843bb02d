//! Responses that tests read over a real connection.

use std::{io, net::Ipv4Addr};

use axum::{Router, body::Bytes};
use futures::{Stream, TryStreamExt};
use tokio::net::TcpListener;

/// Serves the app until the test ends, and returns the body of its response.
pub async fn body_of(app: Router) -> impl Stream<Item = io::Result<Bytes>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client.get(format!("http://{addr}")).send().await.unwrap();
    response.bytes_stream().map_err(io::Error::other)
}
