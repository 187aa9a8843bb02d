#![no_main]

use libfuzzer_sys::fuzz_target;
use stream_keepalive_http::framing::Sse;
use stream_keepalive_http_fuzz::relay;

const MARK: &str = "\u{feff}";

/// Returns the fields of each event that has data, as the HTML standard parses them.
fn read(stream: &[u8]) -> Vec<Vec<String>> {
    let stream = stream.strip_prefix(MARK.as_bytes()).unwrap_or(stream);
    let stream = String::from_utf8_lossy(stream)
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    let lines = stream.rsplit_once('\n').map_or("", |(lines, _)| lines);
    let mut events = Vec::new();
    let mut event = Vec::new();
    for line in lines.split('\n') {
        if line.is_empty() {
            // An id counts even without data. Unknown fields make no difference here.
            if !event.is_empty() {
                events.push(std::mem::take(&mut event));
            }
        } else if !line.starts_with(':') {
            event.push(line.to_owned());
        }
    }
    events
}

fuzz_target!(|input: &[u8]| {
    // The layer removes a byte-order mark after a keepalive. A filler cannot.
    let may_begin = |stream: &[u8]| !stream.starts_with(MARK.as_bytes());
    if let Some((stream, sent)) = relay(input, &Sse::comment(), may_begin) {
        assert_eq!(read(&stream), read(&sent));
    }
});
