//! The examples in one command: builds everything and hands over to `e2e`, which runs them.

use anyhow::{Result, bail};

use crate::demo;
use crate::project::Project;

/// Runs an example of `examples/`, or lets you type its commands; lists them when none is named
///
/// Starts what the example needs: a hub of its own, and where it works with physical clusters two
/// real Kubernetes API servers with simulated nodes. Then the commands of its README are run one
/// after the other, and what they print is compared with what the README says.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The name of its directory under `examples/`.
    name: Option<String>,
    /// Opens a shell where the example stands instead of running it. `exit` removes everything.
    #[arg(long, requires = "name")]
    shell: bool,
    /// The profile to build with.
    #[arg(long, default_value = "dev")]
    profile: String,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask example                           what is there?
  cargo xtask example publish-an-api            see it run
  cargo xtask example publish-an-api --shell    type it yourself, README beside";

pub fn run(project: &Project, args: &Args) -> Result<()> {
    let mut example = demo::program(project, "hanse-example", &args.profile)?;
    example.args(&args.name);
    if args.shell {
        example.arg("--shell");
    }
    match example.status()?.success() {
        true => Ok(()),
        false => bail!("the example did not come to its end"),
    }
}
