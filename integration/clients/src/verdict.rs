//! How a client treats a keepalive.

use serde_json::Value;

use crate::client::Seen;

#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The events are the same as without it.
    Ignored,
    /// The client takes it for this event.
    Event(Value),
    /// The other events are not the same as without it.
    Changed(Vec<Value>),
    Error(String),
}

impl Verdict {
    /// Whether all events have come.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Ignored | Self::Event(_))
    }

    /// Compares the result with keepalives to the result without.
    pub fn of(without: &Seen, with: &Seen) -> Self {
        if with == without {
            return Self::Ignored;
        }
        if let Some(error) = &with.error
            && with.error != without.error
        {
            return Self::Error(error.clone());
        }
        let mut expected = without.events.iter().peekable();
        let mut more = with
            .events
            .iter()
            .filter(|event| expected.next_if_eq(event).is_none());
        let first = more.next().cloned();
        more.for_each(drop);
        match first {
            Some(event) if expected.next().is_none() => Self::Event(event),
            _ => Self::Changed(with.events.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(events: &[&str], error: Option<&str>) -> Seen {
        Seen {
            events: events.iter().map(|event| json!(event)).collect(),
            error: error.map(str::to_owned),
        }
    }

    fn verdict(events: &[&str], error: Option<&str>) -> Verdict {
        Verdict::of(&seen(&["one", "two"], None), &seen(events, error))
    }

    #[test]
    fn a_keepalive_is_ignored_if_it_leaves_the_events_as_they_are() {
        assert_eq!(verdict(&["one", "two"], None), Verdict::Ignored);
        let failed = seen(&[], Some("empty"));
        assert_eq!(Verdict::of(&failed, &failed), Verdict::Ignored);
    }

    #[test]
    fn a_keepalive_between_the_events_is_an_event() {
        for events in [
            ["ping", "one", "two"],
            ["one", "ping", "two"],
            ["one", "two", "ping"],
        ] {
            assert_eq!(verdict(&events, None), Verdict::Event(json!("ping")));
        }
    }

    #[test]
    fn lost_or_swapped_events_are_changed_events_whatever_else_comes() {
        for events in [&["one"][..], &["two", "one"], &["ping", "one", "ping", "2"]] {
            let changed = events.iter().map(|event| json!(event)).collect();
            assert_eq!(verdict(events, None), Verdict::Changed(changed));
        }
    }

    #[test]
    fn an_error_counts_even_if_all_events_have_come() {
        let error = Verdict::Error("broken".to_owned());
        assert_eq!(verdict(&["one", "two"], Some("broken")), error);
    }
}
