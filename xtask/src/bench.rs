//! Measures: builds the release programs and runs the load generator of `e2e` against them.
//!
//! The measuring itself is in `e2e/src/bench`; this only builds both sides with the release
//! profile and passes the words on, so that numbers are never taken from a debug build.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::project::Project;
use crate::stage;

/// Measures Hanse on this machine and prints each number beside its target
///
/// Builds with the release profile. Groups: start, workspaces, workspaces-10000, rounds, requests,
/// watches, sites, sites-many; all of them when none is named. The sites need a kube-apiserver
/// (`cargo xtask setup`). Some groups run only when they are named: `workspaces-100000`,
/// `fairness`, and `kube-apiserver`, which sends the same requests to a real one, for the ratio.
/// `--json` prints one object a line: name, value, unit, target, met.
#[derive(clap::Args)]
pub struct Args {
    /// The groups to measure.
    groups: Vec<String>,
    /// One JSON object a line instead of the table.
    #[arg(long)]
    json: bool,
    /// Another profile to build with, such as `fast` (release without link-time optimisation).
    #[arg(long, default_value = "release")]
    profile: String,
}

pub fn run(project: &Project, args: &Args) -> Result<()> {
    let mut build = project.cargo(["build", "--bins", "--profile", &args.profile]);
    build.args(["--package", "hanse", "--package", "hanse-syncer"]);
    build.args(["--package", "kubectl-hanse", "--package", "hanse-e2e"]);
    let log = project.state("bench")?.join("build.log");
    stage::quietly("building", &mut build, &log)?;
    let binary = |name: &str| -> PathBuf { project.target.join(&args.profile).join(name) };
    let mut bench = std::process::Command::new(binary("hanse-bench"));
    bench.args(&args.groups).current_dir(&project.root);
    if args.json {
        bench.arg("--json");
    }
    bench
        .env("HANSE_BIN", binary("hanse"))
        .env("HANSE_SYNCER_BIN", binary("hanse-syncer"))
        .env("KUBECTL_HANSE_BIN", binary("kubectl-hanse"));
    let status = bench.status()?;
    if !status.success() {
        bail!("the measurement did not come to its end");
    }
    Ok(())
}
