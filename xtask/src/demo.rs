//! The main job in one command: builds everything and hands over to the demo of `e2e`.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::project::Project;
use crate::{setup, stage};

/// Shows the main job on real clusters: one API published once, two tenants, two sites
///
/// Starts a hub and two real Kubernetes API servers with controllers and simulated nodes as the
/// sites `edge-berlin` and `dc-frankfurt`, publishes what they serve, and shows step by step how
/// tenants use it. Then it stays up until Ctrl-C.
#[derive(clap::Args)]
pub struct Args {
    /// Runs to the end, checks each step at the sites' own API servers, and exits non-zero when
    /// one fails.
    #[arg(long)]
    once: bool,
    /// A cluster of your own as a site: `edge-berlin=FILE` or `dc-frankfurt=FILE`.
    #[arg(long = "site-kubeconfig", value_name = "NAME=FILE")]
    site_kubeconfig: Vec<String>,
    /// The profile to build with.
    #[arg(long, default_value = "dev")]
    profile: String,
}

pub fn run(project: &Project, args: &Args) -> Result<()> {
    let mut demo = program(project, "hanse-demo", &args.profile)?;
    if args.once {
        demo.arg("--once");
    }
    for site in &args.site_kubeconfig {
        demo.args(["--site-kubeconfig", site]);
    }
    // The demo takes this process's place, so that Ctrl-C is its own and it can clean up.
    Err(demo.exec()).context("the demo cannot be started")
}

/// A program of `e2e`, built with everything that it runs, ready to be started.
pub fn program(project: &Project, name: &str, profile: &str) -> Result<Command> {
    setup::clusters(project)?;
    let mut build = project.cargo(["build", "--bins", "--profile", profile]);
    for package in ["hanse", "hanse-syncer", "kubectl-hanse", "hanse-e2e"] {
        build.args(["--package", package]);
    }
    let log = project.state("demo")?.join("build.log");
    stage::quietly("building", &mut build, &log)?;
    let dir = match profile {
        "dev" => "debug",
        profile => profile,
    };
    let binary = |name: &str| project.target.join(dir).join(name);
    let mut program = Command::new(binary(name));
    program
        .current_dir(&project.root)
        .env("HANSE_BIN", binary("hanse"))
        .env("HANSE_SYNCER_BIN", binary("hanse-syncer"))
        .env("KUBECTL_HANSE_BIN", binary("kubectl-hanse"))
        .env("KUBECTL_WS_BIN", binary("kubectl-ws"));
    Ok(program)
}
