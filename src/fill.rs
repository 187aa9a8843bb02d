/// Makes the keepalives that a [`Keepalive`](crate::Keepalive) inserts.
///
/// Every closure or function that takes nothing and returns an item is a filler, and so is [`Repeat`],
/// which clones one value. Implement the trait for a type of your own where the filler has to see the
/// items, must be able to hold a keepalive back, or must have a name.
///
/// # Example
///
/// A keepalive that carries the last sequence number, so that the client can resume after it. There is
/// none before the first event, because the client could not resume there:
///
/// ```
/// use std::time::Duration;
/// use futures::stream::{self, StreamExt};
/// use stream_keepalive::{Fill, KeepaliveExt};
///
/// #[derive(Clone, Debug, PartialEq)]
/// enum Event {
///     Created { number: u64 },
///     Progress { number: u64 },
/// }
///
/// #[derive(Default)]
/// struct LastNumber(Option<u64>);
///
/// impl Fill<Event> for LastNumber {
///     fn observe(&mut self, event: &Event) {
///         if let Event::Created { number } = event {
///             self.0 = Some(*number);
///         }
///     }
///
///     fn ready(&mut self) -> bool {
///         self.0.is_some()
///     }
///
///     fn fill(&mut self) -> Event {
///         Event::Progress { number: self.0.unwrap_or_default() }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let bus = stream::iter([Event::Created { number: 7 }]).chain(stream::pending());
/// let mut events = bus.keepalive_with(Duration::from_secs(20), LastNumber::default());
///
/// assert_eq!(events.next().await, Some(Event::Created { number: 7 }));
/// assert_eq!(events.next().await, Some(Event::Progress { number: 7 }));
/// # }
/// ```
#[doc(alias = "heartbeat")]
#[doc(alias = "ping")]
pub trait Fill<Item> {
    /// Makes the next keepalive.
    ///
    /// It runs once for each keepalive, as the keepalive is yielded. What it reads is as fresh as the
    /// keepalive.
    ///
    /// # Panics
    ///
    /// If it panics, the panic propagates and that keepalive is skipped. The stream can be polled again.
    fn fill(&mut self) -> Item;

    /// Sees each item of the inner stream before the item is passed on.
    ///
    /// It does not see keepalives.
    ///
    /// # Panics
    ///
    /// If it panics, the panic propagates and that item is lost. The stream can be polled again.
    #[inline]
    fn observe(&mut self, item: &Item) {
        let _ = item;
    }

    /// Returns whether a keepalive may be inserted now.
    ///
    /// It is asked when a keepalive is due. If it says no, nothing is yielded, and the idle clock starts
    /// again. A filler can use it to stay out of a frame that is half sent.
    ///
    /// # Panics
    ///
    /// If it panics, the panic propagates and that keepalive is skipped. The stream can be polled again.
    #[inline]
    fn ready(&mut self) -> bool {
        true
    }
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
/// [`keepalive`](crate::KeepaliveExt::keepalive) uses it, and it is the filler of the plain type
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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
