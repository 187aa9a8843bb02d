//! Prints every event, detects a dead server, and reconnects.

use std::{
    io::{Write, stdout},
    pin::pin,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use clap::Parser;
use futures::{TryFutureExt, TryStreamExt};
use stream_keepalive::KeepaliveExt;
use tokio::time::sleep;
use tonic::{
    Request, Response, Status,
    metadata::MetadataValue,
    transport::{Endpoint, Uri},
};
use tonic_events::{
    cli,
    events::KEEPALIVE,
    proto::v1::{
        OperationEvent, OperationList, backrest_client::BackrestClient, operation_event::Event,
    },
};

/// Prints every event with the time since the last one.
#[derive(Parser)]
struct Args {
    /// The server or a proxy in front of it, such as http://127.0.0.1:50051
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    connect: Endpoint,

    /// Reconnect when nothing has arrived for this long; 0s never does
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    idle_timeout: Duration,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = cli::parse();
    tokio::select! {
        result = run(args) => cli::exit_code(result),
        _ = tokio::signal::ctrl_c() => ExitCode::SUCCESS,
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let mut printer = Printer(Instant::now());
    let mut delays = backoff();
    loop {
        let status = follow(&args, &mut printer, &mut delays).await?;
        let delay = delays.next().unwrap_or_default();
        eprintln!(
            "{:?}: {}; reconnecting in {:.1} s",
            status.code(),
            status.message(),
            delay.as_secs_f32()
        );
        sleep(delay).await;
    }
}

/// Prints the events of one stream, and returns why it ended.
async fn follow(
    args: &Args,
    printer: &mut Printer,
    delays: &mut ExponentialBackoff,
) -> anyhow::Result<Status> {
    // Each stream gets a new connection, because the last one may be dead.
    let mut client = BackrestClient::new(args.connect.connect_lazy());
    let idle_timeout = args.idle_timeout;
    let mut request = Request::new(());
    // A server may send keepalives only to clients that ask for them.
    let yes = MetadataValue::from_static("yes");
    request.metadata_mut().insert(KEEPALIVE, yes);
    let events = client
        .get_operation_events(request)
        .inspect_ok(|_| eprintln!("connected"))
        .map_ok(Response::into_inner)
        // The wait for the connection is a part of the stream, so it counts as idle time too.
        .try_flatten_stream()
        .idle_timeout_with(idle_timeout, move || {
            let idle = humantime::format_duration(idle_timeout);
            Err(Status::deadline_exceeded(format!("idle for {idle}")))
        });

    let mut events = pin!(events);
    loop {
        match events.try_next().await {
            Ok(Some(event)) => {
                printer.print(event)?;
                // Only an event shows that the server is reachable: a proxy may accept and then fail.
                *delays = backoff();
            }
            Ok(None) => return Ok(Status::ok("the stream has ended")),
            Err(status) => return Ok(status),
        }
    }
}

/// Waits for 0.5 s, 1 s, 2 s and so on, up to 30 s. Jitter adds up to as much again, so a thousand
/// clients that have lost the same server do not all reconnect at the same time.
fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(Duration::from_secs(30))
        .without_max_times()
        .with_jitter()
        .build()
}

/// Prints events, each with the time since the last one.
struct Printer(Instant);

impl Printer {
    fn print(&mut self, OperationEvent { event }: OperationEvent) -> anyhow::Result<()> {
        let since = self.0.elapsed().as_secs_f64();
        self.0 = Instant::now();
        let text = match event {
            Some(Event::KeepAlive(_)) => "keepalive".to_owned(),
            Some(Event::CreatedOperations(list)) => describe("created", list),
            Some(Event::UpdatedOperations(list)) => describe("updated", list),
            Some(Event::DeletedOperations(ids)) => format!("deleted {:?}", ids.values),
            None => "an event that this client does not know".to_owned(),
        };
        writeln!(stdout(), "{since:>+10.3} s  {text}").context("cannot print")
    }
}

fn describe(what: &str, OperationList { operations }: OperationList) -> String {
    let operations = operations.into_iter();
    let texts =
        operations.map(|operation| format!("{} {:?}", operation.id, operation.display_message));
    format!("{what} {}", texts.collect::<Vec<_>>().join(", "))
}

fn endpoint(url: &str) -> anyhow::Result<Endpoint> {
    let uri: Uri = url.parse()?;
    ensure!(
        uri.scheme_str() == Some("http"),
        "the URL must begin with http://"
    );
    Ok(uri.into())
}
