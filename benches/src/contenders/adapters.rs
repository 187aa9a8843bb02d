//! The contenders of `Keepalive`, written as their users write them.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{Stream, StreamExt, future::Either};
use heartbeat_stream::HeartbeatStream;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, interval_at, sleep};

pin_project! {
    /// Resets its timer at each item, as the keep-alives of axum and warp do.
    pub struct Rearm<S: Stream> {
        #[pin]
        inner: S,
        #[pin]
        timer: Sleep,
        idle: Duration,
        item: S::Item,
    }
}

pub fn rearm<S: Stream>(inner: S, idle: Duration, item: S::Item) -> Rearm<S> {
    Rearm {
        inner,
        timer: sleep(idle),
        idle,
        item,
    }
}

impl<S> Stream for Rearm<S>
where
    S: Stream,
    S::Item: Clone,
{
    type Item = S::Item;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut this = self.project();
        match this.inner.poll_next(cx) {
            Poll::Ready(Some(item)) => {
                this.timer.reset(Instant::now() + *this.idle);
                Poll::Ready(Some(item))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                ready!(this.timer.as_mut().poll(cx));
                this.timer.reset(Instant::now() + *this.idle);
                Poll::Ready(Some(this.item.clone()))
            }
        }
    }
}

/// tokio-stream's adapter.
pub fn timeout_repeating<S>(
    inner: S,
    idle: Duration,
    item: S::Item,
) -> impl Stream<Item = S::Item> + Send
where
    S: Stream + Send,
    S::Item: Clone + Send + Sync,
{
    let interval = interval_at(Instant::now() + idle, idle);
    tokio_stream::StreamExt::timeout_repeating(inner, interval)
        .map(move |item_or_timeout| item_or_timeout.unwrap_or_else(|_| item.clone()))
}

/// The loop that people most often write by hand.
pub fn select<S>(inner: S, idle: Duration, item: S::Item) -> impl Stream<Item = S::Item> + Send
where
    S: Stream + Send,
    S::Item: Clone + Send + Sync,
{
    async_stream::stream! {
        let mut inner = std::pin::pin!(inner);
        loop {
            tokio::select! {
                biased;
                next = inner.next() => match next {
                    Some(next) => yield next,
                    None => break,
                },
                () = sleep(idle) => yield item.clone(),
            }
        }
    }
}

/// The crate heartbeat-stream, which ticks at fixed times, regardless of the items.
pub fn heartbeat_stream<S>(
    inner: S,
    idle: Duration,
    item: S::Item,
) -> impl Stream<Item = S::Item> + Send
where
    S: Stream + Send,
    S::Item: Clone + Send + Sync,
{
    let interval = interval_at(Instant::now() + idle, idle);
    HeartbeatStream::new(inner, interval).map(move |either| match either {
        Either::Left(item) => item,
        Either::Right(_) => item.clone(),
    })
}
