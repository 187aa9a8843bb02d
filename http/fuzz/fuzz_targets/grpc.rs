#![no_main]

use libfuzzer_sys::fuzz_target;
use stream_keepalive_http::framing::Grpc;
use stream_keepalive_http_fuzz::relay;

/// Returns the messages that are not empty, and the bytes after the last whole message.
fn read(mut stream: &[u8]) -> (Vec<(u8, &[u8])>, &[u8]) {
    let mut messages = Vec::new();
    while let Some((&[flag, a, b, c, d], rest)) = stream.split_first_chunk() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some((message, rest)) = rest.split_at_checked(length) else {
            break;
        };
        if flag != 0 || !message.is_empty() {
            messages.push((flag, message));
        }
        stream = rest;
    }
    (messages, stream)
}

fuzz_target!(|input: &[u8]| {
    if let Some((stream, sent)) = relay(input, &Grpc::new(), |_| true) {
        assert_eq!(read(&stream), read(&sent));
    }
});
