use core::time::Duration;

use futures_core::Stream;

use crate::{Fill, IdleTimeout, Keepalive, Repeat};

/// Adds [`keepalive`](KeepaliveExt::keepalive) and [`idle_timeout`](KeepaliveExt::idle_timeout) to every
/// stream.
///
/// [`Keepalive`](Keepalive#rules) states the rules for both.
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
/// let hung = stream::pending::<&str>();
/// let mut events = hung
///     .idle_timeout(Duration::from_secs(50))
///     .keepalive(Duration::from_secs(20), "still here");
///
/// assert_eq!(events.next().await, Some("still here")); // at 20 s
/// assert_eq!(events.next().await, Some("still here")); // at 40 s
/// assert_eq!(events.next().await, None); //               at 50 s
/// # }
/// ```
pub trait KeepaliveExt: Stream {
    /// Inserts a clone of `item` whenever the stream has been idle for `idle`. The item must be `Clone`.
    ///
    /// Use [`keepalive_with`](KeepaliveExt::keepalive_with) if the item is not `Clone`, or if you want to
    /// build it for each keepalive.
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
    /// assert_eq!(events.next().await, Some(0)); // after 20 idle seconds
    /// # }
    /// ```
    #[doc(alias = "heartbeat")]
    #[doc(alias = "keep_alive")]
    #[doc(alias = "ping")]
    fn keepalive(self, idle: Duration, item: Self::Item) -> Keepalive<Self>
    where
        Self: Sized,
        // The compiler then shows the note of `Fill` if the item is not `Clone`.
        Repeat<Self::Item>: Fill<Self::Item>,
    {
        Keepalive::new(self, idle, Repeat(item))
    }

    /// Inserts an item made by `fill` whenever the stream has been idle for `idle`.
    ///
    /// `fill` is a closure or function that returns an item, or a type of your own that implements
    /// [`Fill`]. It runs once for each keepalive, when the keepalive is yielded.
    ///
    /// In a stream of bytes, a keepalive must not be empty: HTTP servers do not send an empty chunk.
    ///
    /// # Example
    ///
    /// The items of this byte stream are not `Clone`, because `io::Error` is not:
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
    #[doc(alias = "heartbeat")]
    #[doc(alias = "keep_alive")]
    #[doc(alias = "ping")]
    fn keepalive_with<F>(self, idle: Duration, fill: F) -> Keepalive<Self, F>
    where
        Self: Sized,
        F: Fill<Self::Item>,
    {
        Keepalive::new(self, idle, fill)
    }

    /// Ends the stream once it has been idle for `idle`.
    ///
    /// To the consumer this looks like the end of the inner stream. Use
    /// [`idle_timeout_with`](KeepaliveExt::idle_timeout_with) if it has to know the reason.
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
    /// assert_eq!(events.next().await, None); // after ten idle minutes
    /// # }
    /// ```
    #[doc(alias = "inactivity")]
    #[doc(alias = "timeout")]
    fn idle_timeout(self, idle: Duration) -> IdleTimeout<Self>
    where
        Self: Sized,
    {
        IdleTimeout::new(self, idle)
    }

    /// Ends the stream with one last item once it has been idle for `idle`.
    ///
    /// `last` makes that item, for example an error. It does not run if the inner stream ends by itself. If
    /// you cannot make an error of the stream's type, such as a `reqwest::Error`, convert the errors of the
    /// stream first: `body.map_err(io::Error::other)`.
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
    ///     Err(io::Error::new(io::ErrorKind::TimedOut, "idle for 60 s"))
    /// });
    ///
    /// assert!(matches!(events.next().await, Some(Err(error)) if error.kind() == io::ErrorKind::TimedOut));
    /// assert!(events.next().await.is_none());
    /// # }
    /// ```
    #[doc(alias = "inactivity")]
    #[doc(alias = "timeout")]
    fn idle_timeout_with<F>(self, idle: Duration, last: F) -> IdleTimeout<Self, F>
    where
        Self: Sized,
        F: FnOnce() -> Self::Item,
    {
        IdleTimeout::new(self, idle).with_last(last)
    }
}

impl<S: Stream + ?Sized> KeepaliveExt for S {}
