use std::convert::Infallible;

use bytes::Bytes;
use eventsource_stream::EventStream;
use futures::{FutureExt, TryStreamExt, stream};
use proptest::{collection::vec, prelude::*, sample::select};
use stream_keepalive::Fill;
use stream_keepalive_http::framing::Sse;

use super::{cut, cuts, cuts_in_two, due, is_ready, readiness, relay};

const MARK: &str = "\u{feff}";

fn ready(chunks: &[&str]) -> bool {
    let chunks: Vec<_> = chunks.iter().map(|chunk| chunk.as_bytes()).collect();
    is_ready(Sse::comment(), &chunks)
}

#[test]
fn an_event_ends_with_a_blank_line_in_lf() {
    assert!(ready(&["data: 1\n\n"]));
    assert!(ready(&["data: 1\n", "\n"]));
    assert!(ready(&["id: 1\nevent: a\ndata: 1\ndata: 2\n\n"]));
}

#[test]
fn an_event_ends_with_a_blank_line_in_crlf() {
    assert!(ready(&["data: 1\r\n\r\n"]));
    for [first, second] in cuts_in_two(b"data: 1\r\n\r\n") {
        let ready = readiness(Sse::comment(), &[first, second]);
        assert_eq!(ready, [true, first.is_empty() || second.is_empty(), true]);
    }
}

#[test]
fn an_event_ends_with_a_blank_line_in_cr() {
    assert!(ready(&["data: 1\r\r"]));
    assert!(ready(&["data: 1\r", "\r"]));
    assert!(ready(&["data: 1", "\r", "\r"]));
}

#[test]
fn an_event_ends_with_a_blank_line_in_a_mixture() {
    assert!(ready(&["data: 1\n\r\n"]));
    assert!(ready(&["data: 1\r\n\n"]));
    assert!(ready(&["data: 1\n", "\r", "\n"]));
}

#[test]
fn a_single_line_end_ends_no_event() {
    assert!(!ready(&["data: 1\n"]));
    assert!(!ready(&["data: 1\r\n"]));
    assert!(!ready(&["data: 1\r", "\n"]));
    assert!(!ready(&["data: 1\r"]));
}

#[test]
fn nothing_is_inserted_into_half_a_line() {
    assert!(!ready(&["d"]));
    assert!(!ready(&["data: 1\n\nd"]));
    assert!(!ready(&["data: 1\n\n", "data: {\"a\":"]));
    assert!(!ready(&["data: 1\n\n:"]));
}

#[test]
fn nothing_is_inserted_into_half_an_event_whatever_its_field() {
    for field in [
        "data: 1", "data:1", "data", "data:", "id: 1", "id", "event: a", "event",
    ] {
        for end in ["\n", "\r\n"] {
            assert!(!ready(&[field, end]), "{field}");
            assert!(ready(&[field, end, end]), "{field}");
            assert!(!ready(&[field, end, "retry: 1", end]), "{field}");
            assert!(!ready(&["retry: 1", end, field, end]), "{field}");
            assert!(
                !ready(&["retry: 1\nunknown\n", field, end, ":\n"]),
                "{field}"
            );
        }
        let bytes = [field.as_bytes(), b"\n"].concat();
        let bytes: Vec<_> = bytes.chunks(1).collect();
        assert!(!is_ready(Sse::comment(), &bytes), "{field}");
    }
}

#[test]
fn a_field_of_no_event_does_not_hold_keepalives_back() {
    for field in [
        "retry: 3000",
        "retry",
        "unknown",
        "unknown: 1",
        " data: 1",
        "Data: 1",
        "dat",
        "datas: 1",
        "dat:a",
        "data : 1",
        "i",
        "ids",
        "even",
        "eventt: a",
        "e",
        "d",
    ] {
        for end in ["\n", "\r\n"] {
            assert!(!ready(&[field]), "{field}");
            assert!(ready(&[field, end]), "{field}");
            assert!(ready(&["data: 1\n\n", field, end, field, end]), "{field}");
            assert!(
                ready(&[&format!("data: 1\n\n{field}{end}:\n{field}{end}")]),
                "{field}"
            );
            let bytes = [field, end].concat();
            let bytes: Vec<_> = bytes.as_bytes().chunks(1).collect();
            assert!(is_ready(Sse::comment(), &bytes), "{field}");
        }
    }
}

#[test]
fn after_a_cr_that_may_be_half_of_a_crlf_nothing_is_filled() {
    assert!(!ready(&["data: 1\r\n\r"]));
    assert!(ready(&["data: 1\r\n\r", "\n"]));
    assert!(!ready(&["data: 1\n\r"]));
    assert!(!ready(&[":\n\r"]));
    assert!(!ready(&["\r"]));
    assert!(!ready(&[":\r"]));
    assert!(ready(&["\r\r"]));
    assert!(ready(&[":\r:\r"]));
}

#[test]
fn a_cr_that_may_be_half_of_a_crlf_still_ends_the_line() {
    assert!(!ready(&["data: 1\n\r", "d"]));
    assert!(!ready(&["data: 1\r", "data: 2\n"]));
    assert!(ready(&["data: 1\n\r", ":\n"]));
}

#[test]
fn the_style_of_line_ends_may_change() {
    assert!(!ready(&["data: 1\r\rdata: 2\n\r"]));
    assert!(!ready(&["data: 1\r\r\n", ":\r"]));
    assert!(!ready(&["data: 1\r\r\n\n", ":\r"]));
    assert!(!ready(&["data: 1\r\rdata: 2\n\n", ":\r"]));
}

#[test]
fn an_lf_after_a_blank_line_in_cr_changes_nothing() {
    assert!(ready(&["data: 1\r\r", "\n"]));
    assert!(!ready(&["data: 1\r\r", "\nd"]));
}

#[test]
fn comments_and_blank_lines_begin_no_event() {
    assert!(ready(&[":\n"]));
    assert!(ready(&[": upstream's own\n"]));
    assert!(ready(&["\n"]));
    assert!(ready(&["data: 1\n\n\n"]));
    assert!(ready(&["data: 1\n\n: a\n: b\n"]));
}

#[test]
fn a_comment_in_an_event_does_not_end_it() {
    assert!(!ready(&["data: 1\n:\n"]));
    assert!(ready(&["data: 1\n:\n\n"]));
}

#[test]
fn a_line_end_is_found_at_every_offset_of_a_long_line() {
    for length in 0..200 {
        let data = "x".repeat(length);
        assert!(!ready(&[&format!("data: {data}\n")]));
        assert!(!ready(&[&format!("data: {data}\n\n{data}d")]));
        assert!(ready(&[&format!("data: {data}\r\r")]));
        assert!(ready(&[&format!("data: {data}\n\n: {data}\n")]));
        assert!(ready(&[&format!(": {data}\r: {data}\r")]));
    }
}

#[test]
fn a_byte_order_mark_begins_no_event() {
    assert!(ready(&[MARK]));
    assert!(ready(&[MARK, ":\n"]));
    assert!(!ready(&[MARK, "d"]));
    assert!(ready(&[&format!("{MARK}data: 1\n\n")]));
}

#[test]
fn a_byte_order_mark_is_not_cut() {
    let [first, second, third] = [b"\xEF", b"\xBB", b"\xBF"];
    let ready = readiness(Sse::comment(), &[first, second, third]);
    assert_eq!(ready, [true, false, false, true]);
}

#[test]
fn bytes_that_only_begin_like_a_byte_order_mark_are_another_field() {
    for field in [
        &b"\xEF\xBC\x80\n"[..],
        b"\xEF\xBB\xBE\n",
        b"\xEF\n",
        b"\xEF\xBB\n",
        b"\xEF:\n",
        b"\xEFdata: 1\n",
    ] {
        let bytes: Vec<_> = field.chunks(1).collect();
        assert!(is_ready(Sse::comment(), &bytes), "{field:?}");
        assert!(is_ready(Sse::comment(), &[field]), "{field:?}");
        let [inside, _] = [&field[..field.len() - 1], b"\n"];
        assert!(!is_ready(Sse::comment(), &[inside]), "{field:?}");
    }
}

#[test]
fn a_second_byte_order_mark_is_part_of_a_line() {
    assert!(!ready(&[MARK, MARK]));
    assert!(ready(&[MARK, MARK, "data: 1\n"]));
    assert!(ready(&["\n", MARK, "data: 1\n"]));
    assert!(!ready(&["data: 1\n\n", MARK]));
}

#[test]
fn a_byte_order_mark_after_a_keepalive_is_part_of_a_line() {
    let mut filler = Sse::comment();
    let _comment: Option<Bytes> = filler.fill();
    filler.observe(&Bytes::from(MARK));
    assert_eq!(Fill::<Bytes>::fill(&mut filler), None);
}

#[test]
fn only_what_follows_the_last_event_of_a_chunk_counts() {
    for event in ["data: 1\n\n", "data: 1\r\n\r\n", "data: 1\r\r"] {
        let events = event.repeat(50);
        for before in ["", "d", "data: 1\n", "data: 1\n\n", ": note\n", ": note\r"] {
            assert!(ready(&[before, &events]), "{before:?} {event:?}");
            assert!(
                ready(&[before, &events, ": note\n"]),
                "{before:?} {event:?}"
            );
            assert!(
                ready(&[before, &(events.clone() + ": note\n")]),
                "{before:?} {event:?}"
            );
            assert!(
                !ready(&[before, &(events.clone() + "data: 1\n: note\n")]),
                "{before:?} {event:?}"
            );
            assert!(
                !ready(&[before, &(events.clone() + ": note")]),
                "{before:?} {event:?}"
            );
        }
    }
}

/// An event: the last event id, the type and the data.
type Event = (String, String, String);

/// Reads a whole stream as the HTML standard says.
fn read(stream: &[u8]) -> Vec<Event> {
    let stream = String::from_utf8_lossy(stream);
    let stream = stream.strip_prefix(MARK).unwrap_or(&stream);
    let stream = stream.replace("\r\n", "\n").replace('\r', "\n");
    // Text after the last line end is not a line.
    let lines = stream.rsplit_once('\n').map_or("", |(lines, _)| lines);

    let mut events = Vec::new();
    let (mut id, mut event, mut data) = (String::new(), String::new(), String::new());
    for line in lines.split('\n') {
        if line.is_empty() {
            if let Some(data) = data.strip_suffix('\n') {
                events.push((id.clone(), event.clone(), data.to_owned()));
            }
            event.clear();
            data.clear();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => data = format!("{data}{value}\n"),
            "event" => value.clone_into(&mut event),
            "id" => value.clone_into(&mut id),
            _ => {}
        }
    }
    events
}

/// Reads a stream with `eventsource-stream`, chunk by chunk.
fn read_with_eventsource_stream(chunks: &[&[u8]]) -> Vec<Event> {
    let chunks = chunks.iter().filter(|chunk| !chunk.is_empty());
    let events = EventStream::new(stream::iter(chunks.map(Ok::<_, Infallible>)));
    let events: Vec<_> = events
        .try_collect()
        .now_or_never()
        .expect("the whole stream is ready")
        .unwrap();
    // It gives an event without a type the default name.
    let event = |name: String| {
        if name == "message" {
            String::new()
        } else {
            name
        }
    };
    events
        .into_iter()
        .map(|found| (found.id, event(found.event), found.data))
        .collect()
}

/// Returns whether an event may follow, judged from the whole stream.
fn is_boundary(stream: &str) -> bool {
    let stream = stream.strip_prefix(MARK).unwrap_or(stream);
    let Some(last) = stream.chars().next_back() else {
        return true;
    };
    let line_ends = ['\n', '\r'];
    let before = &stream[..stream.len() - last.len_utf8()];
    let line_has_ended = match last {
        '\n' => true,
        // A CR may be half of a CRLF, unless the line before ended with a lone CR.
        '\r' => before
            .rfind(line_ends)
            .is_some_and(|end| before.as_bytes()[end] == b'\r'),
        _ => false,
    };
    let stream = stream.replace("\r\n", "\n").replace('\r', "\n");
    let lines = stream.strip_suffix('\n').unwrap_or(&stream).split('\n');
    let mut begun = lines.rev().take_while(|line| !line.is_empty());
    let begins_event = |line: &str| {
        let name = line.split(':').next().unwrap();
        ["data", "event", "id"].contains(&name)
    };
    line_has_ended && !begun.any(begins_event)
}

fn line() -> impl Strategy<Value = &'static str> {
    let fields = select(vec![
        "data: 1",
        "data:",
        "data",
        "event: a",
        "id: 7",
        "unknown: é",
        "retry: 3000",
        "dat",
        "datas: 1",
        "ideal",
        "e",
    ]);
    prop_oneof![3 => fields, 2 => Just(""), 1 => select(vec![":", ": note", ":data: 1"])]
}

fn line_ends() -> impl Strategy<Value = Vec<&'static str>> {
    let all = vec!["\n", "\r\n", "\r"];
    prop_oneof![select(all.clone()).prop_map(|end| vec![end]), Just(all)]
}

/// Lines with one kind of line end or with a mixture, sometimes followed by half a line.
fn stream() -> impl Strategy<Value = String> {
    let lines = line_ends().prop_flat_map(|ends| vec((line(), select(ends)), 0..12));
    (lines, line()).prop_map(|(lines, rest)| {
        lines
            .into_iter()
            .map(|(line, end)| [line, end].concat())
            .collect::<String>()
            + rest
    })
}

fn mark() -> impl Strategy<Value = &'static str> {
    select(vec!["", MARK])
}

proptest! {
    #[test]
    fn a_client_reads_the_same_events_wherever_the_stream_is_cut(
        mark in mark(),
        stream in stream(),
        cuts in cuts(),
        due in due(),
    ) {
        let stream = format!("{mark}{stream}");
        // The layer, and not the filler, handles a keepalive before a byte-order mark.
        let chunks = cut(stream.as_bytes(), &cuts);
        let begun = |index: usize| mark.is_empty() || chunks[..index].iter().any(|chunk| !chunk.is_empty());
        let (sent, _) = relay(Sse::comment(), &chunks, |index| due[index] && begun(index));
        prop_assert_eq!(read(&sent), read(stream.as_bytes()));
    }

    #[test]
    fn eventsource_stream_reads_the_same_events_wherever_the_stream_is_cut(
        stream in stream(),
        cuts in cuts(),
        due in due(),
    ) {
        let mut chunks = cut(stream.as_bytes(), &cuts);
        let (sent, _) = relay(Sse::comment(), &chunks, |index| due[index]);
        // eventsource-stream waits for the byte after a CR.
        chunks.push(b"\n\n");
        let events = read_with_eventsource_stream(&chunks);
        prop_assert_eq!(read_with_eventsource_stream(&[&sent, b"\n\n"]), &events[..]);
        prop_assert_eq!(read(&chunks.concat()), events);
    }

    #[test]
    fn a_keepalive_that_is_an_event_changes_no_other(
        stream in stream(),
        cuts in cuts(),
        due in due(),
    ) {
        let keepalive = Sse::new("event: keepalive\ndata:\n\n");
        let (sent, _) = relay(keepalive, &cut(stream.as_bytes(), &cuts), |index| due[index]);
        let mut events = read(&sent);
        events.retain(|(_, event, _)| event != "keepalive");
        prop_assert_eq!(events, read(stream.as_bytes()));
    }

    #[test]
    fn a_keepalive_may_go_out_at_every_boundary_and_nowhere_else(
        mark in mark(),
        stream in stream(),
    ) {
        let stream = format!("{mark}{stream}");
        for at in (0..=stream.len()).filter(|at| stream.is_char_boundary(*at)) {
            let bytes: Vec<_> = stream.as_bytes()[..at].chunks(1).collect();
            prop_assert_eq!(is_ready(Sse::comment(), &bytes), is_boundary(&stream[..at]));
            prop_assert_eq!(ready(&[&stream[..at]]), is_boundary(&stream[..at]));
        }
    }

    #[test]
    fn the_cuts_do_not_matter(
        stream in vec((select(b":a\n\r\xEF\xBB\xBFdatid".to_vec()), prop_oneof![9 => 1..2_usize, 1 => 1..200_usize]), 0..20),
        cuts in cuts(),
    ) {
        let stream: Vec<_> = stream.into_iter().flat_map(|(byte, times)| vec![byte; times]).collect();
        let chunks = cut(&stream, &cuts);
        prop_assert_eq!(is_ready(Sse::comment(), &chunks), is_ready(Sse::comment(), &[&stream]));
    }
}
