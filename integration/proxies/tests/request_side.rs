//! The other direction: a call whose request stream goes idle, behind nginx.
//!
//! `Upload` stands for a client-streaming RPC. Its server counts events, and sends nothing until the
//! request has ended.

use std::{net::Ipv4Addr, time::Duration};

use futures::{Stream, StreamExt, TryStreamExt, stream};
use programs::PATIENCE;
use proxies::nginx::{self, CONNECTIONS, Front};
use stream_keepalive::KeepaliveExt;
use tokio::{net::TcpListener, time::timeout};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    client::Grpc,
    codegen::{Service, http},
    server::{self, ClientStreamingService, NamedService},
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tonic_events::proto::v1::{OperationEvent, operation_event::Event};
use tonic_prost::ProstCodec;

const TIMEOUT: Duration = Duration::from_secs(2);
const PATH: &str = "/test.Upload/Send";

/// Answers with the number of events that it was sent, without the keepalives.
#[derive(Clone)]
struct Upload;

impl NamedService for Upload {
    const NAME: &'static str = "test.Upload";
}

impl ClientStreamingService<OperationEvent> for Upload {
    type Response = OperationEvent;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Response<OperationEvent>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<OperationEvent>>) -> Self::Future {
        Box::pin(async move {
            let events = request.into_inner();
            let real = events.try_filter(|event| {
                std::future::ready(!matches!(event.event, Some(Event::KeepAlive(_))))
            });
            let count = real.try_fold(0, async |count, _| Ok(count + 1)).await?;
            Ok(Response::new(OperationEvent::created(count, String::new())))
        })
    }
}

impl Service<http::Request<Body>> for Upload {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = server::Grpc::new(ProstCodec::<OperationEvent, OperationEvent>::new());
            Ok(grpc.client_streaming(Upload, request).await)
        })
    }
}

/// Sends two events with an idle time of four timeouts between them, and returns how many arrived.
async fn upload<S>(
    location: &str,
    wrap: impl FnOnce(stream::BoxStream<'static, OperationEvent>) -> S,
) -> Result<i64, Status>
where
    S: Stream<Item = OperationEvent> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let server = listener.local_addr()?;
    let serve = Server::builder()
        .add_service(Upload)
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
    let server_task = tokio::spawn(serve);

    let location = format!("grpc_pass grpc://{server}; {location}");
    let nginx = nginx::start(Front::Http2, CONNECTIONS, &location)
        .await
        .unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{}", nginx.addr)).unwrap();
    let mut client = Grpc::new(endpoint.connect().await.unwrap());
    client.ready().await.unwrap();

    let event = |id| OperationEvent::created(id, "backup started".into());
    let later = stream::once(tokio::time::sleep(4 * TIMEOUT)).map(move |()| event(2));
    let events = stream::iter([event(1)]).chain(later).boxed();
    let call = client.client_streaming(
        Request::new(wrap(events)),
        http::uri::PathAndQuery::from_static(PATH),
        ProstCodec::<OperationEvent, OperationEvent>::new(),
    );
    let answer = timeout(PATIENCE, call).await.expect("the call hangs");
    server_task.abort();
    match answer?.into_inner().event {
        Some(Event::CreatedOperations(list)) => Ok(list.operations[0].id),
        other => panic!("unexpected answer: {other:?}"),
    }
}

fn kept(
    events: stream::BoxStream<'static, OperationEvent>,
) -> impl Stream<Item = OperationEvent> + Send {
    events.keepalive(TIMEOUT / 4, OperationEvent::keep_alive())
}

#[tokio::test]
#[ignore = "needs nginx: run .ci/install"]
async fn client_body_timeout_cuts_an_idle_request_and_keepalives_in_it_prevent_that() {
    let location = "client_body_timeout 2s; grpc_read_timeout 1h; grpc_send_timeout 1h;";
    let bare = upload(location, |events| events).await;
    assert!(bare.is_err(), "{bare:?}");
    assert_eq!(upload(location, kept).await.unwrap(), 2);
}

#[tokio::test]
#[ignore = "needs nginx: run .ci/install"]
async fn grpc_send_timeout_does_not_cut_an_idle_request() {
    let location = "client_body_timeout 1h; grpc_read_timeout 1h; grpc_send_timeout 2s;";
    assert_eq!(upload(location, |events| events).await.unwrap(), 2);
}

#[tokio::test]
#[ignore = "needs nginx: run .ci/install"]
async fn grpc_read_timeout_does_not_start_before_the_request_has_ended() {
    let location = "client_body_timeout 1h; grpc_read_timeout 2s; grpc_send_timeout 1h;";
    assert_eq!(upload(location, |events| events).await.unwrap(), 2);
}
