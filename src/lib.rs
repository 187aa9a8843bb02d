//! Keeps long-lived streams alive through proxies.
//!
//! Proxies and load balancers close a response that has sent nothing for a while, often for 60 seconds. This
//! crate adds two adapters to every [`Stream`]:
//!
//! - [`keepalive`] inserts an item of your choice whenever the stream has been idle for a given time.
//! - [`idle_timeout`] ends a stream that has been idle for a given time.
//!
//! For HTTP servers, [`stream-keepalive-http`] does this in one line, with a tower layer.
//!
//! ```text
//!                      0 s         20 s        40 s        60 s   65 s
//!  your stream         A ─────────────────────────────────────────── B
//!  through a proxy     A ─────────────────────────────────── ✂ closed
//!  with a keepalive    A ────────── k ───────── k ───────── k ────── B
//! ```
//!
//! An item of the stream always wins over a keepalive or a timeout. While items are ready, the adapters
//! read no clock, touch no timer and allocate nothing. [`Keepalive`](Keepalive#rules) states all rules.
//!
//! # Example
//!
//! ```
//! use std::{pin::pin, time::Duration};
//! use futures::StreamExt;
//! use stream_keepalive::KeepaliveExt;
//! use tokio::time::sleep;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let backup = async_stream::stream! {
//!     yield "backup started";
//!     sleep(Duration::from_secs(50)).await;
//!     yield "backup finished";
//! };
//! let mut events = pin!(backup.keepalive(Duration::from_secs(20), "still running"));
//!
//! assert_eq!(events.next().await, Some("backup started"));
//! assert_eq!(events.next().await, Some("still running")); //   at 20 s
//! assert_eq!(events.next().await, Some("still running")); //   at 40 s
//! assert_eq!(events.next().await, Some("backup finished")); // at 50 s
//! # }
//! ```
//!
//! # Overview
//!
//! | method | what it does when the stream has been idle for `idle` |
//! |---|---|
//! | [`keepalive(idle, item)`][`keepalive`] | inserts a clone of `item` |
//! | [`keepalive_with(idle, fill)`][`keepalive_with`] | inserts an item made by a closure or a [`Fill`] |
//! | [`idle_timeout(idle)`][`idle_timeout`] | ends the stream |
//! | [`idle_timeout_with(idle, last)`][`idle_timeout_with`] | ends the stream with a last item, such as an error |
//!
//! An adapter has three settings. [`immediate`](Keepalive::immediate) does not wait before the first keepalive.
//! [`set_idle`](Keepalive::set_idle) changes `idle` while the stream runs. [`with_timer`] replaces [Tokio's
//! timer](#runtimes).
//!
//! # Choosing the idle time
//!
//! Set `idle` to at most half of the shortest timeout between the server and the client. If that is the
//! usual 60 seconds, use 20 seconds. If `idle` is close to the timeout of a proxy, the proxy often closes the
//! response first, because its clock may start earlier than yours.
//!
//! # Keepalives and idle timeouts together
//!
//! On their own, keepalives make a hung stream look healthy forever. An idle timeout below the keepalive,
//! that is, closer to the inner stream, limits how long that can last:
//!
//! ```
//! use std::time::Duration;
//! use futures::stream;
//! use stream_keepalive::KeepaliveExt;
//!
//! let bus = stream::pending::<u32>();
//! let events = bus
//!     .idle_timeout(Duration::from_secs(600)) // the bus may be idle for up to ten minutes
//!     .keepalive(Duration::from_secs(20), 0); // the client gets an item every 20 seconds
//! ```
//!
//! On a client, an idle timeout detects a dead server.
//! [`IdleTimeout`](IdleTimeout#where-to-put-it) says where to put it.
//!
//! # What is left out
//!
//! The crate has no option for what other adapters already do:
//!
//! ```
//! # use std::{cell::Cell, future::{pending, ready}, pin::pin, time::Duration};
//! # use futures::{StreamExt, channel::mpsc, stream};
//! # use stream_keepalive::KeepaliveExt;
//! # use tokio::time::{interval, sleep};
//! # use tokio_stream::wrappers::IntervalStream;
//! # mod rand { pub fn random_range(range: std::ops::Range<f64>) -> f64 { range.start } }
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! # let [idle, first, lifetime] = [20, 60, 600].map(Duration::from_secs);
//! # let bus = || stream::iter([1, 2]).chain(stream::pending());
//! # let (item, other, shutdown) = (0, stream::iter([3]), pending::<()>());
//! # let load = || ready(4);
//! # let (requests, responses) = (bus(), bus());
//! # let (sender, _receiver) = mpsc::channel::<i32>(1);
//! // Jitter: vary `idle` from stream to stream.
//! let events = bus().keepalive(idle.mul_f64(rand::random_range(0.75..1.25)), item);
//!
//! // Keepalives at fixed times, whatever the items do. An end marker ends them with the bus.
//! let ticks = IntervalStream::new(interval(idle)).map(|_| Some(item));
//! let events = stream::select(bus().map(Some).chain(stream::iter([None])), ticks)
//!     .scan((), |(), event| ready(event));
//! # assert!(events.take_until(sleep(lifetime)).count().await > 5);
//! # let ticks = IntervalStream::new(interval(idle)).map(|_| Some(item));
//! # let ended = stream::select(stream::iter([Some(1), None]), ticks).scan((), |(), event| ready(event));
//! # assert!(ended.take(5).count().await < 5);
//!
//! // A pause: turn the adapter off, and on again.
//! let mut events = pin!(bus().keepalive(idle, item));
//! events.as_mut().set_idle(Duration::ZERO);
//! events.as_mut().set_idle(idle);
//!
//! // A different limit for the first item.
//! let mut events = pin!(bus().idle_timeout(first));
//! events.next().await;
//! events.as_mut().set_idle(idle);
//!
//! // A limited lifetime.
//! let events = bus().keepalive(idle, item).take_until(sleep(lifetime));
//!
//! // An end at shutdown. Any future works, for example `token.cancelled_owned()`.
//! let events = bus().keepalive(idle, item).take_until(shutdown);
//!
//! // Another stream as a fallback after the timeout, but not after an end of the bus.
//! let timed_out = Cell::new(false);
//! let events = bus().map(Some).idle_timeout_with(idle, || { timed_out.set(true); None });
//! let fallback = stream::once(async { timed_out.get() }).filter(|out| ready(*out)).flat_map(|_| other.clone());
//! let events = events.filter_map(ready).chain(fallback);
//! # assert_eq!(events.collect::<Vec<_>>().await, [1, 2, 3]);
//! # let timed_out = Cell::new(false);
//! # let events = stream::iter([1, 2]).map(Some).idle_timeout_with(idle, || { timed_out.set(true); None });
//! # let fallback = stream::once(async { timed_out.get() }).filter(|out| ready(*out)).flat_map(|_| other.clone());
//! # assert_eq!(events.filter_map(ready).chain(fallback).collect::<Vec<_>>().await, [1, 2]);
//!
//! // A keepalive made by a future.
//! let events = bus().map(Some).keepalive(idle, None).then(|item| async move {
//!     match item {
//!         Some(item) => item,
//!         None => load().await,
//!     }
//! });
//!
//! // One idle timeout for two directions.
//! let both = stream::select(requests, responses).idle_timeout(idle);
//!
//! // A consumer that does not poll all the time: poll in a task that sends to a channel.
//! tokio::spawn(bus().keepalive(idle, item).map(Ok).forward(sender));
//! # }
//! ```
//!
//! The adapters do not implement [`Sink`]. Call `split()` on a socket first, and wrap the stream half.
//!
//! # Features
//!
//! - **`tokio`** (enabled by default) adds the timers [`TokioTimer`] and [`SharedTimers`].
//!
//! Without this feature, pass a [`SleepTimer`] or a [`Timer`] of your own to [`with_timer`]. The crate is then
//! `no_std`, needs no allocator, and depends only on `futures-core` and `pin-project-lite`.
//!
//! # Runtimes
//!
//! | runtime | timer |
//! |---|---|
//! | Tokio | [`TokioTimer`], the default |
//! | Tokio, with ten thousand idle streams or more | [`SharedTimers`], one timer for all of them |
//! | smol, compio, embassy and every other runtime with a sleep function | [`SleepTimer`] |
//! | a browser (`wasm32-unknown-unknown`), where Tokio's clock panics | [`SleepTimer`] |
//! | no operating system | your own [`Timer`] |
//!
//! For example, these keepalives use the timer of smol:
//!
//! ```
//! # use std::time::Duration;
//! # use futures::stream;
//! use stream_keepalive::{KeepaliveExt, SleepTimer};
//!
//! # let (bus, idle, item) = (stream::pending::<u32>(), Duration::from_secs(20), 0);
//! let events = bus.keepalive(idle, item).with_timer(SleepTimer::new(async_io::Timer::after));
//! ```
//!
//! In a chain of two adapters, such as `bus.idle_timeout(..).keepalive(..)`, each needs its own timer.
//!
//! Creating an adapter needs no runtime. An adapter with the default timer is not a [`Stream`] if the
//! feature `tokio` is disabled or if the target is `wasm32-unknown-unknown`, so using it as one does not
//! compile.
//!
//! # HTTP servers
//!
//! The crate [`stream-keepalive-http`] keeps the streaming responses of an HTTP server alive. It is a tower
//! layer for axum, tonic and other servers. It supports server-sent events, NDJSON and gRPC, and never
//! inserts a keepalive into the middle of an event, a line or a message.
//!
//! # Minimum Rust version
//!
//! This crate needs Rust 1.85. A minor release may raise the minimum; a patch release does not.
//!
//! [`keepalive`]: KeepaliveExt::keepalive
//! [`keepalive_with`]: KeepaliveExt::keepalive_with
//! [`idle_timeout`]: KeepaliveExt::idle_timeout
//! [`idle_timeout_with`]: KeepaliveExt::idle_timeout_with
//! [`with_timer`]: Keepalive::with_timer
//! [`Stream`]: https://docs.rs/futures-core/0.3/futures_core/stream/trait.Stream.html
//! [`Sink`]: https://docs.rs/futures/latest/futures/sink/trait.Sink.html
//! [`stream-keepalive-http`]: https://docs.rs/stream-keepalive-http
// The documentation for a browser or without the feature has no page for it.
//! [`SharedTimers`]: https://docs.rs/stream-keepalive/latest/stream_keepalive/struct.SharedTimers.html
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "tokio")]
extern crate std;

mod accessors;
mod ext;
mod fill;
mod idle_clock;
mod idle_timeout;
mod keepalive;
mod timer;

pub use crate::{
    ext::KeepaliveExt,
    fill::{Fill, Repeat},
    idle_timeout::IdleTimeout,
    keepalive::Keepalive,
    timer::*,
};

// Compiles and runs the code of the README.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
mod readme {}
