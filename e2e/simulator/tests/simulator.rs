//! Seeds of the simulator: as many as asked, the same one twice, and bugs that must be found.
//!
//! `HANSE_ROUNDS` seeds are run from `HANSE_SEED` times a thousand on; what failed says its seed,
//! and `HANSE_SIMULATE=SEED` runs that one alone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::BTreeMap;
use std::process::Command;

use hanse_history::Judged;
use hanse_seams::Bug;
use hanse_simulator::{Base, Keys, Nature, Report, nature_of, run};

/// Set in a child process: the seed whose trace it prints.
const CHILD: &str = "HANSE_SIMULATE_TRACE";
/// Seeds within which each planted bug is found.
const SEEDS_MAX: u64 = 40;

/// The keys and the shards that runs begin with, made when they are needed.
struct Bases {
    keys: Keys,
    made: BTreeMap<Nature, Base>,
}

impl Bases {
    fn new() -> Self {
        Self {
            keys: Keys::make().unwrap(),
            made: BTreeMap::new(),
        }
    }

    fn run(&mut self, seed: u64, bug: Option<Bug>) -> anyhow::Result<Report> {
        let (nature, keys) = (nature_of(seed), &self.keys);
        let make = || Base::make(nature, keys).unwrap();
        let base = self.made.entry(nature).or_insert_with(make);
        run(seed, base, keys, bug)
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nothing_is_lost_left_behind_or_told_wrong() {
    let mut bases = Bases::new();
    let from = variable("HANSE_SEED").unwrap_or(1) * 1_000;
    let rounds = variable("HANSE_ROUNDS").unwrap_or(6);
    let (from, rounds) = match variable("HANSE_SIMULATE") {
        Some(seed) => (seed, 1),
        None => (from, rounds),
    };
    let (mut judged, mut lives, mut commits, mut stories) = (Judged::default(), 0, 0, 0);
    for seed in from..from + rounds {
        let report = bases.run(seed, None);
        let report = report.unwrap_or_else(|e| panic!("HANSE_SIMULATE={seed}: {e:?}"));
        judged += report.judged;
        lives += report.lives;
        commits += report.commits;
        stories += report.stories;
    }
    println!("{rounds} seeds from {from}: {lives} lives, {commits} commits, {stories} stories");
    println!("{judged:?}");
    assert!(
        judged.writes as u64 > rounds * 2 && judged.events > judged.writes,
        "too little happened to prove anything: {judged:?}"
    );
}

/// In this process, and in another one with other addresses and other hash seeds.
#[test]
fn the_same_seed_leaves_the_same_trace() {
    let mut bases = Bases::new();
    if let Some(seed) = variable(CHILD) {
        println!("trace {}", bases.run(seed, None).unwrap().trace);
        return;
    }
    let mut traces = Vec::new();
    for seed in [11, 12] {
        let first = bases.run(seed, None).unwrap().trace;
        assert_eq!(first, bases.run(seed, None).unwrap().trace, "seed {seed}");
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["the_same_seed", "--nocapture", "--test-threads=1"])
            .env(CHILD, seed.to_string())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(told.contains(&format!("trace {first}")), "{first}: {told}");
        traces.push(first);
    }
    assert_ne!(traces[0], traces[1], "two seeds do the same");
}

#[test]
fn every_planted_bug_is_found() {
    let mut bases = Bases::new();
    for bug in Bug::ALL {
        let found = (0..SEEDS_MAX).find_map(|seed| Some((seed, bases.run(seed, Some(bug)).err()?)));
        let (seed, error) = found.unwrap_or_else(|| panic!("{bug:?} is not found"));
        let words = format!("{error:#}").chars().take(200).collect::<String>();
        println!("{bug:?}: found by seed {seed}: {words}");
    }
}
