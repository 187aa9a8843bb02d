#![no_main]

use libfuzzer_sys::fuzz_target;
use stream_keepalive_http::framing::Lines;
use stream_keepalive_http_fuzz::relay;

fn read(stream: &[u8]) -> Vec<&[u8]> {
    let lines = stream.split(|byte| *byte == b'\n');
    lines.filter(|line| !line.is_empty()).collect()
}

fuzz_target!(|input: &[u8]| {
    if let Some((stream, sent)) = relay(input, &Lines::new("\n"), |_| true) {
        assert_eq!(read(&stream), read(&sent));
    }
});
