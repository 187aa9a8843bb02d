//! The event RPC of `tonic-events` on several servers. Every server streams the events of one NATS
//! subject, so a client may connect to any of them.

use std::{future::ready, net::SocketAddr, pin::pin, process::ExitCode, time::Duration};

use anyhow::Context;
use async_nats::{Client, ServerAddr, Subscriber};
use clap::Parser;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use prost::Message;
use stream_keepalive::KeepaliveExt;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status, async_trait,
    transport::{Server, server::TcpIncoming},
};
use tonic_events::{
    cli,
    proto::v1::{
        OperationEvent,
        backrest_server::{Backrest, BackrestServer},
    },
};

/// How long the broker may take to answer a new subscriber.
const PATIENCE: Duration = Duration::from_secs(5);

/// Streams the events of a NATS subject to every subscriber, and publishes each line of standard input to it.
#[derive(Parser)]
struct Args {
    /// The NATS server
    #[arg(long, value_name = "URL", default_value = "nats://127.0.0.1:4222")]
    nats: ServerAddr,

    /// The subject that events are published to and read from
    #[arg(long, default_value = "operations")]
    subject: String,

    /// Listen on this address; port 0 picks a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Send a keepalive whenever a stream has been idle for this long; 0s turns keepalives off
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = humantime::parse_duration)]
    keepalive: Duration,

    /// End all streams when the broker has been idle for this long; 0s never ends them
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    idle_timeout: Duration,
}

struct Events {
    nats: Client,
    args: Args,
    /// Cancelled when the server stops.
    stop: CancellationToken,
}

#[async_trait]
impl Backrest for Events {
    type GetOperationEventsStream = BoxStream<'static, Result<OperationEvent, Status>>;

    async fn get_operation_events(
        &self,
        _: Request<()>,
    ) -> Result<Response<Self::GetOperationEventsStream>, Status> {
        let events = timeout(PATIENCE, self.subscribe()).await;
        let events = events
            .map_err(|_| Status::unavailable("the broker does not answer"))?
            .map_err(|error| {
                Status::unavailable(format!("cannot subscribe to the broker: {error}"))
            })?;
        let events = events
            .map(|message| {
                let event = OperationEvent::decode(message.payload);
                event.map_err(|error| Status::data_loss(error.to_string()))
            })
            // The server stops when every call has ended. A call that is kept alive does not end by itself.
            .take_until(self.stop.clone().cancelled_owned())
            .chain(stream::once(ready(Err(Status::unavailable(
                "the server is stopping",
            )))))
            // Below the keepalive, which would make a dead broker look healthy forever.
            .idle_timeout_with(self.args.idle_timeout, || {
                Err(Status::unavailable("the broker has been idle for too long"))
            })
            .keepalive(self.args.keepalive, Ok(OperationEvent::keep_alive()));
        Ok(Response::new(events.boxed()))
    }
}

impl Events {
    /// Subscribes, and waits until the subscription has been sent to the broker.
    async fn subscribe(&self) -> Result<Subscriber, async_nats::Error> {
        let events = self.nats.subscribe(self.args.subject.clone()).await?;
        self.nats.flush().await?;
        Ok(events)
    }
}

/// Publishes each line of standard input as the creation of an operation, and a keepalive when it is idle.
async fn publish(nats: Client, subject: String, keepalive: Duration) -> anyhow::Result<()> {
    let lines = ReceiverStream::new(cli::lines_of_stdin()).chain(stream::pending());
    let events = lines
        .zip(stream::iter(1..))
        .map(|(line, id)| OperationEvent::created(id, line))
        // With keepalives the subject is never idle, so a broker that is idle is dead.
        .keepalive(keepalive, OperationEvent::keep_alive());
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        nats.publish(subject.clone(), event.encode_to_vec().into())
            .await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::exit_code(run(cli::parse()).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    let nats = async_nats::connect(&args.nats).await.with_context(|| {
        format!(
            "cannot reach the broker at {}:{}",
            args.nats.host(),
            args.nats.port()
        )
    })?;
    let stop = CancellationToken::new();
    let stop_signal = cli::stop_signal()?;
    let listener = cli::listen(args.listen).await?;

    let publish = publish(nats.clone(), args.subject.clone(), args.keepalive);
    let events = Events {
        nats,
        args,
        stop: stop.clone(),
    };
    let serve = Server::builder()
        .add_service(BackrestServer::new(events))
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            stop.cancelled(),
        );
    tokio::select! {
        ended = serve => Ok(ended?),
        ended = publish => ended,
        () = async {
            stop_signal.await;
            stop.cancel();
            sleep(cli::GRACE).await;
        } => Ok(()),
    }
}
