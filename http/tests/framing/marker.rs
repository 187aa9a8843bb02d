use std::mem;

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use stream_keepalive::Fill;
use stream_keepalive_http::framing::{Grpc, StripMarkers};

use super::{cut, cuts, cuts_in_two, due, relay};

const MARKER: &[u8] = b"\0\0\0\0\x06\xf8\xff\xff\xff\x0f\0";

/// Returns the pieces that come out for each chunk, and those that come out at the end.
fn pieces(chunks: &[&[u8]]) -> Vec<Vec<Bytes>> {
    let mut markers = StripMarkers::new();
    let mut pieces: Vec<Vec<Bytes>> = Vec::new();
    for chunk in chunks {
        let mut chunk = Bytes::copy_from_slice(chunk);
        pieces.push(std::iter::from_fn(|| markers.strip(&mut chunk)).collect());
        assert!(chunk.is_empty());
    }
    pieces.push(markers.end().into_iter().collect());
    assert_eq!(markers.end(), None);
    pieces
}

fn strip(chunks: &[&[u8]]) -> Vec<u8> {
    let pieces = pieces(chunks);
    assert!(pieces.iter().flatten().all(|piece| !piece.is_empty()));
    pieces.concat().concat()
}

fn message(flag: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&[flag], &length[..], payload].concat()
}

#[test]
fn a_marker_is_one_unknown_field_in_an_uncompressed_message() {
    let marker: Option<Bytes> = Grpc::marker().fill();
    assert_eq!(marker.unwrap(), MARKER);
    // Field 536870911, which is the largest number, as a varint with the value 0.
    let key = 536_870_911_u64 << 3;
    let varint = (0..5).map(|at| (key >> (7 * at)) as u8 & 0x7f | if at < 4 { 0x80 } else { 0 });
    assert_eq!(message(0, &varint.chain([0]).collect::<Vec<_>>()), MARKER);
}

#[test]
fn markers_are_removed_wherever_they_are_cut() {
    let stream = [MARKER, &message(0, b"a"), MARKER, MARKER, &message(1, b"")].concat();
    for [first, rest] in cuts_in_two(&stream) {
        for [second, third] in cuts_in_two(rest) {
            let stripped = strip(&[first, second, third]);
            assert_eq!(stripped, [message(0, b"a"), message(1, b"")].concat());
        }
    }
}

#[test]
fn a_message_that_begins_like_a_marker_stays_wherever_it_is_cut() {
    for begin in 0..MARKER.len() {
        // The first byte that differs is the flag, a byte of the length or a byte of the field.
        let mut other = MARKER.to_vec();
        other[begin] ^= 1;
        let length = u32::from_be_bytes([other[1], other[2], other[3], other[4]]);
        other.resize(5 + length.min(100) as usize, b'x');
        let whole = length <= 100;
        let stream = [&other[..], if whole { MARKER } else { b"" }].concat();
        for [first, rest] in cuts_in_two(&stream) {
            for [second, third] in cuts_in_two(rest) {
                assert_eq!(strip(&[first, second, third]), other, "{begin}");
            }
        }
    }
}

#[test]
fn the_bytes_of_a_marker_inside_a_message_stay() {
    for (flag, payload) in [
        (0, MARKER.to_vec()),
        (1, MARKER.to_vec()),
        (0, [MARKER, b"x", MARKER].concat()),
        (0, MARKER[5..].repeat(2)),
    ] {
        let stream = message(flag, &payload);
        for chunks in cuts_in_two(&stream) {
            assert_eq!(strip(&chunks), stream);
        }
    }
}

#[test]
fn a_compressed_message_with_the_payload_of_a_marker_stays() {
    let stream = message(1, &MARKER[5..]);
    assert_eq!(strip(&[&stream]), stream);
}

#[test]
fn bytes_that_may_begin_a_marker_are_held_back_until_the_next_chunk_decides() {
    for held in 1..MARKER.len() {
        let begin = &MARKER[..held];
        let stream = [&message(0, b"a"), begin].concat();
        // It was a marker.
        let found = pieces(&[&stream, &MARKER[held..]]);
        assert_eq!(found, [vec![Bytes::from(message(0, b"a"))], vec![], vec![]]);
        // It was something else.
        let found = pieces(&[&stream, b"\x55"]);
        let rest = [begin, b"\x55"].map(Bytes::copy_from_slice).to_vec();
        assert_eq!(found[1..], [rest, vec![]]);
        // Nothing follows.
        let found = pieces(&[&stream]);
        assert_eq!(found[1], [Bytes::copy_from_slice(begin)]);
    }
}

#[test]
fn no_whole_message_is_held_back() {
    let whole = [message(0, b""), message(1, b""), message(0, b"abcdef")];
    for message in &whole {
        assert_eq!(pieces(&[message])[0].concat(), *message);
    }
}

#[test]
fn a_chunk_without_a_marker_passes_whole() {
    let stream = [message(0, b"a"), message(1, b""), message(0, b"")].concat();
    for [first, second] in cuts_in_two(&stream) {
        let mut markers = StripMarkers::new();
        // A cut inside a header holds the zeros before it back.
        let held = first.len()
            - first
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |at| at + 1);
        let mut chunk = Bytes::copy_from_slice(first);
        let pointer = chunk.as_ptr();
        if let Some(piece) = markers.strip(&mut chunk) {
            assert_eq!(piece.as_ptr(), pointer);
            assert!(piece.len() >= first.len() - held, "{first:?}");
        }
        let mut chunk = Bytes::copy_from_slice(second);
        let pointers = chunk.as_ptr_range();
        let last = std::iter::from_fn(|| markers.strip(&mut chunk)).last();
        if let Some(piece) = last.filter(|_| !second.is_empty()) {
            assert_eq!(piece.as_ptr_range(), pointers);
        }
    }
}

#[test]
fn the_messages_around_a_marker_are_not_copied() {
    let mut chunk = Bytes::from([&message(0, &[b'a'; 1000]), MARKER, &message(0, b"b")].concat());
    let pointers = chunk.as_ptr_range();
    let mut markers = StripMarkers::new();
    let first = markers.strip(&mut chunk).unwrap();
    let second = markers.strip(&mut chunk).unwrap();
    assert_eq!(first.as_ptr_range().start, pointers.start);
    assert_eq!(second.as_ptr_range().end, pointers.end);
}

/// Messages, some of which begin like a marker, and perhaps the beginning of one more.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let like_a_marker = (0..=5_usize, vec(any::<u8>(), 0..6))
        .prop_map(|(kept, rest)| (0, [&MARKER[5..5 + kept], &rest].concat()))
        .prop_filter("it is not a marker", |(_, payload)| payload != &MARKER[5..]);
    let any_message = (0..2_u8, vec(any::<u8>(), 0..12));
    let messages = vec(prop_oneof![like_a_marker, any_message], 0..8);
    let last = vec(prop_oneof![Just(0_u8), any::<u8>()], 0..5);
    (messages, last).prop_map(|(messages, last)| {
        let mut stream: Vec<_> = messages
            .iter()
            .flat_map(|(flag, payload)| message(*flag, payload))
            .collect();
        // Less than a header.
        stream.extend(last);
        stream
    })
}

proptest! {
    #[test]
    fn a_filled_stream_is_stripped_to_the_original(
        stream in stream(),
        cuts_of_server in cuts(),
        cuts_of_network in cuts(),
        due in due(),
    ) {
        let (sent, _) = relay(Grpc::marker(), &cut(&stream, &cuts_of_server), |index| due[index]);
        prop_assert_eq!(strip(&cut(&sent, &cuts_of_network)), stream);
    }

    #[test]
    fn bytes_that_are_no_messages_pass_unchanged(
        mut stream in vec(prop_oneof![Just(0_u8), Just(6), Just(0xff), any::<u8>()], 0..40),
        cuts in cuts(),
    ) {
        // Without this byte, no boundary is followed by a marker.
        for byte in &mut stream {
            if *byte == 0xf8 {
                *byte = mem::take(byte) + 1;
            }
        }
        prop_assert_eq!(strip(&cut(&stream, &cuts)), stream);
    }
}
