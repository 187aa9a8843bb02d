//! Subscribers of the tonic example.

use std::net::SocketAddr;

use hyper_util::{client::legacy, rt::TokioExecutor};
use tonic::{Streaming, codegen::http::Uri};
use tonic_events::proto::v1::{OperationEvent, backrest_client::BackrestClient};
use tonic_web::GrpcWebClientLayer;
use tower::Layer;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC over HTTP/2.
    Grpc,
    /// grpc-web over HTTP/1.1, as browsers do.
    GrpcWeb,
}

/// Subscribes. It returns when the response headers have come.
pub async fn subscribe(
    protocol: Protocol,
    addr: SocketAddr,
) -> anyhow::Result<Streaming<OperationEvent>> {
    let url = format!("http://{addr}");
    let response = match protocol {
        Protocol::Grpc => {
            let mut client = BackrestClient::connect(url).await?;
            client.get_operation_events(()).await
        }
        Protocol::GrpcWeb => {
            let http = legacy::Client::builder(TokioExecutor::new()).build_http();
            let web = GrpcWebClientLayer::new().layer(http);
            let mut client = BackrestClient::with_origin(web, url.parse::<Uri>()?);
            client.get_operation_events(()).await
        }
    };
    Ok(response?.into_inner())
}
