//! The adapters are `Send`, `Sync` and `Unpin` when their parts are, and only then.

use std::{
    cell::Cell,
    fmt::Debug,
    marker::{PhantomData, PhantomPinned},
    pin::Pin,
    rc::Rc,
    sync::MutexGuard,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    Stream,
    stream::{FusedStream, Pending},
};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use stream_keepalive::{Fill, IdleTimeout, Keepalive, KeepaliveExt, Repeat, Timer, TokioTimer};

/// A part of an adapter, with the auto traits of `Mark`. It is never fused.
struct Part<Mark>(PhantomData<Mark>);

impl<Mark> Stream for Part<Mark> {
    type Item = Item;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Item>> {
        Poll::Pending
    }
}

impl<Mark> Fill<Item> for Part<Mark> {
    fn fill(&mut self) -> Option<Item> {
        Some(Item)
    }
}

impl<Mark> Timer for Part<Mark> {
    fn arm(&mut self, _: Duration) {}

    fn poll_expired(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

#[derive(Clone)]
struct Item;

type Plain = Part<()>;
type NotSend = Part<MutexGuard<'static, ()>>;
type NotSync = Part<Cell<()>>;
type Neither = Part<Rc<()>>;
type NotUnpin = Part<PhantomPinned>;

assert_impl_all!(NotSend: Sync, Unpin);
assert_not_impl_any!(NotSend: Send);
assert_impl_all!(NotSync: Send, Unpin);
assert_not_impl_any!(NotSync: Sync);
assert_impl_all!(NotUnpin: Send, Sync);
assert_not_impl_any!(NotUnpin: Unpin);

// With the default timer, an adapter of an `Unpin` stream is `Unpin`.
assert_impl_all!(TokioTimer: Send, Sync, Unpin, Debug, Default);
assert_impl_all!(Keepalive<Plain>: Send, Sync, Unpin);
assert_impl_all!(Keepalive<Plain, fn() -> Item>: Send, Sync, Unpin);
assert_impl_all!(IdleTimeout<Plain>: Send, Sync, Unpin);

assert_impl_all!(Keepalive<Plain, Plain, Plain>: Stream, FusedStream, Send, Sync, Unpin);
assert_impl_all!(IdleTimeout<Plain, fn() -> Item, Plain>: Stream, FusedStream, Send, Sync, Unpin);

assert_impl_all!(Keepalive<NotSend, Plain, Plain>: Stream, FusedStream, Sync, Unpin);
assert_impl_all!(Keepalive<Plain, NotSend, Plain>: Stream, FusedStream, Sync, Unpin);
assert_impl_all!(Keepalive<Plain, Plain, NotSend>: Stream, FusedStream, Sync, Unpin);
assert_not_impl_any!(Keepalive<NotSend, Plain, Plain>: Send);
assert_not_impl_any!(Keepalive<Plain, NotSend, Plain>: Send);
assert_not_impl_any!(Keepalive<Plain, Plain, NotSend>: Send);

assert_impl_all!(Keepalive<NotSync, Plain, Plain>: Stream, FusedStream, Send, Unpin);
assert_impl_all!(Keepalive<Plain, NotSync, Plain>: Stream, FusedStream, Send, Unpin);
assert_impl_all!(Keepalive<Plain, Plain, NotSync>: Stream, FusedStream, Send, Unpin);
assert_not_impl_any!(Keepalive<NotSync, Plain, Plain>: Sync);
assert_not_impl_any!(Keepalive<Plain, NotSync, Plain>: Sync);
assert_not_impl_any!(Keepalive<Plain, Plain, NotSync>: Sync);

assert_impl_all!(Keepalive<Neither, Neither, Neither>: Stream, FusedStream, Unpin);
assert_impl_all!(Keepalive<NotUnpin, Plain, Plain>: Stream, FusedStream, Send, Sync);
assert_not_impl_any!(Keepalive<NotUnpin, Plain, Plain>: Unpin);

assert_impl_all!(IdleTimeout<NotSend, fn() -> Item, Plain>: Stream, FusedStream, Sync, Unpin);
assert_impl_all!(IdleTimeout<Plain, fn() -> Item, NotSend>: Stream, FusedStream, Sync, Unpin);
assert_not_impl_any!(IdleTimeout<NotSend, fn() -> Item, Plain>: Send);
assert_not_impl_any!(IdleTimeout<Plain, fn() -> Item, NotSend>: Send);
assert_not_impl_any!(IdleTimeout<Plain, NotSend, Plain>: Send);

assert_impl_all!(IdleTimeout<NotSync, fn() -> Item, Plain>: Stream, FusedStream, Send, Unpin);
assert_impl_all!(IdleTimeout<Plain, fn() -> Item, NotSync>: Stream, FusedStream, Send, Unpin);
assert_not_impl_any!(IdleTimeout<NotSync, fn() -> Item, Plain>: Sync);
assert_not_impl_any!(IdleTimeout<Plain, fn() -> Item, NotSync>: Sync);
assert_not_impl_any!(IdleTimeout<Plain, NotSync, Plain>: Sync);

assert_impl_all!(IdleTimeout<NotUnpin, fn() -> Item, Plain>: Stream, FusedStream, Send, Sync);
assert_not_impl_any!(IdleTimeout<NotUnpin, fn() -> Item, Plain>: Unpin);

// The item of `Repeat` is stored, so its auto traits count.
assert_not_impl_any!(Keepalive<Pending<Rc<()>>, Repeat<Rc<()>>, Plain>: Send, Sync);

// Every stream can be wrapped, even if its type cannot be named.
assert_impl_all!(Plain: KeepaliveExt);
assert_impl_all!(NotUnpin: KeepaliveExt);
assert_impl_all!(dyn Stream<Item = Item>: KeepaliveExt);
