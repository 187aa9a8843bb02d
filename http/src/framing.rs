//! Fillers that insert keepalives only between two frames.
//!
//! A frame is a server-sent event, a line or a gRPC message. A relayed body can be split into chunks
//! anywhere, even in the middle of a frame. A keepalive in such a place would become part of the frame.
//! These fillers read the bytes as they pass, and hold a keepalive back in such a place. They keep a few
//! bytes of state, copy nothing and allocate nothing. No keepalive follows an error or the trailers.
//!
//! An empty chunk is passed on, but is no activity, because it sends nothing. If the stream becomes the body of
//! a response, filter empty chunks out: some clients close an HTTP/2 connection with many of them.
//!
//! A filler sees no headers. The bytes must be uncompressed, and a relayed response must not copy the
//! `content-length` of its upstream.
//!
//! The items have to be [`Bytes`]. For other chunks, such as `Vec<u8>`, call `map_ok(Bytes::from)` first.
//! Without it, the compiler suggests wrapping the filler in a closure, which does not help.
//!
//! [`Framing`] describes a format of your own, and [`Framed`] makes a filler of it.
//!
//! [`KeepaliveLayer`](crate::KeepaliveLayer) uses these fillers. They also work without it, for streams of
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

pub use self::{grpc::Grpc, lines::Lines, marker::StripMarkers, sse::Sse};

pub(crate) const BYTE_ORDER_MARK: [u8; 3] = *b"\xEF\xBB\xBF";

/// Knows whether the bytes of a stream that have passed so far end between two frames.
///
/// Implement this trait for a format of your own. [`Framed`] makes a filler of it, and
/// [`KeepaliveLayer::format`](crate::KeepaliveLayer::format) adds a content type with its filler to the layer.
///
/// # Example
///
/// Records that begin with an ASCII record separator and end with LF (RFC 7464):
///
/// ```
/// use std::time::Duration;
/// use stream_keepalive_http::{KeepaliveLayer, framing::{Framed, Framing}};
///
/// #[derive(Clone, Default)]
/// struct JsonSequence {
///     in_record: bool,
/// }
///
/// impl Framing for JsonSequence {
///     fn read(&mut self, bytes: &[u8]) {
///         if let Some(last) = bytes.last() {
///             self.in_record = *last != b'\n';
///         }
///     }
///
///     fn is_between_frames(&self) -> bool {
///         !self.in_record
///     }
/// }
///
/// let filler = Framed::with_framing(JsonSequence::default(), "\u{1e}{}\n");
/// let layer = KeepaliveLayer::new(Duration::from_secs(20)).format("application/json-seq", filler);
/// ```
pub trait Framing {
    /// Reads the next bytes of the stream, which can be cut anywhere.
    fn read(&mut self, bytes: &[u8]);

    /// Notes that a keepalive is sent, which the client reads before everything that follows.
    ///
    /// [`read`](Self::read) does not see keepalives. The default does nothing.
    fn keepalive_sent(&mut self) {}

    /// Returns whether a keepalive may be inserted after the bytes that have been read so far.
    fn is_between_frames(&self) -> bool;

    /// Returns whether the stream may begin with a UTF-8 byte-order mark that is no part of a frame.
    ///
    /// If it may, [`KeepaliveLayer`](crate::KeepaliveLayer) removes a mark that would follow a keepalive.
    /// The default returns `false`.
    fn may_begin_with_mark(&self) -> bool {
        false
    }
}

impl<F: Framing + ?Sized> Framing for Box<F> {
    #[inline]
    fn read(&mut self, bytes: &[u8]) {
        (**self).read(bytes);
    }

    #[inline]
    fn keepalive_sent(&mut self) {
        (**self).keepalive_sent();
    }

    #[inline]
    fn is_between_frames(&self) -> bool {
        (**self).is_between_frames()
    }

    fn may_begin_with_mark(&self) -> bool {
        (**self).may_begin_with_mark()
    }
}

/// A filler that inserts keepalives between the frames of a format.
///
/// [`Sse`], [`Lines`] and [`Grpc`] are such fillers. [`Framing`] shows one of your own.
#[derive(Clone, Debug)]
pub struct Framed<F> {
    framing: F,
    keepalive: Bytes,
    /// Whether an error or the trailers have been seen.
    ended: bool,
}

impl<F: Framing> Framed<F> {
    /// Creates a filler that inserts `keepalive`, which must be one or more whole frames.
    ///
    /// # Panics
    ///
    /// Panics if `keepalive` is empty, begins with a byte-order mark, or does not end between two frames.
    #[track_caller]
    pub fn with_framing(framing: F, keepalive: impl Into<Bytes>) -> Self
    where
        F: Clone,
    {
        let keepalive = keepalive.into();
        let mut after = framing.clone();
        // The keepalive may follow another one.
        after.keepalive_sent();
        after.read(&keepalive);
        assert!(
            !keepalive.is_empty()
                && after.is_between_frames()
                && !keepalive.starts_with(&BYTE_ORDER_MARK),
            "stream-keepalive-http: a keepalive must consist of whole events, comments, lines or messages, \
             and begin without a byte-order mark: {keepalive:?}"
        );
        Self {
            framing,
            keepalive,
            ended: false,
        }
    }

    #[inline]
    fn keepalive(&mut self) -> Option<Bytes> {
        if self.ended || !self.framing.is_between_frames() {
            return None;
        }
        self.framing.keepalive_sent();
        Some(self.keepalive.clone())
    }

    /// Returns whether the bytes are activity: an empty chunk sends nothing.
    #[inline]
    fn read(&mut self, bytes: &[u8]) -> bool {
        self.framing.read(bytes);
        !bytes.is_empty()
    }

    fn end(&mut self) -> bool {
        self.ended = true;
        true
    }
}

impl<F: Framing> Fill<Bytes> for Framed<F> {
    #[inline]
    fn fill(&mut self) -> Option<Bytes> {
        self.keepalive()
    }

    #[inline]
    fn observe(&mut self, item: &Bytes) -> bool {
        self.read(item)
    }
}

impl<F: Framing, E> Fill<Result<Bytes, E>> for Framed<F> {
    #[inline]
    fn fill(&mut self) -> Option<Result<Bytes, E>> {
        self.keepalive().map(Ok)
    }

    #[inline]
    fn observe(&mut self, item: &Result<Bytes, E>) -> bool {
        match item {
            Ok(bytes) => self.read(bytes),
            Err(_) => self.end(),
        }
    }
}

impl<F: Framing, E> Fill<Result<Frame<Bytes>, E>> for Framed<F> {
    #[inline]
    fn fill(&mut self) -> Option<Result<Frame<Bytes>, E>> {
        Some(Ok(Frame::data(self.keepalive()?)))
    }

    #[inline]
    fn observe(&mut self, item: &Result<Frame<Bytes>, E>) -> bool {
        match item.as_ref().map(Frame::data_ref) {
            Ok(Some(bytes)) => self.read(bytes),
            Ok(None) | Err(_) => self.end(),
        }
    }
}

/// The filler of a body, whatever its format is.
#[cfg(feature = "tokio")]
pub(crate) type AnyFiller = Framed<Box<dyn Framing + Send + Sync>>;

#[cfg(feature = "tokio")]
impl<F: Framing + Send + Sync + 'static> Framed<F> {
    pub(crate) fn into_any(self) -> AnyFiller {
        Framed {
            framing: Box::new(self.framing),
            keepalive: self.keepalive,
            ended: self.ended,
        }
    }
}

#[cfg(feature = "tokio")]
impl AnyFiller {
    pub(crate) fn may_begin_with_mark(&self) -> bool {
        self.framing.may_begin_with_mark()
    }
}
