//! Measures the cost of keepalives in a whole gRPC or SSE stack: `cargo run --release -p benches --bin loopback`

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    pin::Pin,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use axum::{Router, body::Body, routing::get, serve::ListenerExt};
use benches::{cpu, figures};
use bytes::Bytes;
use clap::Parser;
use futures::{FutureExt, Stream, StreamExt, future::BoxFuture};
use programs::Progress;
use serde_json::json;
use stream_keepalive::KeepaliveExt;
use stream_keepalive_http::{GrpcClientLayer, KeepaliveLayer};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming, async_trait,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tonic_events::proto::v1::{
    OperationEvent,
    backrest_client::BackrestClient,
    backrest_server::{Backrest, BackrestServer},
};
use tower::Layer;

/// Sends messages over a loopback connection, over gRPC and as server-sent events. Measures each without keepalives, with
/// the adapter and with the layer, and gRPC also with the layer of the client. Prints the messages per second and the CPU
/// time of a message on both sides.
#[derive(Parser)]
struct Args {
    /// The number of messages in a round
    #[arg(long, default_value_t = 50_000)]
    messages: u64,
    /// The number of rounds
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    #[command(flatten)]
    file: figures::File,
}

/// The approximate time of a message.
const EXPECTED: Duration = Duration::from_nanos(5_000);

const IDLE: Duration = Duration::from_secs(20);

/// An event of 40 bytes.
const EVENT: Bytes = Bytes::from_static(b"data: {\"id\":1,\"name\":\"backup ended\"}\n\n");

/// What keeps a response alive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keepalives {
    None,
    /// `Keepalive` around the handler's stream.
    Adapter,
    /// `KeepaliveLayer` around the server.
    Layer,
    /// `GrpcClientLayer` around the channel.
    ClientLayer,
    BothLayers,
}

impl Keepalives {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Adapter => "adapter",
            Self::Layer => "layer",
            Self::ClientLayer => "layer of the client",
            Self::BothLayers => "both layers",
        }
    }
}

/// Messages that come from another task, through a channel.
fn feed<T: Send + 'static>(
    messages: u64,
    message: impl Fn(u64) -> T + Send + 'static,
) -> ReceiverStream<T> {
    let (sender, receiver) = mpsc::channel(1_024);
    tokio::spawn(async move {
        for id in 0..messages {
            if sender.send(message(id)).await.is_err() {
                break;
            }
        }
    });
    ReceiverStream::new(receiver)
}

type Events = Pin<Box<dyn Stream<Item = Result<OperationEvent, Status>> + Send>>;

struct Feed {
    messages: u64,
    keepalive: bool,
}

#[async_trait]
impl Backrest for Feed {
    // Boxed in both cases, so that only the streams in the boxes differ.
    type GetOperationEventsStream = Events;

    async fn get_operation_events(&self, _: Request<()>) -> Result<Response<Events>, Status> {
        let events = feed(self.messages, |id| {
            Ok(OperationEvent::created(id as i64, "backup finished".into()))
        });
        Ok(Response::new(if self.keepalive {
            Box::pin(events.keepalive(IDLE, Ok(OperationEvent::keep_alive())))
        } else {
            Box::pin(events)
        }))
    }
}

/// A server whose messages are measured, and its client.
struct Contender {
    stack: &'static str,
    keepalives: &'static str,
    /// Reads one stream of messages to its end, and counts them.
    read: Box<dyn Fn() -> BoxFuture<'static, Result<u64>>>,
    rounds: Vec<Round>,
}

struct Round {
    per_second: f64,
    cpu_ns: f64,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.messages > 0 && args.rounds > 0, "nothing to measure");
    let mut contenders = vec![
        grpc(args.messages, Keepalives::None).await?,
        grpc(args.messages, Keepalives::Adapter).await?,
        grpc(args.messages, Keepalives::Layer).await?,
        grpc(args.messages, Keepalives::ClientLayer).await?,
        grpc(args.messages, Keepalives::BothLayers).await?,
        sse(args.messages, Keepalives::None).await?,
        sse(args.messages, Keepalives::Adapter).await?,
        sse(args.messages, Keepalives::Layer).await?,
    ];
    let expected = EXPECTED * args.messages.try_into()?;
    let progress = Progress::new(expected * contenders.len() as u32 * (args.rounds as u32 + 1));
    for round in 0..=args.rounds {
        for contender in &mut contenders {
            let Contender {
                stack, keepalives, ..
            } = contender;
            progress.begin(format!(
                "round {round} of {stack}, keepalives: {keepalives}"
            ));
            let (cpu, start) = (cpu::time()?, Instant::now());
            let count = (contender.read)().await?;
            ensure!(
                count == args.messages,
                "{count} of {} messages arrived",
                args.messages
            );
            let took = start.elapsed();
            let cpu = cpu::time()? - cpu;
            progress.advance(expected);
            // The first round warms up.
            if round > 0 {
                contender.rounds.push(Round {
                    per_second: count as f64 / took.as_secs_f64(),
                    cpu_ns: cpu.as_nanos() as f64 / count as f64,
                });
            }
        }
    }
    drop(progress);

    println!(
        "{} messages, {} rounds: median (minimum to maximum)",
        args.messages, args.rounds
    );
    let mut figures = Vec::new();
    for Contender {
        stack,
        keepalives,
        rounds,
        ..
    } in &contenders
    {
        let rate = Spread::of(rounds.iter().map(|round| round.per_second)).context("no round")?;
        let cpu = Spread::of(rounds.iter().map(|round| round.cpu_ns)).context("no round")?;
        println!(
            "{stack:5} {keepalives:19} {:>9.0} messages/s ({:.0} to {:.0})   {:>6.0} ns CPU/message ({:.0} to {:.0})",
            rate.median, rate.least, rate.most, cpu.median, cpu.least, cpu.most
        );
        figures.push(json!({
            "stack": stack,
            "keepalives": keepalives,
            "messages_per_second": [rate.least, rate.median, rate.most],
            "cpu_ns_per_message": [cpu.least, cpu.median, cpu.most],
        }));
    }
    args.file.write(&figures)
}

async fn listen() -> Result<(TcpListener, String)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}

/// The tonic example's service, over HTTP/2.
async fn grpc(messages: u64, keepalives: Keepalives) -> Result<Contender> {
    let (listener, url) = listen().await?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let service = BackrestServer::new(Feed {
        messages,
        keepalive: keepalives == Keepalives::Adapter,
    });
    let mut server = Server::builder();
    if matches!(keepalives, Keepalives::Layer | Keepalives::BothLayers) {
        let layer = KeepaliveLayer::new(IDLE).grpc(|_| true);
        let server = server.layer(layer).add_service(service);
        tokio::spawn(server.serve_with_incoming(incoming));
    } else {
        tokio::spawn(server.add_service(service).serve_with_incoming(incoming));
    }
    let channel = Endpoint::try_from(url)?.connect().await?;
    let with_layer = matches!(keepalives, Keepalives::ClientLayer | Keepalives::BothLayers);
    let read: Box<dyn Fn() -> BoxFuture<'static, Result<u64>>> = if with_layer {
        let client = BackrestClient::new(GrpcClientLayer::new().layer(channel));
        Box::new(move || {
            let mut client = client.clone();
            async move { count(client.get_operation_events(()).await?).await }.boxed()
        })
    } else {
        let client = BackrestClient::new(channel);
        Box::new(move || {
            let mut client = client.clone();
            async move { count(client.get_operation_events(()).await?).await }.boxed()
        })
    };
    Ok(Contender {
        stack: "gRPC",
        keepalives: keepalives.name(),
        read,
        rounds: Vec::new(),
    })
}

async fn count(response: Response<Streaming<OperationEvent>>) -> Result<u64> {
    let mut events = response.into_inner();
    let mut count = 0;
    while let Some(event) = events.next().await {
        event?;
        count += 1;
    }
    Ok(count)
}

/// Server-sent events of an axum handler, over HTTP/1.1.
async fn sse(messages: u64, keepalives: Keepalives) -> Result<Contender> {
    let (listener, url) = listen().await?;
    let handler = async move || {
        let events = feed(messages, |_| Ok::<_, Infallible>(EVENT));
        let body = if keepalives == Keepalives::Adapter {
            Body::from_stream(events.keepalive(IDLE, Ok(Bytes::from_static(b":\n\n"))))
        } else {
            Body::from_stream(events)
        };
        ([("content-type", "text/event-stream")], body)
    };
    let mut router = Router::new().route("/", get(handler));
    if keepalives == Keepalives::Layer {
        router = router.layer(KeepaliveLayer::new(IDLE));
    }
    let serve = axum::serve(listener.tap_io(|io| drop(io.set_nodelay(true))), router);
    tokio::spawn(serve.into_future());
    let client = reqwest::Client::new();
    let read = move || {
        let response = client.get(&url).send();
        async move {
            let mut chunks = response.await?.error_for_status()?.bytes_stream();
            let mut bytes = 0;
            while let Some(chunk) = chunks.next().await {
                bytes += chunk?.len();
            }
            Ok((bytes / EVENT.len()) as u64)
        }
        .boxed()
    };
    Ok(Contender {
        stack: "SSE",
        keepalives: keepalives.name(),
        read: Box::new(read),
        rounds: Vec::new(),
    })
}

struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        Some(Self {
            least: *values.first()?,
            median: *values.get(values.len() / 2)?,
            most: *values.last()?,
        })
    }
}
