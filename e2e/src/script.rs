//! A script of kubectl commands and what each has to come to: `e2e/kubectl/script.yaml`.
//!
//! Start at [`run`]. The script is data, so that it can be read by whoever wonders what is
//! expected to work, and so that it runs alike against a real kube-apiserver, which proves it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::kubectl::{Kubectl, Output};

const SCRIPT: &str = include_str!("../kubectl/script.yaml");

/// How long a command with `until` may take to come to what is expected.
const UNTIL_TIME_MAX: Duration = Duration::from_secs(20);

/// One command.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The words after `kubectl`.
    pub run: String,
    #[serde(default)]
    pub stdin: Option<String>,
    /// The exit code.
    #[serde(default)]
    pub code: i32,
    /// What stands in its output.
    #[serde(default)]
    pub out: String,
    /// What stands in its errors.
    #[serde(default)]
    pub err: String,
    /// What stands in for the editor; one that changes nothing when it is left out.
    #[serde(default)]
    pub editor: Option<String>,
    /// Repeat for a while until it is so: the command depends on a controller or a cache.
    #[serde(default)]
    pub until: bool,
}

/// All commands, in order.
pub fn steps() -> Result<Vec<Step>> {
    serde_saphyr::from_str(SCRIPT).context("e2e/kubectl/script.yaml")
}

/// Runs the whole script and answers the commands that came to something else.
pub async fn run(kubectl: &Kubectl) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for step in steps()? {
        let kubectl = match &step.editor {
            Some(editor) => &kubectl.editor(editor),
            None => kubectl,
        };
        let words = words(&step.run);
        let args: Vec<&str> = words.iter().map(String::as_str).collect();
        let deadline = Instant::now() + UNTIL_TIME_MAX;
        loop {
            let output = kubectl.run(&args, step.stdin.as_deref()).await?;
            match step.misses(&output) {
                None => break,
                Some(_) if step.until && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Some(what) => {
                    findings.push(format!("kubectl {}: {what}", step.run));
                    break;
                }
            }
        }
    }
    Ok(findings)
}

impl Step {
    /// What is not as expected, if anything.
    fn misses(&self, output: &Output) -> Option<String> {
        // A watch ends with its time-out, which some versions call an error.
        let timed = self.run.contains("--request-timeout");
        let code = output.code == Some(self.code) || timed;
        let out = output.stdout.contains(&self.out) || output.stderr.contains(&self.out);
        if code && out && output.stderr.contains(&self.err) {
            return None;
        }
        let (stdout, stderr) = (output.stdout.trim(), output.stderr.trim());
        let (out, err) = (&self.out, &self.err);
        let code = output
            .code
            .map_or("a signal".to_owned(), |code| code.to_string());
        Some(format!(
            "expected {} {out:?} {err:?}, got {code}\n  out: {stdout}\n  err: {stderr}",
            self.code
        ))
    }
}

/// Splits at blanks; single quotes keep words together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => {
                if let Some(word) = words.last_mut() {
                    word.push(c);
                }
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_reads_and_has_its_length() {
        assert!(steps().unwrap().len() >= 60);
    }

    #[test]
    fn quotes_keep_words_together() {
        let line = "patch a -p '{\"b\": \"c d\"}'  -n e";
        assert_eq!(
            words(line),
            ["patch", "a", "-p", "{\"b\": \"c d\"}", "-n", "e"]
        );
    }

    #[test]
    fn what_came_instead_is_told() {
        let step: Step = serde_saphyr::from_str("{run: get, code: 1, err: not found}").unwrap();
        let output = |code, stderr: &str| Output {
            code: Some(code),
            stdout: String::new(),
            stderr: stderr.to_owned(),
        };
        assert_eq!(step.misses(&output(1, "a not found")), None);
        assert!(step.misses(&output(0, "")).unwrap().contains("got 0"));
    }
}
