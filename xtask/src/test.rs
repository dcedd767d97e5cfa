//! The one command that proves a checkout: every check and every test, timed, in an order in
//! which the cheap ones fail first.
//!
//! Start at [`run`]: the list of stages is its body. Long proofs run here as a slice whose seed
//! is the day's number, so that the slices walk on by themselves and a failure can be repeated
//! with `--seed`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::project::Project;
use crate::stage::{Count, Stages};
use crate::{setup, soak, suites, tidy};

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
    let unit = [
        "test",
        "--workspace",
        "--exclude",
        "hanse-e2e",
        "--no-fail-fast",
    ];
    let name = if args.without_e2e {
        "unit, property"
    } else {
        "unit, property, oracle"
    };
    stages.command(name, Count::Tests, &mut with(project.cargo(unit)))?;
    if !args.without_e2e && stages.command("build", Count::Whole, &mut build(project))? {
        let e2e = project.cargo(["test", "--package", "hanse-e2e", "--no-fail-fast"]);
        let mut e2e = with(e2e);
        e2e.envs(binaries(project));
        stages.command("e2e", Count::Tests, &mut e2e)?;
    }
    stages.close()
}

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
