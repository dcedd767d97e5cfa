//! What was measured, beside what is wanted: a table for people, lines of JSON for programs.
//!
//! Start at [`Report::row`]. A number is the median of its repeats, and carries the lowest and the
//! highest of them, so that a later run can say what is noise ([`super::compare`]). A number may
//! stand beside what a static server came to in the same run (its ceiling) and beside a real
//! kube-apiserver with its etcd (its peer), with a bar for the ratio.

use std::sync::Arc;

use comfy_table::{ContentArrangement, Table, presets};
use serde::{Deserialize, Serialize};

use super::compare::{self, Earlier};
use super::{Progress, machine};

/// What a number should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// At most this.
    Below(f64),
    /// At least this.
    Above(f64),
    /// Only told.
    None,
}

impl Target {
    fn limit(self) -> Option<f64> {
        match self {
            Target::Below(limit) | Target::Above(limit) => Some(limit),
            Target::None => None,
        }
    }

    fn met(self, value: f64) -> Option<bool> {
        match self {
            Target::Below(limit) => Some(value <= limit),
            Target::Above(limit) => Some(value >= limit),
            Target::None => None,
        }
    }
}

/// One number, as it is printed and stored: a line of JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    pub name: String,
    /// The median of the repeats.
    pub value: f64,
    pub unit: String,
    /// The limit, whichever side of it is wanted.
    pub target: Option<f64>,
    /// Whether the target is met; `null` without one.
    pub met: Option<bool>,
    /// The lowest of the repeats.
    pub low: f64,
    /// The highest of the repeats.
    pub high: f64,
    /// How often it was measured.
    pub repeats: usize,
    /// The same of a static server in the same run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<f64>,
    /// The same of kube-apiserver and etcd together, in the same run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<f64>,
    /// The share of the peer's number that is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bar: Option<f64>,
    /// Whether that bar is met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bar_met: Option<bool>,
    /// Whether more of it is better, as for rates.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more_is_better: bool,
    /// Where it lies on the first axis of a plot: a point of the curve that `name` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<f64>,
    /// What cannot be said in numbers, such as the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// One number with all that it is measured against.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub name: &'a str,
    pub unit: &'a str,
    pub target: Target,
    /// The repeats.
    pub samples: &'a [f64],
    /// The repeats of a static server; none when it was not measured.
    pub ceiling: &'a [f64],
    /// The repeats of a kube-apiserver; none when it was not measured.
    pub peer: &'a [f64],
    /// The share of the peer's number that is allowed.
    pub bar: Option<f64>,
    /// The place on the first axis of a plot.
    pub at: Option<f64>,
}

impl<'a> Row<'a> {
    /// A number with a target and nothing else.
    pub fn new(name: &'a str, unit: &'a str, target: Target, samples: &'a [f64]) -> Row<'a> {
        Row {
            name,
            unit,
            target,
            samples,
            ceiling: &[],
            peer: &[],
            bar: None,
            at: None,
        }
    }

    fn line(&self) -> Line {
        let value = median(self.samples).unwrap_or(f64::NAN);
        let (ceiling, peer) = (median(self.ceiling), median(self.peer));
        let bar = self.bar.filter(|_| peer.is_some());
        let within = |bar: f64| peer.is_some_and(|peer| value <= bar * peer);
        Line {
            name: self.name.to_owned(),
            value,
            unit: self.unit.to_owned(),
            target: self.target.limit(),
            met: self.target.met(value),
            low: self.samples.iter().copied().fold(value, f64::min),
            high: self.samples.iter().copied().fold(value, f64::max),
            repeats: self.samples.len(),
            ceiling,
            peer,
            bar,
            bar_met: bar.map(within),
            more_is_better: matches!(self.target, Target::Above(_)) || self.unit == "1/s",
            at: self.at,
            text: None,
        }
    }
}

/// The middle of the samples; the mean of the two in the middle of an even number.
pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// All numbers of a run.
pub struct Report {
    json: bool,
    lines: Vec<Line>,
    notes: Vec<String>,
    progress: Option<Arc<Progress>>,
}

impl Report {
    /// A report that prints each number as it comes: as JSON, or as a line of progress.
    pub fn new(json: bool) -> Report {
        Report::with(json, Vec::new(), None)
    }

    /// The same above a bar of progress.
    pub fn beside(json: bool, progress: Arc<Progress>) -> Report {
        Report::with(json, Vec::new(), Some(progress))
    }

    /// The report of a run that was stored.
    pub fn of(lines: Vec<Line>) -> Report {
        Report::with(false, lines, None)
    }

    fn with(json: bool, lines: Vec<Line>, progress: Option<Arc<Progress>>) -> Report {
        Report {
            json,
            lines,
            notes: Vec::new(),
            progress,
        }
    }

    fn say(&self, text: &str) {
        match &self.progress {
            Some(progress) => progress.line(text),
            None => eprintln!("{text}"),
        }
    }

    /// The first line: the machine, and what the programs were built with.
    pub fn machine(&mut self, profile: &str) {
        let line = Row::new("machine", "cores", Target::None, &[machine::cores() as f64]).line();
        self.push(Line {
            text: Some(machine::describe(profile)),
            ..line
        });
    }

    /// Adds a number that was measured once.
    pub fn add(&mut self, name: &str, value: f64, unit: &str, target: Target) {
        self.row(Row::new(name, unit, target, &[value]));
    }

    /// Adds a number. One without samples was not measured, and is left out.
    pub fn row(&mut self, row: Row<'_>) {
        if !row.samples.is_empty() {
            self.push(row.line());
        }
    }

    /// Adds a point of a curve.
    pub fn point(&mut self, curve: &str, at: f64, value: f64, unit: &str) {
        let row = Row::new(curve, unit, Target::None, std::slice::from_ref(&value));
        self.row(Row {
            at: Some(at),
            ..row
        });
    }

    fn push(&mut self, line: Line) {
        match (self.json, serde_json::to_string(&line)) {
            (true, Ok(text)) => println!("{text}"),
            _ if line.text.is_some() => {}
            _ => {
                let name = full_name(&line);
                self.say(&format!("  {name}: {} {}", number(line.value), line.unit));
            }
        }
        self.lines.push(line);
    }

    /// Says why something is missing. Not a number, so not among the lines.
    pub fn note(&mut self, words: &str) {
        self.say(&format!("  {words}"));
        self.notes.push(words.to_owned());
    }

    /// The numbers so far.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The table, with what an earlier run had where there was one, and the machine.
    pub fn table(&self, earlier: Option<&Earlier>) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_content_arrangement(ContentArrangement::Disabled);
        let shown: Vec<&Line> = self.lines.iter().filter(|line| line.at.is_none()).collect();
        let shown: Vec<&Line> = shown
            .into_iter()
            .filter(|line| line.text.is_none())
            .collect();
        let sides = shown
            .iter()
            .any(|line| line.ceiling.or(line.peer).is_some());
        let mut header = vec!["what", "measured", "unit", "target", "of it", ""];
        if sides {
            header.extend(["ceiling", "of it", "kube", "of it", "bar"]);
        }
        if earlier.is_some() {
            header.extend(["before", "change"]);
        }
        table.set_header(header);
        for line in shown {
            let mut row = vec![line.name.clone(), number(line.value), line.unit.clone()];
            row.extend([told(line.target), ratio(line.value, line.target)]);
            row.push(verdict(line.met).to_owned());
            if sides {
                row.extend([told(line.ceiling), ratio(line.value, line.ceiling)]);
                row.extend([told(line.peer), ratio(line.value, line.peer), bar(line)]);
            }
            if let Some(earlier) = earlier {
                row.extend(compare::cells(line, earlier));
            }
            table.add_row(row);
        }
        let notes: String = self.notes.iter().map(|note| format!("{note}\n")).collect();
        let machine = self.lines.iter().find_map(|line| line.text.as_deref());
        let told = earlier.map(|earlier| compare::footnote(earlier, machine));
        format!(
            "{table}\n\n{notes}{}{}Load average at the end {}.",
            told.unwrap_or_default(),
            machine.map(|text| format!("{text}\n")).unwrap_or_default(),
            machine::load_average(),
        )
    }
}

/// The name, and the place on its curve.
pub fn full_name(line: &Line) -> String {
    match line.at {
        Some(at) => format!("{}, at {}", line.name, number(at)),
        None => line.name.clone(),
    }
}

fn told(value: Option<f64>) -> String {
    value.map(number).unwrap_or_default()
}

fn ratio(value: f64, of: Option<f64>) -> String {
    let ratio = of.filter(|of| *of != 0.0).map(|of| value / of);
    ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default()
}

fn verdict(met: Option<bool>) -> &'static str {
    met.map_or("", |met| if met { "met" } else { "NOT MET" })
}

fn bar(line: &Line) -> String {
    let bar = line
        .bar
        .map(|bar| format!("{bar:.2} {}", verdict(line.bar_met)));
    bar.unwrap_or_default()
}

/// A number with as many digits as mean something.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_on_its_side() {
        let mut report = Report::new(false);
        report.add("get", 39.0, "us", Target::Below(40.0));
        report.add("rate", 900.0, "1/s", Target::Above(1000.0));
        report.add("p50", 1.0, "ms", Target::None);
        let met: Vec<Option<bool>> = report.lines().iter().map(|line| line.met).collect();
        assert_eq!(met, [Some(true), Some(false), None]);
        let table = report.table(None);
        assert!(
            table.contains("NOT MET") && table.contains("0.90"),
            "{table}"
        );
    }

    #[test]
    fn a_number_is_the_median_and_stands_beside_its_ceiling_and_its_peer() {
        let mut report = Report::new(false);
        let row = Row::new("get", "us", Target::Below(40.0), &[39.0, 90.0, 35.0]);
        report.row(Row {
            ceiling: &[20.0],
            peer: &[400.0, 300.0],
            bar: Some(0.2),
            ..row
        });
        report.row(Row::new("not measured", "us", Target::None, &[]));
        let [line] = report.lines() else {
            panic!("{:?}", report.lines());
        };
        assert_eq!((line.value, line.low, line.high), (39.0, 35.0, 90.0));
        assert_eq!((line.peer, line.bar_met), (Some(350.0), Some(true)));
        assert_eq!(line.repeats, 3);
        let text = serde_json::to_string(line).unwrap();
        let again: Line = serde_json::from_str(&text).unwrap();
        assert_eq!(again.ceiling, Some(20.0));
        assert!(report.table(None).contains("0.20 met"));
    }
}
