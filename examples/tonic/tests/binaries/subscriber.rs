use programs::within;
use tonic::{Status, Streaming, metadata::MetadataMap};
use tonic_events::proto::v1::{
    OperationEvent, backrest_client::BackrestClient, operation_event::Event,
};

/// A gRPC client with a connection of its own.
pub struct Subscriber {
    pub headers: MetadataMap,
    events: Streaming<OperationEvent>,
}

#[derive(Debug, PartialEq)]
pub enum Seen {
    Keepalive,
    Created(String),
}

impl Subscriber {
    pub async fn new(addr: &str) -> Self {
        let mut client = within(BackrestClient::connect(format!("http://{addr}")))
            .await
            .expect("cannot connect");
        let response = within(client.get_operation_events(()))
            .await
            .expect("cannot subscribe");
        Self {
            headers: response.metadata().clone(),
            events: response.into_inner(),
        }
    }

    pub async fn next(&mut self) -> Result<Seen, Status> {
        let event = within(self.events.message())
            .await?
            .expect("the stream has ended")
            .event;
        Ok(match event.expect("a message without an event") {
            Event::KeepAlive(_) => Seen::Keepalive,
            Event::CreatedOperations(list) => {
                let [operation] = &list.operations[..] else {
                    panic!("not one operation: {list:?}");
                };
                Seen::Created(operation.display_message.clone())
            }
            other => panic!("the server never sends this event: {other:?}"),
        })
    }
}
