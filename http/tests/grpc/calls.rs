//! The layers change nothing in a call but its keepalives.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use stream_keepalive_http::{GrpcClientLayer, GrpcClientService};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Request, Status, service::interceptor::InterceptedService, transport::Channel};
use tonic_health::{
    ServingStatus as Serving,
    pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use tower::Layer;

use super::{Client, IDLE, Network, Scripted, layer, server, service, words};

/// Each kind of server: messages in gzip or not, a keepalive immediately or not.
async fn clients() -> Vec<(Network, Client<GrpcClientService<Channel>>)> {
    let mut clients = Vec::new();
    for gzip in [false, true] {
        for layer in [layer(), layer().immediate()] {
            let scripted = Scripted {
                gzip,
                ..Scripted::default()
            };
            let network = Network::new(Some(layer), scripted);
            let client = Client::new(network.kept().await);
            let client = if gzip { client.gzip() } else { client };
            clients.push((network, client));
        }
    }
    clients
}

/// Scripts with long pauses between them.
fn slowly(scripts: &'static [&'static str]) -> impl stream::Stream<Item = String> {
    stream::iter(scripts).then(|script| async move {
        sleep(10 * IDLE).await;
        script.to_string()
    })
}

#[tokio::test(start_paused = true)]
async fn a_unary_call_gets_its_message() {
    for (network, mut client) in clients().await {
        assert_eq!(client.unary("a b".to_owned()).await.unwrap(), "ab");
        // Its head comes with its message.
        assert_eq!(client.unary("1000s a".to_owned()).await.unwrap(), "a");
        assert_eq!(client.unary(String::new()).await.unwrap(), "");
        assert_eq!(network.markers(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_the_server_has_only_its_messages() {
    for (network, mut client) in clients().await {
        let (messages, status) = client
            .all("1000s a b 1000s empty empty 1000s c 1000s")
            .await;
        assert_eq!(messages, ["a", "b", "", "", "c"]);
        status.unwrap();
        network.assert_kept_alive_for(3000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_the_client_gets_its_message() {
    for (network, mut client) in clients().await {
        assert_eq!(
            client.upload(slowly(&["a", "b", "c"])).await.unwrap(),
            "abc"
        );
        assert_eq!(network.markers(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn streams_in_both_directions_have_only_their_messages() {
    for (network, mut client) in clients().await {
        let messages = client
            .talk(slowly(&["a 1000s b", "empty", "c"]))
            .await
            .unwrap();
        let (messages, status) = service::all(messages).await;
        assert_eq!(messages, ["a", "b", "", "c"]);
        status.unwrap();
        network.assert_kept_alive_for(1200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_keeps_its_status() {
    for (network, mut client) in clients().await {
        let unary = client.unary("fail".to_owned()).await.unwrap_err();
        let at_once = client.all("fail").await;
        let later = client.all("a 1000s fail").await;
        assert_eq!((at_once.0.len(), later.0), (0, words("a")));
        for status in [unary, at_once.1.unwrap_err(), later.1.unwrap_err()] {
            assert_eq!(status.code(), Code::NotFound);
            assert_eq!(status.message(), "it is gone: 100 %");
            assert_eq!(status.metadata().get("x-answer").unwrap(), "42");
        }
        network.assert_kept_alive_for(1000);
    }
}

#[tokio::test(start_paused = true)]
async fn the_metadata_of_a_call_is_that_without_the_layers() {
    let (with, without) = (server(), Network::new(None, Scripted::default()));
    let metadata = async |network: &Network, kept: bool| {
        let response = if kept {
            let mut client = Client::new(network.kept().await);
            client.download("a".to_owned()).await
        } else {
            let mut client = Client::new(network.plain().await);
            client.download("a".to_owned()).await
        };
        let mut metadata = response.unwrap().metadata().clone();
        metadata.remove("date");
        metadata
    };
    let plain = metadata(&without, false).await.into_headers();
    for (network, kept) in [(&with, true), (&with, false), (&without, true)] {
        assert_eq!(metadata(network, kept).await.into_headers(), plain);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_the_server_ends_early_keeps_its_status() {
    let mut client = Client::new(server().kept().await);
    // The client goes on sending.
    let scripts = stream::iter(["a fail".to_owned()]).chain(stream::pending());
    let messages = client.talk(scripts).await.unwrap();
    let (messages, status) = service::all(messages).await;
    assert_eq!(messages, ["a"]);
    assert_eq!(status.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn large_messages_pass() {
    for (network, mut client) in clients().await {
        let (messages, status) = client.all("3MB 100s 3MB 3MB 100s a").await;
        let lengths: Vec<_> = messages.iter().map(String::len).collect();
        assert_eq!(lengths, [3_000_000, 3_000_000, 3_000_000, 1]);
        status.unwrap();
        assert_eq!(
            client.unary("3MB".to_owned()).await.unwrap().len(),
            3_000_000
        );
        network.assert_kept_alive_for(200);
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_a_message_holds_for_messages_only() {
    let network = server();
    let mut kept = Client::new(network.kept().await);
    // A keepalive has six bytes.
    kept.0 = kept.0.max_decoding_message_size(5);
    let (messages, status) = kept.all("abc 1000s d").await;
    assert_eq!(messages, ["abc", "d"]);
    status.unwrap();
    network.assert_kept_alive_for(1000);
    let mut plain = Client::new(network.plain().await);
    plain.0 = plain.0.max_decoding_message_size(5);
    let (kept, plain) = (kept.all("abcd").await, plain.all("abcd").await);
    assert_eq!(kept.1.unwrap_err().code(), Code::OutOfRange);
    assert_eq!(plain.1.unwrap_err().code(), Code::OutOfRange);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_call_as_it_does_without_the_layer() {
    let network = server();
    let request = || {
        let mut request = Request::new("1000s a".to_owned());
        request.set_timeout(Duration::from_secs(10));
        request
    };
    let begin = Instant::now();
    let kept = Client::new(network.kept().await).unary(request()).await;
    assert_eq!(begin.elapsed().as_secs(), 10);
    let plain = Client::new(network.plain().await).unary(request()).await;
    let (kept, plain) = (kept.unwrap_err(), plain.unwrap_err());
    assert_eq!(
        (kept.code(), kept.message()),
        (plain.code(), plain.message())
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_the_client_drops_is_dropped_on_the_server() {
    let scripted = Scripted::default();
    let network = Network::new(Some(layer()), scripted.clone());
    let mut client = Client::new(network.kept().await);
    let mut messages = client.messages("a hang").await;
    assert_eq!(messages.try_next().await.unwrap().unwrap(), "a");
    assert!(timeout(10 * IDLE, messages.try_next()).await.is_err());
    assert_eq!(scripted.counts.open_streams(), 1);
    network.assert_kept_alive_for(200);
    drop(messages);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(scripted.counts.open_streams(), 0);
}

#[tokio::test(start_paused = true)]
async fn interceptors_work_on_both_sides_of_the_layer() {
    let network = server();
    let reject = |request: Request<()>| match request.metadata().get("x-token") {
        Some(_) => Ok(request),
        None => Err(Status::unauthenticated("no token")),
    };
    let add = |mut request: Request<()>| {
        // An interceptor outside of the layer does not see what it adds.
        assert!(!request.metadata().contains_key("stream-keepalive"));
        request
            .metadata_mut()
            .insert("x-token", "1".parse().unwrap());
        Ok(request)
    };
    let inner = InterceptedService::new(network.plain().await, reject);
    let kept = GrpcClientLayer::new().layer(inner);
    let status = Client::new(kept.clone()).all("a").await.1.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let mut client = Client::new(InterceptedService::new(kept, add));
    assert_eq!(client.all("a 1000s b").await.0, ["a", "b"]);
    network.assert_kept_alive_for(1000);
}

#[tokio::test(start_paused = true)]
async fn the_health_service_reports_changes_only() {
    let (reporter, health) = tonic_health::server::health_reporter();
    let network = Network::new(Some(layer()), health);
    let mut client = HealthClient::new(network.kept().await);
    let request = HealthCheckRequest::default();
    let mut statuses = client.watch(request.clone()).await.unwrap().into_inner();
    let first = statuses.try_next().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    assert!(timeout(100 * IDLE, statuses.try_next()).await.is_err());
    network.assert_kept_alive_for(2000);
    reporter.set_service_status("", Serving::NotServing).await;
    let second = statuses.try_next().await.unwrap().unwrap();
    assert_eq!(second.status(), ServingStatus::NotServing);
    let check = client.check(request).await.unwrap().into_inner();
    assert_eq!(check.status(), ServingStatus::NotServing);
}

#[tokio::test(start_paused = true)]
async fn reflection_answers_each_question_once() {
    let reflection = tonic_reflection::server::Builder::configure()
        .build_v1()
        .unwrap();
    let network = Network::new(Some(layer()), reflection);
    let mut client = ServerReflectionClient::new(network.kept().await);
    let questions = stream::iter(0..3).then(|_| async {
        sleep(10 * IDLE).await;
        ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        }
    });
    let answers = client.server_reflection_info(questions).await.unwrap();
    let answers: Vec<_> = answers.into_inner().try_collect().await.unwrap();
    assert_eq!(answers.len(), 3);
    network.assert_kept_alive_for(600);
    for answer in answers {
        let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
            panic!("it is no list");
        };
        assert_eq!(list.service[0].name, "grpc.reflection.v1.ServerReflection");
    }
}
