//! What was measured, beside what is wanted: a table for people, lines of JSON for programs.

use comfy_table::{Table, presets};
use serde::Serialize;

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

/// One number.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    /// The limit, whichever side of it is wanted.
    pub target: Option<f64>,
    /// Whether the target is met; `null` without one.
    pub met: Option<bool>,
}

/// All numbers of a run.
pub struct Report {
    json: bool,
    lines: Vec<Line>,
    notes: Vec<String>,
}

impl Report {
    /// A report that prints each number as it comes: as JSON, or as a line of progress.
    pub fn new(json: bool) -> Report {
        Report {
            json,
            lines: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a number.
    pub fn add(&mut self, name: &str, value: f64, unit: &'static str, target: Target) {
        let (limit, met) = match target {
            Target::Below(limit) => (Some(limit), Some(value <= limit)),
            Target::Above(limit) => (Some(limit), Some(value >= limit)),
            Target::None => (None, None),
        };
        let line = Line {
            name: name.to_owned(),
            value,
            unit,
            target: limit,
            met,
        };
        match (self.json, serde_json::to_string(&line)) {
            (true, Ok(text)) => println!("{text}"),
            _ => eprintln!("  {name}: {} {unit}", number(value)),
        }
        self.lines.push(line);
    }

    /// Says why something is missing. Not a number, so not among the lines.
    pub fn note(&mut self, words: &str) {
        eprintln!("  {words}");
        self.notes.push(words.to_owned());
    }

    /// The numbers so far.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The table, and the machine on which it was measured.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["what", "measured", "unit", "target", "measured/target", ""]);
        for line in &self.lines {
            let ratio = line
                .target
                .filter(|target| *target != 0.0)
                .map(|t| line.value / t);
            table.add_row([
                line.name.clone(),
                number(line.value),
                line.unit.to_owned(),
                line.target.map(number).unwrap_or_default(),
                ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
                line.met
                    .map_or("", |met| if met { "met" } else { "NOT MET" })
                    .to_owned(),
            ]);
        }
        let notes: String = self.notes.iter().map(|note| format!("{note}\n")).collect();
        format!("{table}\n\n{notes}{}", machine())
    }
}

/// A number with as many digits as mean something.
fn number(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// The processor, its number, and the memory of this machine.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find(|line| line.starts_with("model name"));
    let model = model
        .and_then(|line| line.split(": ").nth(1))
        .unwrap_or("unknown processor");
    let count = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let memory = read("/proc/meminfo");
    let kib = memory
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok());
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("?");
    format!(
        "Machine: {count} x {model}, {} GiB; load average at the end {load}.",
        kib.unwrap_or(0) >> 20
    )
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
        let table = report.table();
        assert!(
            table.contains("NOT MET") && table.contains("0.90"),
            "{table}"
        );
    }
}
