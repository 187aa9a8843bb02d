use bytes::Bytes;

use super::{Framed, Framing};

/// A filler for lines, such as NDJSON, which inserts keepalives between two lines.
///
/// A line ends with LF. If LF only separates your records, the last one counts as half a line, and no keepalive
/// follows it.
///
/// A byte-order mark is only valid at the very start of a stream. [`KeepaliveLayer`](crate::KeepaliveLayer)
/// removes a mark that would follow a keepalive. A filler cannot do that.
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
/// let lines = stream::iter([Bytes::from("{\"id\":1}\n")]).chain(stream::pending());
/// let mut lines = lines.keepalive_with(Duration::from_secs(20), framing::Lines::new("\n"));
///
/// assert_eq!(lines.next().await, Some(Bytes::from("{\"id\":1}\n")));
/// assert_eq!(lines.next().await, Some(Bytes::from("\n"))); // after 20 s
/// # }
/// ```
pub type Lines = Framed<LineFraming>;

impl Lines {
    /// Creates a filler that inserts `keepalive`, which must be one or more whole lines.
    ///
    /// Most readers of NDJSON skip an empty line, `"\n"`.
    ///
    /// # Panics
    ///
    /// Panics if `keepalive` is empty, begins with a byte-order mark, or does not end with LF.
    #[track_caller]
    pub fn new(keepalive: impl Into<Bytes>) -> Self {
        Self::with_framing(LineFraming::default(), keepalive)
    }
}

/// The framing of [`Lines`].
#[derive(Clone, Debug, Default)]
pub struct LineFraming {
    in_line: bool,
}

impl Framing for LineFraming {
    #[inline]
    fn read(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.in_line = *last != b'\n';
        }
    }

    #[inline]
    fn is_between_frames(&self) -> bool {
        !self.in_line
    }

    fn may_begin_with_mark(&self) -> bool {
        true
    }
}
