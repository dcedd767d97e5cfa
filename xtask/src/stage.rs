//! Runs other programs as named stages: a line of progress while they run, their whole output in
//! a log file, the part that matters on failure, and the time that each took.
//!
//! Start at [`Stages::command`]. A stage that fails does not stop the run: the caller sees
//! `false` and decides, and [`Stages::close`] prints the closing line with every count.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// Lines of a failed stage's output that are printed; the log file holds all of them.
const LINES_SHOWN_ON_FAILURE: usize = 200;

/// What a run has done so far.
pub struct Stages {
    logs: PathBuf,
    passed: u64,
    failed: u64,
    started: Instant,
    times: Vec<(String, Duration, bool)>,
}

/// How the output of a stage is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// The stage is one check.
    Whole,
    /// The stage prints the lines of cargo's test harness; each test counts.
    Tests,
}

impl Stages {
    /// Starts a run that writes its logs to this directory.
    pub fn new(logs: PathBuf) -> Stages {
        Stages {
            logs,
            passed: 0,
            failed: 0,
            started: Instant::now(),
            times: Vec::new(),
        }
    }

    /// Runs a program to its end. `false` when it exits with anything but zero.
    pub fn command(&mut self, name: &str, count: Count, command: &mut Command) -> Result<bool> {
        let started = Instant::now();
        let log = self
            .logs
            .join(format!("{}.log", name.replace([' ', '/'], "-")));
        let bar = spinner(name);
        let output = execute(command, &log, &bar).with_context(|| format!("stage {name}"))?;
        bar.finish_and_clear();
        let (passed, failed) = match count {
            Count::Whole => (0, 0),
            Count::Tests => output.tests,
        };
        // A stage that failed without a failed test (it did not compile, it crashed) is one too.
        let whole = u64::from(count == Count::Whole || (!output.success && failed == 0));
        self.passed += passed + if output.success { whole } else { 0 };
        self.failed += failed + if output.success { 0 } else { whole };
        if !output.success {
            output.tail.iter().for_each(|line| println!("{line}"));
            println!("the whole output of {name}: {}", log.display());
        }
        let detail = match count {
            Count::Tests => format!("{passed} passed, {failed} failed"),
            Count::Whole => String::new(),
        };
        self.finish(name, started, output.success, &detail);
        Ok(output.success)
    }

    /// Runs several programs with tests at the same time, as one stage. `false` when one of them
    /// fails.
    pub fn side_by_side(&mut self, name: &str, commands: &mut [Command]) -> Result<bool> {
        let started = Instant::now();
        let bar = spinner(name);
        let logs: Vec<PathBuf> = (1..=commands.len())
            .map(|lane| self.logs.join(format!("{name}-{lane}.log")))
            .collect();
        let outputs = std::thread::scope(|scope| {
            let runs: Vec<_> = commands
                .iter_mut()
                .zip(&logs)
                .map(|(command, log)| scope.spawn(|| execute(command, log, &bar)))
                .collect();
            let ended = runs.into_iter().map(|run| match run.join() {
                Ok(output) => output.with_context(|| format!("stage {name}")),
                Err(_) => bail!("stage {name}: a reader of its output died"),
            });
            ended.collect::<Result<Vec<Output>>>()
        })?;
        bar.finish_and_clear();
        let (mut passed, mut failed, mut ok) = (0, 0, true);
        for (output, log) in outputs.iter().zip(&logs) {
            let alone = u64::from(!output.success && output.tests.1 == 0);
            (passed, failed) = (passed + output.tests.0, failed + output.tests.1 + alone);
            if !output.success {
                ok = false;
                output.tail.iter().for_each(|line| println!("{line}"));
                println!("the whole output of {name}: {}", log.display());
            }
        }
        (self.passed, self.failed) = (self.passed + passed, self.failed + failed);
        let detail = format!("{passed} passed, {failed} failed");
        self.finish(name, started, ok, &detail);
        Ok(ok)
    }

    /// Runs a check of our own as a stage: an error is printed and counted, not returned.
    pub fn check(&mut self, name: &str, check: impl FnOnce() -> Result<String>) -> bool {
        let started = Instant::now();
        let outcome = check();
        let (ok, detail) = match outcome {
            Ok(detail) => (true, detail),
            Err(error) => {
                println!("{error:#}");
                (false, String::new())
            }
        };
        if ok {
            self.passed += 1
        } else {
            self.failed += 1
        }
        self.finish(name, started, ok, &detail);
        ok
    }

    fn finish(&mut self, name: &str, started: Instant, ok: bool, detail: &str) {
        let took = started.elapsed();
        let mark = if ok { "ok    " } else { "FAILED" };
        println!("{mark} {name:<28} {:>8}  {detail}", seconds(took));
        self.times.push((name.to_owned(), took, ok));
    }

    /// Prints the closing line; an error when anything failed.
    pub fn close(self) -> Result<()> {
        println!(
            "{} in {}",
            self.times.len(),
            seconds(self.started.elapsed())
        );
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed > 0 {
            let names: Vec<&str> = self
                .times
                .iter()
                .filter(|(_, _, ok)| !ok)
                .map(|(name, _, _)| &**name)
                .collect();
            bail!("failed: {}", names.join(", "));
        }
        Ok(())
    }
}

/// What became of a program that [`execute`] ran.
struct Output {
    success: bool,
    tests: (u64, u64),
    tail: VecDeque<String>,
}

/// Runs a program in a stage of its own, without counting: for set-up steps.
pub fn quietly(name: &str, command: &mut Command, log: &std::path::Path) -> Result<()> {
    let bar = spinner(name);
    let output = execute(command, log, &bar)?;
    bar.finish_and_clear();
    if !output.success {
        output.tail.iter().for_each(|line| println!("{line}"));
        bail!("{name} failed; the whole output: {}", log.display());
    }
    Ok(())
}

fn execute(command: &mut Command, log: &std::path::Path, bar: &ProgressBar) -> Result<Output> {
    let mut file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let (sender, lines) = mpsc::channel();
    let readers = [
        child
            .stdout
            .take()
            .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        child
            .stderr
            .take()
            .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
    ];
    for pipe in readers.into_iter().flatten() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                if sender
                    .send(String::from_utf8_lossy(&line).into_owned())
                    .is_err()
                {
                    return;
                }
            }
        });
    }
    drop(sender);
    let mut output = Output {
        success: false,
        tests: (0, 0),
        tail: VecDeque::new(),
    };
    for line in lines {
        writeln!(file, "{line}")?;
        if let Some((passed, failed)) = test_result(&line) {
            output.tests.0 += passed;
            output.tests.1 += failed;
        }
        bar.set_message(shorten(line.trim(), 80));
        bar.inc(1);
        if output.tail.len() == LINES_SHOWN_ON_FAILURE {
            output.tail.pop_front();
        }
        output.tail.push_back(line);
    }
    output.success = child.wait()?.success();
    Ok(output)
}

/// Reads `test result: ok. 12 passed; 0 failed; ...`.
fn test_result(line: &str) -> Option<(u64, u64)> {
    let rest = line.strip_prefix("test result: ")?;
    let number_before = |word: &str| {
        let head = &rest[..rest.find(word)?];
        head.trim_end().rsplit(' ').next()?.parse::<u64>().ok()
    };
    Some((number_before(" passed")?, number_before(" failed")?))
}

/// A line of progress with the time since its start; nothing where there is no terminal.
pub fn spinner(name: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_prefix(name.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A duration for people: `840 ms`, `12.3 s`, `4 min 05 s`.
pub fn seconds(took: Duration) -> String {
    match took.as_secs() {
        0 => format!("{} ms", took.as_millis()),
        1..100 => format!("{:.1} s", took.as_secs_f64()),
        total => format!("{} min {:02} s", total / 60, total % 60),
    }
}

fn shorten(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_harness_line_is_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; finished";
        assert_eq!(test_result(line), Some((12, 3)));
        assert_eq!(test_result("running 12 tests"), None);
    }

    #[test]
    fn a_failing_program_is_a_failed_stage() {
        let logs = std::env::temp_dir().join(format!("xtask-stage-{}", std::process::id()));
        std::fs::create_dir_all(&logs).unwrap();
        let mut stages = Stages::new(logs.clone());
        assert!(
            stages
                .command("yes", Count::Whole, &mut Command::new("true"))
                .unwrap()
        );
        assert!(
            !stages
                .command("no", Count::Tests, &mut Command::new("false"))
                .unwrap()
        );
        assert_eq!((stages.passed, stages.failed), (1, 1));
        assert!(stages.close().is_err());
        std::fs::remove_dir_all(logs).unwrap();
    }

    #[test]
    fn programs_side_by_side_are_one_stage_that_fails_with_any_of_them() {
        let logs = std::env::temp_dir().join(format!("xtask-lanes-{}", std::process::id()));
        std::fs::create_dir_all(&logs).unwrap();
        let mut stages = Stages::new(logs.clone());
        let program = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        let good = "echo 'test result: ok. 2 passed; 0 failed;'";
        let bad = "echo 'test result: FAILED. 1 passed; 1 failed;'; exit 1";
        // Each waits for the other: one after the other, neither would come to its end.
        let meet = |mine: &str, other: &str| {
            let (mine, other) = (logs.join(mine), logs.join(other));
            let (mine, other) = (mine.display(), other.display());
            program(&format!(
                "touch {mine}; for i in $(seq 600); do [ -e {other} ] && {{ {good}; exit 0; }}; \
                 sleep 0.05; done; exit 1"
            ))
        };
        let mut lanes = [meet("a", "b"), meet("b", "a")];
        assert!(stages.side_by_side("both", &mut lanes).unwrap());
        let mut lanes = [program(good), program(bad)];
        assert!(!stages.side_by_side("one", &mut lanes).unwrap());
        let mut lanes = [program("exit 2"), program(good)];
        assert!(!stages.side_by_side("crashed", &mut lanes).unwrap());
        assert_eq!((stages.passed, stages.failed), (4 + 3 + 2, 2));
        std::fs::remove_dir_all(logs).unwrap();
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(seconds(Duration::from_millis(840)), "840 ms");
        assert_eq!(seconds(Duration::from_millis(12_340)), "12.3 s");
        assert_eq!(seconds(Duration::from_secs(245)), "4 min 05 s");
    }
}
