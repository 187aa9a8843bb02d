//! A timer made from a sleep function.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use futures::channel::oneshot;
#[cfg(feature = "tokio")]
use futures::{FutureExt, StreamExt, stream};
use stream_keepalive::{KeepaliveExt, SleepTimer};
use tokio_test::{assert_pending, assert_ready_eq, task::spawn};

use crate::{
    KEEPALIVE,
    support::{panics::panic_of, source::source},
};

const DAY: Duration = Duration::from_secs(86_400);

type Sleep = oneshot::Receiver<()>;
type End = oneshot::Sender<()>;

/// The sleeps that a timer has asked for. The test ends each of them.
#[derive(Clone, Default)]
struct Sleeps(Rc<RefCell<Vec<(Duration, End)>>>);

impl Sleeps {
    fn timer(&self) -> SleepTimer<impl Fn(Duration) -> Sleep + use<>, Sleep> {
        SleepTimer::new(self.function())
    }

    fn function(&self) -> impl Fn(Duration) -> Sleep + use<> {
        let sleeps = self.0.clone();
        move |after| {
            let (end, sleep) = oneshot::channel();
            sleeps.borrow_mut().push((after, end));
            sleep
        }
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

#[test]
fn a_timer_whose_sleep_function_panics_after_a_day_still_waits_for_the_rest() {
    let sleeps = Sleeps::default();
    let panics = Rc::new(Cell::new(false));
    let (may_panic, sleep) = (panics.clone(), sleeps.function());
    let timer = SleepTimer::new(move |after| {
        assert!(!may_panic.get(), "there is no sleep");
        sleep(after)
    });
    let (_remote, source) = source();
    let mut events = spawn(source.keepalive(DAY * 3, KEEPALIVE).with_timer(timer));
    assert_pending!(events.poll_next());
    assert_eq!(sleeps.end_one(), DAY);
    panics.set(true);
    for _ in 0..2 {
        assert_eq!(panic_of(|| events.poll_next()).message, "there is no sleep");
    }
    panics.set(false);
    for _ in 0..2 {
        assert_pending!(events.poll_next());
        assert_eq!(sleeps.end_one(), DAY);
    }
    assert_ready_eq!(events.poll_next(), Some(KEEPALIVE));
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
