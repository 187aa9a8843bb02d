use std::{
    fmt,
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
use crate::{frames::Frames, framing::StripMarkers};

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
        Stripped { #[pin] stripped: Stripped<B> },
        Ended,
    }
}

impl<B: Body<Data = Bytes>> GrpcClientBody<B> {
    pub(crate) fn unchanged(body: B) -> Self {
        Self {
            kind: Kind::Unchanged { body },
        }
    }

    /// Removes the markers, and ends the body when it has received nothing for `limit`, unless that is zero.
    pub(crate) fn stripped(body: B, limit: Duration) -> Self {
        let frames = IdleTimeout::new(Frames::new(body, false), limit);
        let stripped = Stripped {
            frames: frames.with_last(timed_out::<B::Error> as fn() -> _),
            markers: StripMarkers::new(),
            chunk: Bytes::new(),
            next: None,
        };
        Self {
            kind: Kind::Stripped { stripped },
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
            KindProjection::Stripped { mut stripped } => {
                let frame = ready!(stripped.as_mut().poll_frame(cx));
                if stripped.has_ended() {
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
            Kind::Stripped { stripped } => stripped.is_end_stream(),
            Kind::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Unchanged { body } => body.size_hint(),
            // Some of the bytes may be markers.
            Kind::Stripped { .. } => SizeHint::new(),
            Kind::Ended => SizeHint::with_exact(0),
        }
    }
}

impl<B: Body<Data = Bytes> + fmt::Debug> fmt::Debug for GrpcClientBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (body, limit) = match &self.kind {
            Kind::Unchanged { body } => (Some(body), None),
            Kind::Stripped { stripped } => {
                let frames = &stripped.frames;
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
    /// A body without its markers.
    ///
    /// The idle timeout is below the markers' removal, because a marker has to count as activity.
    struct Stripped<B>
    where
        B: Body<Data = Bytes>,
    {
        #[pin]
        frames: IdleTimeout<Frames<B>>,
        markers: StripMarkers,
        // What is left of the last chunk.
        chunk: Bytes,
        // What comes after the bytes that were held back.
        next: Option<Polled<B>>,
    }
}

type Polled<B> = Option<Result<Frame<Bytes>, <B as Body>::Error>>;

impl<B: Body<Data = Bytes>> Stripped<B> {
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Polled<B>> {
        let mut this = self.project();
        loop {
            if let Some(piece) = this.markers.strip(this.chunk) {
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
            return Poll::Ready(match this.markers.end() {
                Some(held) => {
                    *this.next = Some(end);
                    Some(Ok(Frame::data(held)))
                }
                None => end,
            });
        }
    }

    fn has_ended(&self) -> bool {
        self.frames.is_terminated() && self.next.is_none()
    }

    fn is_end_stream(&self) -> bool {
        let is_empty = self.chunk.is_empty() && !self.markers.holds_bytes();
        is_empty && self.next.is_none() && self.frames.get_ref().body.is_end_stream()
    }
}

/// Polls the inner body, and ends it with `UNAVAILABLE` if the idle timeout does.
fn poll_next<B: Body<Data = Bytes>>(
    mut frames: Pin<&mut IdleTimeout<Frames<B>>>,
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
