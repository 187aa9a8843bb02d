//! Serves the health service with keepalives, for a test that stops the process.

use std::{env, time::Duration};

use anyhow::Context;
use stream_keepalive_http::KeepaliveLayer;
use tokio::net::TcpListener;
use tonic::transport::{Server, server::TcpIncoming};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let idle = env::args().nth(1).context("pass the idle time")?;
    let idle: Duration = humantime::parse_duration(&idle)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    let (_reporter, health) = tonic_health::server::health_reporter();
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let mut server = Server::builder().layer(KeepaliveLayer::new(idle));
    server
        .add_service(health)
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}
