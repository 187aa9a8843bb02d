use bytes::Bytes;

use super::{Framed, Parse};

/// A comment and a blank line, as axum's own keep-alive sends.
const COMMENT: &[u8] = b":\n\n";

pub(crate) const BYTE_ORDER_MARK: [u8; LENGTH_OF_MARK] = *b"\xEF\xBB\xBF";
const LENGTH_OF_MARK: usize = 3;

/// How many bytes are searched for the end of a line together.
const BLOCK: usize = 32;

/// A filler for server-sent events, which inserts keepalives between two events.
///
/// An event ends with a blank line. A line ends with LF, CRLF or CR. A comment or a blank line does not
/// start an event.
///
/// A CR at the end of a chunk may be the first half of a CRLF. The filler therefore waits for the next byte,
/// unless the previous line ended with a CR alone.
///
/// A byte-order mark is only valid at the very start of a stream. If a keepalive has been sent before it, the
/// client reads the mark as part of the first line, and ignores that line.
/// [`KeepaliveLayer`](crate::KeepaliveLayer) removes the mark in this case. A filler cannot do that.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use bytes::Bytes;
/// use futures::{StreamExt, stream};
/// use stream_keepalive::KeepaliveExt;
/// use stream_keepalive_http::framing;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let events = stream::iter([Bytes::from("data: 1\n\n")]).chain(stream::pending());
/// let mut events = events.keepalive_with(Duration::from_secs(20), framing::Sse::comment());
///
/// assert_eq!(events.next().await, Some(Bytes::from("data: 1\n\n")));
/// assert_eq!(events.next().await, Some(Bytes::from(":\n\n"))); // after 20 s
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Sse(pub(super) Framed<Parser>);

impl Sse {
    /// Creates a filler that inserts the comment `:\n\n`, which most clients drop.
    pub fn comment() -> Self {
        Self::new(COMMENT)
    }

    /// Creates a filler that inserts `keepalive`, which must be one or more whole events or comments.
    ///
    /// The scripts of a page see an event that has data, such as `"event: keepalive\ndata:\n\n"`. They can
    /// use it to tell that the connection is alive.
    ///
    /// # Panics
    ///
    /// Panics if `keepalive` is empty or ends in the middle of an event or a comment.
    #[track_caller]
    pub fn new(keepalive: impl Into<Bytes>) -> Self {
        Self(Framed::new(keepalive.into()))
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Parser {
    line: Line,
    /// A field has begun since the last blank line.
    in_event: bool,
    /// The last line that surely ended did so with a CR alone.
    cr_alone: bool,
}

/// What the last byte was.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// The last of this many bytes of the byte-order mark, from the start of the stream.
    Mark(usize),
    /// The end of a line.
    Start,
    /// Inside a field or a comment.
    Inside,
    /// A CR, which ends the line. An LF may still follow.
    Cr,
}

impl Default for Line {
    fn default() -> Self {
        Self::Mark(0)
    }
}

impl Parse for Parser {
    #[inline]
    fn read(&mut self, bytes: &[u8]) {
        // Most chunks are whole events. What came before does not matter to them.
        if bytes.ends_with(b"\n\n") || bytes.ends_with(b"\n\r\n") {
            self.in_event = false;
            self.end_line(b'\n');
        } else {
            self.read_lines(bytes);
        }
    }

    #[inline]
    fn is_between_frames(&self) -> bool {
        let at_line_start = match self.line {
            Line::Start | Line::Mark(0) => true,
            Line::Cr => self.cr_alone,
            Line::Inside | Line::Mark(_) => false,
        };
        at_line_start && !self.in_event
    }
}

impl Parser {
    fn read_lines(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, after)) = bytes.split_first() {
            bytes = match self.line {
                Line::Mark(seen) if byte == BYTE_ORDER_MARK[seen] => {
                    self.line = match seen + 1 {
                        LENGTH_OF_MARK => Line::Start,
                        seen => Line::Mark(seen),
                    };
                    after
                }
                // It was the beginning of a field's name, and not of a byte-order mark.
                Line::Mark(1..) => {
                    self.in_event = true;
                    self.line = Line::Inside;
                    bytes
                }
                Line::Cr if byte == b'\n' => {
                    self.end_line(byte);
                    after
                }
                Line::Cr => {
                    self.cr_alone = true;
                    self.line = Line::Start;
                    bytes
                }
                Line::Mark(_) | Line::Start => {
                    match byte {
                        b'\n' | b'\r' => {
                            self.in_event = false;
                            self.end_line(byte);
                        }
                        b':' => self.line = Line::Inside,
                        _ => {
                            self.in_event = true;
                            self.line = Line::Inside;
                        }
                    }
                    after
                }
                Line::Inside => {
                    let Some(end) = find_line_end(bytes) else {
                        return;
                    };
                    self.end_line(bytes[end]);
                    &bytes[end + 1..]
                }
            };
        }
    }

    fn end_line(&mut self, end: u8) {
        if end == b'\n' {
            self.line = Line::Start;
            self.cr_alone = false;
        } else {
            self.line = Line::Cr;
        }
    }
}

/// Finds the first LF or CR.
fn find_line_end(bytes: &[u8]) -> Option<usize> {
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    // Without a branch for each byte, the compiler searches a block with vector instructions.
    let has_end = |block: &&[u8]| block.iter().fold(false, |found, byte| found | is_end(byte));
    let skipped = BLOCK
        * bytes
            .chunks_exact(BLOCK)
            .take_while(|block| !has_end(block))
            .count();
    let end = bytes[skipped..].iter().position(is_end)?;
    Some(skipped + end)
}
