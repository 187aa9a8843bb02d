//! Draws the charts and fills the tables of docs/performance.md from the files in benches/measurements:
//! `cargo run -p benches --bin report`

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use benches::loads::CLOCK;
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use programs::markdown;
use serde_json::Value;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
const MEASUREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/measurements");
const FONT: &str = "system-ui, sans-serif";

/// The numbers of streams that have a chart.
const CHARTED: [u64; 2] = [300_000, 1_000_000];

const READY: &str = "ready";
const CHANNEL: &str = "full mpsc channel";
const PAIR: &str = "ready and pending in turn";

fn main() -> Result<()> {
    let items = read("items.json")?;
    let runs = ["10k", "100k", "300k", "1m", "10m"]
        .map(|streams| format!("streams-{streams}.json"))
        .iter()
        .filter(|file| measurement(file).exists())
        .map(|file| read(file))
        .collect::<Result<Vec<_>>>()?;

    charts(
        "items",
        &[READY, CHANNEL, PAIR].map(|load| item_panel(&items, load)),
    )?;
    let panels: Vec<_> = runs
        .iter()
        .filter(|run| CHARTED.contains(&run["streams"].as_u64().unwrap_or_default()))
        .flat_map(|run| [cpu_panel(run), memory_panel(run)])
        .collect();
    charts("streams", &panels)?;

    let connections = read("connections.json")?;
    let loopback = read("loopback.json")?;
    for (name, table) in [
        ("items", items_table(&items)),
        ("frames", frames_table(&items)),
        ("streams", streams_table(&runs)),
        ("lateness", lateness_table(&runs)),
        ("burst", burst_table(&runs)),
        ("memory", memory_table(&read("memory.json")?)),
        ("disconnect", disconnect_table(&read("disconnect.json")?)),
        ("cold lines", cold_lines_table(&runs)),
        ("connections", connections_table(&connections)),
        ("loopback", loopback_table(&loopback)),
    ] {
        markdown::fill(Path::new(DOCS).join("performance.md"), name, &table)?;
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
    let is_of_items = |row: &&Value| !has_layer(items, &row["load"]);
    load_table(rows(items).filter(is_of_items), "the bare stream")
}

fn frames_table(items: &Value) -> String {
    let is_of_frames = |row: &&Value| has_layer(items, &row["load"]);
    load_table(rows(items).filter(is_of_frames), "the bare body")
}

/// Returns whether a load consists of frames.
fn has_layer(items: &Value, load: &Value) -> bool {
    rows(items).any(|row| row["load"] == *load && row["contender"] == "layer")
}

fn load_table<'a>(rows: impl Iterator<Item = &'a Value>, bare: &str) -> String {
    let added = format!("added to {bare}:");
    markdown::table(
        &["load", "contender", "ns:", &added],
        rows.map(|row| {
            [
                text(&row["load"]).to_owned(),
                text(&row["contender"]).to_owned(),
                format!("{:.2}", number(&row["ns"])),
                format!("{:.2}", number(&row["added"]).max(0.0)),
            ]
        }),
    )
}

/// A row of cells for each finding of this kind in each run.
fn rows_of<const N: usize>(
    runs: &[Value],
    what: &str,
    row: impl Fn(&Value, &str, &Value) -> [String; N],
) -> Vec<[String; N]> {
    let findings = runs
        .iter()
        .flat_map(|run| found(run, what).map(move |finding| (run, finding)));
    findings
        .map(|(run, finding)| row(run, text(&finding["contender"]), &finding["figures"]))
        .collect()
}

fn streams_table(runs: &[Value]) -> String {
    let headings = [
        "streams:",
        "contender",
        "CPU ns a keepalive:",
        "bytes a stream:",
        "cores:",
        "due:",
        "sent:",
    ];
    let rows = rows_of(runs, "cost", |run, contender, figures| {
        [
            run["streams"].to_string(),
            contender.to_owned(),
            format!("{:.0}", number(&figures["cpu_ns_per_keepalive"])),
            format!("{:.0}", number(&figures["bytes_per_stream"])),
            format!("{:.3}", number(&figures["cores"])),
            figures["due"].to_string(),
            figures["sent"].to_string(),
        ]
    });
    markdown::table(&headings, rows)
}

fn lateness_table(runs: &[Value]) -> String {
    let headings = [
        "streams:",
        "contender",
        "p50 ms:",
        "p99 ms:",
        "p99.9 ms:",
        "max ms:",
        "early:",
    ];
    let rows = rows_of(runs, "lateness", |run, contender, figures| {
        let ms = |quantile| format!("{:.2}", number(&figures[quantile]));
        [
            run["streams"].to_string(),
            contender.to_owned(),
            ms("p50"),
            ms("p99"),
            ms("p999"),
            ms("max"),
            figures["early"].to_string(),
        ]
    });
    markdown::table(&headings, rows)
}

fn burst_table(runs: &[Value]) -> String {
    let headings = ["streams:", "idle", "keepalives in the busiest 100 ms:"];
    let rows = rows_of(runs, "burst", |run, idle, figures| {
        [
            run["streams"].to_string(),
            idle.to_owned(),
            figures["peak"].to_string(),
        ]
    });
    markdown::table(&headings, rows)
}

fn memory_table(run: &Value) -> String {
    let shapes = [
        "combinator",
        "boxed",
        "async-fn",
        "async-block",
        "async-fn-with-locals",
    ];
    let columns = shapes.map(|shape| format!("{shape}:"));
    let headings: Vec<_> = ["contender"]
        .into_iter()
        .chain(columns.iter().map(String::as_str))
        .collect();
    let rows = found(run, "memory").map(|row| {
        let bytes = shapes.map(|shape| format!("{:.0}", number(&row["figures"][shape])));
        [text(&row["contender"]).to_owned()]
            .into_iter()
            .chain(bytes)
    });
    markdown::table(&headings, rows)
}

fn disconnect_table(run: &Value) -> String {
    let rows = found(run, "disconnect").map(|row| {
        let ns = number(&row["figures"]["cpu_ns_per_stream"]);
        [text(&row["contender"]).to_owned(), format!("{ns:.0}")]
    });
    markdown::table(&["contender", "CPU ns for each stream:"], rows)
}

/// The CPU time of a keepalive next to the time of the cache lines that it touches.
fn cold_lines_table(runs: &[Value]) -> String {
    let headings = [
        "streams:",
        "contender",
        "cold lines:",
        "ns a line:",
        "ns for all lines:",
        "CPU ns a keepalive:",
        "ratio:",
    ];
    let rows = rows_of(runs, "cold-lines", |run, contender, figures| {
        let lines = number(&figures["lines_per_keepalive"]);
        let ns = number(&figures["ns_per_line"]);
        let cost = found(run, "cost").find(|row| row["contender"] == contender);
        let cpu = cost.map_or(f64::NAN, |row| {
            number(&row["figures"]["cpu_ns_per_keepalive"])
        });
        [
            run["streams"].to_string(),
            contender.to_owned(),
            format!("{lines:.1}"),
            format!("{ns:.0}"),
            format!("{:.0}", lines * ns),
            format!("{cpu:.0}"),
            format!("{:.2}", cpu / (lines * ns)),
        ]
    });
    markdown::table(&headings, rows)
}

/// The share of the keepalives is what a stream takes more than without them.
fn connections_table(run: &Value) -> String {
    let headings = [
        "HTTP",
        "keepalives",
        "bytes a stream:",
        "of which for keepalives:",
        "CPU ns a keepalive:",
        "cores:",
    ];
    let rows = rows(&run["found"]).map(|row| {
        let bytes = |row: &Value| number(&row["figures"]["bytes_per_stream"]);
        let none = rows(&run["found"])
            .find(|none| none["http"] == row["http"] && none["keepalives"] == "none");
        let added = none.map_or(f64::NAN, |none| bytes(row) - bytes(none));
        let ns = row["figures"]["cpu_ns_per_keepalive"].as_f64();
        [
            text(&row["http"]).to_owned(),
            text(&row["keepalives"]).to_owned(),
            format!("{:.0}", bytes(row)),
            format!("{added:.0} ({:.0} %)", 100.0 * added / bytes(row)),
            ns.map_or_else(String::new, |ns| format!("{ns:.0}")),
            format!("{:.4}", number(&row["figures"]["cores"])),
        ]
    });
    markdown::table(&headings, rows)
}

fn loopback_table(figures: &Value) -> String {
    let headings = [
        "stack",
        "keepalives",
        "messages a second: median (least to most):",
        "CPU ns a message:",
    ];
    let spread = |value: &Value| {
        let [least, median, most] = [0, 1, 2].map(|place| number(&value[place]));
        format!("{median:.0} ({least:.0} to {most:.0})")
    };
    let rows = rows(figures).map(|row| {
        [
            text(&row["stack"]).to_owned(),
            text(&row["keepalives"]).to_owned(),
            spread(&row["messages_per_second"]),
            spread(&row["cpu_ns_per_message"]),
        ]
    });
    markdown::table(&headings, rows)
}

/// A bar for each contender, and a title that sums them up.
struct Panel {
    title: String,
    axis: &'static str,
    bars: Vec<(String, f64)>,
}

const OURS: [&str; 3] = ["keepalive", "shared-timer", "select-all"];

impl Panel {
    /// The figure of a contender.
    fn of(&self, contender: &str) -> f64 {
        let bar = self.bars.iter().find(|(label, _)| label == contender);
        bar.map_or(f64::NAN, |(_, value)| *value)
    }

    /// The smallest figure of the others.
    fn best_other(&self) -> f64 {
        let others = self
            .bars
            .iter()
            .filter(|(label, _)| !OURS.contains(&label.as_str()) && label != CLOCK);
        others.map(|(_, value)| *value).fold(f64::NAN, f64::min)
    }
}

fn item_panel(items: &Value, load: &str) -> Panel {
    let bars = rows(items)
        .filter(|row| row["load"] == load && row["contender"] != "bare")
        .map(|row| {
            (
                text(&row["contender"]).to_owned(),
                number(&row["added"]).max(0.0),
            )
        });
    let mut panel = Panel {
        title: String::new(),
        axis: "nanoseconds added to the bare stream, for each item",
        bars: bars.collect(),
    };
    let (ours, other, clock) = (panel.of("keepalive"), panel.best_other(), panel.of(CLOCK));
    panel.title = match load {
        READY => {
            format!(
                "An item that is ready: Keepalive adds {ours:.1} ns, the others {other:.0} ns or more"
            )
        }
        CHANNEL => {
            format!(
                "An item of a channel: Keepalive adds {ours:.1} ns, the others {other:.0} ns or more"
            )
        }
        _ => format!(
            "An item after a wait: Keepalive adds {ours:.0} ns, of which {clock:.0} ns is reading the clock"
        ),
    };
    panel
}

fn cpu_panel(run: &Value) -> Panel {
    let mut panel = stream_panel(
        run,
        "cpu_ns_per_keepalive",
        "CPU time for each keepalive, nanoseconds",
    );
    let (own, shared) = (panel.of("keepalive"), panel.of("shared-timer"));
    let other = panel.best_other();
    panel.title = format!(
        "{} idle streams: {:.2} of the best alternative's CPU time, {:.2} with SharedTimers",
        thousands(run),
        own / other,
        shared / other
    );
    panel
}

fn memory_panel(run: &Value) -> Panel {
    let mut panel = stream_panel(
        run,
        "bytes_per_stream",
        "resident memory for each stream, bytes",
    );
    panel.title = format!(
        "{} idle streams: {:.0} bytes each, {:.0} with SharedTimers; the best alternative takes {:.0}",
        thousands(run),
        panel.of("keepalive"),
        panel.of("shared-timer"),
        panel.best_other()
    );
    panel
}

fn stream_panel(run: &Value, figure: &str, axis: &'static str) -> Panel {
    let bars = found(run, "cost").map(|row| {
        (
            text(&row["contender"]).to_owned(),
            number(&row["figures"][figure]),
        )
    });
    Panel {
        title: String::new(),
        axis,
        bars: bars.collect(),
    }
}

/// The number of streams, formatted for a title.
fn thousands(run: &Value) -> String {
    let digits = run["streams"].to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8_lossy(&groups.join(&b',')).into_owned()
}

const WIDTH: u32 = 720;

/// Draws the panels below each other, for light and for dark backgrounds.
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
        let heights: Vec<_> = panels
            .iter()
            .map(|panel| 90 + 26 * panel.bars.len() as u32)
            .collect();
        let mut rest = SVGBackend::new(&file, (WIDTH, heights.iter().sum())).into_drawing_area();
        let whole = rest.clone();
        for (panel, height) in panels.iter().zip(heights) {
            let (area, below) = rest.split_vertically(height);
            draw(panel, &area, ink, |label| {
                if OURS.contains(&label) { ours } else { theirs }
            })?;
            rest = below;
        }
        whole.present()?;
    }
    Ok(())
}

fn draw<'a>(
    panel: &Panel,
    area: &DrawingArea<SVGBackend<'a>, Shift>,
    ink: RGBColor,
    fill: impl Fn(&str) -> RGBColor,
) -> Result<()>
where
{
    let style = |size: i32, weight| (FONT, size).into_font().style(weight).color(&ink);
    let small = style(13, FontStyle::Normal);
    let most = panel
        .bars
        .iter()
        .map(|(_, value)| *value)
        .fold(f64::MIN_POSITIVE, f64::max);
    // The first bar is at the top.
    let bars: Vec<_> = panel.bars.iter().rev().collect();
    let last = bars.len().checked_sub(1).context("a chart without bars")?;
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, style(15, FontStyle::Bold))
        .margin(8)
        .margin_right(60)
        .x_label_area_size(44)
        .y_label_area_size(160)
        .build_cartesian_2d(0.0..most, (0..last).into_segmented())?;
    let label = |place: &SegmentValue<usize>| match place {
        SegmentValue::CenterOf(bar) => bars.get(*bar).map_or_else(String::new, |bar| bar.0.clone()),
        SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
    };
    chart
        .configure_mesh()
        .disable_mesh()
        .axis_style(ink.mix(0.4))
        .label_style(small.clone())
        .axis_desc_style(small.clone())
        .x_desc(panel.axis)
        .x_labels(6)
        .x_label_formatter(&|figure| format!("{figure:.0}"))
        .y_labels(bars.len())
        .y_label_formatter(&label)
        .draw()?;
    for (place, (label, value)) in bars.iter().enumerate() {
        let corners = [
            (0.0, SegmentValue::Exact(place)),
            (*value, SegmentValue::Exact(place + 1)),
        ];
        let mut bar = Rectangle::new(corners, fill(label).filled());
        bar.set_margin(4, 4, 0, 0);
        chart.draw_series([bar])?;
        let (x, y) = chart.backend_coord(&(*value, SegmentValue::CenterOf(place)));
        let shown = if *value < 100.0 {
            format!("{value:.1}")
        } else {
            format!("{value:.0}")
        };
        let right_of_bar = small.pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(shown, relative(area, (x + 6, y)), right_of_bar))?;
    }
    Ok(())
}

/// Converts a position in the whole drawing to a position in an area.
fn relative(area: &DrawingArea<SVGBackend<'_>, Shift>, (x, y): (i32, i32)) -> (i32, i32) {
    let (left, top) = area.get_base_pixel();
    (x - left, y - top)
}
