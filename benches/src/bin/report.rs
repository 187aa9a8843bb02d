//! Draws the charts and fills the tables of docs/performance.md from the measurements that lie in
//! benches/measurements: `cargo run -p benches --bin report`

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use plotters::prelude::*;
use serde_json::Value;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
const MEASUREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/measurements");
const FONT: &str = "system-ui, sans-serif";

fn main() -> Result<()> {
    let items = read("items.json")?;
    let runs = ["streams-300k.json", "streams-1m.json", "streams-10m.json"]
        .into_iter()
        .filter(|file| measurement(file).exists())
        .map(read)
        .collect::<Result<Vec<_>>>()?;

    let loads = ["ready", "full mpsc channel", "ready and pending in turn"];
    charts("items", &loads.map(|load| item_panel(&items, load)))?;
    let panels: Vec<_> = runs
        .iter()
        .filter(|run| found(run, "cost").count() > 1)
        .flat_map(|run| {
            let streams = run["streams"].as_u64().unwrap_or_default();
            [
                stream_panel(
                    run,
                    format!("{streams} idle streams: CPU"),
                    "ns a keepalive",
                    "cpu_ns_per_keepalive",
                ),
                stream_panel(
                    run,
                    format!("{streams} idle streams: memory"),
                    "bytes a stream",
                    "bytes_per_stream",
                ),
            ]
        })
        .collect();
    charts("streams", &panels)?;

    let loopback = read("loopback.json")?;
    for (name, table) in [
        ("items", items_table(&items)),
        ("streams", streams_table(&runs)),
        ("lateness", lateness_table(&runs)),
        ("burst", burst_table(&runs)),
        ("loopback", loopback_table(&loopback)),
    ] {
        cli::fill(Path::new(DOCS).join("performance.md"), name, &table)?;
    }
    Ok(())
}

fn measurement(file: &str) -> PathBuf {
    Path::new(MEASUREMENTS).join(file)
}

fn read(file: &str) -> Result<Value> {
    let path = measurement(file);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("cannot parse {}", path.display()))
}

fn rows(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn found<'a>(run: &'a Value, what: &'a str) -> impl Iterator<Item = &'a Value> {
    rows(&run["found"]).filter(move |row| row["what"] == what)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn items_table(items: &Value) -> String {
    let mut table =
        String::from("| load | contender | ns | added to the bare stream |\n|---|---|---:|---:|\n");
    for row in rows(items) {
        let (load, contender) = (text(&row["load"]), text(&row["contender"]));
        let (ns, added) = (number(&row["ns"]), number(&row["added"]).max(0.0));
        table += &format!("| {load} | {contender} | {ns:.2} | {added:.2} |\n");
    }
    table
}

fn streams_table(runs: &[Value]) -> String {
    let mut table = String::from(
        "| streams | contender | CPU ns a keepalive | bytes a stream | cores | due | sent |\n|---:|---|---:|---:|---:|---:|---:|\n",
    );
    for run in runs {
        for row in found(run, "cost") {
            let figures = &row["figures"];
            table += &format!(
                "| {} | {} | {:.0} | {:.0} | {:.3} | {} | {} |\n",
                run["streams"],
                text(&row["contender"]),
                number(&figures["cpu_ns_per_keepalive"]),
                number(&figures["bytes_per_stream"]),
                number(&figures["cores"]),
                figures["due"],
                figures["sent"]
            );
        }
    }
    table
}

fn lateness_table(runs: &[Value]) -> String {
    let mut table = String::from(
        "| streams | contender | p50 ms | p99 ms | p99.9 ms | max ms | early |\n|---:|---|---:|---:|---:|---:|---:|\n",
    );
    for run in runs {
        for row in found(run, "lateness") {
            let figures = &row["figures"];
            table += &format!("| {} | {} |", run["streams"], text(&row["contender"]));
            for quantile in ["p50", "p99", "p999", "max"] {
                table += &format!(" {:.2} |", number(&figures[quantile]));
            }
            table += &format!(" {} |\n", figures["early"]);
        }
    }
    table
}

fn burst_table(runs: &[Value]) -> String {
    let mut table = String::from(
        "| streams | interval | keepalives in the fullest 100 ms | p99.9 ms late |\n|---:|---|---:|---:|\n",
    );
    for run in runs {
        for row in found(run, "burst") {
            table += &format!(
                "| {} | {} | {} | {:.2} |\n",
                run["streams"],
                text(&row["contender"]),
                row["figures"]["peak"],
                number(&row["figures"]["p999"])
            );
        }
    }
    table
}

fn loopback_table(figures: &Value) -> String {
    let mut table = String::from(
        "| keepalives | messages a second: median (least to most) | CPU ns a message |\n|---|---:|---:|\n",
    );
    let spread = |value: &Value| {
        let [least, median, most] = [0, 1, 2].map(|place| number(&value[place]));
        format!("{median:.0} ({least:.0} to {most:.0})")
    };
    for row in rows(figures) {
        table += &format!(
            "| {} | {} | {} |\n",
            text(&row["keepalive"]),
            spread(&row["messages_per_second"]),
            spread(&row["cpu_ns_per_message"])
        );
    }
    table
}

struct Panel {
    title: String,
    unit: &'static str,
    bars: Vec<(String, f64)>,
}

fn item_panel(items: &Value, load: &str) -> Panel {
    let bars = rows(items)
        .filter(|row| row["load"] == load && row["contender"] != "bare")
        .map(|row| (text(&row["contender"]).to_owned(), number(&row["added"])));
    Panel {
        title: load.to_owned(),
        unit: "ns added",
        bars: bars.collect(),
    }
}

fn stream_panel(run: &Value, title: String, unit: &'static str, figure: &str) -> Panel {
    let bars = found(run, "cost").map(|row| {
        (
            text(&row["contender"]).to_owned(),
            number(&row["figures"][figure]),
        )
    });
    Panel {
        title,
        unit,
        bars: bars.collect(),
    }
}

/// Draws the panels one below the other, for light and for dark backgrounds.
fn charts(name: &str, panels: &[Panel]) -> Result<()> {
    let dark = (
        RGBColor(0xe6, 0xed, 0xf3),
        RGBColor(0x3f, 0xb9, 0x50),
        RGBColor(0x6e, 0x76, 0x81),
    );
    let light = (
        RGBColor(0x1f, 0x23, 0x28),
        RGBColor(0x1a, 0x7f, 0x37),
        RGBColor(0xaf, 0xb8, 0xc1),
    );
    for (theme, (ink, ours, theirs)) in [("light", light), ("dark", dark)] {
        let file = Path::new(DOCS).join(format!("{name}-{theme}.svg"));
        let height: i32 = panels
            .iter()
            .map(|panel| 58 + 24 * panel.bars.len() as i32)
            .sum();
        let root = SVGBackend::new(&file, (720, height as u32)).into_drawing_area();
        let style = |size: i32, weight| (FONT, size).into_font().style(weight).color(&ink);
        let mut y = 8;
        for panel in panels {
            let title = format!("{}, {}", panel.title, panel.unit);
            root.draw(&Text::new(title, (8, y), style(16, FontStyle::Bold)))?;
            y += 28;
            let most = panel
                .bars
                .iter()
                .map(|(_, value)| *value)
                .fold(f64::MIN_POSITIVE, f64::max);
            for (label, value) in &panel.bars {
                let width = (420.0 * value.max(0.0) / most).ceil().max(1.0) as i32;
                let is_ours = ["keepalive", "shared-timer"].contains(&label.as_str());
                let fill = if is_ours { ours } else { theirs };
                let shown = if *value < 100.0 {
                    format!("{value:.1}")
                } else {
                    format!("{value:.0}")
                };
                root.draw(&Text::new(
                    label.as_str(),
                    (8, y + 3),
                    style(14, FontStyle::Normal),
                ))?;
                root.draw(&Rectangle::new(
                    [(190, y), (190 + width, y + 18)],
                    fill.filled(),
                ))?;
                root.draw(&Text::new(
                    shown,
                    (198 + width, y + 3),
                    style(14, FontStyle::Normal),
                ))?;
                y += 24;
            }
            y += 30;
        }
        root.present()?;
    }
    Ok(())
}
