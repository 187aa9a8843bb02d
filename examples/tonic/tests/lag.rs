//! A subscriber that falls behind gets an error, so it never has a gap that it does not know of.

use std::time::Duration;

use futures::StreamExt;
use tonic::{Code, Request};
use tonic_events::{
    events::{Bus, Events},
    proto::v1::{OperationEvent, backrest_server::Backrest},
};

#[tokio::test]
async fn a_subscriber_that_lags_gets_data_loss_and_then_the_end() {
    let bus = Bus::new(4);
    let service = Events::new(&bus, Duration::from_secs(20), false);
    let response = service
        .get_operation_events(Request::new(()))
        .await
        .unwrap();
    let mut events = response.into_inner();

    for id in 1..=4 {
        bus.send(OperationEvent::created(id, "in time".into()))
            .unwrap();
    }
    for _ in 1..=4 {
        assert!(events.next().await.unwrap().is_ok());
    }

    for id in 5..=9 {
        bus.send(OperationEvent::created(id, "one too many".into()))
            .unwrap();
    }
    let status = events.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DataLoss);
    assert_eq!(status.message(), "missed events: 1; fetch the state again");
    assert!(events.next().await.is_none());
}
