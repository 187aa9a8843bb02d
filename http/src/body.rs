use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_core::{FusedStream, Stream};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use stream_keepalive::Keepalive;

use crate::{frames::Frames, framing::AnyFiller, timer::IdleTimer};

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
        Filled { #[pin] frames: Keepalive<Frames<B>, AnyFiller, IdleTimer> },
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
        filler: AnyFiller,
        timer: IdleTimer,
        immediate: bool,
    ) -> Self {
        let frames = Frames::new(body, filler.may_begin_with_mark());
        let frames = Keepalive::new(frames, idle, filler).with_timer(timer);
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

impl<B: Body<Data = Bytes> + Default> Default for KeepaliveBody<B> {
    /// Creates a body without keepalives. Some layers of tower-http send it instead of calling the handler.
    fn default() -> Self {
        Self::unfilled(B::default())
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
            Kind::Filled { frames } => frames.is_terminated() || frames.get_ref().is_end_stream(),
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
