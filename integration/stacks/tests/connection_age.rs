//! How tonic's own limit on the age of a connection affects a call that is kept alive. It cuts the call off.

use std::{net::SocketAddr, time::Duration};

use programs::within;
use tokio::net::TcpListener;
use tonic::{
    Code, Status,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::{
    pb::HealthCheckRequest,
    server::{HealthReporter, health_reporter},
};

use crate::{
    support::{IDLE, layer},
    tonic_server::connect,
};

const AGE: Duration = IDLE.saturating_mul(4);
const GRACE: Duration = IDLE.saturating_mul(10);
/// Many more messages than are sent during the age and the grace period.
const MANY: usize = 60;

async fn serve(server: Server) -> (SocketAddr, HealthReporter) {
    let (reporter, health) = health_reporter();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let mut server = server.layer(layer().grpc(|_| true));
    let server = server.add_service(health).serve_with_incoming(incoming);
    tokio::spawn(server);
    (address, reporter)
}

/// Reads a call until it ends, or until it is far beyond the limit.
async fn follow(server: Server) -> Result<usize, Status> {
    let (server, _reporter) = serve(server).await;
    let mut client = connect(server).await;
    let call = client.watch(HealthCheckRequest::default()).await;
    let mut statuses = call.unwrap().into_inner();
    for _ in 0..MANY {
        let status = within(statuses.message()).await?;
        assert!(status.is_some(), "the call has ended cleanly");
    }
    Ok(MANY)
}

#[tokio::test]
async fn the_age_of_a_connection_does_not_end_a_call_cleanly() {
    // tonic 0.14.5 cuts the connection, because its task panics. If a later version lets the call continue, change
    // docs/recipes.md too.
    let status = follow(Server::builder().max_connection_age(AGE)).await;
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::Unknown, "{status}");
}

#[tokio::test]
async fn the_grace_period_after_the_age_cuts_the_call_off() {
    let server = Server::builder()
        .max_connection_age(AGE)
        .max_connection_age_grace(GRACE);
    let status = follow(server).await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown, "{status}");
}
