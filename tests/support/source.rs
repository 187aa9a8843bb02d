use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use futures::Stream;

/// An inner stream that yields the items that a test sends, and counts how often it is polled.
///
/// It is not fused: after an end it yields the items that were sent later.
#[derive(Debug)]
pub struct Source<Item>(Arc<Mutex<State<Item>>>);

/// Sends items to a [`Source`].
#[derive(Debug)]
pub struct Remote<Item>(Arc<Mutex<State<Item>>>);

#[derive(Debug)]
struct State<Item> {
    /// `None` is an end.
    queue: VecDeque<Option<Item>>,
    polls: usize,
    waker: Option<Waker>,
}

pub fn source<Item>() -> (Remote<Item>, Source<Item>) {
    let state = Arc::new(Mutex::new(State {
        queue: VecDeque::new(),
        polls: 0,
        waker: None,
    }));
    (Remote(state.clone()), Source(state))
}

fn lock<Item>(state: &Mutex<State<Item>>) -> MutexGuard<'_, State<Item>> {
    state.lock().unwrap()
}

impl<Item> Remote<Item> {
    pub fn send(&self, item: Item) {
        self.put(Some(item));
    }

    pub fn end(&self) {
        self.put(None);
    }

    pub fn polls(&self) -> usize {
        lock(&self.0).polls
    }

    fn put(&self, next: Option<Item>) {
        let mut state = lock(&self.0);
        state.queue.push_back(next);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<Item> Stream for Source<Item> {
    type Item = Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let mut state = lock(&self.0);
        state.polls += 1;
        match state.queue.pop_front() {
            Some(next) => Poll::Ready(next),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Exact once the end is in the queue.
    fn size_hint(&self) -> (usize, Option<usize>) {
        let queue = &lock(&self.0).queue;
        match queue.iter().position(Option::is_none) {
            Some(items) => (items, Some(items)),
            None => (queue.len(), None),
        }
    }
}
