//! `kubectl kcp`: the commands of kcp's own plugin under the names that its users know. The same
//! commands are part of `kubectl hanse`.

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::session::{Flags, Session};
use crate::{bind, claims, crd};

/// Binds APIs of other workspaces and publishes one's own.
#[derive(Parser)]
#[command(
    name = "kubectl kcp",
    bin_name = "kubectl kcp",
    version,
    max_term_width = 100
)]
#[command(
    after_help = "`kubectl hanse` has these commands too, and those for sites; \
    `kubectl ws` moves between workspaces."
)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

/// What both plugins can do.
#[derive(Subcommand)]
pub enum Command {
    /// Uses an API of another workspace in the current one.
    #[command(subcommand)]
    Bind(bind::Command),
    /// Shows and decides what the owners of bound APIs may do in the current workspace.
    #[command(subcommand)]
    Claims(claims::Command),
    /// Makes schemas for publishing out of CustomResourceDefinitions.
    #[command(subcommand)]
    Crd(crd::Command),
}

impl Command {
    /// Runs it; only what asks the server needs a kubeconfig.
    ///
    /// # Errors
    /// What the user is to read.
    pub async fn run(&self, flags: &Flags) -> Result<()> {
        match self {
            Command::Bind(command) => bind::run(&Session::open(flags)?, command).await,
            Command::Claims(command) => claims::run(&Session::open(flags)?, command).await,
            Command::Crd(command) => crd::run(command),
        }
    }
}

/// Runs the plugin.
///
/// # Errors
/// What the user is to read.
pub async fn run() -> Result<()> {
    let cli = Cli::parse();
    cli.command.run(&cli.flags).await
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_words_fit_together() {
        super::Cli::command().debug_assert();
    }
}
