//! An item that waits wins even if the task's cooperative budget is spent when an adapter is polled.

use std::{io::Write, pin::Pin, thread, time::Duration};

use futures::{
    FutureExt, Stream, StreamExt,
    future::{join_all, ready},
    poll,
    stream::{self, FuturesUnordered, select_all},
};
use stream_keepalive::{IdleTimeout, Keepalive, Repeat, SharedTimers, Timer, TokioTimer};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::{broadcast, mpsc, watch},
    task::{consume_budget, coop::has_budget_remaining, yield_now},
    time::{sleep, timeout},
};
use tokio_stream::{
    StreamMap,
    wrappers::{BroadcastStream, LinesStream, ReceiverStream, WatchStream},
};
use tokio_test::{assert_pending, assert_ready_eq};

use crate::{
    KEEPALIVE, LAST, PATIENCE, ending, keepalives,
    support::clock::{ByHand, Clock, PausedTokio, SharedQueue},
};

const ITEM: &str = "item";

/// Many more streams than a budget allows.
const STREAMS: usize = 1_000;

type Strings = Pin<Box<dyn Stream<Item = &'static str> + Send>>;

fn spend_budget() {
    while has_budget_remaining() {
        consume_budget().now_or_never();
    }
}

#[derive(Clone, Copy, Debug)]
enum Adapter {
    Keepalive,
    IdleTimeout,
    KeepaliveAboveIdleTimeout,
    IdleTimeoutAboveKeepalive,
    KeepaliveAboveKeepalive,
}

impl Adapter {
    const ALL: [Self; 5] = [
        Self::Keepalive,
        Self::IdleTimeout,
        Self::KeepaliveAboveIdleTimeout,
        Self::IdleTimeoutAboveKeepalive,
        Self::KeepaliveAboveKeepalive,
    ];

    fn wrap<T>(self, inner: Strings, idle: Duration, timer: &impl Fn() -> T) -> Strings
    where
        T: Timer + Send + 'static,
    {
        let keepalive = |inner| Keepalive::new(inner, idle, Repeat(KEEPALIVE)).with_timer(timer());
        let timeout = |inner| {
            let ending = IdleTimeout::new(inner, idle).with_last(|| LAST);
            ending.with_timer(timer())
        };
        match self {
            Self::Keepalive => Box::pin(keepalive(inner)),
            Self::IdleTimeout => Box::pin(timeout(inner)),
            Self::KeepaliveAboveIdleTimeout => {
                Box::pin(keepalive(Box::pin(timeout(inner)) as Strings))
            }
            Self::IdleTimeoutAboveKeepalive => {
                Box::pin(timeout(Box::pin(keepalive(inner)) as Strings))
            }
            Self::KeepaliveAboveKeepalive => {
                Box::pin(keepalive(Box::pin(keepalive(inner)) as Strings))
            }
        }
    }
}

fn channel() -> (mpsc::Sender<&'static str>, Strings) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Box::pin(ReceiverStream::new(receiver)))
}

async fn an_item_wins_over_what_is_overdue<C: Clock<Timer: Send + 'static>>(clock: C) {
    for adapter in Adapter::ALL {
        let (sender, inner) = channel();
        let mut events = adapter.wrap(inner, C::IDLE, &|| clock.timer());
        assert!(poll!(events.next()).is_pending());
        clock.pass(C::IDLE * 2).await;
        sender.send(ITEM).await.unwrap();
        spend_budget();
        assert!(poll!(events.next()).is_pending(), "{adapter:?}");
        assert_eq!(events.next().await, Some(ITEM), "{adapter:?}");
    }
}

async fn the_end_wins_over_what_is_overdue<C: Clock<Timer: Send + 'static>>(clock: C) {
    for adapter in Adapter::ALL {
        let (sender, inner) = channel();
        let mut events = adapter.wrap(inner, C::IDLE, &|| clock.timer());
        assert!(poll!(events.next()).is_pending());
        clock.pass(C::IDLE * 2).await;
        drop(sender);
        spend_budget();
        assert_eq!(events.next().await, None, "{adapter:?}");
    }
}

async fn without_an_item_the_next_poll_decides<C: Clock<Timer: Send + 'static>>(clock: C) {
    for adapter in Adapter::ALL {
        let (_sender, inner) = channel();
        let mut events = adapter.wrap(inner, C::IDLE, &|| clock.timer());
        assert!(poll!(events.next()).is_pending());
        clock.pass(C::IDLE / 2).await;
        assert!(poll!(events.next()).is_pending(), "{adapter:?}");
        clock.pass(C::IDLE / 2).await;
        spend_budget();
        assert!(poll!(events.next()).is_pending(), "{adapter:?}");
        yield_now().await;
        let next = poll!(events.next());
        assert!(next.is_ready(), "{adapter:?}");
        assert_ne!(next, std::task::Poll::Ready(Some(ITEM)), "{adapter:?}");
    }
}

async fn an_item_wins_over_an_immediate_keepalive<C: Clock<Timer: Send + 'static>>(clock: C) {
    let immediate = |inner| {
        let events = Keepalive::new(inner, C::IDLE, Repeat(KEEPALIVE)).immediate();
        events.with_timer(clock.timer())
    };
    let (sender, inner) = channel();
    let mut events = immediate(inner);
    sender.send(ITEM).await.unwrap();
    spend_budget();
    assert!(poll!(events.next()).is_pending());
    assert_eq!(events.next().await, Some(ITEM));
    clock.pass(C::IDLE / 2).await;
    assert!(poll!(events.next()).is_pending());

    let (_sender, inner) = channel();
    let mut events = immediate(inner);
    spend_budget();
    assert!(poll!(events.next()).is_pending());
    yield_now().await;
    assert_eq!(events.next().now_or_never(), Some(Some(KEEPALIVE)));
}

async fn another_idle_time_settles_the_doubt<C: Clock<Timer: Send + 'static>>(clock: C) {
    let (_sender, inner) = channel();
    let mut events = Keepalive::new(inner, C::IDLE, Repeat(KEEPALIVE)).with_timer(clock.timer());
    assert!(poll!(events.next()).is_pending());
    clock.pass(C::IDLE).await;
    spend_budget();
    assert!(poll!(events.next()).is_pending());
    yield_now().await;
    Pin::new(&mut events).set_idle(C::IDLE);
    assert!(poll!(events.next()).is_pending());
    clock.pass(C::IDLE).await;
    assert_eq!(events.next().await, Some(KEEPALIVE));
}

on_tokio! {
    an_item_wins_over_what_is_overdue,
    the_end_wins_over_what_is_overdue,
    without_an_item_the_next_poll_decides,
    an_item_wins_over_an_immediate_keepalive,
    another_idle_time_settles_the_doubt,
    no_item_of_many_channels_in_one_task_is_lost,
    no_item_of_many_broadcast_receivers_in_one_task_is_lost,
    no_item_of_many_watch_receivers_in_one_task_is_lost,
}

/// While the keepalive is in doubt, no timer is touched, and the task is woken at every poll.
#[test]
fn a_doubt_lasts_until_a_poll_begins_with_budget() {
    let clock = ByHand::default();
    let (kept, mut keepalives) = keepalives(&clock, ByHand::IDLE);
    let (_ended, mut ending) = ending(&clock, ByHand::IDLE);
    assert_pending!(keepalives.poll_next());
    assert_pending!(ending.poll_next());
    clock.advance(ByHand::IDLE / 2);
    assert_pending!(ending.poll_next());
    clock.advance(ByHand::IDLE / 2);
    clock.set_budget(false);
    assert_pending!(keepalives.poll_next());
    assert_pending!(ending.poll_next());
    let touched = (clock.arms(), clock.polls());
    for _ in 0..10 {
        assert!(keepalives.is_woken() && ending.is_woken());
        assert_pending!(keepalives.poll_next());
        assert_pending!(ending.poll_next());
    }
    clock.set_budget(true);
    assert_ready_eq!(keepalives.poll_next(), Some(KEEPALIVE));
    assert_ready_eq!(ending.poll_next(), Some(LAST));
    assert_eq!((clock.arms(), clock.polls()), touched);

    assert_pending!(keepalives.poll_next());
    clock.advance(ByHand::IDLE);
    clock.set_budget(false);
    assert_pending!(keepalives.poll_next());
    kept.send(ITEM);
    assert_ready_eq!(keepalives.poll_next(), Some(ITEM));
    clock.set_budget(true);
    assert_pending!(keepalives.poll_next());
}

/// Streams that are idle until the function sends an item to each of them.
type Sources = (Vec<Strings>, Box<dyn FnOnce() + Send>);

fn channels() -> Sources {
    let (senders, streams): (Vec<_>, Vec<_>) = (0..STREAMS).map(|_| channel()).unzip();
    let send = move || {
        for sender in senders {
            sender.try_send(ITEM).unwrap();
            // The channels stay open.
            std::mem::forget(sender);
        }
    };
    (streams, Box::new(send))
}

fn broadcast_receivers() -> Sources {
    let (sender, _) = broadcast::channel(1);
    let streams = (0..STREAMS).map(|_| -> Strings {
        Box::pin(BroadcastStream::new(sender.subscribe()).map(|item| item.unwrap()))
    });
    let streams = streams.collect();
    let send = move || {
        sender.send(ITEM).unwrap();
        std::mem::forget(sender);
    };
    (streams, Box::new(send))
}

fn watch_receivers() -> Sources {
    let (sender, receiver) = watch::channel("before");
    let streams =
        (0..STREAMS).map(|_| -> Strings { Box::pin(WatchStream::from_changes(receiver.clone())) });
    let streams = streams.collect();
    let send = move || {
        sender.send(ITEM).unwrap();
        std::mem::forget(sender);
    };
    (streams, Box::new(send))
}

/// Ways to hold many streams in one task.
#[derive(Clone, Copy, Debug)]
enum Together {
    SelectAll,
    StreamMap,
    FuturesUnordered,
    JoinAll,
    SelectLoop,
}

impl Together {
    const ALL: [Self; 5] = [
        Self::SelectAll,
        Self::StreamMap,
        Self::FuturesUnordered,
        Self::JoinAll,
        Self::SelectLoop,
    ];

    /// The first item of each stream.
    fn first_items(self, streams: Vec<Strings>) -> Strings {
        match self {
            Self::SelectAll => Box::pin(select_all(streams)),
            Self::StreamMap => {
                let streams: StreamMap<_, _> = streams.into_iter().enumerate().collect();
                Box::pin(streams.map(|(_, item)| item))
            }
            Self::FuturesUnordered => {
                let firsts = streams.into_iter().map(StreamExt::into_future);
                let firsts: FuturesUnordered<_> = firsts.collect();
                Box::pin(firsts.map(|(item, _)| item.unwrap_or("end")))
            }
            Self::JoinAll => {
                let firsts = streams.into_iter().map(StreamExt::into_future);
                let firsts = join_all(firsts).into_stream();
                Box::pin(
                    firsts.flat_map(|firsts| {
                        stream::iter(firsts).map(|(item, _)| item.unwrap_or("end"))
                    }),
                )
            }
            Self::SelectLoop => {
                let mut streams = streams;
                let second = select_all(streams.split_off(STREAMS / 2));
                let first = select_all(streams);
                Box::pin(async_stream::stream! {
                    let (mut first, mut second) = (first, second);
                    loop {
                        tokio::select! {
                            Some(item) = first.next() => yield item,
                            Some(item) = second.next() => yield item,
                            else => break,
                        }
                    }
                })
            }
        }
    }
}

/// The task is blocked for longer than `idle`, and then each stream has an item.
async fn no_item_is_lost<C: Clock<Timer: Send + 'static>>(clock: C, sources: impl Fn() -> Sources) {
    for together in Together::ALL {
        for adapter in Adapter::ALL {
            let (streams, send) = sources();
            let wrap = |inner| adapter.wrap(inner, C::IDLE, &|| clock.timer());
            let mut events = together.first_items(streams.into_iter().map(wrap).collect());
            assert!(poll!(events.next()).is_pending());
            clock.pass(C::IDLE * 2).await;
            send();
            let items = events.take(STREAMS).filter(|item| ready(*item == ITEM));
            assert_eq!(items.count().await, STREAMS, "{together:?}, {adapter:?}");
        }
    }
}

async fn no_item_of_many_channels_in_one_task_is_lost<C: Clock<Timer: Send + 'static>>(clock: C) {
    no_item_is_lost(clock, channels).await;
}

async fn no_item_of_many_broadcast_receivers_in_one_task_is_lost<
    C: Clock<Timer: Send + 'static>,
>(
    clock: C,
) {
    no_item_is_lost(clock, broadcast_receivers).await;
}

async fn no_item_of_many_watch_receivers_in_one_task_is_lost<C: Clock<Timer: Send + 'static>>(
    clock: C,
) {
    no_item_is_lost(clock, watch_receivers).await;
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn many_threads() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

/// In real time, in a task of the runtime: the task blocks its thread for longer than `idle`.
fn no_item_is_lost_in_real_time<T: Timer + Send + 'static>(
    runtime: Runtime,
    timer: impl Fn() -> T + Send + Sync + 'static,
    sources: impl AsyncFnOnce() -> Sources,
) {
    // Much longer than it takes to poll all streams once.
    const IDLE: Duration = Duration::from_millis(400);
    let (streams, send) = runtime.block_on(sources());
    let task = runtime.spawn(async move {
        let wrap = |inner| Adapter::IdleTimeoutAboveKeepalive.wrap(inner, IDLE, &timer);
        let streams: Vec<_> = streams.into_iter().map(wrap).collect();
        let count = streams.len();
        // Only the first item of each stream counts, because after it, a stream may go idle on a busy machine.
        let mut events = Together::FuturesUnordered.first_items(streams);
        assert!(poll!(events.next()).is_pending());
        send();
        thread::sleep(IDLE * 3);
        let items = events.take(count).filter(|item| ready(*item == ITEM));
        (items.count().await, count)
    });
    let done = runtime.block_on(async { timeout(PATIENCE, task).await });
    let (items, count) = done.expect("the task ends in time").unwrap();
    assert_eq!(items, count);
}

#[test]
fn no_item_is_lost_on_either_flavour_of_runtime() {
    for runtime in [one_thread, many_threads] {
        no_item_is_lost_in_real_time(runtime(), TokioTimer::new, async || channels());
        let timers = SharedTimers::new();
        no_item_is_lost_in_real_time(runtime(), move || timers.timer(), async || channels());
    }
}

/// Each item is a line that has been in the socket's buffer for a long time.
#[test]
fn no_line_of_many_sockets_is_lost() {
    async fn sockets() -> Sources {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut streams: Vec<Strings> = Vec::new();
        let mut servers = Vec::new();
        for _ in 0..300 {
            let client = TcpStream::connect(listener.local_addr().unwrap()).await;
            let lines = LinesStream::new(BufReader::new(client.unwrap()).lines());
            streams.push(Box::pin(lines.map(|line| match line.unwrap().as_str() {
                ITEM => ITEM,
                _ => "another line",
            })));
            servers.push(listener.accept().await.unwrap().0.into_std().unwrap());
        }
        let send = move || {
            for server in &mut servers {
                server.write_all(b"item\n").unwrap();
            }
            std::mem::forget(servers);
        };
        (streams, Box::new(send))
    }
    for runtime in [one_thread, many_threads] {
        no_item_is_lost_in_real_time(runtime(), TokioTimer::new, sockets);
    }
}

/// The timer's sleep was set in an earlier idle period, and has fired. Before the task runs again, its thread is
/// blocked, and a line arrives that the runtime has not polled for yet.
#[test]
fn a_line_that_arrives_while_the_thread_is_blocked_wins() {
    const IDLE: Duration = Duration::from_millis(50);

    /// Returns `None` if the machine was so slow that the stream was idle before its thread was blocked.
    async fn first_event_after_a_holdup(adapter: Adapter) -> Option<Option<&'static str>> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let lines = LinesStream::new(BufReader::new(client.unwrap()).lines());
        let mut server = listener.accept().await.unwrap().0.into_std().unwrap();
        let inner: Strings = Box::pin(lines.map(|line| match line.unwrap().as_str() {
            ITEM => ITEM,
            _ => "another line",
        }));
        let mut events = adapter.wrap(inner, IDLE, &TokioTimer::new);
        assert!(poll!(events.next()).is_pending());
        sleep(IDLE / 2).await;
        server.write_all(b"item\n").unwrap();
        if events.next().await != Some(ITEM) {
            return None;
        }
        // The second idle period ends half an idle time after the sleep fires.
        assert!(poll!(events.next()).is_pending());
        let holdup = tokio::spawn(async move {
            sleep(IDLE * 3 / 4).await;
            thread::sleep(IDLE * 2);
            server.write_all(b"item\n").unwrap();
            server
        });
        let event = events.next().await;
        holdup.is_finished().then_some(event)
    }

    for adapter in Adapter::ALL {
        let mut attempts = 0..100;
        let event =
            attempts.find_map(|_| one_thread().block_on(first_event_after_a_holdup(adapter)));
        let event = event.expect("the machine is fast enough once");
        assert_eq!(event, Some(ITEM), "{adapter:?}");
    }
}
