//! The one command that proves a checkout: every check and every test, timed, in an order in
//! which the cheap ones fail first.
//!
//! Start at [`run`]: the list of stages is its body. Long proofs run here as a slice whose seed
//! is the day's number, so that the slices walk on by themselves and a failure can be repeated
//! with `--seed`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::project::Project;
use crate::stage::{Count, Stages};
use crate::{instructions, setup, soak, suites, tidy};

/// Runs every check and test: fmt, clippy, tidy, unit, property, oracle and end-to-end tests
///
/// Does all of its own set-up. Each stage is timed; the last line is `N passed, N failed`. The
/// whole output of every stage is kept in `xtask/test` in cargo's target directory. Longer proofs:
/// `cargo xtask soak`.
#[derive(clap::Args)]
pub struct Args {
    /// The seed of the random tests; the number of the day when it is left out.
    #[arg(long)]
    seed: Option<u64>,
    /// Leave out what needs Go and real Kubernetes programs: oracles and end-to-end tests.
    #[arg(long)]
    without_e2e: bool,
    /// Test with older kubectls too (built when they are not there yet).
    #[arg(long)]
    all_kubectls: bool,
}

pub fn run(project: &Project, args: &Args) -> Result<()> {
    let seed = match args.seed {
        Some(seed) => seed,
        None => soak::seed_of_the_day()?,
    };
    println!("random tests run with seed {seed} (repeat with --seed {seed})");
    let mut stages = Stages::new(project.state("test")?);
    let fmt = project.cargo(["fmt", "--all", "--check"]);
    stages.command("fmt", Count::Whole, &mut { fmt })?;
    stages.check("tidy", || tidy::check(project));
    let mut clippy = project.cargo(["clippy", "--workspace", "--all-targets", "--quiet"]);
    stages.command(
        "clippy",
        Count::Whole,
        clippy.args(["--", "-D", "warnings"]),
    )?;
    let mut variables = Vec::new();
    if !args.without_e2e {
        stages.check("setup", || {
            variables = setup::ensure(project, args.all_kubectls)?.variables;
            Ok(String::new())
        });
    }
    let with = |mut command: Command| {
        command.env(suites::SEED, seed.to_string());
        command.envs(variables.iter().map(|(name, path)| (name, path)));
        command
    };
    // `--tests` leaves out the examples in documentation: there are none (tidy says so), and
    // looking for them takes a minute.
    let unit = [
        "test",
        "--workspace",
        "--exclude",
        "hanse-e2e",
        "--tests",
        "--no-fail-fast",
    ];
    let name = if args.without_e2e {
        "unit, property"
    } else {
        "unit, property, oracle"
    };
    stages.command(name, Count::Tests, &mut with(project.cargo(unit)))?;
    stages.check("instructions", || instructions::check(project));
    if !args.without_e2e && stages.command("build", Count::Whole, &mut build(project))? {
        let mut lanes = Vec::new();
        for lane in lanes_of(project)? {
            let mut lane = with(lane);
            lane.envs(binaries(project));
            lanes.push(lane);
        }
        stages.side_by_side("e2e", &mut lanes)?;
    }
    stages.close()
}

/// The end-to-end tests as two commands that run at the same time. Each test has servers, ports
/// and directories of its own, and waits more than it works.
fn lanes_of(project: &Project) -> Result<[Command; 2]> {
    let words = ["test", "--package", "hanse-e2e", "--no-fail-fast"];
    let (mut first, mut second) = (project.cargo(words), project.cargo(words));
    first.args(["--lib", "--bins"]);
    let dir = project.root.join("e2e/tests");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let target = path.extension().is_some_and(|end| end == "rs");
        if target || path.join("main.rs").is_file() {
            let name = path
                .file_stem()
                .map(|name| name.to_string_lossy().into_owned());
            names.extend(name);
        }
    }
    names.sort();
    for name in names {
        let lane = match SECOND_LANE.contains(&&*name) {
            true => &mut second,
            false => &mut first,
        };
        lane.args(["--test", &name]);
    }
    Ok([first, second])
}

/// About half of the end-to-end tests by time; a test that is not named here runs in the other
/// lane.
const SECOND_LANE: [&str; 4] = ["demo", "golden", "kill", "script"];

/// Builds the programs that the end-to-end tests start.
pub fn build(project: &Project) -> Command {
    let mut build = project.cargo(["build", "--bins"]);
    for package in ["hanse", "hanse-syncer", "kubectl-hanse"] {
        build.args(["--package", package]);
    }
    build
}

/// The variables that name these programs.
pub fn binaries(project: &Project) -> Vec<(String, PathBuf)> {
    let named = |(variable, name): (&str, &str)| {
        (variable.to_owned(), project.target.join("debug").join(name))
    };
    [
        ("HANSE_BIN", "hanse"),
        ("HANSE_SYNCER_BIN", "hanse-syncer"),
        ("KUBECTL_HANSE_BIN", "kubectl-hanse"),
        ("KUBECTL_WS_BIN", "kubectl-ws"),
    ]
    .map(named)
    .into()
}
