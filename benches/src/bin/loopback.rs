//! What keepalives cost in a whole gRPC stack: `cargo run --release -p benches --bin loopback`

use std::{
    net::Ipv4Addr,
    pin::Pin,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use benches::{cpu, figures};
use clap::Parser;
use cli::Progress;
use futures::{Stream, StreamExt, future::pending};
use serde_json::json;
use stream_keepalive::KeepaliveExt;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, async_trait,
    transport::{Server, server::TcpIncoming},
};
use tonic_events::proto::v1::{
    OperationEvent,
    backrest_client::BackrestClient,
    backrest_server::{Backrest, BackrestServer},
};

/// Sends the events of the tonic example from a channel over a loopback connection, with and without
/// keepalives in turn, and prints messages a second and the CPU that one takes on both sides.
#[derive(Parser)]
struct Args {
    /// How many messages a round
    #[arg(long, default_value_t = 200_000)]
    messages: u64,
    /// How many rounds of each
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    #[command(flatten)]
    file: figures::File,
}

/// How long a message takes, roughly.
const EXPECTED: Duration = Duration::from_nanos(600);

type Events = Pin<Box<dyn Stream<Item = Result<OperationEvent, Status>> + Send>>;

struct Feed {
    messages: u64,
    keepalive: bool,
}

#[async_trait]
impl Backrest for Feed {
    // Boxed, so that both are: what is compared is what is in the box.
    type GetOperationEventsStream = Events;

    async fn get_operation_events(&self, _: Request<()>) -> Result<Response<Events>, Status> {
        let (sender, receiver) = mpsc::channel(1_024);
        let messages = self.messages;
        tokio::spawn(async move {
            for id in 0..messages {
                let event = OperationEvent::created(id as i64, "backup finished".into());
                if sender.send(Ok(event)).await.is_err() {
                    break;
                }
            }
        });
        let events = ReceiverStream::new(receiver);
        Ok(Response::new(if self.keepalive {
            Box::pin(events.keepalive(Duration::from_secs(20), Ok(OperationEvent::keep_alive())))
        } else {
            Box::pin(events)
        }))
    }
}

struct Round {
    per_second: f64,
    cpu_ns: f64,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.messages > 0 && args.rounds > 0, "nothing to measure");
    let mut servers = Vec::new();
    for (name, keepalive) in [("without", false), ("with", true)] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let feed = Feed {
            messages: args.messages,
            keepalive,
        };
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        tokio::spawn(
            Server::builder()
                .add_service(BackrestServer::new(feed))
                .serve_with_incoming_shutdown(incoming, pending()),
        );
        servers.push((name, BackrestClient::connect(url).await?, Vec::new()));
    }
    let expected = EXPECTED * args.messages.try_into()?;
    let progress = Progress::new(expected * 2 * (args.rounds as u32 + 1));
    for round in 0..=args.rounds {
        for (name, client, rounds) in &mut servers {
            progress.begin(format!("round {round} {name} keepalives"));
            let (cpu, start) = (cpu::time()?, Instant::now());
            let mut events = client.get_operation_events(()).await?.into_inner();
            let mut count = 0;
            while let Some(event) = events.next().await {
                event?;
                count += 1;
            }
            ensure!(count == args.messages, "{count} messages came");
            let took = start.elapsed();
            let cpu = cpu::time()? - cpu;
            progress.advance(expected);
            // The first one warms up.
            if round > 0 {
                rounds.push(Round {
                    per_second: count as f64 / took.as_secs_f64(),
                    cpu_ns: cpu.as_nanos() as f64 / count as f64,
                });
            }
        }
    }
    drop(progress);

    println!(
        "{} messages, {} rounds: median (least to most)",
        args.messages, args.rounds
    );
    let mut figures = Vec::new();
    for (name, _, rounds) in &servers {
        let rate = Spread::of(rounds.iter().map(|round| round.per_second)).context("no round")?;
        let cpu = Spread::of(rounds.iter().map(|round| round.cpu_ns)).context("no round")?;
        println!(
            "{name:8} {:>9.0} messages/s ({:.0} to {:.0})   {:>6.0} ns CPU/message ({:.0} to {:.0})",
            rate.median, rate.least, rate.most, cpu.median, cpu.least, cpu.most
        );
        figures.push(json!({
            "keepalive": name,
            "messages_per_second": [rate.least, rate.median, rate.most],
            "cpu_ns_per_message": [cpu.least, cpu.median, cpu.most],
        }));
    }
    args.file.write(&figures)
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
