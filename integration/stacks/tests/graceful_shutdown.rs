use std::convert::Infallible;

use axum::{
    Router,
    response::sse::{Event, Sse},
    routing::get,
};
use futures::{StreamExt, future, stream};
use programs::within;
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinHandle,
};

use crate::support::{COMMENT, Reader, VERSIONS, layer};

/// Serves an idle stream, which ends at the shutdown if that is asked for.
async fn serve(streams_end: bool) -> (std::net::SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = oneshot::channel();
    let (tell, told) = watch::channel(());
    let events = async move || {
        let mut told = told.clone();
        let stop = async move {
            let _stopped = told.changed().await;
            if !streams_end {
                future::pending().await
            }
        };
        let idle = stream::pending::<Result<Event, Infallible>>();
        Sse::new(idle.take_until(Box::pin(stop)))
    };
    let app = Router::new().route("/", get(events)).layer(layer());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let signal = async move {
        let _stopped = stopped.await;
        drop(tell);
    };
    let server = async {
        axum::serve(listener, app)
            .with_graceful_shutdown(signal)
            .await
            .unwrap()
    };
    (address, stop, tokio::spawn(server))
}

#[tokio::test]
async fn a_stream_that_ends_at_the_shutdown_lets_the_server_stop() {
    for version in VERSIONS {
        let (address, stop, server) = serve(true).await;
        let mut reader = Reader::get(version, address).await;
        reader.until(COMMENT, 3).await;
        stop.send(()).unwrap();
        reader.read_rest().await;
        within(server).await.unwrap();
    }
}

#[tokio::test]
async fn a_stream_that_does_not_end_keeps_the_server_from_stopping() {
    for version in VERSIONS {
        let (address, stop, server) = serve(false).await;
        let mut reader = Reader::get(version, address).await;
        reader.until(COMMENT, 3).await;
        stop.send(()).unwrap();
        reader.until(COMMENT, 20).await;
        assert!(!server.is_finished(), "{version:?}");
        drop(reader);
        // The client is gone. The next keepalive detects that.
        within(server).await.unwrap();
    }
}
