//! Only one side has the layer.

use stream_keepalive_http::GrpcClientLayer;
use tonic::{Code, Request};
use tower::Layer;

use super::{Client, IDLE, Network, Scripted, service};

#[tokio::test(start_paused = true)]
async fn a_client_without_the_layer_sees_nothing_new() {
    for gzip in [false, true] {
        let scripted = Scripted {
            gzip,
            ..Scripted::default()
        };
        let network = Network::new(Some(super::layer().immediate()), scripted);
        let mut client = Client::new(network.plain().await);
        if gzip {
            client = client.gzip();
        }
        let response = client.download("a 1000s empty b".to_owned()).await.unwrap();
        assert!(!response.metadata().contains_key("stream-keepalive"));
        let (messages, status) = service::all(response.into_inner()).await;
        assert_eq!(messages, ["a", "", "b"]);
        status.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_by_hand_gets_default_messages() {
    for gzip in [false, true] {
        let scripted = Scripted {
            gzip,
            ..Scripted::default()
        };
        let network = Network::new(Some(super::layer().without_spread()), scripted);
        let mut client = Client::new(network.plain().await);
        if gzip {
            client = client.gzip();
        }
        let mut request = Request::new("a 50s b".to_owned());
        let yes = "1".parse().unwrap();
        request.metadata_mut().insert("stream-keepalive", yes);
        let response = client.download(request).await.unwrap();
        let promise = response.metadata().get("stream-keepalive").unwrap();
        assert_eq!(*promise, IDLE.as_millis().to_string().as_str());
        let (messages, status) = service::all(response.into_inner()).await;
        assert_eq!(messages, ["a", "", "", "b"]);
        status.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_the_layer_is_never_cut_off() {
    let network = Network::new(None, Scripted::default());
    let mut client = Client::new(network.kept().await);
    let (messages, status) = client.all("a 1000000s empty b").await;
    assert_eq!(messages, ["a", "", "b"]);
    status.unwrap();
    assert_eq!(client.unary("1000000s a".to_owned()).await.unwrap(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_server_without_the_layer_is_cut_off_by_a_limit_of_the_user() {
    let network = Network::new(None, Scripted::default());
    let layer = GrpcClientLayer::new().idle_timeout(IDLE);
    let mut client = Client::new(layer.layer(network.plain().await));
    assert_eq!(client.unary("19s a".to_owned()).await.unwrap(), "a");
    let slow = client.unary("21s a".to_owned()).await.unwrap_err();
    let (messages, idle) = client.all("a 19s b 21s c").await;
    assert_eq!(messages, ["a", "b"]);
    for status in [slow, idle.unwrap_err()] {
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.message(), "nothing received for 20s");
    }
}
