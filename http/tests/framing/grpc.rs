use bytes::{Buf, Bytes};
use futures::{FutureExt, TryStreamExt, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use proptest::{collection::vec, prelude::*};
use stream_keepalive_http::framing::Grpc;
use tonic::{
    Status,
    codec::{DecodeBuf, Decoder, Streaming},
};

use super::{cut, cuts, cuts_in_two, due, is_ready, readiness, relay};

fn header(flag: u8, length: u32) -> Vec<u8> {
    [&[flag][..], &length.to_be_bytes()].concat()
}

fn message(flag: u8, payload: &[u8]) -> Vec<u8> {
    [header(flag, payload.len() as u32), payload.to_vec()].concat()
}

#[test]
fn a_message_ends_after_its_length() {
    assert!(is_ready(Grpc::new(), &[&message(0, b"abc")]));
    assert!(!is_ready(Grpc::new(), &[&header(0, 4), b"abc"]));
}

#[test]
fn a_message_of_length_zero_ends_with_its_header() {
    assert!(is_ready(Grpc::new(), &[&header(0, 0)]));
}

#[test]
fn a_compressed_message_ends_after_its_length() {
    assert!(is_ready(Grpc::new(), &[&message(1, b"abc")]));
    assert!(!is_ready(Grpc::new(), &[&header(1, 4), b"abc"]));
}

#[test]
fn a_chunk_may_hold_several_messages() {
    let messages = [message(0, b"abc"), header(0, 0), message(1, b"d")].concat();
    assert!(is_ready(Grpc::new(), &[&messages]));
    assert!(!is_ready(Grpc::new(), &[&messages, &[0]]));
}

#[test]
fn a_header_may_be_split_anywhere() {
    for [first, second] in cuts_in_two(&message(0, b"ab")) {
        let ready = readiness(Grpc::new(), &[first, second]);
        assert_eq!(ready, [true, first.is_empty() || second.is_empty(), true]);
    }
}

#[test]
fn every_byte_of_the_length_counts() {
    for length in [1_u32 << 8, 1 << 16, 1 << 24, 0x0102_0304] {
        let payload = vec![0; length as usize];
        assert!(
            !is_ready(Grpc::new(), &[&header(0, length), &payload[1..]]),
            "{length}"
        );
        assert!(
            is_ready(Grpc::new(), &[&header(0, length), &payload]),
            "{length}"
        );
    }
}

#[test]
fn the_longest_message_has_four_gibibytes() {
    let chunk = vec![0; 1 << 20];
    let mut chunks = vec![&chunk[..]; 1 << 12];
    let header = header(0, u32::MAX);
    chunks.insert(0, &header);
    chunks[1] = &chunk[1..];
    let ready = readiness(Grpc::new(), &chunks);
    let ready: Vec<_> = ready
        .iter()
        .enumerate()
        .filter(|(_, ready)| **ready)
        .collect();
    assert_eq!(ready, [(0, &true), (chunks.len(), &true)]);
}

#[test]
fn nothing_follows_the_last_message_of_connect_or_grpc_web() {
    for flag in [2, 3, 0x80, 0x81] {
        let last = message(flag, b"{}");
        assert!(!is_ready(Grpc::new(), &[&last]), "{flag}");
        assert!(!is_ready(Grpc::new(), &[&header(flag, 0)]), "{flag}");
        assert!(
            !is_ready(Grpc::new(), &[&message(0, b"abc"), &last, b""]),
            "{flag}"
        );
        assert!(
            !is_ready(Grpc::message("{}"), &last.chunks(1).collect::<Vec<_>>()),
            "{flag}"
        );
    }
    for flag in [0, 1] {
        assert!(is_ready(Grpc::new(), &[&message(flag, b"{}")]), "{flag}");
    }
}

struct Payload;

impl Decoder for Payload {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, payload: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(payload.copy_to_bytes(payload.remaining()).to_vec()))
    }
}

/// Reads the payloads with tonic's decoder.
fn payloads(stream: Vec<u8>) -> Result<Vec<Vec<u8>>, Status> {
    let frame = Ok::<_, Status>(Frame::data(Bytes::from(stream)));
    let body = StreamBody::new(stream::iter([frame]));
    let messages = Streaming::new_request(Payload, body, None, None);
    messages
        .try_collect()
        .now_or_never()
        .expect("the whole stream is ready")
}

/// Reads the flags of the messages, and sets them to zero, because tonic would fail to decompress the payloads.
fn take_flags(stream: &mut [u8]) -> Vec<u8> {
    let mut flags = Vec::new();
    let mut rest = stream;
    while let [flag, a, b, c, d, after @ ..] = rest {
        flags.push(std::mem::take(flag));
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        rest = after.get_mut(length..).unwrap_or_default();
    }
    flags
}

/// The flag of a message and its payload.
type Message = (u8, Vec<u8>);

/// Reads the messages, and where they begin.
fn read(mut stream: Vec<u8>) -> Result<Vec<(usize, Message)>, Status> {
    let flags = take_flags(&mut stream);
    let payloads = payloads(stream)?;
    assert_eq!(flags.len(), payloads.len());
    let mut end = 0;
    let messages = flags.into_iter().zip(payloads).map(|(flag, payload)| {
        let begin = end;
        end += message(flag, &payload).len();
        (begin, (flag, payload))
    });
    Ok(messages.collect())
}

proptest! {
    #[test]
    fn a_client_reads_the_same_messages_wherever_the_stream_is_cut(
        messages in vec((0..2_u8, vec(any::<u8>(), 0..12)), 0..10),
        cuts in cuts(),
        due in due(),
    ) {
        let stream: Vec<_> = messages.iter().flat_map(|(flag, payload)| message(*flag, payload)).collect();
        let (sent, keepalives) = relay(Grpc::new(), &cut(&stream, &cuts), |index| due[index]);
        let (inserted, passed_on): (Vec<_>, Vec<_>) =
            read(sent).unwrap().into_iter().partition(|(begin, _)| keepalives.contains(begin));
        let empty = (0, Vec::new());
        prop_assert_eq!(inserted, keepalives.into_iter().map(|begin| (begin, empty.clone())).collect::<Vec<_>>());
        prop_assert_eq!(passed_on.into_iter().map(|(_, message)| message).collect::<Vec<_>>(), messages);
    }

    #[test]
    fn a_keepalive_may_go_out_after_every_message_but_the_last_and_nowhere_else(
        messages in vec((prop_oneof![9 => 0..2_u8, 1 => any::<u8>()], vec(any::<u8>(), 0..12)), 0..10),
    ) {
        let mut stream = Vec::new();
        let mut ends = vec![0];
        let mut is_last = false;
        for (flag, payload) in messages {
            stream.extend(message(flag, &payload));
            is_last |= flag > 1;
            if !is_last {
                ends.push(stream.len());
            }
        }
        for [first, _] in cuts_in_two(&stream) {
            let bytes: Vec<_> = first.chunks(1).collect();
            prop_assert_eq!(is_ready(Grpc::new(), &bytes), ends.contains(&first.len()));
            prop_assert_eq!(is_ready(Grpc::new(), &[first]), ends.contains(&first.len()));
        }
    }
}
