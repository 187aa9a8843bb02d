use core::time::Duration;

use futures_core::Stream;

use crate::{Fill, IdleTimeout, Keepalive, Repeat, Timer, TokioTimer};

/// Adds [`keepalive`](KeepaliveExt::keepalive) and [`idle_timeout`](KeepaliveExt::idle_timeout) to
/// every stream.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use futures::stream::{self, StreamExt};
/// use stream_keepalive::KeepaliveExt;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let silent = stream::pending::<&str>();
/// let mut events = silent
///     .idle_timeout(Duration::from_secs(50))
///     .keepalive(Duration::from_secs(20), "still here");
///
/// assert_eq!(events.next().await, Some("still here")); // at 20 s
/// assert_eq!(events.next().await, Some("still here")); // at 40 s
/// assert_eq!(events.next().await, None); //               at 50 s
/// # }
/// ```
// `for<'a>` puts the bound off until the method is called: without the feature `tokio` the crate
// still builds, and a caller who wants the default timer is told what to do.
pub trait KeepaliveExt: Stream {
    /// Inserts a clone of `item` whenever the stream has been silent for `idle`.
    ///
    /// [`keepalive_with`](KeepaliveExt::keepalive_with) does the same for an item that is not
    /// `Clone`, or that should be made afresh each time. [`Duration::ZERO`] turns it off, and a
    /// duration too long for the clock never fires. See [`Keepalive`] for how silence is counted.
    ///
    /// # Panics
    ///
    /// Never here: this needs no runtime. The stream panics when it falls silent outside a Tokio
    /// runtime with time enabled; items and the end still pass there.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use futures::stream::{self, StreamExt};
    /// use stream_keepalive::KeepaliveExt;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let bus = stream::iter([1, 2]).chain(stream::pending());
    /// let mut events = bus.keepalive(Duration::from_secs(20), 0);
    ///
    /// assert_eq!(events.next().await, Some(1));
    /// assert_eq!(events.next().await, Some(2));
    /// assert_eq!(events.next().await, Some(0)); // twenty silent seconds later
    /// # }
    /// ```
    fn keepalive(self, idle: Duration, item: Self::Item) -> Keepalive<Self>
    where
        Self: Sized,
        Self::Item: Clone,
        for<'a> TokioTimer: Timer,
    {
        Keepalive::new(self, idle, Repeat(item))
    }

    /// Inserts an item made by `fill` whenever the stream has been silent for `idle`.
    ///
    /// `fill` is a closure or function that returns an item, or a [`Fill`] of your own. It runs
    /// once for each keepalive, as it is yielded. For a value that is `Clone`,
    /// [`keepalive`](KeepaliveExt::keepalive) is shorter.
    ///
    /// # Panics
    ///
    /// Never here; as for [`keepalive`](KeepaliveExt::keepalive) when the stream is polled. A
    /// panic of `fill` passes through, and the stream stays usable.
    ///
    /// # Example
    ///
    /// A byte stream, whose item is not `Clone` because of its error:
    ///
    /// ```
    /// use std::{io, time::Duration};
    /// use futures::stream::{self, StreamExt};
    /// use stream_keepalive::KeepaliveExt;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> io::Result<()> {
    /// let body = stream::pending::<io::Result<Vec<u8>>>();
    /// let mut body = body.keepalive_with(Duration::from_secs(20), || Ok(b"\n".to_vec()));
    ///
    /// assert_eq!(body.next().await.transpose()?, Some(b"\n".to_vec()));
    /// # Ok(())
    /// # }
    /// ```
    fn keepalive_with<F>(self, idle: Duration, fill: F) -> Keepalive<Self, F>
    where
        Self: Sized,
        F: Fill<Self::Item>,
        for<'a> TokioTimer: Timer,
    {
        Keepalive::new(self, idle, fill)
    }

    /// Ends the stream once it has been silent for `idle`.
    ///
    /// It ends quietly, as if the inner stream had ended;
    /// [`idle_timeout_with`](KeepaliveExt::idle_timeout_with) says why. [`Duration::ZERO`] turns it
    /// off, and a duration too long for the clock never fires.
    ///
    /// # Panics
    ///
    /// Never here; as for [`keepalive`](KeepaliveExt::keepalive) when the stream is polled.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use futures::stream::{self, StreamExt};
    /// use stream_keepalive::KeepaliveExt;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let hung = stream::iter([1]).chain(stream::pending());
    /// let mut events = hung.idle_timeout(Duration::from_secs(600));
    ///
    /// assert_eq!(events.next().await, Some(1));
    /// assert_eq!(events.next().await, None); // ten silent minutes later
    /// # }
    /// ```
    fn idle_timeout(self, idle: Duration) -> IdleTimeout<Self>
    where
        Self: Sized,
        for<'a> TokioTimer: Timer,
    {
        IdleTimeout::new(self, idle)
    }

    /// Ends the stream with one last item once it has been silent for `idle`.
    ///
    /// `last` runs at most once, as its item is yielded, and not at all if the inner stream ends by
    /// itself. [`idle_timeout`](KeepaliveExt::idle_timeout) ends without a word.
    ///
    /// # Panics
    ///
    /// Never here; as for [`keepalive`](KeepaliveExt::keepalive) when the stream is polled. A
    /// panic of `last` passes through, and the stream has ended.
    ///
    /// # Example
    ///
    /// ```
    /// use std::{io, time::Duration};
    /// use futures::stream::{self, StreamExt};
    /// use stream_keepalive::KeepaliveExt;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let hung = stream::pending::<io::Result<u32>>();
    /// let mut events = hung.idle_timeout_with(Duration::from_secs(60), || {
    ///     Err(io::Error::new(io::ErrorKind::TimedOut, "silent for 60 s"))
    /// });
    ///
    /// assert!(matches!(events.next().await, Some(Err(error)) if error.kind() == io::ErrorKind::TimedOut));
    /// assert!(events.next().await.is_none());
    /// # }
    /// ```
    fn idle_timeout_with<F>(self, idle: Duration, last: F) -> IdleTimeout<Self, F>
    where
        Self: Sized,
        F: FnOnce() -> Self::Item,
        for<'a> TokioTimer: Timer,
    {
        IdleTimeout::new(self, idle).with_last(last)
    }
}

impl<S: Stream + ?Sized> KeepaliveExt for S {}
