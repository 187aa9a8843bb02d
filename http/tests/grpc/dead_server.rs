//! A server that sends nothing more.

use std::time::Duration;

use futures::TryStreamExt;
use stream_keepalive_http::GrpcClientLayer;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, transport::Endpoint};
use tower::Layer;

use super::{Client, IDLE, LIMIT, Network, Scripted, assert_unavailable, layer, server, service};

/// A server that promises keepalives and does not send them.
fn liar() -> Scripted {
    Scripted {
        lies: Some("20000"),
        ..Scripted::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_that_freezes_ends_a_call_within_three_idle_times() {
    let network = server();
    let mut client = Client::new(network.kept().await);
    let mut messages = client.messages("a hang").await;
    assert_eq!(messages.try_next().await.unwrap().unwrap(), "a");
    assert!(timeout(100 * IDLE, messages.try_next()).await.is_err());
    network.freeze();
    let begin = Instant::now();
    let (rest, status) = service::all(messages).await;
    assert!(rest.is_empty());
    assert_unavailable(status);
    // The last keepalive came before the network froze.
    let after = begin.elapsed();
    assert!(LIMIT - IDLE <= after && after <= LIMIT, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_network_that_freezes_inside_a_message_ends_the_call_too() {
    let network = server().that_freezes_after(1_000_000);
    let mut client = Client::new(network.kept().await);
    let begin = Instant::now();
    let (messages, status) = client.all("a 3MB").await;
    assert_eq!(messages, ["a"]);
    assert_unavailable(status);
    assert_eq!(network.received(), 1_000_000);
    assert_eq!(begin.elapsed().as_secs(), LIMIT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_keepalives_come_does_not_end() {
    let network = server();
    let mut client = Client::new(network.kept().await);
    let mut messages = client.messages("hang").await;
    assert!(timeout(1000 * IDLE, messages.try_next()).await.is_err());
    // The idle time of the call is in the last quarter below that of the layer.
    let markers = network.markers();
    assert!((999..=1334).contains(&markers), "{markers}");
    // It is the keepalives that have kept it.
    network.freeze();
    let (rest, status) = service::all(messages).await;
    assert!(rest.is_empty());
    assert_unavailable(status);
}

#[tokio::test(start_paused = true)]
async fn the_server_notices_that_a_call_has_ended_and_the_channel_goes_on() {
    let scripted = liar();
    let network = Network::new(None, scripted.clone());
    let mut client = Client::new(network.kept().await);
    for _ in 0..3 {
        let (messages, status) = client.all("a hang").await;
        assert_eq!(messages, ["a"]);
        assert_unavailable(status);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(scripted.counts.open_streams(), 0);
        assert_eq!(client.unary("b".to_owned()).await.unwrap(), "b");
    }
}

#[tokio::test(start_paused = true)]
async fn one_call_that_ends_does_not_end_the_others_of_its_channel() {
    let network = Network::new(None, liar());
    let channel = network.kept().await;
    let (mut first, mut second) = (Client::new(channel.clone()), Client::new(channel));
    let (first, second) = futures::join!(first.all("a hang"), second.all("50s a 50s b 50s"));
    assert_unavailable(first.1);
    assert_eq!(second.0, ["a", "b"]);
    second.1.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_ping_makes_the_channel_connect_again_after_the_network_has_frozen() {
    let network = server();
    let endpoint = Endpoint::from_static("http://server")
        .http2_keep_alive_interval(IDLE)
        .keep_alive_timeout(IDLE)
        .keep_alive_while_idle(true);
    let channel = network.connect(endpoint).await;
    let mut client = Client::new(GrpcClientLayer::new().layer(channel));
    assert_eq!(client.unary("a".to_owned()).await.unwrap(), "a");
    network.freeze();
    sleep(3 * IDLE).await;
    assert_eq!(client.unary("b".to_owned()).await.unwrap(), "b");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_calls_again_goes_on_where_the_network_froze() {
    // A PING that is faster than the layer closes the connection with a status of its own.
    for (ping, expected) in [(LIMIT, Code::Unavailable), (IDLE, Code::Unknown)] {
        let network = server();
        // Without it, the next call would wait on the connection that is dead.
        let endpoint = Endpoint::from_static("http://server")
            .http2_keep_alive_interval(ping)
            .keep_alive_timeout(IDLE)
            .keep_alive_while_idle(true);
        let channel = network.connect(endpoint).await;
        let mut client = Client::new(GrpcClientLayer::new().layer(channel));
        let words = ["a", "b", "c", "d"];
        let (mut found, mut errors) = (Vec::new(), Vec::new());
        while found.len() < words.len() {
            // Each word comes after a long silence.
            let script = words[found.len()..].join(" 1000s ");
            let (mut messages, freezes) = match client.download(script).await {
                Ok(response) => (response.into_inner(), errors.is_empty()),
                Err(status) => {
                    errors.push(status.code());
                    continue;
                }
            };
            loop {
                match messages.try_next().await {
                    Ok(Some(message)) => found.push(message),
                    Ok(None) => break,
                    Err(status) => {
                        errors.push(status.code());
                        sleep(IDLE).await;
                        break;
                    }
                }
                if freezes && found.len() == 2 {
                    network.freeze();
                }
            }
        }
        assert_eq!(found, words);
        assert_eq!(errors[0], expected);
        assert!(errors.len() <= 2, "{errors:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_does_not_read_is_not_cut_off() {
    let mut client = Client::new(server().kept().await);
    let mut messages = client.messages("a 1000s b 1000s c").await;
    assert_eq!(messages.try_next().await.unwrap().unwrap(), "a");
    // It has polled the response, and goes away.
    assert!(timeout(IDLE / 2, messages.try_next()).await.is_err());
    sleep(100 * LIMIT).await;
    let (messages, status) = service::all(messages).await;
    assert_eq!(messages, ["b", "c"]);
    status.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_reads_rarely_is_not_cut_off() {
    let network = Network::new(Some(layer()), Scripted::default());
    let mut client = Client::new(network.kept().await);
    let script = ["a"; 10].join(" 100s ");
    let mut messages = client.messages(&script).await;
    let mut found = 0;
    while let Some(message) = messages.try_next().await.unwrap() {
        assert_eq!(message, "a");
        found += 1;
        sleep(10 * LIMIT).await;
    }
    assert_eq!(found, 10);
}
