//! The frames of a body.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures_core::Stream;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::framing::BYTE_ORDER_MARK;

/// How many frames one poll drops, so that a body of nothing else does not hold up other tasks.
pub(crate) const DROPPED_FRAMES: usize = 32;

pin_project! {
    /// The frames of a body, as a stream.
    ///
    /// Empty data frames are dropped. They send nothing over HTTP/1.1, and some clients close an HTTP/2
    /// connection with many of them.
    ///
    /// A byte-order mark at the start of events or lines is removed if a keepalive has been sent before it.
    /// Otherwise the client would read the mark as part of the first line.
    pub(crate) struct Frames<B>
    where
        B: Body,
    {
        #[pin]
        pub(crate) body: B,
        mark: Mark,
        // What comes after the beginning of a mark, which was none.
        next: Option<Box<Polled<B>>>,
    }
}

pub(crate) type Polled<B> = Option<Result<Frame<Bytes>, <B as Body>::Error>>;

/// What to do with a byte-order mark.
#[derive(Clone, Copy)]
enum Mark {
    /// Nothing. The first bytes have been sent, or a mark has no meaning in this format.
    Passed,
    /// Not known yet, because nothing has been sent.
    Awaited,
    /// Remove it, because a keepalive has been sent. This many of its bytes have been removed so far.
    Removed(usize),
}

impl<B: Body<Data = Bytes>> Frames<B> {
    pub(crate) fn new(body: B, may_begin_with_mark: bool) -> Self {
        let mark = if may_begin_with_mark {
            Mark::Awaited
        } else {
            Mark::Passed
        };
        Self {
            body,
            mark,
            next: None,
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.next.is_none() && self.mark.held().is_none() && self.body.is_end_stream()
    }

    /// Notes that a frame has been sent, which is a keepalive or a frame of the body.
    pub(crate) fn sent(self: Pin<&mut Self>, frame: &Frame<Bytes>) {
        let mark = self.project().mark;
        // If the frame came from the body, `poll_next` has changed the mark already.
        if matches!(mark, Mark::Awaited) && frame.is_data() {
            *mark = Mark::Removed(0);
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        let lower = self.body.size_hint().lower();
        hint.set_lower(match self.mark {
            Mark::Passed => lower,
            Mark::Awaited | Mark::Removed(_) => lower.saturating_sub(BYTE_ORDER_MARK.len() as u64),
        });
        hint
    }
}

impl<B: Body<Data = Bytes>> Stream for Frames<B> {
    type Item = Result<Frame<Bytes>, B::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        if let Some(next) = this.next.take() {
            return Poll::Ready(*next);
        }
        for _ in 0..DROPPED_FRAMES {
            let mut next = ready!(this.body.as_mut().poll_frame(cx));
            if let Some(data) = data_of(&mut next) {
                if !matches!(this.mark, Mark::Passed) {
                    this.mark.pass(data);
                }
                if data.is_empty() {
                    continue;
                }
            } else if let Some(held) = this.mark.held() {
                *this.mark = Mark::Passed;
                *this.next = Some(Box::new(next));
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(held)))));
            }
            return Poll::Ready(next);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Returns the bytes of a frame, if it has any.
fn data_of<E>(next: &mut Option<Result<Frame<Bytes>, E>>) -> Option<&mut Bytes> {
    next.as_mut()?.as_mut().ok()?.data_mut()
}

impl Mark {
    /// Returns the bytes that have been removed, if they are no whole mark so far.
    fn held(&self) -> Option<&'static [u8]> {
        match self {
            Self::Removed(removed @ 1..3) => Some(&BYTE_ORDER_MARK[..*removed]),
            _ => None,
        }
    }

    /// Removes the part of a byte-order mark that `data` begins with, if the mark has to be removed.
    #[cold]
    fn pass(&mut self, data: &mut Bytes) {
        if data.is_empty() {
            return;
        }
        let Self::Removed(removed) = *self else {
            *self = Self::Passed;
            return;
        };
        let mark = &BYTE_ORDER_MARK[removed..];
        let found = mark
            .iter()
            .zip(&*data)
            .take_while(|(mark, byte)| mark == byte)
            .count();
        if found == data.len() {
            *self = Self::Removed(removed + found);
            data.clear();
            return;
        }
        *self = Self::Passed;
        if found == mark.len() {
            data.advance(found);
        } else if removed != 0 {
            // It was another character, and its first bytes came in earlier chunks. No other chunk is copied.
            *data = [&BYTE_ORDER_MARK[..removed], data].concat().into();
        }
    }
}
