use proptest::{collection::vec, prelude::*};
use serde_json::Value;
use stream_keepalive_http::framing::Lines;

use super::{cut, cuts, due, is_ready, relay};

fn blank() -> Lines {
    Lines::new("\n")
}

#[test]
fn a_line_ends_with_lf() {
    assert!(is_ready(blank(), &[b"{}\n"]));
    assert!(is_ready(blank(), &[b"{}\r\n"]));
    assert!(is_ready(blank(), &[b"{", b"}", b"\n"]));
}

#[test]
fn a_line_does_not_end_with_cr() {
    assert!(!is_ready(blank(), &[b"{}\r"]));
}

#[test]
fn a_half_line_after_whole_ones_is_not_filled() {
    assert!(!is_ready(blank(), &[b"{}\n{}\n{"]));
}

#[test]
fn an_escaped_line_feed_ends_no_line() {
    assert!(!is_ready(blank(), &[br#""a\n"#]));
}

#[test]
fn some_readers_skip_an_empty_line_and_some_do_not() {
    let stream = b"{}\n\n{}\n";
    let values = serde_json::Deserializer::from_slice(stream).into_iter::<Value>();
    assert_eq!(values.map(Result::unwrap).count(), 2);
    let lines = std::str::from_utf8(stream).unwrap().lines();
    let results: Vec<_> = lines
        .map(|line| serde_json::from_str::<Value>(line).is_ok())
        .collect();
    assert_eq!(results, [true, false, true]);
}

/// Reads the lines as a client does, without the blank ones.
fn read(stream: &[u8]) -> Vec<Value> {
    let lines = stream.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.trim_ascii().is_empty());
    lines
        .map(|line| serde_json::from_slice(line).expect("a line of JSON"))
        .collect()
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |value| vec(value, 0..4).prop_map(Value::from))
}

proptest! {
    #[test]
    fn a_client_reads_the_same_lines_wherever_the_stream_is_cut(
        values in vec((value(), prop::sample::select(vec!["\n", "\r\n", "\n\n"])), 0..10),
        cuts in cuts(),
        due in due(),
    ) {
        let stream: String = values.iter().map(|(value, end)| format!("{value}{end}")).collect();
        let values: Vec<_> = values.into_iter().map(|(value, _)| value).collect();
        let chunks = cut(stream.as_bytes(), &cuts);
        for keepalive in ["\n", "\r\n", " \n"] {
            let (sent, _) = relay(Lines::new(keepalive), &chunks, |index| due[index]);
            prop_assert_eq!(read(&sent), &values[..]);
        }
    }

    #[test]
    fn a_keepalive_may_go_out_after_every_line(
        stream in vec(prop::sample::select(b"a\n\r".to_vec()), 0..30),
        cuts in cuts(),
    ) {
        let at_line_start = stream.last().is_none_or(|last| *last == b'\n');
        prop_assert_eq!(is_ready(blank(), &cut(&stream, &cuts)), at_line_start);
    }
}
