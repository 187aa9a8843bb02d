/// Makes the keepalives that a [`Keepalive`](crate::Keepalive) inserts.
///
/// Every closure or function that takes no arguments and returns an item is a filler. So is [`Repeat`],
/// which clones one value.
///
/// Implement this trait for a type of your own if the filler has to see the items of the stream, if it has
/// to skip keepalives, or if you have to name its type.
///
/// If one of the methods panics, the panic propagates and the stream can be polled again. A panic in
/// [`fill`](Fill::fill) skips one keepalive. A panic in [`observe`](Fill::observe) loses the item,
/// and the idle clock keeps running.
///
/// # Example
///
/// These keepalives carry the last sequence number, so that the client can resume after it. No keepalive
/// is sent before the first event, because there is no number to send yet:
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
///     fn fill(&mut self) -> Option<Event> {
///         self.0.map(|number| Event::Progress { number })
///     }
///
///     fn observe(&mut self, event: &Event) -> bool {
///         if let Event::Created { number } = event {
///             self.0 = Some(*number);
///         }
///         true
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
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not make items of type `{Item}`",
    note = "a filler is a closure or function that returns an item of the stream, or a type that implements `Fill`",
    note = "`keepalive` clones its item: if the item is not `Clone`, use `keepalive_with` with a closure"
)]
pub trait Fill<Item> {
    /// Makes the keepalive that is due, or returns `None` to skip it.
    ///
    /// It runs once for each keepalive that is due. The idle clock then starts again, whether or not a
    /// keepalive is inserted. A filler can return `None` to avoid a keepalive in the middle of a frame.
    fn fill(&mut self) -> Option<Item>;

    /// Sees each item of the inner stream before the item is passed on. Returns whether the item is
    /// activity.
    ///
    /// If it returns `false`, the item is passed on, and the idle clock continues as if no item had come.
    /// For example, an empty chunk of bytes is no activity, because it sends nothing over the connection.
    ///
    /// It does not see keepalives. The default returns `true`.
    #[inline]
    fn observe(&mut self, item: &Item) -> bool {
        let _ = item;
        true
    }
}

impl<F, Item> Fill<Item> for F
where
    F: FnMut() -> Item,
{
    #[inline]
    fn fill(&mut self) -> Option<Item> {
        Some(self())
    }
}

/// A filler that clones one value for each keepalive.
///
/// [`keepalive`](crate::KeepaliveExt::keepalive) uses it. It is also the default filler of the type
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
    fn fill(&mut self) -> Option<Item> {
        Some(self.0.clone())
    }
}
