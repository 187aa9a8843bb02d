use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::Stream;
use tokio::sync::broadcast::Receiver;
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError::Lagged};
use tonic::Status;

use crate::proto::v1::OperationEvent;

/// The events of the bus, for one subscriber.
///
/// It never skips an event and never ends without a reason. Its last item is an error that tells the
/// subscriber to reconnect.
pub struct Subscription(Option<BroadcastStream<OperationEvent>>);

impl Subscription {
    pub fn new(bus: Receiver<OperationEvent>) -> Self {
        Self(Some(BroadcastStream::new(bus)))
    }
}

impl Stream for Subscription {
    type Item = Result<OperationEvent, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(bus) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let reason = match ready!(Pin::new(bus).poll_next(cx)) {
            Some(Ok(event)) => return Poll::Ready(Some(Ok(event))),
            Some(Err(Lagged(count))) => {
                Status::data_loss(format!("missed events: {count}; fetch the state again"))
            }
            None => Status::unavailable("the server is stopping"),
        };
        self.0 = None;
        Poll::Ready(Some(Err(reason)))
    }
}
