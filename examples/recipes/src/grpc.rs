//! A client of a gRPC stream that drops the keepalives and still notices when the server is gone.

use std::{future::ready, time::Duration};

use futures::{Stream, TryStreamExt};
use stream_keepalive::KeepaliveExt;
use tonic::Status;
use tonic_events::proto::v1::{OperationEvent, operation_event::Event};

/// The events without the keepalives.
///
/// If no message arrives for `idle`, the last item is an error. Set `idle` to three times the server's keepalive
/// interval.
pub fn events<S>(messages: S, idle: Duration) -> impl Stream<Item = Result<OperationEvent, Status>>
where
    S: Stream<Item = Result<OperationEvent, Status>>,
{
    messages
        // Below the filter, because it drops the keepalives. Above it, the timeout would end a healthy stream.
        .idle_timeout_with(idle, || {
            Err(Status::deadline_exceeded(
                "the server has been idle for too long",
            ))
        })
        .try_filter(|message| ready(!matches!(message.event, Some(Event::KeepAlive(_)))))
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, pin::pin};

    use futures::{StreamExt, future::pending};
    use tokio::{net::TcpListener, time::sleep};
    use tonic::{Code, Streaming};
    use tonic_events::{
        events::{Bus, Events},
        proto::v1::backrest_client::BackrestClient,
    };

    use super::*;

    const IDLE: Duration = Duration::from_millis(200);

    /// Subscribes to a server that has one event after twenty idle times.
    async fn subscribe(keepalive: Duration) -> Streaming<OperationEvent> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let bus = Bus::new(8);
        let service = Events::new(&bus, keepalive, true);
        tokio::spawn(service.serve(listener, Duration::ZERO, pending()));
        let mut client = BackrestClient::connect(format!("http://{addr}"))
            .await
            .unwrap();
        let events = client.get_operation_events(()).await.unwrap().into_inner();
        tokio::spawn(async move {
            sleep(20 * IDLE).await;
            bus.send(OperationEvent::created(1, "done".into())).unwrap();
            pending::<()>().await;
        });
        events
    }

    // Ten idle times leave room for a busy machine.

    #[tokio::test]
    async fn an_idle_server_that_sends_keepalives_does_not_time_out() {
        let mut events = pin!(events(subscribe(IDLE).await, 10 * IDLE));
        let event = events.next().await.unwrap().unwrap();
        assert!(matches!(event.event, Some(Event::CreatedOperations(_))));
    }

    #[tokio::test]
    async fn a_timeout_above_the_filter_ends_the_same_stream() {
        let off = Duration::ZERO;
        let events = events(subscribe(IDLE).await, off).idle_timeout(10 * IDLE);
        assert_eq!(events.count().await, 0);
    }

    #[tokio::test]
    async fn a_server_that_sends_nothing_times_out() {
        let mut events = pin!(events(subscribe(Duration::ZERO).await, IDLE));
        let status = events.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(events.next().await.is_none());
    }
}
