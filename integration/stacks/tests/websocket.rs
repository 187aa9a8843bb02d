use axum::{
    Router,
    extract::ws::{Message, WebSocketUpgrade},
    http::header::CONTENT_TYPE,
    routing::get,
};
use futures::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::{connect_async, tungstenite};

use crate::support::{IDLE, layer, serve};

#[tokio::test]
async fn a_websocket_is_left_alone() {
    let echo = async |upgrade: WebSocketUpgrade| {
        let response = upgrade.on_upgrade(async |mut socket| {
            while let Some(Ok(Message::Text(text))) = socket.next().await {
                socket.send(Message::Text(text)).await.unwrap();
            }
        });
        // Only the status says that there is no body to fill.
        ([(CONTENT_TYPE, "text/event-stream")], response)
    };
    let app = Router::new().route("/", get(echo));
    let server = serve(app.layer(layer().ndjson("\n").grpc(|_| true).immediate())).await;
    let (mut socket, response) = connect_async(format!("ws://{server}")).await.unwrap();
    assert_eq!(response.status(), 101);
    for text in ["first", "second"] {
        assert!(timeout(4 * IDLE, socket.next()).await.is_err());
        socket.send(tungstenite::Message::text(text)).await.unwrap();
        assert_eq!(
            socket.next().await.unwrap().unwrap().into_text().unwrap(),
            text
        );
    }
}
