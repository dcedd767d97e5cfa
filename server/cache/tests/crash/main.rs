//! `kill -9` at random points under load: nothing acknowledged is lost, nothing unacknowledged is
//! half there, watches resume without gap or double.
//!
//! ```text
//! HANSE_ROUNDS=2000 HANSE_SEED=7 cargo test -p hanse-cache --test crash
//! ```
//!
//! Each round starts this program again as a child over the same directory (`child.rs`): several
//! writers commit, and what they were acknowledged and what watchers saw goes line by line through
//! a pipe. The parent kills it after a random number of lines, opens the store itself and compares
//! (`check.rs`). The last line but one says rounds, acknowledged commits, events and the slowest
//! opening. Without the variables it runs 200 rounds from a seed that it prints.

#![allow(
    clippy::expect_used,
    reason = "a test, though not one of the usual harness"
)]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use hanse_seams::{RealRng, Rng, Seams, Simulation};

mod check;
mod child;

/// Set in the child: the directory of the store.
const DIRECTORY: &str = "HANSE_CRASH_DIRECTORY";
/// Set in the child: where its two watchers resume, `VERSION,VERSION`.
const RESUME: &str = "HANSE_CRASH_RESUME";
/// Set in the child: the seed of its writers.
const SEED: &str = "HANSE_CRASH_SEED";

/// How many rounds, and from which seed.
struct Options {
    rounds: u64,
    seed: u64,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        runtime.block_on(child::run(Path::new(&directory)));
        return ExitCode::SUCCESS;
    }
    if std::env::args().any(|argument| argument == "--list") {
        println!("crash: test");
        return ExitCode::SUCCESS;
    }
    let options = Options {
        rounds: variable("HANSE_ROUNDS").unwrap_or(200),
        seed: variable("HANSE_SEED").unwrap_or_else(|| RealRng::new().below(1_000_000)),
    };
    println!(
        "crash: {} rounds from seed {}",
        options.rounds, options.seed
    );
    // The closing lines are those of the usual harness, which is what counts tests.
    match runtime.block_on(rounds(&options)) {
        Ok(summary) => {
            println!("crash: ok, {summary}\n\ntest result: ok. 1 passed; 0 failed");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("crash: FAILED with seed {}: {error}", options.seed);
            println!("test result: FAILED. 0 passed; 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

async fn rounds(options: &Options) -> Result<String, String> {
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let directory = scratch.path();
    let random = Simulation::new(options.seed);
    let seams = Seams::real();
    let mut check = check::Check::default();
    for round in 1..=options.rounds {
        // Many short lives and some long ones; every eighth is ended while it opens.
        let lines = if random.below(8) == 0 {
            0
        } else {
            1 + random.below(600)
        };
        let pause = Duration::from_micros(random.below(3000));
        let lived = life(directory, random.u64(), lines, pause, &check, &seams).await;
        let lived = lived.map_err(|error| format!("round {round}: {error}"))?;
        for line in lived.lines() {
            check
                .line(line)
                .map_err(|error| format!("round {round}: {error}: {line}"))?;
        }
        let watches = round % 3 == 0 || round == options.rounds;
        let reopened = check.reopen(directory, &seams, watches).await;
        reopened.map_err(|error| format!("round {round}: {error}"))?;
        if round % 100 == 0 {
            println!("crash: {round} rounds, {}", check.summary());
        }
    }
    match check.is_convincing(options.rounds) {
        true => Ok(format!("{} rounds, {}", options.rounds, check.summary())),
        false => Err(format!(
            "too little happened to prove anything: {}",
            check.summary()
        )),
    }
}

/// Runs a child, kills it after so many lines and a pause, and returns all its whole lines.
async fn life(
    directory: &Path,
    seed: u64,
    lines: u64,
    pause: Duration,
    check: &check::Check,
    seams: &Seams,
) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .env(DIRECTORY, directory)
        .env(RESUME, check.resume())
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut output = BufReader::new(child.stdout.take().ok_or("no pipe")?);
    let mut text = String::new();
    for _ in 0..lines {
        if output
            .read_line(&mut text)
            .map_err(|error| error.to_string())?
            == 0
        {
            let status = child.wait().map_err(|error| error.to_string())?;
            return Err(format!("the child ended by itself: {status}\n{text}"));
        }
    }
    seams.clock.sleep(pause).await;
    child.kill().map_err(|error| error.to_string())?;
    output
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    child.wait().map_err(|error| error.to_string())?;
    // The kill may have torn the last line.
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    Ok(text)
}
