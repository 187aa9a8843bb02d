use std::{
    future::Future,
    num::NonZero,
    pin::pin,
    ptr::NonNull,
    task::{Context, Waker},
};

use tokio::task::{consume_budget, unconstrained};

/// The parts of a waker that [`Waker::will_wake`] compares. While a clone of the waker exists, the waker of
/// another task cannot have the same parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TaskId {
    data: usize,
    vtable: NonZero<usize>,
}

impl TaskId {
    #[inline]
    pub(super) fn of(waker: &Waker) -> Self {
        Self {
            data: waker.data().addr(),
            vtable: NonNull::from(waker.vtable()).addr(),
        }
    }
}

/// Returns whether Tokio's task dump is tracing the current task. Then every Tokio resource returns `Pending`
/// without storing the waker, and the task is polled again.
pub(super) fn is_traced(cx: &mut Context<'_>) -> bool {
    cfg!(tokio_unstable) && pin!(unconstrained(consume_budget())).poll(cx).is_pending()
}
