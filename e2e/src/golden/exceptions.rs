//! What is known to differ from the recordings, by name and reason.
//!
//! An exception excuses differences of some entries of one file against one server; with `paths`
//! only those below them. [`apply`] splits what was found into what is excused and what is not,
//! and reports exceptions that excuse nothing, so that the list stays true.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{Finding, directory};

/// One line of the list.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The server that differs: `hanse` or `kube-apiserver`.
    pub server: String,
    /// The file of recordings.
    pub file: String,
    /// The entries, counted from 0.
    pub entries: Vec<usize>,
    /// Only differences below one of these paths, or that begin so where one ends with `*`; all
    /// of them when it is left out.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Whether it is meant to stay.
    pub kind: Kind,
    /// Why.
    pub reason: String,
}

/// Whether an exception is meant to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Decided: Hanse answers differently on purpose.
    Decided,
    /// The recording holds what another run cannot have.
    Recording,
    /// Not done yet.
    NotYet,
}

/// Reads the list for one server and file.
pub fn load(server: &str, file: &str) -> Result<Vec<Exception>> {
    let path = directory().join("exceptions.json");
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let all: Vec<Exception> = serde_json::from_slice(&text).context("exceptions.json")?;
    Ok(all
        .into_iter()
        .filter(|one| one.server == server && one.file == file)
        .collect())
}

/// Takes from the findings what is excused; answers what remains, as lines for people.
pub fn apply(findings: &[Finding], exceptions: &[Exception]) -> Vec<String> {
    let mut used = vec![vec![]; exceptions.len()];
    let mut lines = Vec::new();
    for finding in findings {
        for difference in &finding.differences {
            let mut excused = false;
            for (exception, used) in exceptions.iter().zip(&mut used) {
                if exception.entries.contains(&finding.entry) && exception.covers(&difference.path)
                {
                    used.push(finding.entry);
                    excused = true;
                }
            }
            if !excused {
                lines.push(format!(
                    "{} ({}): {difference}",
                    finding.entry, finding.request
                ));
            }
        }
    }
    for (exception, used) in exceptions.iter().zip(&used) {
        for entry in exception
            .entries
            .iter()
            .filter(|entry| !used.contains(entry))
        {
            lines.push(format!(
                "{entry}: the exception {:?} excuses nothing any more: remove it",
                exception.reason
            ));
        }
    }
    lines
}

impl Exception {
    fn covers(&self, path: &str) -> bool {
        self.paths.is_empty()
            || self.paths.iter().any(|prefix| {
                if let Some(prefix) = prefix.strip_suffix('*') {
                    return path.starts_with(prefix);
                }
                path.strip_prefix(&**prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[', ' ']))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::super::compare::Difference;
    use super::*;

    fn exception(entries: &[usize], paths: &[&str]) -> Exception {
        Exception {
            server: "hanse".to_owned(),
            file: "a.json".to_owned(),
            entries: entries.to_vec(),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            kind: Kind::NotYet,
            reason: "because".to_owned(),
        }
    }

    fn finding(entry: usize, path: &str) -> Finding {
        let differences = vec![Difference::new(path, 1.into(), 2.into())];
        Finding {
            entry,
            request: "GET /api".to_owned(),
            differences,
        }
    }

    #[test]
    fn an_exception_excuses_its_entries_and_paths_only() {
        let findings = [
            finding(1, "spec.a"),
            finding(1, "specific"),
            finding(2, "spec.a"),
        ];
        let rest = apply(&findings, &[exception(&[1], &["spec"])]);
        assert_eq!(rest.len(), 2);
        assert!(rest[0].starts_with("1 (GET /api): specific"));
        assert!(rest[1].starts_with("2 (GET /api): spec.a"));
    }

    #[test]
    fn a_star_excuses_every_path_that_begins_so() {
        let findings = [
            finding(1, "paths[/healthz/a]"),
            finding(1, "paths[/version]"),
        ];
        let rest = apply(&findings, &[exception(&[1], &["paths[/healthz/*"])]);
        assert_eq!(rest.len(), 1);
    }

    #[test]
    fn an_exception_that_excuses_nothing_is_a_finding() {
        let rest = apply(&[finding(1, "a")], &[exception(&[1, 3], &[])]);
        assert_eq!(
            rest,
            ["3: the exception \"because\" excuses nothing any more: remove it"]
        );
    }

    #[test]
    fn the_list_reads_and_every_reason_is_given() {
        let path = directory().join("exceptions.json");
        let all: Vec<Exception> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert!(
            all.iter()
                .all(|one| !one.reason.trim().is_empty() && !one.entries.is_empty())
        );
    }
}
