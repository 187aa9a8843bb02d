//! A timer that counts ticks, for programs without an operating system. It only needs `core`.

use core::{
    sync::atomic::{AtomicU32, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use stream_keepalive::Timer;

/// Milliseconds, counted by an interrupt.
pub static TICKS: AtomicU32 = AtomicU32::new(0);

/// A timer that never wakes a task, because the main loop polls at every tick.
#[derive(Default)]
pub struct TickTimer {
    armed_at: u32,
    /// `None` if that is more than can be counted.
    ticks: Option<u32>,
}

impl Timer for TickTimer {
    fn arm(&mut self, after: Duration) {
        self.armed_at = TICKS.load(Ordering::Relaxed);
        // One more, because the first tick may come immediately.
        self.ticks = u32::try_from(after.as_millis() + 1).ok();
    }

    fn poll_expired(&mut self, _: &mut Context<'_>) -> Poll<()> {
        let passed = TICKS.load(Ordering::Relaxed).wrapping_sub(self.armed_at);
        match self.ticks {
            Some(ticks) if passed >= ticks => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}
