//! The fillers allow a keepalive at every boundary of two frames, and nowhere else.

mod grpc;
mod lines;
mod marker;
mod sse;

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::HeaderMap;
use http_body::Frame;
use proptest::{collection::vec, prelude::*, sample::Index};
use stream_keepalive::{Fill, KeepaliveExt, SharedTimers};
use stream_keepalive_http::framing::{Framed, Framing, Grpc, Lines, Sse};

/// Returns whether a keepalive may be inserted before the first chunk and after each chunk.
fn readiness<F: Fill<Bytes> + Clone>(mut filler: F, chunks: &[&[u8]]) -> Vec<bool> {
    let mut ready = vec![filler.clone().fill().is_some()];
    for chunk in chunks {
        filler.observe(&Bytes::copy_from_slice(chunk));
        ready.push(filler.clone().fill().is_some());
    }
    ready
}

/// Returns whether a keepalive may be inserted after these chunks.
fn is_ready<F: Fill<Bytes> + Clone>(filler: F, chunks: &[&[u8]]) -> bool {
    readiness(filler, chunks).pop().unwrap()
}

/// Returns what the consumer gets if a keepalive is due before each chunk that is marked in `due`, and after the last
/// chunk. Also returns where the keepalives begin.
fn relay<F: Fill<Bytes>>(
    mut filler: F,
    chunks: &[&[u8]],
    due: impl Fn(usize) -> bool,
) -> (Vec<u8>, Vec<usize>) {
    let mut sent = Vec::new();
    let mut keepalives = Vec::new();
    let mut fill = |filler: &mut F, sent: &mut Vec<u8>| {
        if let Some(keepalive) = filler.fill() {
            keepalives.push(sent.len());
            sent.extend_from_slice(&keepalive);
        }
    };
    for (index, chunk) in chunks.iter().enumerate() {
        if due(index) {
            fill(&mut filler, &mut sent);
        }
        filler.observe(&Bytes::copy_from_slice(chunk));
        sent.extend_from_slice(chunk);
    }
    fill(&mut filler, &mut sent);
    (sent, keepalives)
}

/// Cuts a stream into chunks, of which some are empty.
fn cut<'a>(stream: &'a [u8], at: &[Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<_> = at
        .iter()
        .map(|index| index.index(stream.len() + 1))
        .collect();
    at.sort_unstable();
    at.push(stream.len());
    let mut from = 0;
    let chunks = at
        .into_iter()
        .map(|to| &stream[std::mem::replace(&mut from, to)..to]);
    chunks.collect()
}

/// Cuts a stream into two chunks, in every possible way.
fn cuts_in_two(stream: &[u8]) -> impl Iterator<Item = [&[u8]; 2]> {
    (0..=stream.len()).map(|at| [&stream[..at], &stream[at..]])
}

/// The offsets at which a stream is cut.
fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..40)
}

/// For each chunk, whether a keepalive is due before it.
fn due() -> impl Strategy<Value = Vec<bool>> {
    vec(any::<bool>(), 41)
}

/// A chunk of a stream.
#[derive(Clone, Copy)]
enum Chunk {
    HalfFrame,
    Error,
    Trailers,
}

fn frame(chunk: Chunk) -> Result<Frame<Bytes>, &'static str> {
    match chunk {
        Chunk::HalfFrame => Ok(Frame::data(Bytes::from_static(b"{"))),
        Chunk::Error => Err("reset"),
        Chunk::Trailers => Ok(Frame::trailers(HeaderMap::new())),
    }
}

fn frames_are_ready_after<F>(mut filler: F, chunks: &[Chunk]) -> bool
where
    F: Fill<Result<Frame<Bytes>, &'static str>>,
{
    for chunk in chunks {
        filler.observe(&frame(*chunk));
    }
    filler.fill().is_some()
}

fn results_are_ready_after<F>(mut filler: F, chunks: &[Chunk]) -> bool
where
    F: Fill<Result<Bytes, &'static str>>,
{
    for chunk in chunks {
        let frame = frame(*chunk).map(|frame| frame.into_data().expect("a frame with data"));
        filler.observe(&frame);
    }
    filler.fill().is_some()
}

/// A format of one's own: a frame is everything from an opening bracket to the closing one.
#[derive(Clone, Default)]
struct Brackets {
    depth: usize,
}

impl Framing for Brackets {
    fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'[' | b'{' => self.depth += 1,
                b']' | b'}' => self.depth -= 1,
                _ => {}
            }
        }
    }

    fn is_between_frames(&self) -> bool {
        self.depth == 0
    }
}

fn brackets() -> Framed<Brackets> {
    Framed::with_framing(Brackets::default(), "[]")
}

macro_rules! for_each_filler {
    ($check:expr) => {
        for (name, holds) in [
            ("sse", $check(Sse::comment())),
            ("lines", $check(Lines::new("\n"))),
            ("grpc", $check(Grpc::new())),
            ("a format of one's own", $check(brackets())),
        ] {
            assert!(holds, "{name}");
        }
    };
}

#[test]
fn a_keepalive_may_be_inserted_before_a_stream_has_begun() {
    for_each_filler!(|filler| is_ready(filler, &[]));
    for_each_filler!(|filler| results_are_ready_after(filler, &[]));
    for_each_filler!(|filler| frames_are_ready_after(filler, &[]));
}

#[test]
fn an_empty_chunk_changes_nothing() {
    for_each_filler!(|filler| readiness(filler, &[b"", b"{", b""]) == [true, true, false, false]);
}

#[test]
fn an_empty_chunk_is_no_activity_and_everything_else_is() {
    fn activity<F>(mut filler: F) -> bool
    where
        F: Fill<Bytes> + Fill<Result<Bytes, ()>> + Fill<Result<Frame<Bytes>, ()>>,
    {
        let of_chunk = ["", "{"].map(Bytes::from).map(|chunk| {
            let result: Result<Bytes, ()> = Ok(chunk.clone());
            let frame: Result<Frame<Bytes>, ()> = Ok(Frame::data(chunk.clone()));
            let activity = [filler.observe(&chunk), filler.observe(&result)];
            [activity[0], activity[1], filler.observe(&frame)]
        });
        let error: Result<Bytes, ()> = Err(());
        let trailers: Result<Frame<Bytes>, ()> = Ok(Frame::trailers(HeaderMap::new()));
        of_chunk == [[false; 3], [true; 3]] && filler.observe(&error) && filler.observe(&trailers)
    }
    for_each_filler!(activity);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_empty_chunks_is_filled() {
    const IDLE: Duration = Duration::from_secs(20);

    async fn assert_filled(filler: impl Fill<Bytes> + Clone + Send + 'static) {
        let empty = || {
            let chunks = stream::repeat(Bytes::new()).then(|chunk| async move {
                tokio::time::sleep(IDLE / 2).await;
                chunk
            });
            chunks.boxed()
        };
        let timers = SharedTimers::new();
        let own = || empty().keepalive_with(IDLE, filler.clone());
        let shared = || own().with_timer(timers.timer());
        for (filled, expected) in [
            (own().boxed(), 10),
            (shared().boxed(), 10),
            (own().immediate().boxed(), 11),
            (shared().immediate().boxed(), 11),
        ] {
            let end = tokio::time::sleep(10 * IDLE + IDLE / 4);
            let chunks: Vec<_> = filled.take_until(end).collect().await;
            let keepalives = chunks.iter().filter(|chunk| !chunk.is_empty()).count();
            assert_eq!((keepalives, chunks.len() - keepalives), (expected, 20));
        }
    }

    assert_filled(Sse::comment()).await;
    assert_filled(Lines::new("\n")).await;
    assert_filled(Grpc::new()).await;
    assert_filled(Grpc::marker()).await;
    assert_filled(brackets()).await;
}

#[test]
fn half_a_frame_is_not_filled() {
    for_each_filler!(|filler| !is_ready(filler, &[b"{"]));
    for_each_filler!(|filler| !results_are_ready_after(filler, &[Chunk::HalfFrame]));
    for_each_filler!(|filler| !frames_are_ready_after(filler, &[Chunk::HalfFrame]));
}

#[test]
fn after_an_error_nothing_is_filled() {
    for_each_filler!(|filler| !results_are_ready_after(filler, &[Chunk::Error]));
    for_each_filler!(|filler| !frames_are_ready_after(filler, &[Chunk::Error]));
}

#[test]
fn after_trailers_nothing_is_filled() {
    for_each_filler!(|filler| !frames_are_ready_after(filler, &[Chunk::Trailers]));
}

#[test]
fn each_item_type_gets_the_same_keepalive() {
    fn keepalives<F>(mut filler: F) -> [Bytes; 3]
    where
        F: Fill<Bytes> + Fill<Result<Bytes, ()>> + Fill<Result<Frame<Bytes>, ()>>,
    {
        let result: Option<Result<Bytes, ()>> = filler.fill();
        let frame: Option<Result<Frame<Bytes>, ()>> = filler.fill();
        [
            filler.fill().unwrap(),
            result.unwrap().unwrap(),
            frame.unwrap().unwrap().into_data().unwrap(),
        ]
    }
    assert_eq!(keepalives(Sse::comment()), [":\n\n"; 3]);
    assert_eq!(keepalives(Sse::new("data:\n\n")), ["data:\n\n"; 3]);
    assert_eq!(keepalives(Lines::new("{}\n")), ["{}\n"; 3]);
    assert_eq!(keepalives(Grpc::new()), [&[0; 5][..]; 3]);
    assert_eq!(keepalives(Grpc::default()), [&[0; 5][..]; 3]);
    assert_eq!(keepalives(Grpc::message("{}")), [&b"\0\0\0\0\x02{}"[..]; 3]);
    assert_eq!(keepalives(brackets()), ["[]"; 3]);
}

#[test]
fn a_keepalive_is_not_copied() {
    let keepalive = Bytes::from(vec![b'\n'; 100]);
    let filled: Option<Bytes> = Lines::new(keepalive.clone()).fill();
    assert_eq!(filled.unwrap().as_ptr(), keepalive.as_ptr());
}

#[test]
fn a_keepalive_that_is_not_whole_is_refused() {
    for keepalive in [
        "",
        ":",
        "data: 1\n",
        ":\n\ndata",
        "data:\r\n\r",
        "\u{feff}",
        "\u{feff}:\n\n",
        "\u{feff}data:\n\n",
    ] {
        assert!(
            std::panic::catch_unwind(|| Sse::new(keepalive)).is_err(),
            "{keepalive:?}"
        );
    }
    for keepalive in ["", "{}", "\n{}", "\u{feff}\n", "\u{feff}{}\n"] {
        assert!(
            std::panic::catch_unwind(|| Lines::new(keepalive)).is_err(),
            "{keepalive:?}"
        );
    }
    for keepalive in ["", "[", "[]{", "\u{feff}[]"] {
        let filler = || Framed::with_framing(Brackets::default(), keepalive);
        assert!(std::panic::catch_unwind(filler).is_err(), "{keepalive:?}");
    }
}

#[test]
fn a_keepalive_may_follow_another_one() {
    fn twice<F: Fill<Bytes>>(mut filler: F) -> bool {
        let [first, second] = [filler.fill(), filler.fill()];
        first.is_some() && first == second
    }
    for_each_filler!(twice);
}
