//! Two subscribers to the same events, each behind a proxy that closes an idle connection. Only one of
//! them gets keepalives.

mod proxy;
mod timeline;

use std::{future::pending, net::Ipv4Addr, process::ExitCode, time::Duration};

use clap::Parser;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tonic::Streaming;
use tonic_events::{
    cli,
    events::{Bus, Events},
    proto::v1::{OperationEvent, backrest_client::BackrestClient, operation_event::Event},
};

use crate::{
    proxy::End,
    timeline::{Lane, Note, Timeline},
};

/// How long a connection may be idle before a proxy closes it.
const IDLE: Duration = Duration::from_secs(2);

/// When the one real event happens.
const EVENT_AT: Duration = Duration::from_millis(7250);

const END_AT: Duration = Duration::from_secs(8);

/// Shows two subscribers, each behind a proxy that closes a connection after two idle seconds. The second
/// subscriber gets keepalives.
#[derive(Parser)]
struct Args {
    /// Send a keepalive whenever a stream has been idle for this long; 0s turns keepalives off
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    keepalive: Duration,
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::exit_code(run(cli::parse()).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    println!(
        "Two subscribers, each behind a proxy that closes a connection that is idle for 2 seconds."
    );
    println!("Nothing happens for 7 seconds; then there is one event.\n");
    println!("{}", Timeline::heading(args.keepalive));

    let bus = Bus::new(16);
    let start = Instant::now();
    let (notes, mut noted) = mpsc::unbounded_channel();
    for (lane, keepalive) in [(Lane::Plain, Duration::ZERO), (Lane::Kept, args.keepalive)] {
        let subscriber = Subscriber::new(&bus, keepalive).await?;
        tokio::spawn(subscriber.watch(lane, notes.clone()));
    }

    let mut timeline = Timeline::default();
    let mut event = Some(OperationEvent::created(1, "backup finished".into()));
    loop {
        tokio::select! {
            Some((lane, note)) = noted.recv() => {
                println!("{}", timeline.note(start.elapsed(), lane, note));
                if timeline.both_ended() {
                    break;
                }
            }
            () = sleep_until(start + EVENT_AT), if event.is_some() => {
                // It fails when no subscriber is left. The verdict reports that.
                let _ = bus.send(event.take().unwrap_or_default());
            }
            () = sleep_until(start + END_AT) => break,
        }
    }
    println!("\n{}", timeline.verdict()?);
    println!("\nTo try it yourself, run these in two terminals, and type lines into the first:");
    println!("  cargo run -p tonic-events --bin server -- --listen 127.0.0.1:50051 --keepalive 5s");
    println!("  cargo run -p tonic-events --bin client -- --connect http://127.0.0.1:50051");
    Ok(())
}

/// A client, its proxy, and the server behind the proxy.
struct Subscriber {
    events: Streaming<OperationEvent>,
    proxy: JoinHandle<End>,
}

impl Subscriber {
    async fn new(bus: &Bus, keepalive: Duration) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let server = listener.local_addr()?;
        tokio::spawn(Events::new(bus, keepalive, false).serve(listener, Duration::ZERO, pending()));

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let proxy = tokio::spawn(proxy::forward(listener, server, IDLE));

        let mut client = BackrestClient::connect(url).await?;
        let events = client.get_operation_events(()).await?.into_inner();
        Ok(Self { events, proxy })
    }

    async fn watch(mut self, lane: Lane, notes: mpsc::UnboundedSender<(Lane, Note)>) {
        // Nobody receives the notes when the demo has ended.
        let tell = |note| drop(notes.send((lane, note)));
        tell(Note::Subscribed);
        while let Ok(Some(OperationEvent { event: Some(event) })) = self.events.message().await {
            tell(match event {
                Event::KeepAlive(_) => Note::Keepalive,
                Event::CreatedOperations(list) => {
                    let names = list
                        .operations
                        .into_iter()
                        .map(|operation| operation.display_message);
                    Note::Event(names.collect())
                }
                other => Note::Event(format!("{other:?}")),
            });
        }
        tell(Note::Ended(self.proxy.await.unwrap_or(End::Closed)));
    }
}
