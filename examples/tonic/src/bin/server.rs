//! Streams each line of standard input to every subscriber, as the creation of an operation.

use std::{
    io::{self, IsTerminal},
    net::SocketAddr,
    pin::pin,
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use tokio::{sync::oneshot, time::timeout};
use tonic_events::{
    cli,
    events::{Bus, Events},
    proto::v1::OperationEvent,
};

/// How many events a subscriber may fall behind before its stream ends with an error.
const BACKLOG: usize = 256;

/// Streams each line of standard input to every subscriber, over gRPC and gRPC-Web.
#[derive(Parser)]
struct Args {
    /// Listen on this address; port 0 picks a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Send a keepalive whenever a stream has been idle for this long; 0s turns keepalives off
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = humantime::parse_duration)]
    keepalive: Duration,

    /// Send the first keepalive immediately, unless an event is ready
    #[arg(long)]
    immediate: bool,

    /// Send keepalives only to clients that ask for them with the metadata x-keepalive
    #[arg(long)]
    on_request: bool,

    /// Send an HTTP/2 PING to a client that has sent nothing for this long, and close the connection if the answer
    /// takes as long again; 0s turns this off
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = humantime::parse_duration)]
    ping: Duration,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = cli::parse();
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    cli::exit_code(run(args).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    let mut stop_signal = pin!(cli::stop_signal()?);
    let listener = cli::listen(args.listen).await?;

    let bus = Bus::new(BACKLOG);
    let (stop, stopped) = oneshot::channel::<()>();
    let events = Events::new(&bus, args.keepalive, args.immediate);
    let serve = events
        .on_request(args.on_request)
        .serve(listener, args.ping, async {
            stopped.await.unwrap_or_default()
        });
    let server = tokio::spawn(serve);

    let mut lines = cli::lines_of_stdin();
    let mut ids = 1..;
    loop {
        tokio::select! {
            Some(line) = lines.recv() => {
                let event = OperationEvent::created(ids.next().unwrap_or_default(), line);
                // It fails when there is no subscriber, which is not an error.
                let _ = bus.send(event);
            }
            () = &mut stop_signal => break,
        }
    }

    // A graceful shutdown waits for every stream. Dropping the bus ends them with an error on which
    // clients reconnect. A client that does not read even that is cut off after the timeout.
    drop(bus);
    drop(stop);
    match timeout(cli::GRACE, server).await {
        Ok(ended) => Ok(ended??),
        Err(_) => Ok(()),
    }
}
