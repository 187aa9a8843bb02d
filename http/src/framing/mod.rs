//! Fillers that insert keepalives only between two frames.
//!
//! A frame is a server-sent event, a line or a gRPC message. A relayed body can be split into chunks
//! anywhere, even in the middle of a frame. A keepalive in such a place would become part of the frame.
//! These fillers read the bytes as they pass, and hold a keepalive back in such a place. They keep a few
//! bytes of state, copy nothing and allocate nothing. No keepalive follows an error or the trailers.
//!
//! [`KeepaliveLayer`](crate::KeepaliveLayer) uses them. They also work without it, for streams of
//! [`Bytes`], `Result<Bytes, E>` or `Result<Frame<Bytes>, E>`:
//!
//! ```
//! use std::{io, time::Duration};
//! use bytes::Bytes;
//! use futures::{Stream, StreamExt, stream};
//! use stream_keepalive::KeepaliveExt;
//! use stream_keepalive_http::framing;
//!
//! /// The body of an upstream that stalls in the middle of an event.
//! fn upstream() -> impl Stream<Item = io::Result<Bytes>> + Unpin {
//!     let event = stream::iter([Ok(Bytes::from("data: 1\n\n")), Ok(Bytes::from("data: {\"a\":"))]);
//!     event.chain(stream::pending())
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> io::Result<()> {
//! let idle = Duration::from_secs(20);
//! let mut relay = upstream().keepalive_with(idle, framing::Sse::comment());
//!
//! assert_eq!(relay.next().await.transpose()?, Some(Bytes::from("data: 1\n\n")));
//! assert_eq!(relay.next().await.transpose()?, Some(Bytes::from("data: {\"a\":")));
//! // The event is not complete, so no keepalive is inserted.
//! assert!(tokio::time::timeout(10 * idle, relay.next()).await.is_err());
//! # Ok(())
//! # }
//! ```

mod grpc;
mod lines;
mod marker;
mod sse;

use bytes::Bytes;
use http_body::Frame;
use stream_keepalive::Fill;

pub(crate) use self::sse::BYTE_ORDER_MARK;
pub use self::{grpc::Grpc, lines::Lines, marker::StripMarkers, sse::Sse};

/// A parser that knows whether the bytes that it has read end inside a frame.
trait Parse {
    /// Reads the next bytes of the inner stream.
    fn read(&mut self, bytes: &[u8]);

    /// Notes that a keepalive is sent, which the client reads before everything that follows.
    fn keepalive_sent(&mut self) {}

    /// Returns whether the bytes read so far end between two frames.
    fn is_between_frames(&self) -> bool;
}

/// A keepalive, and the state that decides whether it may be inserted.
#[derive(Clone, Debug)]
struct Framed<P> {
    keepalive: Bytes,
    parser: P,
    /// Whether an error or the trailers have been seen.
    ended: bool,
}

impl<P: Parse + Default> Framed<P> {
    #[track_caller]
    fn new(keepalive: Bytes) -> Self {
        let mut parser = P::default();
        // The keepalive may follow another one.
        parser.keepalive_sent();
        parser.read(&keepalive);
        assert!(
            !keepalive.is_empty() && parser.is_between_frames(),
            "stream-keepalive-http: a keepalive must consist of whole events, comments or lines: {keepalive:?}"
        );
        Self {
            keepalive,
            parser: P::default(),
            ended: false,
        }
    }
}

impl<P: Parse> Framed<P> {
    fn fill(&mut self) -> Option<Bytes> {
        if self.ended || !self.parser.is_between_frames() {
            return None;
        }
        self.parser.keepalive_sent();
        Some(self.keepalive.clone())
    }

    /// Returns whether the bytes are activity: an empty chunk sends nothing.
    fn read(&mut self, bytes: &[u8]) -> bool {
        self.parser.read(bytes);
        !bytes.is_empty()
    }

    fn end(&mut self) -> bool {
        self.ended = true;
        true
    }
}

macro_rules! impl_fill {
    ($($filler:ty),*) => {$(
        impl Fill<Bytes> for $filler {
            #[inline]
            fn fill(&mut self) -> Option<Bytes> {
                self.0.fill()
            }

            #[inline]
            fn observe(&mut self, item: &Bytes) -> bool {
                self.0.read(item)
            }
        }

        impl<E> Fill<Result<Bytes, E>> for $filler {
            #[inline]
            fn fill(&mut self) -> Option<Result<Bytes, E>> {
                self.0.fill().map(Ok)
            }

            #[inline]
            fn observe(&mut self, item: &Result<Bytes, E>) -> bool {
                match item {
                    Ok(bytes) => self.0.read(bytes),
                    Err(_) => self.0.end(),
                }
            }
        }

        impl<E> Fill<Result<Frame<Bytes>, E>> for $filler {
            #[inline]
            fn fill(&mut self) -> Option<Result<Frame<Bytes>, E>> {
                Some(Ok(Frame::data(self.0.fill()?)))
            }

            #[inline]
            fn observe(&mut self, item: &Result<Frame<Bytes>, E>) -> bool {
                match item.as_ref().map(Frame::data_ref) {
                    Ok(Some(bytes)) => self.0.read(bytes),
                    Ok(None) | Err(_) => self.0.end(),
                }
            }
        }
    )*};
}

impl_fill!(Grpc, Lines, Sse);
