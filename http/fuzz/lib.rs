//! What the fuzz targets share.

use bytes::Bytes;
use stream_keepalive::Fill;

/// Cuts a stream into chunks, and inserts a keepalive before each chunk where the filler allows it.
///
/// The first byte of the input is the length of the chunks, and the rest is the stream. Some targets allow no
/// keepalive before the stream has begun.
pub fn relay<F: Fill<Bytes> + Clone>(
    input: &[u8],
    filler: &F,
    may_begin: impl Fn(&[u8]) -> bool,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let (length, stream) = input.split_first()?;
    let mut cut = filler.clone();
    let mut sent = Vec::new();
    for (index, chunk) in stream.chunks(usize::from(*length).max(1)).enumerate() {
        if index > 0 || may_begin(stream) {
            sent.extend(cut.fill().into_iter().flatten());
        }
        cut.observe(&Bytes::copy_from_slice(chunk));
        sent.extend_from_slice(chunk);
    }
    let last = cut.fill();
    sent.extend(last.iter().flatten());
    // It does not matter how the stream is cut.
    let mut whole = filler.clone();
    whole.observe(&Bytes::copy_from_slice(stream));
    assert_eq!(last, whole.fill());
    Some((stream.to_vec(), sent))
}
