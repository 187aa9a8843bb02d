#![no_main]

use libfuzzer_sys::fuzz_target;
use stream_keepalive_http::framing::Grpc;
use stream_keepalive_http_fuzz::relay;

/// The only flag of a message after which others may come: it is compressed.
const COMPRESSED: u8 = 1;

/// Returns the messages that are no keepalives, and the bytes after the last message.
///
/// The last message of Connect or gRPC-Web has another flag. All bytes after it have to stay as they are.
fn read<'a>(mut stream: &'a [u8], keepalive: &[u8]) -> (Vec<(u8, &'a [u8])>, &'a [u8]) {
    let mut messages = Vec::new();
    while let Some((&[flag, a, b, c, d], rest)) = stream.split_first_chunk() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some((message, rest)) = rest.split_at_checked(length) else {
            break;
        };
        if flag != 0 || message != keepalive {
            messages.push((flag, message));
        }
        stream = rest;
        if flag & !COMPRESSED != 0 {
            break;
        }
    }
    (messages, stream)
}

fuzz_target!(|input: &[u8]| {
    // An empty message in protobuf, and one of Connect with JSON.
    for keepalive in ["", "{}"] {
        if let Some((stream, sent)) = relay(input, &Grpc::message(keepalive), |_| true) {
            let keepalive = keepalive.as_bytes();
            assert_eq!(read(&stream, keepalive), read(&sent, keepalive));
        }
    }
});
