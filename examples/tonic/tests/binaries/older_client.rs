//! A client that was built before `keep_alive` was added to the message, and one that expects an event in every
//! message.

use std::time::Duration;

use programs::{Program, piped, within};
use prost::{Message, Oneof};
use tokio::time::{sleep, timeout};
use tonic::{
    Request, Status, Streaming, client::Grpc, codegen::http::uri::PathAndQuery, transport::Endpoint,
};
use tonic_events::proto::{types::Int64List, v1::OperationList};
use tonic_prost::ProstCodec;

use crate::process::{CLIENT, server, start};

/// The message as it was before field 1 was added.
#[derive(Clone, PartialEq, Message)]
struct OlderEvent {
    #[prost(oneof = "OlderKind", tags = "2, 3, 4")]
    event: Option<OlderKind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum OlderKind {
    #[prost(message, tag = "2")]
    Created(OperationList),
    #[prost(message, tag = "3")]
    Updated(OperationList),
    #[prost(message, tag = "4")]
    Deleted(Int64List),
}

async fn subscribe(addr: &str) -> Streaming<OlderEvent> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).unwrap();
    let mut client = Grpc::new(within(endpoint.connect()).await.unwrap());
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/v1.Backrest/GetOperationEvents");
    let codec = ProstCodec::<(), OlderEvent>::default();
    let events = within(client.server_streaming(Request::new(()), path, codec)).await;
    events.unwrap().into_inner()
}

/// Returns the next event. A message without an event is an error, as it is to some clients.
async fn next(events: &mut Streaming<OlderEvent>) -> Result<OlderKind, Status> {
    let message = within(events.message()).await?;
    let message = message.expect("the stream has ended");
    let kind = message.event;
    kind.ok_or_else(|| Status::invalid_argument("no event"))
}

#[tokio::test]
async fn an_older_client_takes_a_keepalive_for_a_message_without_an_event() {
    let (_server, addr) = server(&["--keepalive", "200ms"]).await;
    let status = next(&mut subscribe(&addr).await).await.unwrap_err();
    assert_eq!(status.message(), "no event");
}

#[tokio::test]
async fn on_request_an_older_client_gets_its_events_and_no_keepalive() {
    let args = ["--keepalive", "200ms", "--immediate", "--on-request"];
    let (mut server, addr) = server(&args).await;
    let mut events = subscribe(&addr).await;
    // Five times the idle time.
    let idle = timeout(Duration::from_secs(1), events.message()).await;
    assert!(idle.is_err(), "{idle:?}");
    server.type_line("backup finished").await.unwrap();
    let event = next(&mut events).await.unwrap();
    assert!(matches!(event, OlderKind::Created(_)), "{event:?}");
}

#[tokio::test]
async fn on_request_a_client_that_asks_gets_keepalives() {
    let args = ["--keepalive", "200ms", "--on-request"];
    let (_server, addr) = server(&args).await;
    let mut client = start(CLIENT, &["--connect", &format!("http://{addr}")]);
    client.stdout.line_with("keepalive").await.unwrap();
}

/// A client in Python whose messages have these kinds of events, and who lets protovalidate check that one is set.
fn validating(addr: &str, kinds: &[&str]) -> Program {
    let python = std::env::var("PYTHON").unwrap_or("python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/binaries/validating.py");
    let mut command = piped(python);
    command.args([script, addr]).args(kinds);
    Program::start(&mut command).unwrap()
}

const OLDER_KINDS: [&str; 3] = [
    "created_operations=2",
    "updated_operations=3",
    "deleted_operations=4",
];

const KEEP_ALIVE: &str = "keep_alive=1";

#[tokio::test]
#[ignore = "needs grpcio and protovalidate: run .ci/install"]
async fn protovalidate_of_an_older_client_does_not_accept_a_keepalive() {
    let (_server, addr) = server(&["--keepalive", "200ms"]).await;
    let mut client = validating(&addr, &OLDER_KINDS);
    let line = client.stdout.line().await.unwrap();
    assert_eq!(line, "event: exactly one field is required in oneof");
}

#[tokio::test]
#[ignore = "needs grpcio and protovalidate: run .ci/install"]
async fn on_request_protovalidate_of_an_older_client_sees_no_keepalive() {
    let args = ["--keepalive", "200ms", "--immediate", "--on-request"];
    let (mut server, addr) = server(&args).await;
    let mut client = validating(&addr, &OLDER_KINDS);
    server.stderr.line_with("subscriber opened").await.unwrap();
    // Five times the idle time.
    sleep(Duration::from_secs(1)).await;
    server.type_line("backup finished").await.unwrap();
    assert_eq!(client.stdout.line().await.unwrap(), "created_operations");
}

#[tokio::test]
#[ignore = "needs grpcio and protovalidate: run .ci/install"]
async fn protovalidate_of_a_client_that_knows_the_keepalive_accepts_it() {
    let (_server, addr) = server(&["--keepalive", "200ms"]).await;
    let kinds = [&[KEEP_ALIVE], &OLDER_KINDS[..]].concat();
    let mut client = validating(&addr, &kinds);
    for _ in 0..3 {
        assert_eq!(client.stdout.line().await.unwrap(), "keep_alive");
    }
}
