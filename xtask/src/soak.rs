//! Long proofs: one suite, one seed, as many rounds as asked, resumable.
//!
//! Start at [`run`]. The rounds are done in chunks, chunk i with seed N + i; what is done stands
//! in a state file under the target directory after every chunk, so an interrupted soak goes on
//! where it stopped. A finished or failed one appends its line to `docs/proof.md`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::project::Project;
use crate::suites::{self, Suite};
use crate::{setup, stage, test};

/// Runs one of the long proofs and appends the result to docs/proof.md
///
/// The same suite and seed go on where an interrupted run stopped. Without a suite, the suites
/// are listed. With neither `--rounds` nor `--time` a soak runs ten chunks.
#[derive(clap::Args)]
pub struct Args {
    /// The suite; listed when it is left out.
    suite: Option<String>,
    /// The first seed. Chunk i runs with seed + i, so a failing seed can be run alone.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Stop after this many rounds in all.
    #[arg(long)]
    rounds: Option<u64>,
    /// Stop after this long in all: `90s`, `30m`, `8h`.
    #[arg(long, value_parser = parse_time)]
    time: Option<Duration>,
}

/// How far a soak has come.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Progress {
    chunks: u64,
    rounds: u64,
    seconds: u64,
}

pub fn run(project: &Project, args: &Args) -> Result<()> {
    let Some(name) = &args.suite else {
        for suite in suites::SUITES {
            println!("{:<20} {}", suite.name, suite.about);
        }
        return Ok(());
    };
    let suite = suites::named(name)
        .with_context(|| format!("there is no suite {name}; `cargo xtask soak` lists them"))?;
    let mut variables = setup::ensure(project, false)?.variables;
    if suite.package == suites::E2E {
        let build = &mut test::build(project);
        let log = project.state("soak")?.join("build.log");
        stage::quietly("build", build, &log)?;
        variables.extend(test::binaries(project));
    }
    let state = project
        .state("soak")?
        .join(format!("{}-{}.json", suite.name, args.seed));
    let mut progress = read(&state);
    let commit = commit(project);
    if progress.rounds > 0 {
        println!("going on after {} rounds", progress.rounds);
    }
    let rounds_max = match (args.rounds, args.time) {
        (None, None) => suite.chunk * 10,
        (rounds, _) => rounds.unwrap_or(u64::MAX),
    };
    let seconds_max = args.time.map_or(u64::MAX, |time| time.as_secs());
    while progress.rounds < rounds_max && progress.seconds < seconds_max {
        let (seed, rounds) = (args.seed + progress.chunks, suite.chunk);
        let rounds = rounds.min(rounds_max - progress.rounds);
        let started = Instant::now();
        let mut command = chunk(project, suite, seed, rounds);
        command.envs(variables.iter().map(|(name, path)| (name, path)));
        let log = project.state("soak")?.join(format!("{}.log", suite.name));
        let label = format!(
            "{} seed {seed}, {} rounds done",
            suite.name, progress.rounds
        );
        let outcome = stage::quietly(&label, &mut command, &log);
        progress.seconds += started.elapsed().as_secs();
        if let Err(error) = outcome {
            let result = format!("failed at seed {seed}");
            record(project, suite, args.seed, &commit, &progress, &result)?;
            return Err(error);
        }
        progress.chunks += 1;
        progress.rounds += rounds;
        std::fs::write(&state, serde_json::to_vec(&progress)?)?;
    }
    record(project, suite, args.seed, &commit, &progress, "passed")?;
    std::fs::remove_file(&state).ok();
    println!(
        "{} passed {} rounds from seed {}",
        suite.name, progress.rounds, args.seed
    );
    Ok(())
}

/// One run of the test behind a suite.
fn chunk(project: &Project, suite: &Suite, seed: u64, rounds: u64) -> Command {
    let mut command = project.cargo(["test", "--quiet", "--package", suite.package]);
    command
        .args(suite.target)
        .args(["--", suite.filter, "--nocapture"]);
    command
        .env(suites::SEED, seed.to_string())
        .env(suites::ROUNDS, rounds.to_string());
    command
}

fn read(state: &Path) -> Progress {
    let bytes = std::fs::read(state).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Appends the line of a finished or failed soak to the table at the end of `docs/proof.md`.
fn record(
    project: &Project,
    suite: &Suite,
    seed: u64,
    commit: &str,
    progress: &Progress,
    result: &str,
) -> Result<()> {
    let path: PathBuf = project.root.join("docs/proof.md");
    let mut text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let took = stage::seconds(Duration::from_secs(progress.seconds));
    writeln!(
        text,
        "| {} | {commit} | {} | {seed} | {} | {took} | {result} |",
        date(SystemTime::now()),
        suite.name,
        progress.rounds,
    )?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The commit that is checked out, with a `+` when files of it were changed since (other than
/// documents: the lines of earlier soaks are written there).
fn commit(project: &Project) -> String {
    let git = |args: &[&str]| -> String {
        let output = Command::new("git")
            .args(args)
            .current_dir(&project.root)
            .output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.unwrap_or_default()
    };
    let changed = git(&["status", "--porcelain", "--", ".", ":!docs"]);
    let mark = if changed.is_empty() { "" } else { "+" };
    git(&["rev-parse", "--short", "HEAD"]) + mark
}

/// The day of a time in UTC, as `2026-11-21` (the civil calendar's rule over 400-year cycles).
fn date(time: SystemTime) -> String {
    let days = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs() as i64
        / 86_400;
    let shifted = days + 719_468;
    let (cycle, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + cycle * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let split = text.len() - text.chars().last().map_or(0, char::len_utf8);
    let (number, unit) = text.split_at(split);
    let number: u64 = number
        .parse()
        .map_err(|_| format!("{text:?} is no time such as 30m"))?;
    match unit {
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        "h" => Ok(Duration::from_secs(number * 3_600)),
        _ => Err(format!("{text:?}: the unit is one of s, m, h")),
    }
}

/// The seed of the day, so that the slices of `cargo xtask test` walk on by themselves.
pub fn seed_of_the_day() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    match now {
        Ok(now) => Ok(now.as_secs() / 86_400),
        Err(_) => bail!("the clock of this machine stands before 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil() {
        let day = |days: u64| date(UNIX_EPOCH + Duration::from_secs(days * 86_400));
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(11_016), "2000-02-29");
        assert_eq!(day(20_778), "2026-11-21");
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(parse_time("30m"), Ok(Duration::from_secs(1_800)));
        assert!(parse_time("30").is_err());
        assert!(parse_time("").is_err());
    }

    #[test]
    fn an_unreadable_state_starts_anew() {
        assert_eq!(read(Path::new("does-not-exist")), Progress::default());
    }
}
