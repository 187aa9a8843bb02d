//! Items that come while the inner stream is being polled, or while nothing polls the adapter.

use std::{
    future::ready,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use futures::{
    FutureExt, Stream, StreamExt, poll,
    stream::{self, select_all},
};
use stream_keepalive::{
    IdleTimeout, Keepalive, KeepaliveExt, Repeat, SharedTimers, SleepTimer, Timer, TokioTimer,
};
use tokio::{
    sync::mpsc,
    task::{consume_budget, yield_now},
    time::{interval, sleep},
};
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tokio_test::{assert_pending, assert_ready_eq, task::spawn};

use crate::{
    KEEPALIVE, LAST, answer_of,
    support::{
        clock::{ByHand, Clock, PausedTokio, SharedQueue},
        source::{Source, source},
    },
};

const ITEM: &str = "item";

type Strings = Pin<Box<dyn Stream<Item = &'static str> + Send>>;

/// A source that runs `found_nothing` before a poll that has found nothing returns.
fn slow(
    mut source: Source<&'static str>,
    mut found_nothing: impl FnMut() + Unpin,
) -> impl Stream<Item = &'static str> + Unpin {
    stream::poll_fn(move |cx: &mut Context<'_>| {
        let polled = source.poll_next_unpin(cx);
        if polled.is_pending() {
            found_nothing();
        }
        polled
    })
}

/// A source whose poll finds nothing, then gets an item, and then lets `idle` pass before it returns. The counter says
/// how many polls come before that one.
fn late(clock: &ByHand) -> (Arc<AtomicUsize>, impl Stream<Item = &'static str> + Unpin) {
    let (remote, source) = source();
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let (clock, polls) = (clock.clone(), left.clone());
    let source = slow(source, move || {
        if polls.fetch_sub(1, Ordering::Relaxed) == 0 {
            remote.send(ITEM);
            clock.advance(ByHand::IDLE);
        }
    });
    (left, source)
}

#[test]
fn an_item_that_comes_during_a_poll_wins_over_the_keepalive_that_becomes_due_in_it() {
    let clock = ByHand::default();
    let (polls_left, source) = late(&clock);
    let events = Keepalive::new(source, ByHand::IDLE, Repeat(KEEPALIVE));
    let mut events = spawn(events.with_timer(clock.timer()));
    assert_pending!(events.poll_next());
    polls_left.store(0, Ordering::Relaxed);
    assert_ready_eq!(events.poll_next(), Some(ITEM));
    assert_pending!(events.poll_next());
}

#[test]
fn an_item_that_comes_during_a_poll_wins_over_the_timeout_that_becomes_due_in_it() {
    for halves in [0, 1] {
        let clock = ByHand::default();
        let (polls_left, source) = late(&clock);
        let events = IdleTimeout::new(source, ByHand::IDLE).with_timer(clock.timer());
        let mut events = spawn(events.with_last(|| LAST));
        assert_pending!(events.poll_next());
        for _ in 0..halves {
            clock.advance(ByHand::IDLE / 2);
            assert_pending!(events.poll_next());
        }
        polls_left.store(0, Ordering::Relaxed);
        assert_eq!(answer_of(&mut events), Poll::Ready(Some(ITEM)));
        assert_pending!(events.poll_next());
    }
}

/// In real time: a poll finds nothing, then an item arrives before the deadline, and the poll returns after the deadline.
/// Another thread lets the timer expire. Returns the event, or `None` if the machine was too slow.
fn event_of_a_slow_poll(
    wrap: impl FnOnce(Strings) -> Strings,
    driver: &tokio::runtime::Runtime,
) -> Option<Poll<Option<&'static str>>> {
    const IDLE: Duration = SLOW_IDLE;
    let _context = driver.enter();
    let (remote, source) = source();
    let slow_poll = Arc::new(AtomicBool::new(false));
    let is_slow = slow_poll.clone();
    let start = Instant::now();
    let sleep_until = move |time: Duration| thread::sleep(time.saturating_sub(start.elapsed()));
    let in_time = Arc::new(AtomicBool::new(false));
    let sent_in_time = in_time.clone();
    let mut events = spawn(wrap(Box::pin(slow(source, move || {
        if is_slow.swap(false, Ordering::Relaxed) {
            sleep_until(IDLE * 9 / 10);
            remote.send(ITEM);
            sent_in_time.store(start.elapsed() < IDLE, Ordering::Relaxed);
            sleep_until(IDLE * 13 / 10);
        }
    }))));
    assert_pending!(events.poll_next());
    // The first half of a timeout.
    sleep_until(IDLE * 6 / 10);
    assert_pending!(events.poll_next());
    sleep_until(IDLE * 8 / 10);
    slow_poll.store(true, Ordering::Relaxed);
    let event = answer_of(&mut events);
    in_time.load(Ordering::Relaxed).then_some(event)
}

const SLOW_IDLE: Duration = Duration::from_millis(200);

#[test]
fn an_item_that_comes_during_a_slow_poll_wins_on_every_timer() {
    fn both<T: Timer + Send + 'static>(timer: impl Fn() -> T) {
        let driver = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let kept = |inner| -> Strings {
            let events = Keepalive::new(inner, SLOW_IDLE, Repeat(KEEPALIVE));
            Box::pin(events.with_timer(timer()))
        };
        let ending = |inner| -> Strings {
            let events = IdleTimeout::new(inner, SLOW_IDLE).with_last(|| LAST);
            Box::pin(events.with_timer(timer()))
        };
        for wrap in [&kept as &dyn Fn(Strings) -> Strings, &ending] {
            let mut attempts = 0..100;
            let event = attempts.find_map(|_| event_of_a_slow_poll(wrap, &driver));
            let event = event.expect("the machine is fast enough once");
            assert_eq!(event, Poll::Ready(Some(ITEM)));
        }
    }
    both(TokioTimer::new);
    let timers = SharedTimers::new();
    both(move || timers.timer());
    both(|| SleepTimer::new(futures_timer::Delay::new));
}

on_tokio! {
    an_item_that_needs_several_polls_is_not_lost_while_the_consumer_is_away,
    no_item_is_lost_in_a_select_loop_with_a_slow_branch,
    a_stream_of_a_hundred_slow_branches_still_ends,
}

/// Streams whose items need several polls to arrive.
fn several_polls() -> [(&'static str, mpsc::UnboundedSender<&'static str>, Strings); 5] {
    let channel = |name, wrap: fn(UnboundedReceiverStream<&'static str>) -> Strings| {
        let (sender, receiver) = mpsc::unbounded_channel();
        (name, sender, wrap(UnboundedReceiverStream::new(receiver)))
    };
    [
        channel("then", |items| {
            Box::pin(items.then(|item| async move {
                yield_now().await;
                item
            }))
        }),
        channel("a row that takes a while to load", |mut items| {
            Box::pin(async_stream::stream! {
                while let Some(item) = items.next().await {
                    sleep(ROW).await;
                    yield item;
                }
            })
        }),
        channel("buffered", |items| {
            let rows = items.map(|item| async move {
                sleep(ROW).await;
                item
            });
            Box::pin(rows.buffered(3))
        }),
        channel("a source that yields by itself", |mut items| {
            let mut turn = 0;
            Box::pin(stream::poll_fn(move |cx| {
                turn += 1;
                if turn % 3 == 0 {
                    return items.poll_next_unpin(cx);
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            }))
        }),
        channel("filter", |items| {
            // Each item but the last costs a unit of budget.
            let skipped = stream::iter(["skipped"; 300])
                .chain(items)
                .then(|item| async move {
                    consume_budget().await;
                    item
                });
            Box::pin(skipped.filter(|item| ready(*item == ITEM)))
        }),
    ]
}

const ROW: Duration = Duration::from_millis(100);

async fn an_item_that_needs_several_polls_is_not_lost_while_the_consumer_is_away<
    C: Clock<Timer: Send + 'static>,
>(
    clock: C,
) {
    for (name, sender, inner) in several_polls() {
        let mut events = inner
            .idle_timeout_with(C::IDLE, || LAST)
            .with_timer(clock.timer());
        assert!(poll!(events.next()).is_pending());
        sender.send(ITEM).unwrap();
        clock.pass(C::IDLE * 5).await;
        assert_eq!(events.next().await, Some(ITEM), "{name}");
        // Without an item, the stream still ends.
        assert_eq!(events.next().await, Some(LAST), "{name}");
    }
}

async fn no_item_is_lost_in_a_select_loop_with_a_slow_branch<C: Clock<Timer: Send + 'static>>(
    clock: C,
) {
    // The slow branch begins in the first half of the idle time.
    let (sender, receiver) = mpsc::channel(1);
    let inner = ReceiverStream::new(receiver).then(|item| async move {
        sleep(ROW).await;
        item
    });
    let inner: Strings = Box::pin(inner);
    let mut events = inner
        .idle_timeout_with(C::IDLE, || LAST)
        .with_timer(clock.timer());
    let mut ticks = interval(C::IDLE / 3);
    ticks.tick().await;
    let mut items = 0;
    while items < 10 {
        tokio::select! {
            event = events.next() => {
                assert_eq!(event, Some(ITEM));
                items += 1;
            }
            _ = ticks.tick() => {
                sender.send(ITEM).await.unwrap();
                sleep(C::IDLE * 5).await;
                ticks.reset();
            }
        }
    }
}

async fn a_stream_of_a_hundred_slow_branches_still_ends<C: Clock<Timer: Send + 'static>>(clock: C) {
    let inner: Strings = Box::pin(stream::pending());
    let mut events = inner
        .idle_timeout_with(C::IDLE, || LAST)
        .with_timer(clock.timer());
    for branch in 0..100 {
        if let Poll::Ready(event) = poll!(events.next()) {
            assert_eq!(event, Some(LAST));
            assert!(branch <= 4, "{branch}");
            return;
        }
        clock.pass(C::IDLE * 5).await;
    }
    panic!("the stream never ends");
}

/// A consumer that is away in the second half gives the stream one more poll.
#[test]
fn an_item_that_needs_one_more_poll_is_not_lost_in_the_second_half() {
    PausedTokio::run(async |clock| {
        let (sender, receiver) = mpsc::channel(1);
        let inner = ReceiverStream::new(receiver).then(|item| async move {
            yield_now().await;
            item
        });
        let inner: Strings = Box::pin(inner);
        let mut events = inner.idle_timeout_with(PausedTokio::IDLE, || LAST);
        assert!(poll!(events.next()).is_pending());
        clock.pass(PausedTokio::IDLE / 2).await;
        assert!(poll!(events.next()).is_pending());
        sender.send(ITEM).await.unwrap();
        clock.pass(PausedTokio::IDLE * 5).await;
        assert_eq!(events.next().await, Some(ITEM));
    });
}

/// Each poll begins with one unit of budget left, which is enough to skip one item.
#[test]
fn a_stream_that_gets_one_unit_of_budget_per_poll_does_not_end_before_its_item() {
    PausedTokio::run(one_unit_per_poll);
    SharedQueue::run(one_unit_per_poll);
}

async fn one_unit_per_poll<C: Clock>(clock: C) {
    const BUDGET: usize = 128;
    let (sender, receiver) = mpsc::channel(BUDGET);
    let items = ReceiverStream::new(receiver).filter(|item| ready(*item == ITEM));
    let mut events = items
        .idle_timeout_with(C::IDLE, || LAST)
        .with_timer(clock.timer());
    assert!(poll!(events.next()).is_pending());
    for _ in 0..10 {
        sender.try_send("skipped").unwrap();
    }
    sender.try_send(ITEM).unwrap();
    clock.pass(C::IDLE * 5).await;
    for _ in 0..10 {
        yield_now().await;
        for _ in 1..BUDGET {
            consume_budget().now_or_never();
        }
        assert!(poll!(events.next()).is_pending());
    }
    assert_eq!(events.next().await, Some(ITEM));
}

/// Each of a thousand streams in one task gets `sent`, which ends with an item, while nothing polls it.
async fn no_item_of_a_thousand_is_lost<C: Clock, S: Stream<Item = &'static str> + Unpin>(
    clock: C,
    stream: impl Fn(mpsc::UnboundedReceiver<&'static str>) -> S,
    sent: &[&'static str],
) {
    let (senders, streams): (Vec<_>, Vec<_>) = (0..1_000)
        .map(|_| {
            let (sender, receiver) = mpsc::unbounded_channel();
            let events = stream(receiver).idle_timeout_with(C::IDLE, || LAST);
            (sender, events.with_timer(clock.timer()))
        })
        .unzip();
    let mut events = select_all(streams);
    assert!(poll!(events.next()).is_pending());
    clock.pass(C::IDLE * 5).await;
    for sender in &senders {
        for item in sent {
            sender.send(item).unwrap();
        }
    }
    for _ in &senders {
        assert_eq!(events.next().await, Some(ITEM));
    }
}

/// Each item is behind a backlog of more than two budgets, which is filtered out.
#[test]
fn no_item_of_a_thousand_filtered_channels_in_one_task_is_lost() {
    async fn case<C: Clock>(clock: C) {
        let filtered =
            |receiver| UnboundedReceiverStream::new(receiver).filter(|item| ready(*item == ITEM));
        let sent = [&["skipped"; 300][..], &[ITEM]].concat();
        no_item_of_a_thousand_is_lost(clock, filtered, &sent).await;
    }
    PausedTokio::run(case);
    SharedQueue::run(case);
}

/// Each source takes two units of budget. It gives them back if its channel, which needs a third one, finds nothing. So
/// there is budget left although an item waits.
///
/// DataFusion wraps its sources like that. It needs a newer Tokio than the crate does.
#[cfg(tokio_unstable)]
#[test]
fn no_item_of_a_thousand_cooperative_sources_in_one_task_is_lost() {
    use tokio::task::coop::{RestoreOnPending, poll_proceed};

    async fn case<C: Clock>(clock: C) {
        let cooperative = |mut receiver: mpsc::UnboundedReceiver<_>| {
            stream::poll_fn(move |cx| {
                let units = [
                    std::task::ready!(poll_proceed(cx)),
                    std::task::ready!(poll_proceed(cx)),
                ];
                let item = receiver.poll_recv(cx);
                if item.is_ready() {
                    units.iter().for_each(RestoreOnPending::made_progress);
                }
                item
            })
        };
        no_item_of_a_thousand_is_lost(clock, cooperative, &[ITEM]).await;
    }
    PausedTokio::run(case);
    SharedQueue::run(case);
}
