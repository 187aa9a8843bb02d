use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use futures_core::{FusedStream, Stream};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use stream_keepalive::{Fill, Keepalive, SharedTimer, Timer, TokioTimer};

use crate::framing::{BYTE_ORDER_MARK, Grpc, Lines, Sse};

pin_project! {
    /// The response body of [`KeepaliveService`](crate::KeepaliveService).
    ///
    /// It yields the frames of the inner body, with or without keepalives between them. The layer decides
    /// this when it sees the head of the response. The error type is that of the inner body.
    ///
    /// # Example
    ///
    /// ```
    /// use axum::body::Body;
    /// use http::Response;
    /// use stream_keepalive_http::KeepaliveBody;
    ///
    /// type StreamingResponse = Response<KeepaliveBody<Body>>;
    /// ```
    pub struct KeepaliveBody<B>
    where
        B: Body<Data = Bytes>,
    {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B>
    where
        B: Body<Data = Bytes>,
    {
        Unfilled { #[pin] body: B },
        Filled { #[pin] frames: Keepalive<Frames<B>, Filler, IdleTimer> },
    }
}

impl<B: Body<Data = Bytes>> KeepaliveBody<B> {
    pub(crate) fn unfilled(body: B) -> Self {
        Self {
            kind: Kind::Unfilled { body },
        }
    }

    pub(crate) fn filled(
        body: B,
        idle: Duration,
        filler: Filler,
        timer: IdleTimer,
        immediate: bool,
    ) -> Self {
        let frames = Keepalive::new(Frames::new(body, &filler), idle, filler).with_timer(timer);
        let frames = if immediate {
            frames.immediate()
        } else {
            frames
        };
        Self {
            kind: Kind::Filled { frames },
        }
    }
}

impl<B: Body<Data = Bytes>> Body for KeepaliveBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Unfilled { body } => body.poll_frame(cx),
            KindProjection::Filled { mut frames } => {
                let polled = frames.as_mut().poll_next(cx);
                if let Poll::Ready(Some(Ok(frame))) = &polled {
                    frames.get_pin_mut().sent(frame);
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Unfilled { body } => body.is_end_stream(),
            Kind::Filled { frames } => {
                frames.is_terminated() || frames.get_ref().body.is_end_stream()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Unfilled { body } => body.size_hint(),
            Kind::Filled { frames } if frames.is_terminated() => SizeHint::with_exact(0),
            Kind::Filled { frames } => frames.get_ref().size_hint(),
        }
    }
}

impl<B: Body<Data = Bytes> + fmt::Debug> fmt::Debug for KeepaliveBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (body, idle) = match &self.kind {
            Kind::Unfilled { body } => (body, None),
            Kind::Filled { frames } => (&frames.get_ref().body, Some(frames.idle())),
        };
        f.debug_struct("KeepaliveBody")
            .field("body", body)
            .field("idle", &idle)
            .finish_non_exhaustive()
    }
}

/// The filler of a body. The content type decides which one it is.
#[derive(Clone, Debug)]
pub(crate) enum Filler {
    Sse(Sse),
    Lines(Lines),
    Grpc(Grpc),
}

impl<E> Fill<Result<Frame<Bytes>, E>> for Filler {
    fn fill(&mut self) -> Option<Result<Frame<Bytes>, E>> {
        match self {
            Self::Sse(sse) => sse.fill(),
            Self::Lines(lines) => lines.fill(),
            Self::Grpc(grpc) => grpc.fill(),
        }
    }

    fn observe(&mut self, frame: &Result<Frame<Bytes>, E>) -> bool {
        match self {
            Self::Sse(sse) => sse.observe(frame),
            Self::Lines(lines) => lines.observe(frame),
            Self::Grpc(grpc) => grpc.observe(frame),
        }
    }
}

/// The timer of a body, which is either its own or one of many that share a queue.
#[derive(Debug)]
pub(crate) enum IdleTimer {
    Own(TokioTimer),
    Shared(SharedTimer),
}

impl Timer for IdleTimer {
    #[inline]
    #[track_caller]
    fn arm(&mut self, after: Duration) {
        match self {
            Self::Own(timer) => timer.arm(after),
            Self::Shared(timer) => timer.arm(after),
        }
    }

    #[inline]
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Own(timer) => timer.poll_expired(cx),
            Self::Shared(timer) => timer.poll_expired(cx),
        }
    }

    #[inline]
    fn has_budget(&self) -> bool {
        match self {
            Self::Own(timer) => timer.has_budget(),
            Self::Shared(timer) => timer.has_budget(),
        }
    }
}

pin_project! {
    /// The frames of a body, as a stream.
    ///
    /// A byte-order mark at the start of an event stream is removed if a keepalive has been sent before it.
    /// Otherwise the client would read the mark as part of the first line, and ignore that line.
    struct Frames<B> {
        #[pin]
        body: B,
        mark: Mark,
    }
}

/// What to do with a byte-order mark.
#[derive(Clone, Copy)]
enum Mark {
    /// Nothing. The first bytes have been sent, or the body is not an event stream.
    Passed,
    /// Not known yet, because nothing has been sent.
    Awaited,
    /// Remove it, because a keepalive has been sent. This many of its bytes have been removed so far.
    Removed(usize),
}

impl<B: Body<Data = Bytes>> Frames<B> {
    fn new(body: B, filler: &Filler) -> Self {
        let mark = match filler {
            Filler::Sse(_) => Mark::Awaited,
            Filler::Lines(_) | Filler::Grpc(_) => Mark::Passed,
        };
        Self { body, mark }
    }

    /// Notes that a frame has been sent, which is a keepalive or a frame of the body.
    fn sent(self: Pin<&mut Self>, frame: &Frame<Bytes>) {
        let mark = self.project().mark;
        // If the frame came from the body, `poll_next` has changed the mark already.
        if matches!(mark, Mark::Awaited) && frame.data_ref().is_some_and(|data| !data.is_empty()) {
            *mark = Mark::Removed(0);
        }
    }

    fn size_hint(&self) -> SizeHint {
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
        loop {
            let mut polled = this.body.as_mut().poll_frame(cx);
            if !matches!(this.mark, Mark::Passed) {
                if let Poll::Ready(Some(Ok(frame))) = &mut polled {
                    if let Some(data) = frame.data_mut().filter(|data| !data.is_empty()) {
                        this.mark.pass(data);
                        // Do not send an empty frame, because some proxies close the connection.
                        if data.is_empty() {
                            continue;
                        }
                    }
                }
            }
            return polled;
        }
    }
}

impl Mark {
    /// Removes the part of a byte-order mark that `data` begins with, if the mark has to be removed.
    #[cold]
    fn pass(&mut self, data: &mut Bytes) {
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
