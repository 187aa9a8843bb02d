use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::{FusedStream, Stream};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use stream_keepalive::IdleTimeout;

use super::unavailable;
use crate::{
    frames::{DROPPED_FRAMES, Frames, Polled},
    framing::StripMarkers,
    timer::IdleTimer,
};

pin_project! {
    /// The response body of [`GrpcClientService`](crate::GrpcClientService).
    ///
    /// It yields the frames of the inner body without the keepalives. If it receives nothing for too long, it
    /// drops the inner body, and yields trailers with the status `UNAVAILABLE`. The error type is that of
    /// the inner body.
    ///
    /// The default is a body that has ended.
    ///
    /// # Example
    ///
    /// ```
    /// use stream_keepalive_http::GrpcClientBody;
    ///
    /// type Response = http::Response<GrpcClientBody<tonic::body::Body>>;
    /// ```
    pub struct GrpcClientBody<B>
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
        Unchanged { #[pin] body: B },
        Limited { #[pin] limited: Limited<B> },
        Ended,
    }
}

impl<B: Body<Data = Bytes>> GrpcClientBody<B> {
    pub(crate) fn unchanged(body: B) -> Self {
        Self {
            kind: Kind::Unchanged { body },
        }
    }

    /// Ends the body when it has received nothing for `limit`, unless that is zero, and removes the markers if
    /// there may be any.
    pub(crate) fn limited(
        body: B,
        limit: Duration,
        timer: IdleTimer,
        markers: Option<StripMarkers>,
    ) -> Self {
        let frames = IdleTimeout::new(Frames::new(body, false), limit).with_timer(timer);
        let limited = Limited {
            frames: frames.with_last(timed_out::<B::Error> as fn() -> _),
            markers,
            chunk: Bytes::new(),
            next: None,
        };
        Self {
            kind: Kind::Limited { limited },
        }
    }
}

impl<B: Body<Data = Bytes>> Default for GrpcClientBody<B> {
    fn default() -> Self {
        Self { kind: Kind::Ended }
    }
}

impl<B: Body<Data = Bytes>> Body for GrpcClientBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut kind = self.project().kind;
        match kind.as_mut().project() {
            KindProjection::Unchanged { body } => body.poll_frame(cx),
            KindProjection::Limited { mut limited } => {
                let frame = ready!(limited.as_mut().poll_frame(cx));
                if limited.has_ended() {
                    // Dropping the body of a call that has not ended resets its stream.
                    kind.set(Kind::Ended);
                }
                Poll::Ready(frame)
            }
            KindProjection::Ended => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Unchanged { body } => body.is_end_stream(),
            Kind::Limited { limited } => limited.is_end_stream(),
            Kind::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Unchanged { body } => body.size_hint(),
            // Some of the bytes may be markers.
            Kind::Limited { .. } => SizeHint::new(),
            Kind::Ended => SizeHint::with_exact(0),
        }
    }
}

impl<B: Body<Data = Bytes> + fmt::Debug> fmt::Debug for GrpcClientBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (body, limit) = match &self.kind {
            Kind::Unchanged { body } => (Some(body), None),
            Kind::Limited { limited } => {
                let frames = &limited.frames;
                (Some(&frames.get_ref().body), Some(frames.idle()))
            }
            Kind::Ended => (None, None),
        };
        f.debug_struct("GrpcClientBody")
            .field("body", &body)
            .field("limit", &limit)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// A body with an idle timeout, and without its markers.
    ///
    /// The idle timeout is below the markers' removal, because a marker has to count as activity.
    struct Limited<B>
    where
        B: Body<Data = Bytes>,
    {
        #[pin]
        frames: LimitedFrames<B>,
        // None if nothing is a marker.
        markers: Option<StripMarkers>,
        // What is left of the last chunk.
        chunk: Bytes,
        // What comes after the bytes that were held back.
        next: Option<Polled<B>>,
    }
}

type LimitedFrames<B> = IdleTimeout<Frames<B>, fn() -> <Frames<B> as Stream>::Item, IdleTimer>;

impl<B: Body<Data = Bytes>> Limited<B> {
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Polled<B>> {
        let mut this = self.project();
        for _ in 0..DROPPED_FRAMES {
            let piece = match this.markers {
                Some(markers) => markers.strip(this.chunk),
                None => Some(mem::take(this.chunk)).filter(|chunk| !chunk.is_empty()),
            };
            if let Some(piece) = piece {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let next = match this.next.take() {
                Some(next) => next,
                None => ready!(poll_next(this.frames.as_mut(), cx)),
            };
            let end = match next.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(chunk))) => {
                    *this.chunk = chunk;
                    continue;
                }
                Some(Ok(Err(trailers))) => Some(Ok(trailers)),
                Some(Err(error)) => Some(Err(error)),
                None => None,
            };
            return Poll::Ready(match this.markers.as_mut().and_then(StripMarkers::end) {
                Some(held) => {
                    *this.next = Some(end);
                    Some(Ok(Frame::data(held)))
                }
                None => end,
            });
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn has_ended(&self) -> bool {
        self.frames.is_terminated() && self.next.is_none()
    }

    fn is_end_stream(&self) -> bool {
        let holds_bytes = self.markers.as_ref().is_some_and(StripMarkers::holds_bytes);
        let is_empty = self.chunk.is_empty() && !holds_bytes;
        is_empty && self.next.is_none() && self.frames.get_ref().is_end_stream()
    }
}

/// Polls the inner body, and ends it with `UNAVAILABLE` if the idle timeout does.
fn poll_next<B: Body<Data = Bytes>>(
    mut frames: Pin<&mut LimitedFrames<B>>,
    cx: &mut Context<'_>,
) -> Poll<Polled<B>> {
    let mut next = ready!(frames.as_mut().poll_next(cx));
    if let (Some(Ok(frame)), true) = (&mut next, frames.is_terminated()) {
        *frame = Frame::trailers(unavailable(frames.idle()));
    }
    Poll::Ready(next)
}

/// A placeholder for the trailers, because a plain function does not know the limit.
fn timed_out<E>() -> Result<Frame<Bytes>, E> {
    Ok(Frame::data(Bytes::new()))
}
