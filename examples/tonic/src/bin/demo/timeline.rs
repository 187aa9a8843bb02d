//! What happens to the two subscribers, one row for each event, and the verdict.

use std::time::Duration;

use anyhow::{bail, ensure};

use crate::proxy::End;

#[derive(Clone, Copy)]
pub enum Lane {
    Plain,
    Kept,
}

/// What a subscriber sees.
pub enum Note {
    Subscribed,
    Keepalive,
    Event(String),
    Ended(End),
}

/// What is known of one subscriber.
#[derive(Default)]
struct Facts {
    subscribed: bool,
    event_at: Option<Duration>,
    ended: Option<(Duration, End)>,
}

impl Facts {
    fn lives(&self) -> bool {
        self.subscribed && self.ended.is_none()
    }
}

#[derive(Default)]
pub struct Timeline {
    plain: Facts,
    kept: Facts,
}

impl Timeline {
    /// The row above the first one.
    pub fn heading(keepalive: Duration) -> String {
        let keepalive = humantime::format_duration(keepalive);
        row("time", "plain", &format!("keepalive {keepalive}"))
    }

    /// Records a note, and returns its row.
    pub fn note(&mut self, at: Duration, lane: Lane, note: Note) -> String {
        let (facts, other) = match lane {
            Lane::Plain => (&mut self.plain, &self.kept),
            Lane::Kept => (&mut self.kept, &self.plain),
        };
        let text = match note {
            Note::Subscribed => {
                facts.subscribed = true;
                "┬ subscribed".to_owned()
            }
            Note::Keepalive => "├ keepalive".to_owned(),
            Note::Event(what) => {
                facts.event_at = Some(at);
                format!("├ EVENT: {what}")
            }
            Note::Ended(end) => {
                facts.ended = Some((at, end));
                match end {
                    End::Cut => "╳ cut off by the proxy".to_owned(),
                    End::Closed => "╳ closed".to_owned(),
                }
            }
        };
        let time = format!("{:.1} s", at.as_secs_f32());
        let line = if other.lives() { "│" } else { "" };
        match lane {
            Lane::Plain => row(&time, &text, line),
            Lane::Kept => row(&time, line, &text),
        }
    }

    pub fn both_ended(&self) -> bool {
        self.plain.ended.is_some() && self.kept.ended.is_some()
    }

    /// Sums up what the demo has shown. It is an error if that is not what should have happened.
    pub fn verdict(&self) -> anyhow::Result<String> {
        let died = match self.plain.ended {
            Some((at, End::Cut)) => at.as_secs_f32(),
            Some((at, End::Closed)) => {
                bail!(
                    "the plain stream ended at {:.1} s, but the proxy did not cut it off",
                    at.as_secs_f32()
                )
            }
            None => bail!("the plain stream was not cut off"),
        };
        // The proxy counts from the last byte, so it never takes less than two seconds. The upper
        // bound leaves room for a busy machine.
        ensure!(
            (2.0..4.0).contains(&died),
            "the plain stream was cut off at {died:.1} s, not at 2 s"
        );

        if let Some((at, _)) = self.kept.ended {
            bail!(
                "the stream with keepalives ended too, at {:.1} s",
                at.as_secs_f32()
            );
        }
        let Some(event_at) = self.kept.event_at.map(|at| at.as_secs_f32()) else {
            bail!("the stream with keepalives stayed open, but missed its event");
        };
        ensure!(
            event_at >= 7.0,
            "the event came at {event_at:.1} s, before 7 s had passed"
        );
        Ok(format!(
            "The plain stream was cut off at {died:.1} s and missed the event. \
             The stream with keepalives stayed open and got it."
        ))
    }
}

fn row(time: &str, plain: &str, kept: &str) -> String {
    format!("{time:>7}   {plain:<25}{kept}")
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Happening = (f32, Lane, Note);

    fn verdict(happenings: impl IntoIterator<Item = Happening>) -> Result<String, String> {
        let mut timeline = Timeline::default();
        timeline.note(Duration::ZERO, Lane::Plain, Note::Subscribed);
        timeline.note(Duration::ZERO, Lane::Kept, Note::Subscribed);
        for (at, lane, note) in happenings {
            timeline.note(Duration::from_secs_f32(at), lane, note);
        }
        timeline.verdict().map_err(|error| error.to_string())
    }

    fn event(at: f32, lane: Lane) -> Happening {
        (at, lane, Note::Event("backup finished".into()))
    }

    fn ended(at: f32, lane: Lane, end: End) -> Happening {
        (at, lane, Note::Ended(end))
    }

    #[test]
    fn it_succeeds_when_the_plain_stream_is_cut_off_and_the_other_gets_its_event() {
        let cut = ended(2.0, Lane::Plain, End::Cut);
        assert!(verdict([cut, event(7.3, Lane::Kept)]).is_ok());
    }

    #[test]
    fn it_fails_when_the_plain_stream_stays_open() {
        let error = verdict([event(7.3, Lane::Plain), event(7.3, Lane::Kept)]).unwrap_err();
        assert_eq!(error, "the plain stream was not cut off");
    }

    #[test]
    fn it_fails_when_the_proxy_did_not_cut_the_plain_stream_off() {
        let closed = ended(2.0, Lane::Plain, End::Closed);
        let error = verdict([closed, event(7.3, Lane::Kept)]).unwrap_err();
        assert!(error.contains("the proxy did not"), "{error}");
    }

    #[test]
    fn it_fails_when_the_plain_stream_is_cut_off_too_early_or_too_late() {
        for at in [1.9, 4.0] {
            let cut = ended(at, Lane::Plain, End::Cut);
            let error = verdict([cut, event(7.3, Lane::Kept)]).unwrap_err();
            assert!(error.ends_with("not at 2 s"), "{error}");
        }
    }

    #[test]
    fn it_fails_when_the_other_stream_ends_even_after_its_event() {
        let cut = ended(2.0, Lane::Plain, End::Cut);
        let late = ended(7.5, Lane::Kept, End::Cut);
        let error = verdict([cut, event(7.3, Lane::Kept), late]).unwrap_err();
        assert_eq!(error, "the stream with keepalives ended too, at 7.5 s");
    }

    #[test]
    fn it_fails_when_the_event_is_missing_or_early() {
        let cut = || ended(2.0, Lane::Plain, End::Cut);
        let error = verdict([cut()]).unwrap_err();
        assert!(error.contains("missed its event"), "{error}");
        let error = verdict([cut(), event(6.9, Lane::Kept)]).unwrap_err();
        assert!(error.contains("before 7 s"), "{error}");
    }
}
