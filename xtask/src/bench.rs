//! Measures: builds the release programs and runs the load generator of `e2e` against them.
//!
//! The measuring itself is in `e2e/src/bench`; this only builds both sides with the release
//! profile and passes the words on, so that numbers are never taken from a debug build. Counting
//! instructions, which needs no servers, is in [`instructions`].

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};

use crate::project::Project;
use crate::{groups, instructions, stage};

/// Measures Hanse on this machine and prints each number beside its target
///
/// Builds with the release profile, starts the servers, sends them load over the wire, and tells
/// what an operation costs them: CPU time as the kernel counts it, latency, rates, memory. The
/// same load goes, in the same call and one after the other, to a static server that answers the
/// hub's own bytes from memory (the ceiling: no server can be cheaper here) and, where `cargo
/// xtask setup` has built it, to a real kube-apiserver with its etcd, whose processes are counted
/// together.
///
/// A number is the median of its repeats. A quiet machine matters more than anything else: the
/// load average stands below the table.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench --list                     what there is to measure, and how long it takes
  cargo xtask bench                            everything but the large groups (about 15 minutes)
  cargo xtask bench requests watches           two groups
  cargo xtask bench requests --save before.jsonl
  cargo xtask bench requests --compare before.jsonl --repeats 5
                                               what a change of yours did, and what of it is noise
  cargo xtask bench latency workspaces-10000 --plots target/plots
                                               latency over load, memory over workspaces, as SVG
  cargo xtask bench --show before.jsonl        the table of a stored run
  cargo xtask bench instructions               instructions and allocations of the hot functions
  cargo xtask bench instructions --accept      ... and take today's counts as the expected ones

Columns: `of it` is the number divided by the one before it (target, ceiling, kube-apiserver with
etcd); `bar` is the largest share of kube-apiserver's that is allowed.")]
pub struct Args {
    /// The groups to measure (see `--list`), or `instructions`.
    groups: Vec<String>,
    /// Print the groups and what they measure.
    #[arg(long)]
    list: bool,
    /// One JSON object a line instead of the table: name, value (a median), unit, target, met;
    /// low, high, repeats; ceiling, peer, bar, bar_met where there are any.
    #[arg(long)]
    json: bool,
    /// How often a number is taken where its group takes one more than once; five and more make
    /// `--compare` sharper.
    #[arg(long, default_value_t = 3, value_name = "N")]
    repeats: u8,
    /// Measure the hub alone: neither the static server nor the kube-apiserver.
    #[arg(long)]
    alone: bool,
    /// Leave out the kube-apiserver.
    #[arg(long)]
    no_peer: bool,
    /// Store the numbers, as JSON lines; in a file that is there, those of other groups stay.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Show how each number changed since a stored run, and which changes are beyond noise.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Draw latency over load and memory over workspaces into this directory.
    #[arg(long, value_name = "DIRECTORY")]
    plots: Option<PathBuf>,
    /// Measure nothing: show the table of a stored run (and draw its plots with `--plots`).
    #[arg(long, value_name = "FILE")]
    show: Option<PathBuf>,
    /// With `instructions`: write today's counts down as the expected ones.
    #[arg(long)]
    accept: bool,
    /// Another profile to build with, such as `fast` (release without link-time optimisation).
    #[arg(long, default_value = "release")]
    profile: String,
}

pub fn run(project: &Project, args: &Args) -> Result<()> {
    if args.groups.iter().any(|group| group == "instructions") {
        if args.groups.len() > 1 {
            bail!("`instructions` counts without servers: run it by itself");
        }
        return instructions::run(project, args.accept);
    }
    if args.accept {
        bail!("--accept belongs to `cargo xtask bench instructions`");
    }
    if args.list {
        print!("{}", groups::table());
        return Ok(());
    }
    groups::chosen(&args.groups).map_err(|words| anyhow!(words))?;
    let mut build = project.cargo(["build", "--bins", "--profile", &args.profile]);
    build.args(["--package", "hanse", "--package", "hanse-syncer"]);
    build.args(["--package", "kubectl-hanse", "--package", "hanse-e2e"]);
    let log = project.state("bench")?.join("build.log");
    stage::quietly("building", &mut build, &log)?;
    let binary = |name: &str| -> PathBuf { project.target.join(&args.profile).join(name) };
    let mut bench = std::process::Command::new(binary("hanse-bench"));
    bench.args(&args.groups);
    bench.args([
        "--repeats",
        &args.repeats.to_string(),
        "--profile",
        &args.profile,
    ]);
    let flags = [
        ("--json", args.json),
        ("--alone", args.alone),
        ("--no-peer", args.no_peer),
    ];
    bench.args(flags.iter().filter(|(_, set)| *set).map(|(flag, _)| flag));
    let files = [
        ("--save", &args.save),
        ("--compare", &args.compare),
        ("--plots", &args.plots),
        ("--show", &args.show),
    ];
    for (flag, file) in files {
        if let Some(file) = file {
            bench.arg(flag).arg(file);
        }
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
