use core::{
    task::{Context, Poll},
    time::Duration,
};

mod tokio;

pub use self::tokio::TokioTimer;

/// One expiry in place, re-armed any number of times: what the adapters need of a runtime.
///
/// [`TokioTimer`] is the default. Any other runtime's timer fits in a few lines; give it to
/// [`Keepalive::with_timer`](crate::Keepalive::with_timer) or
/// [`IdleTimeout::with_timer`](crate::IdleTimeout::with_timer).
///
/// # What the adapters ask
///
/// - [`poll_expired`](Timer::poll_expired) is called only after [`arm`](Timer::arm), and after it
///   was ready not again before the next `arm`.
/// - `arm` may come at any time, also while the timer runs. The last one counts.
/// - The duration is never zero. It may be longer than the clock can count: such a timer never
///   expires.
/// - A task that stays busy may poll without a break. Whatever the runtime does to make such a
///   task give way must not keep the timer from expiring.
///
/// # Example
///
/// A timer over the one of [futures-timer](https://docs.rs/futures-timer), which needs no runtime:
///
/// ```
/// # mod futures_timer {
/// #     // Stands in for the crate, with the same two methods.
/// #     pub struct Delay(std::pin::Pin<Box<tokio::time::Sleep>>);
/// #     impl Delay {
/// #         pub fn new(after: std::time::Duration) -> Self { Self(Box::pin(tokio::time::sleep(after))) }
/// #         pub fn reset(&mut self, after: std::time::Duration) { *self = Self::new(after) }
/// #     }
/// #     impl Future for Delay {
/// #         type Output = ();
/// #         fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
/// #             self.0.as_mut().poll(cx)
/// #         }
/// #     }
/// # }
/// use std::{future::Future, pin::Pin, task::{Context, Poll}, time::Duration};
/// use futures::stream::{self, StreamExt};
/// use futures_timer::Delay;
/// use stream_keepalive::{Keepalive, Timer};
///
/// #[derive(Default)]
/// struct DelayTimer(Option<Delay>);
///
/// impl Timer for DelayTimer {
///     fn arm(&mut self, after: Duration) {
///         match &mut self.0 {
///             Some(delay) => delay.reset(after),
///             None => self.0 = Some(Delay::new(after)),
///         }
///     }
///
///     fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
///         match &mut self.0 {
///             Some(delay) => Pin::new(delay).poll(cx),
///             None => Poll::Pending,
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let idle = Duration::from_millis(20);
/// let mut beats = Keepalive::with_timer(stream::pending(), idle, || "beat", DelayTimer::default());
/// assert_eq!(beats.next().await, Some("beat"));
/// # }
/// ```
#[cfg_attr(
    not(feature = "tokio"),
    diagnostic::on_unimplemented(
        label = "`{Self}` is not a timer",
        note = "`TokioTimer`, the default, needs the feature `tokio` of stream-keepalive: turn it on, or bring a timer of your own with `with_timer`"
    )
)]
pub trait Timer {
    /// Starts the timer, or starts it anew: it expires once, `after` from now.
    ///
    /// # Panics
    ///
    /// When the runtime has no clock to offer, as [`TokioTimer`] does outside a Tokio runtime.
    /// Never because of the duration.
    fn arm(&mut self, after: Duration);

    /// Ready when the time is over; until then the task of `cx` is woken at the expiry.
    ///
    /// With each call the newest waker replaces the one before.
    ///
    /// # Panics
    ///
    /// When the runtime has gone, as [`TokioTimer`] does.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}
