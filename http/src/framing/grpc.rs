use super::{Framed, Framing};

/// A filler for gRPC, gRPC-Web and Connect, which inserts a message between two messages.
///
/// The client gets the message as one more item of the call, so use this filler only if the client expects
/// such an item.
///
/// Each message begins with a byte of flags. The flag 1 says that the message is compressed. Connect ends a
/// stream with a message that has the flag 2, and gRPC-Web with one that has the flag 128. No keepalive follows
/// a message with any flag other than 1. The bytes must not be encoded in base64, as `application/grpc-web-text`
/// is.
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
pub type Grpc = Framed<MessageFraming>;

impl Grpc {
    /// Creates a filler that inserts an empty message, which is five zero bytes.
    ///
    /// An empty message is the default value of every proto3 message.
    pub fn new() -> Self {
        Self::message("")
    }

    /// Creates a filler that inserts a message with this payload, such as `{}` if the codec is JSON.
    ///
    /// # Panics
    ///
    /// Panics if the payload is 4 GiB or longer.
    #[track_caller]
    pub fn message(payload: impl AsRef<[u8]>) -> Self {
        let payload = payload.as_ref();
        let length = u32::try_from(payload.len()).expect("a payload has at most 4 GiB");
        let message = [&[0], &length.to_be_bytes()[..], payload].concat();
        Self::with_framing(MessageFraming::default(), message)
    }
}

impl Default for Grpc {
    fn default() -> Self {
        Self::new()
    }
}

/// One byte of flags, and four bytes with the length of the message.
pub(super) const HEADER: usize = 5;

/// The only flag of a message after which others may come.
const COMPRESSED: u8 = 1;

/// The framing of [`Grpc`].
#[derive(Clone, Debug, Default)]
pub struct MessageFraming {
    header: [u8; HEADER],
    /// How many bytes of the header have been read. Never all of them.
    read: usize,
    /// How many bytes of the message are still to come.
    rest: u32,
    /// Whether the last message of the stream has begun.
    is_last: bool,
}

impl MessageFraming {
    /// Reads to the end of the current message, and returns how many of the bytes belong to it.
    #[inline]
    pub(super) fn read_message(&mut self, bytes: &[u8]) -> usize {
        let mut header = 0;
        if self.rest == 0 {
            header = match bytes.first_chunk() {
                Some(whole) if self.read == 0 => {
                    self.begin(*whole);
                    HEADER
                }
                _ => self.read_part_of_header(bytes),
            };
        }
        let payload = (bytes.len() - header).min(self.rest as usize);
        self.rest -= payload as u32;
        header + payload
    }

    #[inline]
    fn begin(&mut self, [flags, length @ ..]: [u8; HEADER]) {
        self.rest = u32::from_be_bytes(length);
        self.is_last |= flags & !COMPRESSED != 0;
    }

    #[cold]
    fn read_part_of_header(&mut self, bytes: &[u8]) -> usize {
        let missing = &mut self.header[self.read..];
        let count = bytes.len().min(missing.len());
        missing[..count].copy_from_slice(&bytes[..count]);
        self.read += count;
        if self.read == HEADER {
            self.read = 0;
            self.begin(self.header);
        }
        count
    }
}

impl Framing for MessageFraming {
    #[inline]
    fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.read_message(bytes)..];
        }
    }

    #[inline]
    fn is_between_frames(&self) -> bool {
        self.read == 0 && self.rest == 0 && !self.is_last
    }
}
