use std::{
    borrow::Cow,
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};

/// A progress line on standard error: how much is done, how long the rest takes, and what runs now. It is only shown
/// on a terminal.
pub struct Progress {
    bar: ProgressBar,
    /// The current estimate of how long everything takes, in milliseconds.
    total: Arc<AtomicU64>,
}

impl Progress {
    /// Begins work that is expected to take this long. The estimate is corrected as the work advances.
    pub fn new(expected: Duration) -> Self {
        let expected = milliseconds(expected);
        let total = Arc::new(AtomicU64::new(expected));
        let shown = total.clone();
        let left = move |state: &ProgressState, text: &mut dyn Write| {
            let total = Duration::from_millis(shown.load(Relaxed));
            _ = write!(
                text,
                "{}",
                HumanDuration(total.saturating_sub(state.elapsed()))
            );
        };
        let style = ProgressStyle::with_template("{percent:>3} %, {left} left: {msg}");
        let style = style.expect("the template is valid").with_key("left", left);
        let bar = ProgressBar::new(expected).with_style(style);
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_secs(1));
        }
        Self { bar, total }
    }

    /// Shows what runs now.
    pub fn begin(&self, what: impl Into<Cow<'static, str>>) {
        self.bar.set_message(what);
    }

    /// Marks work as done that was expected to take this long.
    pub fn advance(&self, expected: Duration) {
        self.bar.inc(milliseconds(expected));
        let all = self.bar.length().unwrap_or_default();
        let total = estimate(self.bar.elapsed(), self.bar.position(), all);
        self.total.store(total, Relaxed);
    }

    /// Prints a line of the result.
    pub fn print(&self, line: impl AsRef<str>) {
        self.bar.suspend(|| println!("{}", line.as_ref()));
    }

    /// Prints a line on standard error.
    pub fn warn(&self, line: impl AsRef<str>) {
        self.bar.suspend(|| eprintln!("{}", line.as_ref()));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Estimates how long everything takes, in milliseconds. The rest is assumed to run as fast as the part that is done.
fn estimate(elapsed: Duration, done: u64, all: u64) -> u64 {
    if done == 0 {
        return all;
    }
    (milliseconds(elapsed) as f64 * all as f64 / done as f64) as u64
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_estimate_is_the_expected_time() {
        assert_eq!(estimate(Duration::from_secs(7), 0, 60_000), 60_000);
    }

    #[test]
    fn the_rest_is_estimated_from_the_part_that_is_done() {
        // A third took twice as long as expected.
        assert_eq!(estimate(Duration::from_secs(40), 20_000, 60_000), 120_000);
    }
}
