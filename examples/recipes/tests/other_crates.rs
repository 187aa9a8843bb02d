//! Runs other crates in the cases for which `Keepalive` makes a promise, and compares them with `Keepalive`.
//! Each cell of docs/comparison.md without an asterisk has a test here.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    response::{
        IntoResponse, Sse,
        sse::{Event, KeepAlive},
    },
    routing::get,
};
use futures::{FutureExt, Stream, StreamExt, stream, stream::BoxStream};
use heartbeat_stream::HeartbeatStream;
use stream_keepalive::KeepaliveExt;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::coop,
    time::{Instant, advance, interval, interval_at, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tower_http::timeout::TimeoutBody;

const IDLE: Duration = Duration::from_secs(1);

fn ours<S: Stream<Item = u32>>(inner: S, idle: Duration) -> impl Stream<Item = u32> {
    inner.keepalive(idle, 0)
}

fn timeout_repeating<S: Stream<Item = u32>>(inner: S) -> impl Stream<Item = u32> {
    let ticks = interval_at(Instant::now() + IDLE, IDLE);
    tokio_stream::StreamExt::timeout_repeating(inner, ticks).map(|item| item.unwrap_or(0))
}

fn heartbeat<S: Stream<Item = u32> + Send>(inner: S) -> impl Stream<Item = u32> {
    let ticks = interval_at(Instant::now() + IDLE, IDLE);
    HeartbeatStream::new(inner, ticks).map(|either| either.left_or(0))
}

/// The server-sent events of axum, as the bytes that leave the server. A keepalive is `:\n\n`.
fn axum<S>(inner: S, idle: Duration) -> impl Stream<Item = String> + Unpin
where
    S: Stream<Item = Result<Event, axum::Error>> + Send + 'static,
{
    let keep_alive = KeepAlive::new().interval(idle);
    let response = Sse::new(inner).keep_alive(keep_alive).into_response();
    response
        .into_body()
        .into_data_stream()
        .map(|bytes| match bytes {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => error.to_string(),
        })
}

fn event() -> Result<Event, axum::Error> {
    Ok(Event::default().data("x"))
}

fn failure() -> Result<Event, axum::Error> {
    Err(axum::Error::new("broken"))
}

/// Returns how many items are ready, up to a hundred.
fn ready_items(mut stream: impl Stream + Unpin) -> usize {
    (0..100)
        .take_while(|_| stream.next().now_or_never().flatten().is_some())
        .count()
}

trait LeftOr {
    fn left_or(self, other: u32) -> u32;
}

impl<R> LeftOr for futures::future::Either<u32, R> {
    fn left_or(self, other: u32) -> u32 {
        match self {
            Self::Left(item) => item,
            Self::Right(_) => other,
        }
    }
}

/// Filters a backlog in which nothing is wanted. It spends the whole budget of the task at each poll.
struct Filtered;

impl Stream for Filtered {
    type Item = u32;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        while let Poll::Ready(budget) = coop::poll_proceed(cx) {
            budget.made_progress();
        }
        Poll::Pending
    }
}

/// Returns whether a stream yields an item within two and a half idle times, in real time.
async fn speaks(stream: impl Stream) -> bool {
    let mut stream = std::pin::pin!(stream);
    timeout(IDLE * 5 / 2, stream.next()).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn after_ten_missed_idle_times_there_is_one_keepalive_and_ten_in_some_other_crates() {
    async fn missed(stream: impl Stream) -> usize {
        let mut stream = Box::pin(stream);
        assert!(stream.next().now_or_never().is_none());
        advance(IDLE * 10 + IDLE / 2).await;
        ready_items(stream)
    }
    assert_eq!(missed(ours(stream::pending(), IDLE)).await, 1);
    assert_eq!(missed(axum(stream::pending(), IDLE)).await, 1);
    assert_eq!(missed(timeout_repeating(stream::pending())).await, 10);
    assert_eq!(missed(heartbeat(stream::pending())).await, 10);
}

#[tokio::test(start_paused = true)]
async fn idle_time_counts_from_the_last_item_but_not_in_heartbeat_stream() {
    async fn after_an_item(
        wrap: impl FnOnce(Pin<Box<dyn Stream<Item = u32> + Send>>) -> Pin<Box<dyn Stream<Item = u32>>>,
    ) -> Duration {
        let item = stream::once(sleep(IDLE * 3 / 4).map(|()| 1));
        let mut stream = wrap(Box::pin(item.chain(stream::pending())));
        assert_eq!(stream.next().await, Some(1));
        let start = Instant::now();
        assert_eq!(stream.next().await, Some(0));
        start.elapsed()
    }
    assert_eq!(after_an_item(|s| Box::pin(ours(s, IDLE))).await, IDLE);
    assert_eq!(
        after_an_item(|s| Box::pin(timeout_repeating(s))).await,
        IDLE
    );
    assert_eq!(after_an_item(|s| Box::pin(heartbeat(s))).await, IDLE / 4);
}

#[tokio::test(start_paused = true)]
async fn the_time_between_an_item_and_the_next_poll_counts_in_other_crates() {
    /// Returns how long a consumer that works after the first item waits for the keepalive.
    async fn waits(mut stream: impl Stream + Unpin) -> Duration {
        assert!(stream.next().await.is_some());
        advance(IDLE / 2).await;
        let start = Instant::now();
        assert!(stream.next().await.is_some());
        start.elapsed()
    }
    let one = || {
        let item = stream::once(async { 1 });
        Box::pin(item.chain(stream::pending()))
    };
    assert_eq!(waits(Box::pin(ours(one(), IDLE))).await, IDLE);
    assert_eq!(waits(axum(one().map(|_| event()), IDLE)).await, IDLE / 2);
    assert_eq!(waits(Box::pin(timeout_repeating(one()))).await, IDLE / 2);
    assert_eq!(waits(Box::pin(heartbeat(one()))).await, IDLE / 2);
}

#[tokio::test]
async fn an_inner_stream_that_spends_the_budget_starves_the_keepalives_of_other_crates() {
    let spawned = [
        tokio::spawn(speaks(ours(Filtered, IDLE))),
        tokio::spawn(speaks(axum(Filtered.map(|_| event()), IDLE))),
        tokio::spawn(speaks(timeout_repeating(Filtered))),
        tokio::spawn(speaks(heartbeat(Filtered))),
    ];
    let mut spoke = Vec::new();
    for task in spawned {
        spoke.push(task.await.unwrap());
    }
    assert_eq!(spoke, [true, false, false, false]);
}

/// A thousand streams are in one task, which is delayed for two idle times. Then each stream has an item. Returns how
/// many streams yield it before a keepalive.
async fn items_first(
    wrap: impl Fn(ReceiverStream<u32>) -> Pin<Box<dyn Stream<Item = bool>>>,
) -> usize {
    const STREAMS: usize = 1_000;
    let (senders, streams): (Vec<_>, Vec<_>) = (0..STREAMS)
        .map(|_| mpsc::channel(1))
        .map(|(sender, receiver)| (sender, wrap(ReceiverStream::new(receiver))))
        .unzip();
    let streams = streams.into_iter().enumerate();
    let mut events =
        stream::select_all(streams.map(|(index, events)| events.map(move |event| (index, event))));
    assert!(events.next().now_or_never().is_none());
    advance(IDLE * 2).await;
    for sender in &senders {
        sender.try_send(1).unwrap();
    }
    let mut first = HashMap::new();
    while first.len() < STREAMS {
        let (index, is_item) = events.next().await.unwrap();
        first.entry(index).or_insert(is_item);
    }
    first.into_values().filter(|is_item| *is_item).count()
}

#[tokio::test(start_paused = true)]
async fn waiting_items_go_first_even_if_the_budget_is_spent() {
    let items = [
        items_first(|inner| ours(inner, IDLE).map(|item| item == 1).boxed_local()).await,
        items_first(|inner| {
            let events = axum(inner.map(|_| event()), IDLE);
            events.map(|bytes| bytes.starts_with("data")).boxed_local()
        })
        .await,
        items_first(|inner| timeout_repeating(inner).map(|item| item == 1).boxed_local()).await,
        items_first(|inner| heartbeat(inner).map(|item| item == 1).boxed_local()).await,
    ];
    assert_eq!(items, [1_000; 4]);
}

#[tokio::test(start_paused = true)]
async fn zero_turns_it_off_and_floods_axum() {
    assert_eq!(
        ready_items(Box::pin(ours(stream::pending(), Duration::ZERO))),
        0
    );
    let mut flooded = axum(stream::pending(), Duration::ZERO);
    let start = Instant::now();
    for _ in 0..1_000 {
        assert_eq!(flooded.next().await.as_deref(), Some(":\n\n"));
    }
    assert!(start.elapsed() <= Duration::from_millis(1_000));
}

#[tokio::test]
async fn zero_panics_in_the_crates_that_use_an_interval() {
    assert!(catch_unwind(|| interval(Duration::ZERO)).is_err());
}

#[tokio::test(start_paused = true)]
async fn the_longest_duration_never_fires_and_panics_in_axum() {
    let one = stream::once(async { 1 });
    let mut endless = Box::pin(ours(one.chain(stream::pending()), Duration::MAX));
    assert_eq!(endless.next().await, Some(1));
    assert!(endless.next().now_or_never().is_none());

    let one = stream::once(async { event() });
    let mut axum = axum(one, Duration::MAX);
    assert!(AssertUnwindSafe(axum.next()).catch_unwind().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_error_is_activity_but_not_in_axum() {
    let failing = || stream::once(sleep(IDLE * 3 / 4).map(|()| failure())).chain(stream::pending());
    let start = Instant::now();
    let mut ours = Box::pin(failing().keepalive_with(IDLE, event));
    assert!(ours.next().await.unwrap().is_err());
    assert!(ours.next().await.unwrap().is_ok());
    assert_eq!(start.elapsed(), IDLE * 7 / 4);

    let start = Instant::now();
    let mut axum = axum(failing(), IDLE);
    assert_ne!(axum.next().await.as_deref(), Some(":\n\n"));
    assert_eq!(axum.next().await.as_deref(), Some(":\n\n"));
    assert_eq!(start.elapsed(), IDLE);
}

#[tokio::test(start_paused = true)]
async fn nothing_follows_the_end_but_in_axum_a_keepalive_does() {
    /// Ends once, and is pending when it is polled again.
    fn unfused<T>() -> impl Stream<Item = T> {
        let mut polls = 0;
        stream::poll_fn(move |_| {
            polls += 1;
            match polls {
                1 => Poll::Ready(None),
                _ => Poll::Pending,
            }
        })
    }
    let mut ours = Box::pin(ours(unfused(), IDLE));
    let mut repeating = Box::pin(timeout_repeating(unfused()));
    let mut axum = axum(unfused(), IDLE);
    assert_eq!(ours.next().await, None);
    assert_eq!(repeating.next().await, None);
    assert_eq!(axum.next().await, None);
    assert_eq!(timeout(IDLE * 2, ours.next()).await, Ok(None));
    assert_eq!(timeout(IDLE * 2, repeating.next()).await, Ok(None));
    let late = timeout(IDLE * 2, axum.next()).await;
    assert_eq!(late, Ok(Some(":\n\n".to_owned())));
}

#[test]
fn it_can_be_constructed_outside_a_runtime_where_the_others_panic() {
    let made = |make: fn()| catch_unwind(make).is_ok();
    assert!(made(|| drop(ours(stream::pending(), IDLE))));
    assert!(!made(|| drop(axum(stream::pending(), IDLE))));
    // The other two crates take a timer, whose constructor panics.
    assert!(!made(|| drop(interval(IDLE))));
}

/// What a consumer does between two items.
#[derive(Clone, Copy)]
enum Away {
    /// It works, and does not poll.
    Working,
    /// It polls once and finds nothing, and then does not poll.
    AfterAPoll,
}

/// Sends a second item while the consumer is away for two timeouts. Returns whether the consumer gets it.
///
/// In the stream, `false` is a timeout.
async fn gets_the_item(
    away: Away,
    timed: impl AsyncFnOnce(Items) -> BoxStream<'static, bool>,
) -> bool {
    let (sender, items) = mpsc::channel(1);
    let mut timed = timed(ReceiverStream::new(items)).await;
    sender.send(Bytes::from_static(b"1")).await.unwrap();
    assert_eq!(timed.next().await, Some(true));
    if matches!(away, Away::AfterAPoll) {
        assert!(timed.next().now_or_never().is_none());
    }
    sender.send(Bytes::from_static(b"2")).await.unwrap();
    sleep(IDLE * 2).await;
    timed.next().await == Some(true)
}

type Items = ReceiverStream<Bytes>;

fn body(items: Items) -> Body {
    Body::from_stream(items.map(Ok::<_, axum::Error>))
}

async fn idle_timeout(items: Items) -> BoxStream<'static, bool> {
    items.idle_timeout(IDLE).map(|_| true).boxed()
}

async fn tokio_stream_timeout(items: Items) -> BoxStream<'static, bool> {
    let items = tokio_stream::StreamExt::timeout(items, IDLE);
    items.map(|item| item.is_ok()).boxed()
}

async fn tower_http_timeout_body(items: Items) -> BoxStream<'static, bool> {
    let body = Body::new(TimeoutBody::new(IDLE, body(items)));
    body.into_data_stream().map(|item| item.is_ok()).boxed()
}

/// Reads a response over a connection, because this timeout is a part of the client.
async fn reqwest_read_timeout(items: Items) -> BoxStream<'static, bool> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let body = Arc::new(Mutex::new(Some(body(items))));
    let respond = get(async move || body.lock().unwrap().take().unwrap());
    tokio::spawn(async { axum::serve(listener, Router::new().route("/", respond)).await });

    let client = reqwest::Client::builder().no_proxy().read_timeout(IDLE);
    let client = client.build().unwrap();
    let response = client
        .get(format!("http://{address}"))
        .send()
        .await
        .unwrap();
    response.bytes_stream().map(|item| item.is_ok()).boxed()
}

#[tokio::test]
async fn a_timeout_that_polls_its_timer_first_ends_a_stream_that_has_an_item_waiting() {
    for (away, expected) in [
        (Away::Working, [true, true, true, false]),
        (Away::AfterAPoll, [true, true, false, false]),
    ] {
        let gets_it = tokio::join!(
            gets_the_item(away, idle_timeout),
            gets_the_item(away, tokio_stream_timeout),
            gets_the_item(away, tower_http_timeout_body),
            gets_the_item(away, reqwest_read_timeout),
        );
        assert_eq!(<[bool; 4]>::from(gets_it), expected);
    }
}
