//! A source that blocks its thread, such as an iterator over a file or a driver without `async`.
//!
//! While a poll blocks, nothing else in its task runs, so no keepalive can be inserted. Running the source on a thread
//! of its own and sending its items over a channel makes it an asynchronous stream.

use futures::Stream;
use tokio::{sync::mpsc, task::spawn_blocking};
use tokio_stream::wrappers::ReceiverStream;

/// Runs the iterator on a thread for blocking work. If the stream is dropped, the thread stops at the next item.
pub fn from_blocking<I>(items: impl FnOnce() -> I + Send + 'static) -> impl Stream<Item = I::Item>
where
    I: Iterator<Item: Send + 'static>,
{
    let (sender, receiver) = mpsc::channel(1);
    spawn_blocking(move || {
        for item in items() {
            if sender.blocking_send(item).is_err() {
                break;
            }
        }
    });
    ReceiverStream::new(receiver)
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, sync::mpsc, thread, time::Duration};

    use futures::{StreamExt, stream};
    use programs::within;
    use stream_keepalive::KeepaliveExt;

    use super::*;

    const IDLE: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_blocking_source_on_a_thread_of_its_own_is_kept_alive() {
        let (sender, source) = mpsc::channel();
        let items = from_blocking(move || source.into_iter());
        let mut items = pin!(items.keepalive(IDLE, "keepalive"));
        for _ in 0..3 {
            assert_eq!(within(items.next()).await, Some("keepalive"));
        }
        sender.send("item").unwrap();
        while within(items.next()).await == Some("keepalive") {}
        drop(sender);
        while within(items.next()).await.is_some() {}
    }

    #[tokio::test]
    async fn a_source_that_blocks_in_its_poll_gets_no_keepalive() {
        let (sender, source) = mpsc::channel();
        thread::spawn(move || {
            thread::sleep(10 * IDLE);
            sender.send("item").unwrap();
        });
        let items = stream::iter(source).keepalive(IDLE, "keepalive");
        assert_eq!(items.collect::<Vec<_>>().await, ["item"]);
    }
}
