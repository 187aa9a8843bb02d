//! The code generated from `proto/`, and constructors for the events of this example.

use std::time::{SystemTime, UNIX_EPOCH};

use self::v1::{Operation, OperationEvent, OperationList, operation_event::Event};

pub mod types {
    tonic::include_proto!("types");
}

pub mod v1 {
    tonic::include_proto!("v1");
}

impl OperationEvent {
    /// The event that carries no information. Every proxy on the way counts it as data.
    pub fn keep_alive() -> Self {
        Event::KeepAlive(types::Empty {}).into()
    }

    /// The creation of an operation that starts now.
    pub fn created(id: i64, display_message: String) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let operation = Operation {
            id,
            unix_time_start_ms: now.map_or(0, |now| now.as_millis() as i64),
            display_message,
            ..Operation::default()
        };
        Event::CreatedOperations(OperationList {
            operations: vec![operation],
        })
        .into()
    }
}

impl From<Event> for OperationEvent {
    fn from(event: Event) -> Self {
        Self { event: Some(event) }
    }
}
