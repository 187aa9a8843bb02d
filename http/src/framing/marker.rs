use std::mem;

use bytes::{Buf, Bytes};

use super::{
    Framing, Grpc,
    grpc::{HEADER, MessageFraming},
};

/// An uncompressed message of six bytes, with one field that no proto declares: number 536870911, value 0.
const MARKER: &[u8] = b"\0\0\0\0\x06\xf8\xff\xff\xff\x0f\0";

impl Grpc {
    /// Creates a filler that inserts a marker: a message that [`StripMarkers`] removes on the client.
    ///
    /// A marker is an uncompressed message with one unknown field, `00 00000006 f8ffffff0f 00`. A client that
    /// does not remove it decodes it as the default value of the message, because protobuf skips unknown
    /// fields. The number of the field is 536870911, the largest that protobuf has, so do not give that number to
    /// a field of yours.
    pub fn marker() -> Self {
        Self::with_framing(MessageFraming::default(), MARKER)
    }
}

/// Removes the markers of [`Grpc::marker`] from the bytes of a gRPC call.
///
/// All other bytes pass unchanged and in order. No message is copied. If the end of a chunk may be the
/// beginning of a marker, these bytes, ten at most, are held back until the next chunk decides. They never
/// complete a message, so no message is delayed.
///
/// # Example
///
/// ```
/// use bytes::Bytes;
/// use stream_keepalive_http::framing::StripMarkers;
///
/// let mut chunk = Bytes::from_static(b"\0\0\0\0\x01a\0\0\0\0\x06\xf8\xff\xff\xff\x0f\0\0\0\0\0\x01b");
/// let mut markers = StripMarkers::new();
/// assert_eq!(markers.strip(&mut chunk).as_deref(), Some(&b"\0\0\0\0\x01a"[..]));
/// assert_eq!(markers.strip(&mut chunk).as_deref(), Some(&b"\0\0\0\0\x01b"[..]));
/// assert_eq!(markers.strip(&mut chunk), None);
/// assert_eq!(markers.end(), None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct StripMarkers {
    /// Has read the messages, but neither the markers nor the bytes that are held back.
    messages: MessageFraming,
    /// How many bytes of a marker are held back.
    held: usize,
}

impl StripMarkers {
    /// Creates the state for the start of a body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the next bytes that are no part of a marker, and removes them from `chunk`.
    ///
    /// Call it with each chunk until it returns `None`. The chunk is empty then. A chunk without a marker
    /// passes whole.
    #[inline]
    pub fn strip(&mut self, chunk: &mut Bytes) -> Option<Bytes> {
        let mut passed = 0;
        while passed < chunk.len() {
            let next = &chunk[passed..];
            if self.messages.is_between_frames() && self.may_be_marker(next) {
                let found = common_prefix(next, &MARKER[self.held..]);
                let is_marker = self.held + found == MARKER.len();
                if is_marker || found == next.len() {
                    self.held = if is_marker { 0 } else { self.held + found };
                    let before = chunk.split_to(passed);
                    chunk.advance(found);
                    passed = 0;
                    if before.is_empty() {
                        continue;
                    }
                    return Some(before);
                }
                // It is another message that begins like a marker.
                if let Some(held) = self.end() {
                    return Some(held);
                }
            }
            passed += self.messages.read_message(next);
        }
        Some(mem::take(chunk)).filter(|chunk| !chunk.is_empty())
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn holds_bytes(&self) -> bool {
        self.held != 0
    }

    /// Returns `false` if the header of the next message differs from that of a marker, which is the usual case.
    #[inline]
    fn may_be_marker(&self, next: &[u8]) -> bool {
        self.held != 0 || next.len() < HEADER || next[..HEADER] == MARKER[..HEADER]
    }

    /// Returns the bytes that are held back, because nothing follows that could complete a marker.
    ///
    /// Call it before you pass on an error, the trailers or the end of the body.
    pub fn end(&mut self) -> Option<Bytes> {
        let held = &MARKER[..mem::take(&mut self.held)];
        self.messages.read_message(held);
        (!held.is_empty()).then_some(Bytes::from_static(held))
    }
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
