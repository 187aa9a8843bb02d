//! A feed over a WebSocket: a ping fills its silence, and the peer finds out when it is cut off.

use std::time::Duration;

use futures::{Stream, StreamExt};
use stream_keepalive::KeepaliveExt;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::{Bytes, Error, Message},
};

/// Sends the feed to whoever has connected, until either has had enough.
pub async fn serve<S>(socket: TcpStream, feed: S, idle: Duration) -> Result<(), Error>
where
    S: Stream<Item = Message>,
{
    let (sink, source) = accept_async(socket).await?.split();
    let feed = feed.keepalive(idle, Message::Ping(Bytes::new())).map(Ok);
    // Reading answers pings, and notices a close.
    let closed = source.for_each(async |_| ());
    tokio::select! {
        sent = feed.forward(sink) => sent,
        () = closed => Ok(()),
    }
}

/// What the peer says, until it has been silent for `idle`: a ping is a sign of life too.
pub fn listen<S>(
    socket: WebSocketStream<S>,
    idle: Duration,
) -> impl Stream<Item = Result<Message, Error>>
where
    WebSocketStream<S>: Stream<Item = Result<Message, Error>>,
{
    socket.idle_timeout(idle)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, SocketAddr},
        sync::Arc,
    };

    use futures::stream;
    use tokio::{
        io::copy_bidirectional,
        net::TcpListener,
        sync::Notify,
        time::{sleep, timeout},
    };
    use tokio_tungstenite::connect_async;

    use super::*;

    const IDLE: Duration = Duration::from_millis(100);
    const GIVE_UP: Duration = Duration::from_secs(2);
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A server that says one thing after ten periods.
    async fn server() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let later = stream::once(async {
                sleep(IDLE * 10).await;
                Message::text("news")
            });
            serve(socket, later.chain(stream::pending()), IDLE).await
        });
        addr
    }

    /// Forwards one connection until `cut`: then both sides stay open, and hear nothing any more.
    async fn proxy(server: SocketAddr, cut: Arc<Notify>) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect(server).await.unwrap();
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                () = cut.notified() => std::future::pending().await,
            }
        });
        addr
    }

    #[tokio::test]
    async fn pings_fill_the_silence_and_the_news_come_through() {
        let (socket, _) = connect_async(format!("ws://{}", server().await))
            .await
            .unwrap();
        let mut pings = 0;
        let mut messages = Box::pin(listen(socket, PATIENCE));
        while let Some(message) = messages.next().await {
            match message.unwrap() {
                Message::Ping(_) => pings += 1,
                message => {
                    assert_eq!(message, Message::text("news"));
                    break;
                }
            }
        }
        assert!(pings >= 2, "{pings}");
    }

    #[tokio::test]
    async fn the_peer_finds_a_connection_that_is_cut_without_a_word() {
        let cut = Arc::new(Notify::new());
        let addr = proxy(server().await, cut.clone()).await;
        let (socket, _) = connect_async(format!("ws://{addr}")).await.unwrap();
        let mut messages = Box::pin(listen(socket, GIVE_UP));
        assert!(matches!(messages.next().await, Some(Ok(Message::Ping(_)))));

        cut.notify_one();
        let rest = timeout(PATIENCE, messages.count()).await;
        assert!(rest.is_ok(), "it goes on to listen");
    }
}
