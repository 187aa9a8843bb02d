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

/// What runs, how far it is and how long it will take, as a line on standard error while that is a
/// terminal. Elsewhere nothing is printed.
pub struct Progress {
    bar: ProgressBar,
    /// How long everything takes, as far as can be told by now, in milliseconds.
    total: Arc<AtomicU64>,
}

impl Progress {
    /// Begins work that is expected to take that long. If it is faster or slower, that shows as it advances.
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

    /// Says what runs now.
    pub fn begin(&self, what: impl Into<Cow<'static, str>>) {
        self.bar.set_message(what);
    }

    /// Counts work as done that was expected to take that long.
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

/// How long all of it takes in milliseconds, if the rest goes as what is done.
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
    fn until_something_is_done_everything_takes_as_long_as_expected() {
        assert_eq!(estimate(Duration::from_secs(7), 0, 60_000), 60_000);
    }

    #[test]
    fn the_rest_takes_as_long_as_what_is_done_in_proportion() {
        // A third took twice as long as expected.
        assert_eq!(estimate(Duration::from_secs(40), 20_000, 60_000), 120_000);
    }
}
