#![no_main]

use libfuzzer_sys::fuzz_target;
use sse_core::{SseDecoder, SseEvent};
use stream_keepalive_http::framing::Sse;
use stream_keepalive_http_fuzz::relay;

const MARK: &str = "\u{feff}";

/// Returns the fields of each event, and the fields that belong to none, as the HTML standard parses them.
fn read(stream: &[u8]) -> (Vec<Vec<String>>, Vec<String>) {
    let stream = stream.strip_prefix(MARK.as_bytes()).unwrap_or(stream);
    let stream = String::from_utf8_lossy(stream)
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    let lines = stream.rsplit_once('\n').map_or("", |(lines, _)| lines);
    let mut events = Vec::new();
    let mut event = Vec::new();
    let mut others = Vec::new();
    for line in lines.split('\n') {
        let name = line.split(':').next().unwrap_or_default();
        if line.is_empty() {
            // An id counts even without data.
            if !event.is_empty() {
                events.push(std::mem::take(&mut event));
            }
        } else if ["data", "event", "id"].contains(&name) {
            event.push(line.to_owned());
        } else if !line.starts_with(':') {
            others.push(line.to_owned());
        }
    }
    (events, others)
}

/// Reads the stream with a parser that others have written.
fn read_with_sse_core(mut stream: &[u8]) -> Vec<SseEvent> {
    let mut decoder = SseDecoder::new();
    let mut events = Vec::new();
    while let Some(event) = decoder.next(&mut stream) {
        events.push(event.expect("the stream is short"));
    }
    events
}

fuzz_target!(|input: &[u8]| {
    // The layer removes a byte-order mark after a keepalive. A filler cannot.
    let may_begin = |stream: &[u8]| !stream.starts_with(MARK.as_bytes());
    if let Some((stream, sent)) = relay(input, &Sse::comment(), may_begin) {
        assert_eq!(read(&stream), read(&sent));
        assert_eq!(read_with_sse_core(&stream), read_with_sse_core(&sent));
    }
});
