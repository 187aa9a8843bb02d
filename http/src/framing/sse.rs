use bytes::Bytes;
use memchr::{memchr2, memrchr_iter};

use super::{BYTE_ORDER_MARK, Framed, Framing};

/// A comment and a blank line, as axum's own keep-alive sends.
const COMMENT: &[u8] = b":\n\n";

/// A filler for server-sent events, which inserts keepalives between two events.
///
/// An event begins with a field `data`, `event` or `id`, and ends with a blank line. A comment, a blank line and
/// any other field, such as `retry`, begin no event. A line ends with LF, CRLF or CR.
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
pub type Sse = Framed<EventFraming>;

impl Sse {
    /// Creates a filler that inserts the comment `:\n\n`, which most clients drop.
    pub fn comment() -> Self {
        Self::new(COMMENT)
    }

    /// Creates a filler that inserts `keepalive`, which must be one or more whole events or comments.
    ///
    /// The scripts of a page see an event that has data, such as `"event: keepalive\ndata: {}\n\n"`. They can
    /// use it to tell that the connection is alive.
    ///
    /// # Panics
    ///
    /// Panics if `keepalive` is empty, if it begins with a byte-order mark, or if it may end in the middle of an
    /// event or a comment. The latter includes a CR at the end that may be the first half of a CRLF, as in
    /// `"data:\r\n\r"`.
    #[track_caller]
    pub fn new(keepalive: impl Into<Bytes>) -> Self {
        Self::with_framing(EventFraming::default(), keepalive)
    }
}

/// The framing of [`Sse`].
#[derive(Clone, Debug, Default)]
pub struct EventFraming {
    line: Line,
    /// Whether a field of an event has come since the last blank line.
    in_event: bool,
    /// Whether the last line that is known to have ended did so with a CR alone.
    cr_alone: bool,
}

/// What the last byte was.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// The stream so far is this many bytes of the byte-order mark.
    Mark(usize),
    /// The end of a line.
    Start,
    /// Inside the name of a field. It is a field of an event if these bytes and then the name's end follow.
    Name(&'static [u8]),
    /// Inside a line of which the name is known, or inside a comment.
    Inside,
    /// A CR, which ends the line. An LF may still follow.
    Cr,
}

impl Default for Line {
    fn default() -> Self {
        Self::Mark(0)
    }
}

impl Framing for EventFraming {
    #[inline]
    fn read(&mut self, bytes: &[u8]) {
        // An LF always ends a line. If it is known from the next line whether it is inside an event, the
        // bytes before this LF do not have to be read.
        let from = memrchr_iter(b'\n', bytes).find(|lf| decides(&bytes[lf + 1..]));
        self.read_lines(&bytes[from.unwrap_or(0)..]);
    }

    /// The client reads a byte-order mark after a keepalive as part of a line.
    fn keepalive_sent(&mut self) {
        if let Line::Mark(0) = self.line {
            self.line = Line::Start;
        }
    }

    #[inline]
    fn is_between_frames(&self) -> bool {
        let at_line_start = match self.line {
            Line::Start | Line::Mark(0) => true,
            Line::Cr => self.cr_alone,
            Line::Name(_) | Line::Inside | Line::Mark(_) => false,
        };
        at_line_start && !self.in_event
    }

    fn may_begin_with_mark(&self) -> bool {
        true
    }
}

/// Returns what follows the first byte in the name of a field that belongs to an event.
fn rest_of_name(first: u8) -> Option<&'static [u8]> {
    match first {
        b'd' => Some(b"ata"),
        b'e' => Some(b"vent"),
        b'i' => Some(b"d"),
        _ => None,
    }
}

/// Returns whether the line is blank or a field of an event, so that no line before it matters.
fn decides(line: &[u8]) -> bool {
    match line {
        [b'\n' | b'\r', ..] => true,
        [first, rest @ ..] => rest_of_name(*first)
            .and_then(|name| rest.strip_prefix(name))
            .is_some_and(|rest| matches!(rest, [b':' | b'\n' | b'\r', ..])),
        [] => false,
    }
}

impl EventFraming {
    fn read_lines(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, after)) = bytes.split_first() {
            bytes = match self.line {
                Line::Mark(seen) if byte == BYTE_ORDER_MARK[seen] => {
                    self.line = match seen + 1 {
                        3 => Line::Start,
                        seen => Line::Mark(seen),
                    };
                    after
                }
                // It was the beginning of another field's name, and not of a byte-order mark.
                Line::Mark(1..) => {
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
                        first => self.line = rest_of_name(first).map_or(Line::Inside, Line::Name),
                    }
                    after
                }
                Line::Name([next, rest @ ..]) if byte == *next => {
                    self.line = Line::Name(rest);
                    after
                }
                Line::Name(rest) => {
                    self.in_event |= rest.is_empty() && matches!(byte, b':' | b'\n' | b'\r');
                    self.line = Line::Inside;
                    bytes
                }
                Line::Inside => {
                    let Some(end) = memchr2(b'\n', b'\r', bytes) else {
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
