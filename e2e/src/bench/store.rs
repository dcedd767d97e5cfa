//! A run as a file of JSON lines, for a later one to be compared with.
//!
//! Groups may be measured one at a time: saving replaces the lines that were measured again and
//! keeps the others.

use std::path::Path;

use anyhow::{Context, Result};

use super::report::Line;

/// Writes lines to a file, in place of those of the same name that it holds.
pub fn save(lines: &[Line], path: &Path) -> Result<()> {
    let mut all = match path.exists() {
        true => read(path)?,
        false => Vec::new(),
    };
    // A curve that was measured again replaces the whole of the old one.
    all.retain(|old| {
        lines
            .iter()
            .all(|new| (&new.name, &new.unit) != (&old.name, &old.unit))
    });
    all.extend(lines.iter().cloned());
    all.sort_by_key(|line| line.text.is_none());
    let mut text = String::new();
    for line in &all {
        text.push_str(&serde_json::to_string(line)?);
        text.push('\n');
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Reads the lines of a file.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the run {}", path.display()))?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty());
    lines
        .map(|(index, line)| {
            let place = || format!("{}:{}", path.display(), index + 1);
            serde_json::from_str(line).with_context(place)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::report::{Report, Target};
    use super::*;

    #[test]
    fn what_is_measured_again_replaces_the_old_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("run.jsonl");
        let run = |rows: &[(&str, f64)]| {
            let mut report = Report::new(false);
            report.machine("fast");
            for (name, value) in rows {
                report.add(name, *value, "us", Target::None);
            }
            save(report.lines(), &file).unwrap();
        };
        run(&[("get", 1.0), ("create", 2.0)]);
        run(&[("get", 3.0)]);
        let found = read(&file).unwrap();
        let names: Vec<(&str, f64)> = found.iter().map(|l| (&*l.name, l.value)).collect();
        assert_eq!(names[1..], [("create", 2.0), ("get", 3.0)]);
        assert!(found[0].text.is_some());
    }
}
