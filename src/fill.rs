use core::fmt;

/// Makes the items that fill a silence.
///
/// Every closure or function that takes nothing and returns an item is a filler, and so is
/// [`Repeat`], which clones one value. Implement the trait for a type of your own where the type
/// of the stream must be written down and a closure has no name.
///
/// [`fill`](Fill::fill) runs once for each keepalive, as it is yielded, never ahead: what it reads
/// is as fresh as the keepalive.
///
/// # Example
///
/// A keepalive that carries a resume point:
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
/// use std::time::Duration;
/// use futures::stream::{self, StreamExt};
/// use stream_keepalive::{Fill, Keepalive};
///
/// #[derive(Debug, PartialEq)]
/// enum Event {
///     Progress(u64),
/// }
///
/// struct LastSeen(Arc<AtomicU64>);
///
/// impl Fill<Event> for LastSeen {
///     fn fill(&mut self) -> Event {
///         Event::Progress(self.0.load(Ordering::Acquire))
///     }
/// }
///
/// // A type that can be written down, for a field or an associated type.
/// type Events = Keepalive<stream::Pending<Event>, LastSeen>;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let seen = Arc::new(AtomicU64::new(7));
/// let idle = Duration::from_secs(20);
/// let mut events: Events = Keepalive::new(stream::pending(), idle, LastSeen(seen.clone()));
///
/// assert_eq!(events.next().await, Some(Event::Progress(7)));
/// seen.store(8, Ordering::Release);
/// assert_eq!(events.next().await, Some(Event::Progress(8)));
/// # }
/// ```
pub trait Fill<Item> {
    /// Makes the next keepalive.
    ///
    /// # Panics
    ///
    /// The adapter never panics on behalf of a filler. A panic of the filler's own passes through
    /// `poll_next`; that keepalive is skipped, and the stream can be polled on.
    fn fill(&mut self) -> Item;
}

impl<F, Item> Fill<Item> for F
where
    F: FnMut() -> Item,
{
    #[inline]
    fn fill(&mut self) -> Item {
        self()
    }
}

/// A filler that repeats one value, by cloning it.
///
/// It is what [`keepalive`](crate::KeepaliveExt::keepalive) uses, and the filler of the plain type
/// [`Keepalive<S>`](crate::Keepalive).
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use futures::stream::{self, StreamExt};
/// use stream_keepalive::{Keepalive, Repeat};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let mut lines: Keepalive<stream::Pending<&str>> =
///     Keepalive::new(stream::pending(), Duration::from_secs(20), Repeat(""));
///
/// assert_eq!(lines.next().await, Some(""));
/// # }
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Repeat<Item>(
    /// The value that is cloned for each keepalive.
    pub Item,
);

impl<Item: Clone> Fill<Item> for Repeat<Item> {
    #[inline]
    fn fill(&mut self) -> Item {
        self.0.clone()
    }
}

// By hand, so that `Keepalive` is `Debug` whatever the item is.
impl<Item> fmt::Debug for Repeat<Item> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repeat").finish_non_exhaustive()
    }
}
