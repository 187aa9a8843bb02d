//! Writes the tables as Markdown.

use std::fmt::Write;

use programs::markdown;

use crate::{
    client::{Client, Tried},
    clock::{Clock, Counts, Watched},
    keepalives::EACH_KIND,
    stream::Place,
    verdict::Verdict,
};

/// A row: a client and its verdicts, or `None` if it could not be tried.
pub type Row<'a> = (&'a Client, Option<Tried>);

/// Writes a table of verdicts. The keepalives of the table begin at index `first` in the rows.
pub fn write(rows: &[Row<'_>], keepalives: &[&str], first: usize) -> String {
    let columns: Vec<_> = keepalives
        .iter()
        .map(|keepalive| code(&on_a_line(keepalive)))
        .collect();
    let columns = columns.iter().map(String::as_str);
    let headings: Vec<_> = ["client", "version"].into_iter().chain(columns).collect();
    let mut notes = Notes::default();
    let rows = rows.iter().map(|(client, tried)| {
        let (version, cells): (_, Vec<_>) = match tried {
            Some(Tried { version, verdicts }) => {
                let verdicts = &verdicts[first..][..keepalives.len()];
                let cells = verdicts.iter().map(|places| notes.cell(places)).collect();
                (version.as_str(), cells)
            }
            None => ("", vec!["not tried".to_owned(); keepalives.len()]),
        };
        [client.name.to_owned(), version.to_owned()]
            .into_iter()
            .chain(cells)
    });
    let mut table = markdown::table(&headings, rows);
    for (number, note) in (1..).zip(&notes.0) {
        // A list begins after a blank line.
        let separator = if number == 1 { "\n" } else { "" };
        table += &format!("{separator}{number}. {note}\n");
    }
    table
}

/// A row of the table of clocks: a client with its clock and what it counts, or `None` if it could not be watched.
pub type ClockRow<'a> = ((&'a Client, &'a Clock), Option<Watched>);

/// Writes the table of clocks.
pub fn write_clocks(rows: &[ClockRow<'_>]) -> String {
    let kinds = EACH_KIND.map(|keepalive| code(&on_a_line(keepalive)));
    let headings = ["client", "version", "timeout", "nothing"]
        .into_iter()
        .chain(kinds.iter().map(String::as_str))
        .chain(["an event of its API", "its clock counts"]);
    let headings: Vec<_> = headings.collect();
    let rows = rows.iter().map(|((client, clock), watched)| {
        let mut cells = vec![client.name.to_owned()];
        let Some(watched) = watched else {
            cells.resize(headings.len(), "not tried".to_owned());
            return cells;
        };
        cells.extend([watched.version.clone(), clock.setting.to_owned()]);
        cells.extend(watched.lives.iter().map(|(_, lives)| {
            let cell = if *lives { "lives" } else { "times out" };
            cell.to_owned()
        }));
        cells.resize(headings.len() - 1, String::new());
        let counts = watched.counts().map_or("see the cells", Counts::text);
        cells.push(counts.to_owned());
        cells
    });
    markdown::table(&headings, rows)
}

fn on_a_line(keepalive: &str) -> String {
    keepalive.replace('\r', "\\r").replace('\n', "\\n")
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'"))
}

/// The notes that the cells refer to.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn number(&mut self, note: String) -> usize {
        let known = self.0.iter().position(|known| *known == note);
        known.unwrap_or_else(|| {
            self.0.push(note);
            self.0.len() - 1
        }) + 1
    }

    fn cell(&mut self, places: &[(Place, Verdict)]) -> String {
        let (_, first) = &places[0];
        if places.iter().all(|(_, verdict)| verdict == first) {
            return self.text(first);
        }
        let mut cell = String::new();
        for (place, verdict) in places {
            let separator = if cell.is_empty() { "" } else { "; " };
            let place = match place {
                Place::Before => "before the first event",
                Place::Between => "between two events",
                Place::Alone => "alone",
            };
            let verdict = self.text(verdict);
            _ = write!(cell, "{separator}{place}: {verdict}");
        }
        cell
    }

    fn text(&mut self, verdict: &Verdict) -> String {
        match verdict {
            Verdict::Ignored => "ignored".to_owned(),
            Verdict::Event(event) => {
                let number = self.number(code(&event.to_string()));
                format!("an event ({number})")
            }
            Verdict::Changed(events) => {
                let events: Vec<_> = events
                    .iter()
                    .map(|event| code(&event.to_string()))
                    .collect();
                let number = self.number(events.join(", "));
                format!("**other events** ({number})")
            }
            Verdict::Error(error) => {
                let line = error.lines().next().unwrap_or_default();
                let number = self.number(code(line));
                format!("**error** ({number})")
            }
        }
    }
}
