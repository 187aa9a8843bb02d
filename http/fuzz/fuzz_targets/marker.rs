#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use stream_keepalive_http::framing::{Grpc, StripMarkers};
use stream_keepalive_http_fuzz::relay;

const MARKER: &[u8] = b"\0\0\0\0\x06\xf8\xff\xff\xff\x0f\0";

/// Removes the markers from a stream that is not cut.
fn strip(mut stream: &[u8]) -> Vec<u8> {
    let mut stripped = Vec::new();
    // In other protocols, a message with another flag is the last one.
    while let [0 | 1, a, b, c, d, ..] = *stream {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let (message, rest) = stream.split_at(stream.len().min(5 + length));
        if message != MARKER {
            stripped.extend_from_slice(message);
        }
        stream = rest;
    }
    stripped.extend_from_slice(stream);
    stripped
}

fuzz_target!(|input: &[u8]| {
    let Some((stream, sent)) = relay(input, &Grpc::marker(), |_| true) else {
        return;
    };
    let mut markers = StripMarkers::new();
    let mut found = Vec::new();
    for chunk in sent.chunks(usize::from(input[0] >> 4).max(1)) {
        let mut chunk = Bytes::copy_from_slice(chunk);
        while let Some(piece) = markers.strip(&mut chunk) {
            assert!(!piece.is_empty());
            found.extend_from_slice(&piece);
        }
        assert!(chunk.is_empty());
    }
    found.extend(markers.end().into_iter().flatten());
    assert_eq!(found, strip(&sent));
    // A marker that was in the stream before is removed too.
    assert_eq!(found, strip(&stream));
});
