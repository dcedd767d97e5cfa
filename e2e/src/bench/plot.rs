//! Draws curves as SVG: latency over load, memory over workspaces.
//!
//! Start at [`write`]. The points are the lines of a report that have a place; the name of a
//! curve is `chart | server | what`. The pictures carry their own colours for a light and for a
//! dark page, and need nothing beside themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::report::Line;

/// Where the name of a curve is split: the chart, the server, what of it.
pub const SEPARATOR: &str = " | ";

const WIDTH: f64 = 820.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 570.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 360.0;

/// A picture that can be drawn: the first part of its curves' names, its file, its words.
struct Chart {
    name: &'static str,
    file: &'static str,
    title: &'static str,
    across: &'static str,
    up: &'static str,
    /// Whether both axes grow by factors.
    logarithmic: bool,
}

const CHARTS: [Chart; 3] = [
    Chart {
        name: "GET",
        file: "latency-get.svg",
        title: "GET of one object: latency over load",
        across: "requests begun in a second",
        up: "latency, ms",
        logarithmic: true,
    },
    Chart {
        name: "create",
        file: "latency-create.svg",
        title: "Durable create of 1 KiB: latency over load",
        across: "requests begun in a second",
        up: "latency, ms",
        logarithmic: true,
    },
    Chart {
        name: "memory",
        file: "memory.svg",
        title: "Resident memory over workspaces",
        across: "workspaces",
        up: "resident memory, MiB",
        logarithmic: false,
    },
];

/// The colours, and what they are on a dark page.
const STYLE: &str = "\
svg { font: 13px system-ui, sans-serif; }
text { fill: #1f2328; } .title { font-size: 16px; font-weight: 600; } .soft { fill: #59636e; }
.page { fill: #ffffff; } .grid { stroke: #d8dee4; } .axis { stroke: #59636e; fill: none; }
.curve { fill: none; stroke-width: 2.2; } .p50, .target { stroke-dasharray: 5 4; }
.hanse { --c: #0969da; } .kube-apiserver { --c: #bc4c00; } .static { --c: #6e7781; }
.target { --c: #1a7f37; }
.curve { stroke: var(--c); } .dot { fill: var(--c); }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; } .soft { fill: #9198a1; } .page { fill: #0d1117; }
.grid { stroke: #2d333b; } .axis { stroke: #9198a1; }
.hanse { --c: #58a6ff; } .kube-apiserver { --c: #f0883e; } .static { --c: #9198a1; }
.target { --c: #3fb950; }
}";

/// A curve: who, what of it, and its points from left to right.
struct Curve<'a> {
    server: &'a str,
    what: &'a str,
    points: Vec<(f64, f64)>,
}

/// Draws every chart that has points into a directory; answers the files.
pub fn write(lines: &[Line], dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for chart in &CHARTS {
        let curves = curves(chart, lines);
        if curves.iter().all(|curve| curve.points.len() < 2) {
            continue;
        }
        std::fs::create_dir_all(dir).with_context(|| format!("{}", dir.display()))?;
        let file = dir.join(chart.file);
        std::fs::write(&file, draw(chart, &curves))
            .with_context(|| format!("cannot write {}", file.display()))?;
        files.push(file);
    }
    Ok(files)
}

/// The curves of a chart in the order in which they were measured.
fn curves<'a>(chart: &Chart, lines: &'a [Line]) -> Vec<Curve<'a>> {
    let mut curves: Vec<Curve<'_>> = Vec::new();
    let mut places = BTreeMap::new();
    for line in lines {
        let Some(at) = line.at else { continue };
        let mut parts = line.name.split(SEPARATOR);
        let (Some(name), Some(server), Some(what)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if name != chart.name {
            continue;
        }
        let place = *places.entry((server, what)).or_insert_with(|| {
            curves.push(Curve {
                server,
                what,
                points: Vec::new(),
            });
            curves.len() - 1
        });
        curves[place].points.push((at, line.value));
    }
    for curve in &mut curves {
        curve.points.sort_by(|one, other| one.0.total_cmp(&other.0));
    }
    curves
}

/// The way from numbers to places on the page.
struct Axis {
    logarithmic: bool,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis that holds all of the values.
    fn over(values: impl Iterator<Item = f64>, logarithmic: bool, from: f64, to: f64) -> Axis {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if logarithmic {
            (low, high) = (low.max(1e-3), high.max(2e-3));
            (low, high) = (low / 1.2, high * 1.2);
        } else {
            (low, high) = (0.0, if high > 0.0 { high * 1.05 } else { 1.0 });
        }
        Axis {
            logarithmic,
            low,
            high,
            from,
            to,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(self.low).ln() - self.low.ln()) / (self.high.ln() - self.low.ln())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share * (self.to - self.from)
    }

    /// Round numbers within the axis: 1, 2 and 5 of each decade, or steps of such a number.
    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let first = self.low.log10().floor() as i32;
            let last = self.high.log10().ceil() as i32;
            let all = (first..=last).flat_map(|e| [1.0, 2.0, 5.0].map(|m| m * 10_f64.powi(e)));
            return all
                .filter(|tick| (self.low..=self.high).contains(tick))
                .collect();
        }
        let rough = (self.high - self.low) / 6.0;
        let decade = 10_f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|multiple| multiple * decade);
        let step = steps
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let count = (self.high / step).floor() as usize;
        (0..=count).map(|index| index as f64 * step).collect()
    }
}

fn draw(chart: &Chart, curves: &[Curve<'_>]) -> String {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let across = Axis::over(points().map(|p| p.0), chart.logarithmic, LEFT, RIGHT);
    let up = Axis::over(points().map(|p| p.1), chart.logarithmic, BOTTOM, TOP);
    let mut page = Page::default();
    page.frame(chart, &across, &up);
    for (index, curve) in curves.iter().enumerate() {
        let class = format!("{} {}", class(curve.server), class(curve.what));
        let mut path = String::new();
        for (x, y) in &curve.points {
            let (x, y) = (across.place(*x), up.place(*y));
            let step = if path.is_empty() { 'M' } else { 'L' };
            path.push_str(&format!("{step}{x:.1} {y:.1}"));
            page.put(&format!(
                r#"<circle class="dot {class}" cx="{x:.1}" cy="{y:.1}" r="2.6"/>"#
            ));
        }
        let curve_class = format!("curve {class}");
        page.path(&curve_class, &path);
        let (x, y) = (RIGHT + 18.0, TOP + 8.0 + 22.0 * index as f64);
        page.path(&curve_class, &format!("M{x} {y}h24"));
        let words = format!("{}, {}", short(curve.server), curve.what);
        page.words("", (x + 30.0, y + 4.5), "start", &words);
    }
    page.put("</svg>");
    page.0
}

/// The text of a picture.
#[derive(Default)]
struct Page(String);

impl Page {
    fn put(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn path(&mut self, class: &str, d: &str) {
        self.put(&format!(r#"<path class="{class}" d="{d}"/>"#));
    }

    fn words(&mut self, class: &str, (x, y): (f64, f64), anchor: &str, words: &str) {
        let place = format!(r#"x="{x:.1}" y="{y:.1}" text-anchor="{anchor}""#);
        self.put(&format!(
            r#"<text class="{class}" {place}>{}</text>"#,
            escape(words)
        ));
    }

    /// The page, the title, the axes with their numbers and their words.
    fn frame(&mut self, chart: &Chart, across: &Axis, up: &Axis) {
        let size = format!(r#"viewBox="0 0 {WIDTH} {HEIGHT}""#);
        self.put(&format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">"#
        ));
        self.put(&format!("<title>{}</title>", escape(chart.title)));
        self.put(&format!("<style>{STYLE}</style>"));
        let size = format!(r#"width="{WIDTH}" height="{HEIGHT}""#);
        self.put(&format!(r#"<rect class="page" {size} rx="6"/>"#));
        self.words("title", (LEFT, 26.0), "start", chart.title);
        for tick in across.ticks() {
            let x = across.place(tick);
            self.path("grid", &format!("M{x:.1} {TOP}V{BOTTOM}"));
            self.words("soft", (x, BOTTOM + 18.0), "middle", &label(tick));
        }
        for tick in up.ticks() {
            let y = up.place(tick);
            self.path("grid", &format!("M{LEFT} {y:.1}H{RIGHT}"));
            self.words("soft", (LEFT - 8.0, y + 4.5), "end", &label(tick));
        }
        self.path("axis", &format!("M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"));
        let (middle, height) = ((LEFT + RIGHT) / 2.0, (TOP + BOTTOM) / 2.0);
        self.words("", (middle, BOTTOM + 42.0), "middle", chart.across);
        self.put(&format!(
            r#"<g transform="translate(20 {height}) rotate(-90)">"#
        ));
        self.words("", (0.0, 0.0), "middle", chart.up);
        self.put("</g>");
    }
}

/// A number beside an axis: `0.5`, `20`, `20,000`.
fn label(value: f64) -> String {
    if value < 1.0 && value > 0.0 {
        return format!("{}", (value * 1_000.0).round() / 1_000.0);
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The first word of a name, which is the class of its colour.
fn class(name: &str) -> &str {
    name.split(' ').next().unwrap_or(name)
}

/// What fits beside a curve.
fn short(server: &str) -> &str {
    server.split(" +").next().unwrap_or(server)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::report::Report;
    use super::*;

    fn report() -> Report {
        let mut report = Report::new(false);
        for (rate, ms) in [(500.0, 0.4), (4_000.0, 1.2), (16_000.0, 40.0)] {
            report.point("GET | hanse | p99", rate, ms, "ms");
            report.point("GET | kube-apiserver + etcd | p99", rate, ms * 9.0, "ms");
        }
        report.point("memory | hanse | measured", 100.0, 30.0, "MiB");
        report
    }

    #[test]
    fn a_chart_with_points_is_a_picture_with_axes_and_units() {
        let dir = tempfile::tempdir().unwrap();
        let files = write(report().lines(), dir.path()).unwrap();
        // One point is no curve.
        assert_eq!(files, [dir.path().join("latency-get.svg")]);
        let svg = std::fs::read_to_string(&files[0]).unwrap();
        assert_eq!(svg.matches("class=\"dot").count(), 6);
        for word in [
            "latency, ms",
            "in a second",
            "prefers-color-scheme: dark",
            ">10,000<",
        ] {
            assert!(svg.contains(word), "{word} is not in {svg}");
        }
        assert!(svg.contains("kube-apiserver, p99") && !svg.contains("NaN"));
    }

    #[test]
    fn ticks_are_round_and_within() {
        let axis = Axis::over([0.3, 40.0].into_iter(), true, 0.0, 1.0);
        assert_eq!(axis.ticks(), [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]);
        let axis = Axis::over([0.0, 10_000.0].into_iter(), false, 0.0, 1.0);
        assert_eq!(axis.ticks()[1], 2_000.0);
        assert_eq!(axis.place(0.0), 0.0);
        assert_eq!(
            [label(0.5), label(20.0), label(20_000.0)],
            ["0.5", "20", "20,000"]
        );
    }
}
