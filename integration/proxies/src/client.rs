//! Subscribers of the examples.

use std::net::SocketAddr;

use anyhow::Result;
use eventsource_stream::Eventsource;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use hyper_util::{client::legacy, rt::TokioExecutor};
use tonic::{Streaming, codegen::http::Uri};
use tonic_events::proto::v1::{
    OperationEvent, backrest_client::BackrestClient, operation_event::Event,
};
use tonic_web::GrpcWebClientLayer;
use tower::Layer;

/// The protocol of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC over HTTP/2.
    Grpc,
    /// gRPC-Web over HTTP/1.1, as in browsers.
    GrpcWeb,
    /// Server-sent events over HTTP/1.1.
    Sse,
}

/// What a subscriber gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Keepalive,
    /// The line that the server has read from standard input.
    Event(String),
}

/// Subscribes to the example that speaks this protocol. It returns when the response headers have arrived.
pub async fn subscribe(
    protocol: Protocol,
    addr: SocketAddr,
) -> Result<BoxStream<'static, Result<Item>>> {
    let url = format!("http://{addr}");
    Ok(match protocol {
        Protocol::Grpc => items(grpc(addr).await?),
        Protocol::GrpcWeb => {
            let http = legacy::Client::builder(TokioExecutor::new()).build_http();
            let web = GrpcWebClientLayer::new().layer(http);
            let mut client = BackrestClient::with_origin(web, url.parse::<Uri>()?);
            items(client.get_operation_events(()).await?.into_inner())
        }
        Protocol::Sse => {
            let client = reqwest::Client::builder().no_proxy().http1_only();
            let response = client.build()?.get(url + "/events").send().await?;
            let events = response.error_for_status()?.bytes_stream().eventsource();
            let items = events.map_ok(|event| match &*event.event {
                "keepalive" => Item::Keepalive,
                _ => Item::Event(event.data),
            });
            items.map_err(Into::into).boxed()
        }
    })
}

/// Subscribes to the tonic example over gRPC. It returns when the response headers have arrived.
pub async fn grpc(addr: SocketAddr) -> Result<Streaming<OperationEvent>> {
    let mut client = BackrestClient::connect(format!("http://{addr}")).await?;
    Ok(client.get_operation_events(()).await?.into_inner())
}

fn items(events: Streaming<OperationEvent>) -> BoxStream<'static, Result<Item>> {
    let items = events.map(|event| match event?.event {
        Some(Event::KeepAlive(_)) => Ok(Item::Keepalive),
        Some(Event::CreatedOperations(list)) => {
            let texts = list.operations.into_iter();
            let texts: Vec<_> = texts.map(|operation| operation.display_message).collect();
            Ok(Item::Event(texts.concat()))
        }
        other => anyhow::bail!("unexpected event: {other:?}"),
    });
    items.boxed()
}
