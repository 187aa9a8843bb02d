//! Streams that end when the server stops.
//!
//! A graceful shutdown waits for every open response. A stream that is kept alive does not end by itself, so without
//! `take_until` the server never stops.

use std::{convert::Infallible, future::ready, io, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::ws::{CloseFrame, Message, WebSocketUpgrade, close_code},
    response::{Response, Sse, sse::Event},
};
use futures::{FutureExt, Stream, StreamExt, stream};
use stream_keepalive::KeepaliveExt;
use tokio::{net::TcpListener, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Status;

/// How long open streams may take to end.
pub const GRACE: Duration = Duration::from_millis(500);

// The process has to exit within a second.
const _: () = assert!(GRACE.as_millis() < 1_000);

/// Tells streams when to end, and knows which WebSockets are open.
#[derive(Clone, Default)]
pub struct Shutdown {
    pub stop: CancellationToken,
    /// The tasks of the WebSockets. A graceful shutdown does not wait for them, because they have left HTTP.
    pub sockets: TaskTracker,
}

/// Serves until the token is cancelled and the streams have ended.
pub async fn serve(listener: TcpListener, app: Router, shutdown: Shutdown) -> io::Result<()> {
    let Shutdown { stop, sockets } = shutdown;
    let server = axum::serve(listener, app).with_graceful_shutdown(stop.clone().cancelled_owned());
    let all_ended = async {
        server.await?;
        sockets.close();
        sockets.wait().await;
        Ok(())
    };
    // A client that has stopped reading does not read the end of its stream either.
    let grace_over = async {
        stop.cancelled().await;
        sleep(GRACE).await;
    };
    tokio::select! {
        ended = all_ended => ended,
        () = grace_over => Ok(()),
    }
}

/// Server-sent events. A browser reconnects by itself when the response has ended.
pub fn events<S>(
    events: S,
    idle: Duration,
    stop: CancellationToken,
) -> Sse<impl Stream<Item = S::Item>>
where
    S: Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    let events = events
        .take_until(stop.cancelled_owned())
        .keepalive(idle, Ok(Event::default().comment("")));
    Sse::new(events)
}

/// Lines of text. A client must reconnect when the body has ended.
pub fn lines<S>(lines: S, idle: Duration, stop: CancellationToken) -> Body
where
    S: Stream<Item = String> + Send + 'static,
{
    let lines = lines
        .take_until(stop.cancelled_owned())
        .map(|line| line + "\n")
        .keepalive(idle, "\n".to_owned());
    Body::from_stream(lines.map(Ok::<_, Infallible>))
}

/// The messages of a gRPC call, which ends with a status on which clients try again.
pub fn messages<S, T>(
    messages: S,
    idle: Duration,
    keepalive: T,
    stop: CancellationToken,
) -> impl Stream<Item = Result<T, Status>>
where
    S: Stream<Item = Result<T, Status>>,
    T: Clone,
{
    let stopping = Status::unavailable("the server is stopping");
    messages
        .take_until(stop.cancelled_owned())
        .chain(stream::once(ready(Err(stopping))))
        .keepalive(idle, Ok(keepalive))
}

/// The feed of a WebSocket. The last message says that the server restarts.
pub fn websocket<S>(
    upgrade: WebSocketUpgrade,
    feed: S,
    idle: Duration,
    shutdown: Shutdown,
) -> Response
where
    S: Stream<Item = Message> + Send + 'static,
{
    let Shutdown { stop, sockets } = shutdown;
    upgrade.on_upgrade(move |socket| {
        sockets.track_future(async move {
            let (sink, source) = socket.split();
            let restart = CloseFrame {
                code: close_code::RESTART,
                reason: "the server is stopping".into(),
            };
            let sent = feed
                .take_until(stop.cancelled_owned())
                .chain(stream::once(ready(Message::Close(Some(restart)))))
                .keepalive(idle, Message::Ping(Bytes::new()))
                .map(Ok)
                .forward(sink);
            // Reading answers pings, and detects that the client closes.
            let mut closed = std::pin::pin!(source.for_each(async |_| ()).fuse());
            tokio::select! {
                () = &mut closed => {}
                // When the feed has been sent, the client answers the close.
                _ = sent => closed.await,
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use std::{
        future::IntoFuture,
        net::{Ipv4Addr, SocketAddr},
    };

    use axum::routing::get;
    use programs::within;
    use reqwest::Client;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        task::JoinHandle,
        time::timeout,
    };
    use tokio_tungstenite::{connect_async, tungstenite};
    use tonic::{
        Code, Request, async_trait,
        transport::{Server, server::TcpIncoming},
    };
    use tonic_events::proto::v1::{
        OperationEvent,
        backrest_client::BackrestClient,
        backrest_server::{Backrest, BackrestServer},
    };

    use super::*;

    const IDLE: Duration = Duration::from_millis(50);

    async fn listen(addr: SocketAddr) -> TcpListener {
        TcpListener::bind(addr).await.unwrap()
    }

    fn any_port() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 0).into()
    }

    fn router(shutdown: &Shutdown) -> Router {
        let of_events = shutdown.stop.clone();
        let of_lines = shutdown.stop.clone();
        let of_socket = shutdown.clone();
        Router::new()
            .route(
                "/events",
                get(async move || events(stream::pending(), IDLE, of_events)),
            )
            .route(
                "/lines",
                get(async move || lines(stream::pending(), IDLE, of_lines)),
            )
            .route(
                "/socket",
                get(async move |upgrade| websocket(upgrade, stream::pending(), IDLE, of_socket)),
            )
            // More than the buffers of a connection hold.
            .route("/large", get(async || vec![b'x'; 64 << 20]))
    }

    /// Starts a server whose streams are idle. It returns the number of WebSockets that are still open at its end.
    async fn start(addr: SocketAddr) -> (SocketAddr, Shutdown, JoinHandle<usize>) {
        let listener = listen(addr).await;
        let addr = listener.local_addr().unwrap();
        let shutdown = Shutdown::default();
        let router = router(&shutdown);
        let of_server = shutdown.clone();
        let server = async move {
            serve(listener, router, of_server.clone()).await.unwrap();
            of_server.sockets.len()
        };
        (addr, shutdown, tokio::spawn(server))
    }

    /// Reads a keepalive, stops the server, reads to the end, and reconnects.
    async fn a_response_ends_and_the_client_reconnects(path: &str) {
        let (addr, shutdown, server) = start(any_port()).await;
        let get = async || {
            let client = Client::builder().no_proxy().build().unwrap();
            let response = client.get(format!("http://{addr}{path}")).send().await;
            let mut response = response.unwrap();
            assert!(response.chunk().await.unwrap().is_some(), "no keepalive");
            response
        };
        let mut response = within(get()).await;
        shutdown.stop.cancel();
        // If the response were cut off, this would be an error.
        within(async { while response.chunk().await.unwrap().is_some() {} }).await;
        assert_eq!(within(server).await.unwrap(), 0);

        let (_, shutdown, server) = start(addr).await;
        drop(within(get()).await);
        shutdown.stop.cancel();
        assert_eq!(within(server).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn server_sent_events_end_when_the_server_stops() {
        a_response_ends_and_the_client_reconnects("/events").await;
    }

    #[tokio::test]
    async fn lines_end_when_the_server_stops() {
        a_response_ends_and_the_client_reconnects("/lines").await;
    }

    #[tokio::test]
    async fn a_websocket_is_closed_when_the_server_stops_and_the_server_waits_for_it() {
        let (addr, shutdown, server) = start(any_port()).await;
        let connect = async || {
            let (mut socket, _) = connect_async(format!("ws://{addr}/socket")).await.unwrap();
            let first = socket.next().await.unwrap().unwrap();
            assert_eq!(first, tungstenite::Message::Ping(Bytes::new()));
            socket
        };
        let mut socket = within(connect()).await;
        shutdown.stop.cancel();
        let last = within(async {
            loop {
                let message = socket.next().await.unwrap().unwrap();
                if let tungstenite::Message::Close(Some(frame)) = message {
                    return frame;
                }
            }
        });
        assert_eq!(u16::from(last.await.code), close_code::RESTART);
        // If the closing handshake were not complete, this would be an error.
        assert!(within(socket.next()).await.is_none());
        assert_eq!(within(server).await.unwrap(), 0);

        let (_, shutdown, server) = start(addr).await;
        drop(within(connect()).await);
        shutdown.stop.cancel();
        assert_eq!(within(server).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn without_the_tracker_axum_does_not_wait_for_a_websocket() {
        let listener = listen(any_port()).await;
        let addr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let never = Shutdown::default();
        let server = axum::serve(listener, router(&never))
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        let server = tokio::spawn(server.into_future());
        let (mut socket, _) = connect_async(format!("ws://{addr}/socket")).await.unwrap();
        within(socket.next()).await.unwrap().unwrap();
        stop.cancel();
        within(server).await.unwrap().unwrap();
        assert_eq!(never.sockets.len(), 1);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_does_not_delay_the_end() {
        let (addr, shutdown, server) = start(any_port()).await;
        let mut stuck = TcpStream::connect(addr).await.unwrap();
        let request = b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stuck.write_all(request).await.unwrap();
        within(stuck.read_u8()).await.unwrap();
        shutdown.stop.cancel();
        assert_eq!(within(server).await.unwrap(), 0);
    }

    /// A service whose call is idle.
    struct IdleCall(CancellationToken);

    #[async_trait]
    impl Backrest for IdleCall {
        type GetOperationEventsStream = stream::BoxStream<'static, Result<OperationEvent, Status>>;

        async fn get_operation_events(
            &self,
            _: Request<()>,
        ) -> Result<tonic::Response<Self::GetOperationEventsStream>, Status> {
            let keepalive = OperationEvent::keep_alive();
            let messages = messages(stream::pending(), IDLE, keepalive, self.0.clone());
            Ok(tonic::Response::new(messages.boxed()))
        }
    }

    #[tokio::test]
    async fn a_grpc_call_ends_with_unavailable_when_the_server_stops() {
        let serve = async |addr, stop: &CancellationToken| {
            let listener = listen(addr).await;
            let addr = listener.local_addr().unwrap();
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let server = Server::builder()
                .add_service(BackrestServer::new(IdleCall(stop.clone())))
                .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
            (addr, tokio::spawn(server))
        };
        let stop = CancellationToken::new();
        let (addr, server) = serve(any_port(), &stop).await;
        // It connects at the first call, and again at the next call.
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{addr}")).unwrap();
        let mut client = BackrestClient::new(endpoint.connect_lazy());
        let mut call = async || {
            let mut messages = client.get_operation_events(()).await.unwrap().into_inner();
            let first = messages.message().await.unwrap();
            assert_eq!(first, Some(OperationEvent::keep_alive()));
            messages
        };
        let mut messages = within(call()).await;
        stop.cancel();
        let status = within(async {
            loop {
                if let Err(status) = messages.message().await {
                    return status;
                }
            }
        });
        assert_eq!(status.await.code(), Code::Unavailable);
        within(server).await.unwrap().unwrap();

        let stop = CancellationToken::new();
        let (_, server) = serve(addr, &stop).await;
        drop(within(call()).await);
        stop.cancel();
        within(server).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_call_that_goes_on_keeps_the_server_from_stopping() {
        let (stop, never) = (CancellationToken::new(), CancellationToken::new());
        let listener = listen(any_port()).await;
        let addr = listener.local_addr().unwrap();
        let server = Server::builder()
            .add_service(BackrestServer::new(IdleCall(never)))
            .serve_with_incoming_shutdown(
                TcpIncoming::from(listener).with_nodelay(Some(true)),
                stop.clone().cancelled_owned(),
            );
        let mut server = tokio::spawn(server);
        let mut client = BackrestClient::connect(format!("http://{addr}"))
            .await
            .unwrap();
        let mut messages = client.get_operation_events(()).await.unwrap().into_inner();
        stop.cancel();
        for _ in 0..20 {
            within(messages.message()).await.unwrap().unwrap();
        }
        assert!(timeout(Duration::ZERO, &mut server).await.is_err());
        drop(messages);
        // Dropping the client ends the call.
        drop(client);
        within(server).await.unwrap().unwrap();
    }
}
