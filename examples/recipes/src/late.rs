//! Streams that take a while to begin.
//!
//! A handler that awaits something slow before it returns its stream sends nothing until then, because there is no
//! stream yet that could be kept alive. These functions make the wait a part of the stream.

use std::time::Duration;

use futures::{Stream, TryFutureExt, future::Either};
use stream_keepalive::KeepaliveExt;
use tokio::time::timeout;

/// Returns a stream that begins immediately, and that is kept alive before `opening` is ready and afterwards.
///
/// If `opening` fails, the error is an item, because the response has already begun.
pub fn open<F, S, T, E>(
    opening: F,
    idle: Duration,
    keepalive: T,
) -> impl Stream<Item = Result<T, E>>
where
    F: Future<Output = Result<S, E>>,
    S: Stream<Item = Result<T, E>>,
    T: Clone,
{
    opening
        .try_flatten_stream()
        .keepalive_with(idle, move || Ok(keepalive.clone()))
        .immediate()
}

/// Waits for the stream, but no longer than `idle`, and then goes on as [`open`] does.
///
/// If `opening` fails earlier, the handler can still answer with a status.
pub async fn open_or_fail<F, S, T, E>(
    opening: F,
    idle: Duration,
    keepalive: T,
) -> Result<impl Stream<Item = Result<T, E>>, E>
where
    F: Future<Output = Result<S, E>>,
    S: Stream<Item = Result<T, E>>,
    T: Clone,
{
    let mut opening = Box::pin(opening);
    let events = match timeout(idle, &mut opening).await {
        Ok(opened) => Either::Left(opened?),
        Err(_) => Either::Right(opening.try_flatten_stream()),
    };
    let events = events.keepalive_with(idle, move || Ok(keepalive.clone()));
    Ok(events.immediate())
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, SocketAddr},
        sync::Arc,
    };

    use axum::{
        Router,
        http::StatusCode,
        response::{IntoResponse, Response, Sse, sse::Event},
        routing::get,
    };
    use futures::{
        StreamExt,
        stream::{self, BoxStream},
    };
    use programs::within;
    use tokio::{
        net::TcpListener,
        sync::Notify,
        time::{Instant, sleep},
    };
    use tonic::{
        Code, Request, Status, async_trait,
        transport::{Server, server::TcpIncoming},
    };
    use tonic_events::proto::v1::{
        OperationEvent,
        backrest_client::BackrestClient,
        backrest_server::{Backrest, BackrestServer},
    };

    use super::*;

    const IDLE: Duration = Duration::from_millis(100);
    /// After this time without a response, a request counts as unanswered.
    const NO_ANSWER: Duration = Duration::from_secs(1);

    #[derive(Debug, PartialEq)]
    struct Unavailable;

    impl std::fmt::Display for Unavailable {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "not available")
        }
    }

    impl std::error::Error for Unavailable {}

    impl IntoResponse for Unavailable {
        fn into_response(self) -> Response {
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }

    /// Takes three and a half idle times, and returns a stream of one item.
    async fn slow() -> Result<impl Stream<Item = Result<&'static str, Unavailable>>, Unavailable> {
        sleep(3 * IDLE + IDLE / 2).await;
        Ok(stream::iter([Ok("item")]))
    }

    async fn timed<T>(events: impl Stream<Item = T>) -> Vec<(Duration, T)> {
        let start = Instant::now();
        events.map(|event| (start.elapsed(), event)).collect().await
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_a_stream_is_kept_alive_from_the_start() {
        let events = timed(open(slow(), IDLE, "keepalive")).await;
        let keepalives = (0..=3).map(|number| (number * IDLE, Ok("keepalive")));
        let item = (3 * IDLE + IDLE / 2, Ok("item"));
        assert_eq!(events, keepalives.chain([item]).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn after_one_idle_time_the_stream_begins_before_it_is_opened() {
        let start = Instant::now();
        let events = open_or_fail(slow(), IDLE, "keepalive").await.unwrap();
        assert_eq!(start.elapsed(), IDLE);
        let events = timed(events).await;
        let keepalives = (0..=2).map(|number| (number * IDLE, Ok("keepalive")));
        let item = (2 * IDLE + IDLE / 2, Ok("item"));
        assert_eq!(events, keepalives.chain([item]).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn an_early_result_is_returned_immediately() {
        let early = async {
            sleep(IDLE / 2).await;
            Ok::<_, Unavailable>(stream::iter([Ok("item")]))
        };
        let start = Instant::now();
        let events = open_or_fail(early, IDLE, "keepalive").await.unwrap();
        assert_eq!(start.elapsed(), IDLE / 2);
        assert_eq!(timed(events).await, [(Duration::ZERO, Ok("item"))]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_early_failure_is_returned_and_a_late_one_is_an_item() {
        let fail_after = async |wait| {
            sleep(wait).await;
            Err::<stream::Empty<Result<&str, _>>, _>(Unavailable)
        };
        let early = open_or_fail(fail_after(IDLE / 2), IDLE, "keepalive").await;
        assert!(early.is_err());
        let late = open_or_fail(fail_after(2 * IDLE), IDLE, "keepalive").await;
        let late: Vec<_> = late.unwrap().collect().await;
        assert_eq!(late, [Ok("keepalive"), Err(Unavailable)]);
    }

    /// What a handler waits for. The test opens it.
    #[derive(Clone, Default)]
    struct Gate(Arc<Notify>);

    impl Gate {
        async fn wait<T>(
            self,
            item: T,
        ) -> Result<impl Stream<Item = Result<T, Unavailable>>, Unavailable> {
            self.0.notified().await;
            Ok(stream::iter([Ok(item)]))
        }
    }

    async fn serve(gate: Gate) -> SocketAddr {
        let event = || Event::default().data("item");
        let comment = || Event::default().comment("");
        let [of_plain, of_open, of_open_or_fail] = [(); 3].map(|()| gate.clone());
        let plain = async move || of_plain.wait(event()).await.map(Sse::new);
        let at_once = async move || Sse::new(open(of_open.wait(event()), IDLE, comment()));
        let soon = async move || {
            open_or_fail(of_open_or_fail.wait(event()), IDLE, comment())
                .await
                .map(Sse::new)
        };
        let failing = async move || {
            let failure = async { Err::<stream::Pending<_>, _>(Unavailable) };
            open_or_fail(failure, IDLE, comment()).await.map(Sse::new)
        };
        let app = Router::new()
            .route("/plain", get(plain))
            .route("/open", get(at_once))
            .route("/open-or-fail", get(soon))
            .route("/failing", get(failing));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, app).await });
        addr
    }

    async fn request(addr: SocketAddr, path: &str) -> reqwest::Response {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.get(format!("http://{addr}{path}"));
        request.send().await.unwrap()
    }

    #[tokio::test]
    async fn a_client_of_axum_gets_keepalives_before_there_is_a_stream() {
        let gate = Gate::default();
        let addr = serve(gate.clone()).await;
        for path in ["/open", "/open-or-fail"] {
            let mut response = within(request(addr, path)).await;
            let mut text = String::new();
            let mut read_until = async |text: &mut String, part: &str| {
                while !text.contains(part) {
                    let chunk = within(response.chunk()).await.unwrap().expect("the end");
                    *text += std::str::from_utf8(&chunk).unwrap();
                }
            };
            read_until(&mut text, &": \n\n".repeat(3)).await;
            gate.0.notify_one();
            read_until(&mut text, "data: item").await;
        }
        let failed = within(request(addr, "/failing")).await;
        assert_eq!(failed.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn a_client_of_an_axum_handler_that_waits_gets_nothing() {
        let addr = serve(Gate::default()).await;
        assert!(timeout(NO_ANSWER, request(addr, "/plain")).await.is_err());
    }

    /// A service in which either the handler waits or the stream.
    struct Late {
        gate: Gate,
        wait_in_handler: bool,
    }

    #[async_trait]
    impl Backrest for Late {
        type GetOperationEventsStream = BoxStream<'static, Result<OperationEvent, Status>>;

        async fn get_operation_events(
            &self,
            _: Request<()>,
        ) -> Result<tonic::Response<Self::GetOperationEventsStream>, Status> {
            let unavailable = |_| Status::unavailable("not available");
            let event = OperationEvent::created(1, "item".into());
            let opening = self.gate.clone().wait(event).map_err(unavailable);
            let opening =
                opening.map_ok(move |events| events.map(move |event| event.map_err(unavailable)));
            let events = if self.wait_in_handler {
                opening.await?.boxed()
            } else {
                open(opening, IDLE, OperationEvent::keep_alive()).boxed()
            };
            Ok(tonic::Response::new(events))
        }
    }

    async fn client(late: Late) -> BackrestClient<tonic::transport::Channel> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = Server::builder().add_service(BackrestServer::new(late));
        tokio::spawn(server.serve_with_incoming(incoming));
        BackrestClient::connect(format!("http://{addr}"))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_client_of_tonic_gets_keepalives_before_there_is_a_stream() {
        let gate = Gate::default();
        let late = Late {
            gate: gate.clone(),
            wait_in_handler: false,
        };
        let mut client = client(late).await;
        let mut events = within(client.get_operation_events(()))
            .await
            .unwrap()
            .into_inner();
        for _ in 0..3 {
            let event = within(events.message()).await.unwrap();
            assert_eq!(event, Some(OperationEvent::keep_alive()));
        }
        gate.0.notify_one();
        while within(events.message()).await.unwrap() == Some(OperationEvent::keep_alive()) {}
        assert_eq!(within(events.message()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_client_of_a_tonic_handler_that_waits_gets_nothing() {
        let late = Late {
            gate: Gate::default(),
            wait_in_handler: true,
        };
        let mut client = client(late).await;
        assert!(
            timeout(NO_ANSWER, client.get_operation_events(()))
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn a_late_failure_in_tonic_keeps_its_status() {
        struct Failing;

        #[async_trait]
        impl Backrest for Failing {
            type GetOperationEventsStream = BoxStream<'static, Result<OperationEvent, Status>>;

            async fn get_operation_events(
                &self,
                _: Request<()>,
            ) -> Result<tonic::Response<Self::GetOperationEventsStream>, Status> {
                let opening =
                    async { Err::<Self::GetOperationEventsStream, _>(Status::not_found("who?")) };
                let events = open(opening, IDLE, OperationEvent::keep_alive());
                Ok(tonic::Response::new(events.boxed()))
            }
        }

        let mut events = Failing
            .get_operation_events(Request::new(()))
            .await
            .unwrap()
            .into_inner();
        let status = events.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
    }
}
