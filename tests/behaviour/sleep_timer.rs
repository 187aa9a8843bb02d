//! A timer made from a sleep function.

use std::{cell::RefCell, rc::Rc, time::Duration};

use futures::channel::oneshot;
#[cfg(feature = "tokio")]
use futures::{FutureExt, StreamExt, stream};
use stream_keepalive::{KeepaliveExt, SleepTimer};
use tokio_test::{assert_pending, assert_ready_eq, task::spawn};

use crate::{KEEPALIVE, support::source::source};

const DAY: Duration = Duration::from_secs(86_400);

type Sleep = oneshot::Receiver<()>;
type End = oneshot::Sender<()>;

/// The sleeps that a timer has asked for. The test ends each of them.
#[derive(Clone, Default)]
struct Sleeps(Rc<RefCell<Vec<(Duration, End)>>>);

impl Sleeps {
    fn timer(&self) -> SleepTimer<impl Fn(Duration) -> Sleep + use<>, Sleep> {
        let sleeps = self.0.clone();
        SleepTimer::new(move |after| {
            let (end, sleep) = oneshot::channel();
            sleeps.borrow_mut().push((after, end));
            sleep
        })
    }

    /// Ends the oldest sleep, and returns the duration that was asked for.
    fn end_one(&self) -> Duration {
        let (after, end) = self.0.borrow_mut().remove(0);
        end.send(()).expect("the timer still has this sleep");
        after
    }

    fn dropped(&self) -> usize {
        let sleeps = self.0.borrow();
        sleeps.iter().filter(|(_, end)| end.is_canceled()).count()
    }
}

#[test]
fn each_idle_period_makes_one_sleep_of_its_length() {
    let sleeps = Sleeps::default();
    let timer = sleeps.timer();
    let (_remote, source) = source();
    let idle = Duration::from_secs(20);
    let mut events = spawn(source.keepalive(idle, KEEPALIVE).with_timer(timer));
    for _ in 0..3 {
        assert_pending!(events.poll_next());
        assert_pending!(events.poll_next());
        assert_eq!(sleeps.0.borrow().len(), 1);
        assert_eq!(sleeps.end_one(), idle);
        assert!(events.is_woken());
        assert_ready_eq!(events.poll_next(), Some(KEEPALIVE));
    }
}

#[test]
fn a_sleep_that_an_item_has_made_useless_is_dropped_at_the_next_idle_period() {
    let sleeps = Sleeps::default();
    let timer = sleeps.timer();
    let (remote, source) = source();
    let mut events = spawn(source.keepalive(DAY, KEEPALIVE).with_timer(timer));
    assert_pending!(events.poll_next());
    remote.send("a");
    assert_ready_eq!(events.poll_next(), Some("a"));
    assert_pending!(events.poll_next());
    assert_eq!((sleeps.0.borrow().len(), sleeps.dropped()), (2, 1));
}

#[test]
fn a_long_idle_time_is_made_of_sleeps_of_a_day() {
    let sleeps = Sleeps::default();
    let timer = sleeps.timer();
    let (_remote, source) = source();
    let mut events = spawn(source.keepalive(DAY * 5 / 2, KEEPALIVE).with_timer(timer));
    assert_pending!(events.poll_next());
    for expected in [DAY, DAY] {
        assert_eq!(sleeps.end_one(), expected);
        assert!(events.is_woken());
        assert_pending!(events.poll_next());
    }
    assert_eq!(sleeps.end_one(), DAY / 2);
    assert_ready_eq!(events.poll_next(), Some(KEEPALIVE));
}

#[test]
fn an_endless_idle_time_asks_for_no_more_than_a_day() {
    let sleeps = Sleeps::default();
    let timer = sleeps.timer();
    let (_remote, source) = source();
    let mut events = spawn(source.keepalive(Duration::MAX, KEEPALIVE).with_timer(timer));
    for _ in 0..1000 {
        assert_pending!(events.poll_next());
        assert_eq!(sleeps.end_one(), DAY);
    }
}

/// A boxed sleep of Tokio, for a program that uses Tokio without the feature `tokio` of this crate.
#[cfg(feature = "tokio")]
#[tokio::test(start_paused = true)]
async fn a_boxed_sleep_of_tokio_serves() {
    let timer = SleepTimer::new(|after| Box::pin(tokio::time::sleep(after)));
    let idle = Duration::from_secs(20);
    let start = tokio::time::Instant::now();
    let mut events = stream::pending()
        .keepalive(idle, KEEPALIVE)
        .with_timer(timer);
    assert_eq!(events.next().await, Some(KEEPALIVE));
    assert_eq!(start.elapsed(), idle);
    assert_eq!(events.next().now_or_never(), None);
}
