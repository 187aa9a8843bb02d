//! Keepalives that neither the handler nor the client sees.
//!
//! Two servers stream the same events, each behind a proxy that closes an idle connection. Only one of them
//! sends keepalives. Then both servers freeze.

#[path = "demo/proxy.rs"]
mod proxy;

use std::{future::pending, net::Ipv4Addr, thread, time::Duration};

use anyhow::{Context, ensure};
use clap::Parser;
use stream_keepalive_http::{GrpcClientLayer, KeepaliveLayer};
use tokio::{
    net::TcpListener,
    runtime,
    sync::oneshot,
    time::{Instant, sleep_until},
};
use tonic::{
    Code, Status,
    body::Body,
    client::GrpcService,
    codegen::{Bytes, StdError},
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tonic_events::{
    events::{Bus, Events},
    proto::v1::{
        OperationEvent, backrest_client::BackrestClient, backrest_server::BackrestServer,
        operation_event::Event,
    },
};
use tower::ServiceBuilder;

use crate::proxy::End;

/// How long a connection may be idle before a proxy closes it.
const PROXY: Duration = Duration::from_secs(2);

/// The idle time after which a server sends a keepalive. After three times that, its clients miss it.
const KEEPALIVE: Duration = Duration::from_millis(500);

const EVENT_AT: Duration = Duration::from_secs(5);
const FREEZE_AT: Duration = Duration::from_secs(6);

/// Shows two subscribers, each behind a proxy that closes a connection after two idle seconds. The server of the
/// second one sends keepalives that nobody sees. Then the servers freeze.
#[derive(Parser)]
struct Args {}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    Args::parse();
    println!(
        "Two subscribers, each behind a proxy that closes a connection that is idle for 2 seconds."
    );
    println!("After 5 seconds there is an event. After 6 seconds the servers freeze.\n");

    let bus = Bus::new(16);
    let start = Instant::now();
    let print = move |name, text: &str| {
        println!(
            "{:>5.1} s  {name:<12}  {text}",
            start.elapsed().as_secs_f32()
        );
    };
    let mut servers = Vec::new();
    let mut subscribers = Vec::new();
    for (name, idle) in [("no layer", Duration::ZERO), ("both layers", KEEPALIVE)] {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let proxy = tokio::spawn(proxy::forward(listener, server.local_addr()?, PROXY));
        servers.push(serve(server.into_std()?, &bus, idle)?);

        let channel = Endpoint::try_from(url)?.connect().await?;
        let subscriber = tokio::spawn(async move {
            let print = |text: &str| print(name, text);
            let status = if idle.is_zero() {
                follow(channel, print).await
            } else {
                let layer = GrpcClientLayer::new();
                follow(ServiceBuilder::new().layer(layer).service(channel), print).await
            };
            let ended = start.elapsed();
            print(&format!("{:?}: {}", status.code(), status.message()));
            (status, ended)
        });
        subscribers.push((subscriber, proxy));
    }

    sleep_until(start + EVENT_AT).await;
    // It fails when no subscriber is left. The verdict reports that.
    let _ = bus.send(OperationEvent::created(1, "backup finished".into()));
    sleep_until(start + FREEZE_AT).await;
    for freeze in servers {
        let _ = freeze.send(());
    }
    print("", "the servers freeze");

    let (kept, _) = subscribers.pop().context("there are two")?;
    let (plain, proxy) = subscribers.pop().context("there are two")?;
    let (_, plain) = plain.await?;
    ensure!(
        matches!(proxy.await?, End::Cut) && (PROXY..2 * PROXY).contains(&plain),
        "the proxy did not cut off the stream without keepalives"
    );
    let (status, kept) = kept.await?;
    ensure!(
        status.code() == Code::Unavailable && kept > FREEZE_AT,
        "the stream with keepalives did not end because its server froze"
    );
    println!(
        "\nThe proxy cut off the stream without keepalives at {:.1} s. The other one got its event, \
         and its client noticed after {:.1} s that the server had frozen.",
        plain.as_secs_f32(),
        (kept - FREEZE_AT).as_secs_f32()
    );
    Ok(())
}

/// Serves on a thread of its own until the returned sender freezes it. Its handler sends no keepalives.
fn serve(
    listener: std::net::TcpListener,
    bus: &Bus,
    idle: Duration,
) -> anyhow::Result<oneshot::Sender<()>> {
    let events = Events::new(bus, Duration::ZERO, false);
    let (freeze, frozen) = oneshot::channel();
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::spawn(async move {
                let incoming = TcpIncoming::from(TcpListener::from_std(listener)?);
                Server::builder()
                    // The line of the server. An idle time of zero turns it off.
                    .layer(KeepaliveLayer::new(idle))
                    .add_service(BackrestServer::new(events))
                    .serve_with_incoming(incoming.with_nodelay(Some(true)))
                    .await?;
                anyhow::Ok(())
            });
            if frozen.await.is_err() {
                pending::<()>().await;
            }
        });
        // Nothing in this thread runs any more, but its connections stay open.
        loop {
            thread::park();
        }
    });
    Ok(freeze)
}

/// Prints the events of a server until the stream ends. There is no word about keepalives in it.
async fn follow<T>(channel: T, print: impl Fn(&str)) -> Status
where
    T: GrpcService<Body>,
    T::ResponseBody: tonic::codegen::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as tonic::codegen::Body>::Error: Into<StdError> + Send,
{
    let mut client = BackrestClient::new(channel);
    let mut events = match client.get_operation_events(()).await {
        Ok(response) => response.into_inner(),
        Err(status) => return status,
    };
    print("subscribed");
    loop {
        match events.message().await {
            Ok(Some(OperationEvent { event })) => match event {
                Some(Event::CreatedOperations(list)) => {
                    for operation in list.operations {
                        print(&format!("EVENT: {}", operation.display_message));
                    }
                }
                other => print(&format!("unexpected: {other:?}")),
            },
            Ok(None) => return Status::ok("the stream has ended"),
            Err(status) => return status,
        }
    }
}
