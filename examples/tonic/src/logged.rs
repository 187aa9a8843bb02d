use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use futures::Stream;
use tonic::Status;
use tracing::info;

use crate::proto::v1::{OperationEvent, operation_event::Event};

/// A stream that logs when it is opened and when it is dropped, with the number of its events.
///
/// It logs the drop and not the end, because a stream whose client vanishes never ends.
pub struct Logged<S> {
    inner: S,
    peer: Option<SocketAddr>,
    events: u64,
    keepalives: u64,
    reason: Option<Status>,
    /// How many of these streams are open.
    open: Arc<AtomicUsize>,
}

impl<S> Logged<S> {
    pub fn new(inner: S, peer: Option<SocketAddr>, open: Arc<AtomicUsize>) -> Self {
        let now_open = open.fetch_add(1, Relaxed) + 1;
        info!(
            peer = peer.map(tracing::field::display),
            open = now_open,
            "subscriber opened"
        );
        Self {
            inner,
            peer,
            events: 0,
            keepalives: 0,
            reason: None,
            open,
        }
    }
}

impl<S> Stream for Logged<S>
where
    S: Stream<Item = Result<OperationEvent, Status>> + Unpin,
{
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = Pin::new(&mut self.inner).poll_next(cx);
        match &item {
            Poll::Ready(Some(Ok(OperationEvent {
                event: Some(Event::KeepAlive(_)),
            }))) => self.keepalives += 1,
            Poll::Ready(Some(Ok(_))) => self.events += 1,
            Poll::Ready(Some(Err(status))) => self.reason = Some(status.clone()),
            Poll::Ready(None) | Poll::Pending => {}
        }
        item
    }
}

impl<S> Drop for Logged<S> {
    fn drop(&mut self) {
        let reason = match &self.reason {
            Some(status) => status.message(),
            None => "the client left",
        };
        info!(
            peer = self.peer.map(tracing::field::display),
            events = self.events,
            keepalives = self.keepalives,
            open = self.open.fetch_sub(1, Relaxed) - 1,
            reason,
            "subscriber gone"
        );
    }
}
