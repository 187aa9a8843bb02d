//! Keeps a stream of sensor values alive, in a program without an operating system and without an allocator.

#![no_std]

use core::{
    panic::PanicInfo,
    pin::{Pin, pin},
    sync::atomic::{AtomicU32, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_core::Stream;
use stream_keepalive::{KeepaliveExt, SleepTimer};

/// Milliseconds, counted by an interrupt.
static TICKS: AtomicU32 = AtomicU32::new(0);

/// A timer that never wakes a task, because the main loop polls at every tick.
struct Ticks {
    since: u32,
    /// `None` if that is more than can be counted.
    count: Option<u32>,
}

fn ticks(duration: Duration) -> Ticks {
    Ticks {
        since: TICKS.load(Ordering::Relaxed),
        // One more, because the first tick may come immediately.
        count: u32::try_from(duration.as_millis() + 1).ok(),
    }
}

impl Future for Ticks {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let passed = TICKS.load(Ordering::Relaxed).wrapping_sub(self.since);
        match self.count {
            Some(count) if passed >= count => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

/// The last value that an interrupt has measured. Zero means that there is no new value.
static MEASURED: AtomicU32 = AtomicU32::new(0);

struct Sensor;

impl Stream for Sensor {
    type Item = u32;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
        match MEASURED.swap(0, Ordering::Relaxed) {
            0 => Poll::Pending,
            measured => Poll::Ready(Some(measured)),
        }
    }
}

/// Sends each value, a zero after each idle second, and a last value after ten idle seconds.
// The start-up code calls it by this name. Without the export, it would not be compiled and linked.
#[unsafe(no_mangle)]
pub extern "C" fn run(send: extern "C" fn(u32), wait_for_interrupt: extern "C" fn()) {
    let second = Duration::from_secs(1);
    let values = Sensor
        .idle_timeout_with(second * 10, || u32::MAX)
        .with_timer(SleepTimer::new(ticks))
        .keepalive(second, 0)
        .with_timer(SleepTimer::new(ticks))
        .immediate();
    let mut values = pin!(values);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        match values.as_mut().poll_next(&mut cx) {
            Poll::Ready(Some(value)) => send(value),
            Poll::Ready(None) => return,
            Poll::Pending => wait_for_interrupt(),
        }
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}
