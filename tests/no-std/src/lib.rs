//! Fills the silence of a sensor, in a program that has neither an operating system nor an allocator.

#![no_std]

use core::{
    panic::PanicInfo,
    pin::{Pin, pin},
    sync::atomic::{AtomicU32, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_core::Stream;
use stream_keepalive::{IdleTimeout, Keepalive, Repeat};

#[path = "../../ticks/timer.rs"]
mod timer;
use timer::TickTimer;

/// What an interrupt has measured, and nobody has read: zero is nothing.
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

/// Sends what is measured, a zero after each silent second, and a last word after ten.
// Exported, so that all of it is compiled and linked: the start-up code calls it by this name.
#[unsafe(no_mangle)]
pub extern "C" fn run(send: extern "C" fn(u32), wait_for_interrupt: extern "C" fn()) {
    let second = Duration::from_secs(1);
    let values = IdleTimeout::new(Sensor, second * 10).with_timer(TickTimer::default());
    let values = values.with_last(|| u32::MAX);
    let values = Keepalive::new(values, second, Repeat(0)).with_timer(TickTimer::default());
    let mut values = pin!(values.immediate());
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
