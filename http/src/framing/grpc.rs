use bytes::Bytes;

use super::{Framed, Parse};

/// An uncompressed message of length zero.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// A filler for gRPC, which inserts an empty message between two messages.
///
/// An empty message is the default value of every proto3 message. The client gets it as one more item
/// of the call, so use this filler only if the client expects such an item.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use bytes::Bytes;
/// use futures::{FutureExt, StreamExt, stream};
/// use stream_keepalive::KeepaliveExt;
/// use stream_keepalive_http::framing;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let message = Bytes::from(&b"\0\0\0\0\x02\x08\x01"[..]);
/// let messages = stream::iter([message.clone()]).chain(stream::pending());
/// let mut messages = messages.keepalive_with(Duration::from_secs(20), framing::Grpc::new());
///
/// assert_eq!(messages.next().await, Some(message));
/// assert_eq!(messages.next().await, Some(Bytes::from(&[0; 5][..]))); // after 20 s
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Grpc(pub(super) Framed<Parser>);

impl Grpc {
    /// Creates a filler that inserts an empty message, which is five zero bytes.
    pub fn new() -> Self {
        Self(Framed::new(Bytes::from_static(EMPTY_MESSAGE)))
    }
}

impl Default for Grpc {
    fn default() -> Self {
        Self::new()
    }
}

/// One byte says whether the message is compressed, four are its length.
const HEADER: usize = 5;

#[derive(Clone, Debug, Default)]
pub(super) struct Parser {
    header: [u8; HEADER],
    /// How many bytes of the header have been read. Never all of them.
    read: usize,
    /// How many bytes of the message are still to come.
    rest: u32,
}

impl Parser {
    /// Reads to the end of the current message, and returns how many of the bytes belong to it.
    #[inline]
    pub(super) fn read_message(&mut self, bytes: &[u8]) -> usize {
        let mut header = 0;
        if self.rest == 0 {
            let missing = &mut self.header[self.read..];
            header = bytes.len().min(missing.len());
            missing[..header].copy_from_slice(&bytes[..header]);
            self.read += header;
            if self.read < HEADER {
                return header;
            }
            let [_, length @ ..] = self.header;
            self.rest = u32::from_be_bytes(length);
            self.read = 0;
        }
        let payload = (bytes.len() - header).min(self.rest as usize);
        self.rest -= payload as u32;
        header + payload
    }

    #[inline]
    pub(super) fn is_at_boundary(&self) -> bool {
        self.read == 0 && self.rest == 0
    }
}

impl Parse for Parser {
    #[inline]
    fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.read_message(bytes)..];
        }
    }

    #[inline]
    fn is_between_frames(&self) -> bool {
        self.is_at_boundary()
    }
}
