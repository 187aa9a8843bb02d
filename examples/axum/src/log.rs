//! The lines of standard input, which a client can resume.

use std::{
    io::{self, BufRead},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use futures::{Stream, stream};
use tokio::sync::watch;

/// All lines of standard input so far, so that a client that reconnects gets what it has missed.
#[derive(Clone, Debug)]
pub struct Log {
    /// Its length is the number of the next line.
    lines: watch::Receiver<Vec<String>>,
    /// Distinguishes the line numbers of this process from those of an earlier one.
    boot: u128,
}

/// A line, and the id with which a client resumes after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub id: String,
    pub text: String,
}

impl Log {
    /// Reads standard input. The streams stay open when it ends.
    pub fn of_stdin() -> Self {
        let (sender, lines) = watch::channel(Vec::new());
        // Tokio's stdin would delay the exit, because its blocking read cannot be cancelled.
        thread::spawn(move || {
            for line in io::stdin().lock().split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
                sender.send_modify(|lines| lines.push(line));
            }
            // The streams would end if the sender were dropped.
            loop {
                thread::park();
            }
        });
        Self::new(lines)
    }

    fn new(lines: watch::Receiver<Vec<String>>) -> Self {
        let boot = SystemTime::now().duration_since(UNIX_EPOCH);
        let boot = boot.map_or(0, |boot| boot.as_millis());
        Self { lines, boot }
    }

    /// Returns the id after which [`Log::lines_after`] begins, also for a client that has got no line yet.
    pub fn resume_point(&self, id: Option<&str>) -> String {
        self.id(self.number_after(id))
    }

    /// The lines after the one with this id. Without an id, the lines that arrive from now on.
    pub fn lines_after(&self, id: Option<&str>) -> impl Stream<Item = Line> + Send + use<> {
        let log = self.clone();
        let from = (self.lines.clone(), self.number_after(id));
        Box::pin(stream::unfold(from, move |(mut lines, number)| {
            let id = log.id(number + 1);
            async move {
                let text = lines.wait_for(|lines| lines.len() > number).await.ok()?[number].clone();
                Some((Line { id, text }, (lines, number + 1)))
            }
        }))
    }

    /// Says that a client has all lines before this number.
    fn id(&self, next: usize) -> String {
        format!("{}-{next}", self.boot)
    }

    fn number_after(&self, id: Option<&str>) -> usize {
        let now = self.lines.borrow().len();
        let Some((boot, next)) = id.and_then(|id| id.split_once('-')) else {
            return now;
        };
        match (boot.parse::<u128>(), next.parse::<usize>()) {
            (Ok(boot), Ok(next)) if boot == self.boot => now.min(next),
            // Everything here is newer than what the client has.
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    fn texts(log: &Log, id: Option<&str>, count: usize) -> Vec<String> {
        let lines = log.lines_after(id).take(count);
        let texts = lines.map(|line| line.text).collect();
        texts.now_or_never().expect("a line is missing")
    }

    #[tokio::test]
    async fn a_client_that_comes_back_gets_what_it_has_missed_and_nothing_twice() {
        let (sender, lines) = watch::channel(vec!["one".to_owned(), "two".to_owned()]);
        let log = Log::new(lines);
        let first = log.lines_after(Some("1-7")).next().await.unwrap().id;
        assert_eq!(texts(&log, Some(&first), 1), ["two"]);

        let mut new = log.lines_after(None);
        sender.send_modify(|lines| lines.push("three".to_owned()));
        assert_eq!(new.next().await.unwrap().text, "three");
        assert_eq!(texts(&log, Some(&first), 2), ["two", "three"]);
    }

    #[tokio::test]
    async fn a_client_without_a_line_gets_what_has_come_since_its_resume_point() {
        for lines in [vec![], vec!["zero".to_owned()]] {
            let (sender, lines) = watch::channel(lines);
            let log = Log::new(lines);
            let point = log.resume_point(None);
            assert_eq!(log.resume_point(Some(&point)), point);
            sender.send_modify(|lines| lines.extend(["one".to_owned(), "two".to_owned()]));
            assert_eq!(texts(&log, Some(&point), 2), ["one", "two"]);
        }
    }

    #[tokio::test]
    async fn a_client_of_an_earlier_process_gets_everything() {
        let (_sender, lines) = watch::channel(vec!["one".to_owned()]);
        let log = Log::new(lines);
        for id in ["1-7", "1-x", "x-7"] {
            assert_eq!(texts(&log, Some(id), 1), ["one"]);
        }
    }
}
