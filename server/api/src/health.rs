//! `/livez`, `/readyz`, `/healthz`: what is checked, and how the answers read.
//!
//! Start at [`Health::answer`]. A check is a name and a function that says why not; which checks
//! there are is decided where the server is put together. The invariant: reasons are withheld
//! from the list (anybody may read it) and shown only at the check's own path, which is
//! authorized like any other (kubernetes-api HLT-01 to HLT-04).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use parking_lot::RwLock;

/// Says why something is not well, or nothing.
pub type Probe = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Which of the three questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Should this process be restarted?
    Livez,
    /// Should it get requests?
    Readyz,
    /// Both, as older probes ask it.
    Healthz,
}

impl Question {
    /// Splits `/readyz` or `/readyz/name` into the question and the name.
    #[must_use]
    pub fn of(path: &str) -> Option<(Self, Option<&str>)> {
        let (question, rest) = [
            ("/livez", Self::Livez),
            ("/readyz", Self::Readyz),
            ("/healthz", Self::Healthz),
        ]
        .into_iter()
        .find_map(|(prefix, question)| Some((question, path.strip_prefix(prefix)?)))?;
        match rest {
            "" | "/" => Some((question, None)),
            _ => rest.strip_prefix('/').map(|name| (question, Some(name))),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Livez => "livez",
            Self::Readyz => "readyz",
            Self::Healthz => "healthz",
        }
    }
}

struct Check {
    name: String,
    /// Asked by `/readyz` only.
    ready_only: bool,
    probe: Probe,
}

/// The checks of this process.
#[derive(Default)]
pub struct Health {
    checks: RwLock<Vec<Check>>,
}

impl Health {
    /// Adds a check. `ready_only` ones do not make the process look dead.
    pub fn add(&self, name: &str, ready_only: bool, probe: Probe) {
        self.checks.write().push(Check {
            name: name.to_owned(),
            ready_only,
            probe,
        });
    }

    /// The paths of the single checks, for the index at `/`.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let checks = self.checks.read();
        let questions = [Question::Livez, Question::Readyz, Question::Healthz];
        questions
            .into_iter()
            .flat_map(|question| {
                let asked = checks.iter().filter(move |check| is_asked(question, check));
                asked.map(move |check| format!("/{}/{}", question.name(), check.name))
            })
            .collect()
    }

    /// Answers one question: HTTP status and text.
    pub fn answer(
        &self,
        question: Question,
        one: Option<&str>,
        verbose: bool,
        exclude: &[String],
    ) -> (u16, String) {
        let checks = self.checks.read();
        let asked = |check: &&Check| is_asked(question, check);
        if let Some(name) = one {
            let Some(check) = checks.iter().filter(asked).find(|check| check.name == name) else {
                return (404, "404 page not found\n".to_owned());
            };
            return match (check.probe)() {
                Ok(()) => (200, "ok".to_owned()),
                Err(reason) => (500, format!("internal server error: {reason}\n")),
            };
        }
        let mut unknown: BTreeSet<&str> = exclude.iter().map(String::as_str).collect();
        let (mut text, mut failed) = (String::new(), false);
        for check in checks.iter().filter(asked) {
            let line = if unknown.remove(check.name.as_str()) {
                format!("[+]{} excluded: ok\n", check.name)
            } else if (check.probe)().is_ok() {
                format!("[+]{} ok\n", check.name)
            } else {
                failed = true;
                format!("[-]{} failed: reason withheld\n", check.name)
            };
            text.push_str(&line);
        }
        if !unknown.is_empty() {
            let names: Vec<String> = unknown.iter().map(|name| format!("{name:?}")).collect();
            let names = names.join(",");
            let _ = writeln!(
                text,
                "warn: some health checks cannot be excluded: no matches for {names}"
            );
        }
        match (failed, verbose) {
            (true, _) => (500, format!("{text}{} check failed\n", question.name())),
            (false, true) => (200, format!("{text}{} check passed\n", question.name())),
            (false, false) => (200, "ok".to_owned()),
        }
    }
}

fn is_asked(question: Question, check: &Check) -> bool {
    question == Question::Readyz || !check.ready_only
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> Health {
        let health = Health::default();
        health.add("ping", false, Box::new(|| Ok(())));
        health.add(
            "shutdown",
            true,
            Box::new(|| Err("process is shutting down".to_owned())),
        );
        health
    }

    fn check(path: &str, verbose: bool, exclude: &[&str], expected: (u16, &str)) {
        let (question, one) = Question::of(path).unwrap();
        let exclude: Vec<String> = exclude.iter().map(|e| (*e).to_owned()).collect();
        let (code, text) = health().answer(question, one, verbose, &exclude);
        assert_eq!((code, text.as_str()), expected, "{path}");
    }

    #[test]
    fn answers_read_like_kubernetes() {
        check("/livez", false, &[], (200, "ok"));
        check(
            "/livez",
            true,
            &[],
            (200, "[+]ping ok\nlivez check passed\n"),
        );
        check(
            "/readyz",
            false,
            &[],
            (
                500,
                "[+]ping ok\n[-]shutdown failed: reason withheld\nreadyz check failed\n",
            ),
        );
        check("/readyz", false, &["shutdown"], (200, "ok"));
        check(
            "/livez",
            true,
            &["x"],
            (
                200,
                "[+]ping ok\nwarn: some health checks cannot be excluded: no matches for \
                 \"x\"\nlivez check passed\n",
            ),
        );
        check("/readyz/ping", false, &[], (200, "ok"));
        check(
            "/readyz/shutdown",
            false,
            &[],
            (500, "internal server error: process is shutting down\n"),
        );
        check("/livez/shutdown", false, &[], (404, "404 page not found\n"));
        assert!(Question::of("/readyzz").is_none());
    }
}
