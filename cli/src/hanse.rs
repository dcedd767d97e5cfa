//! `kubectl hanse`: the words of the plugin.

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::session::{Flags, Session};
use crate::{explain, import, kcp, plan, site, top, why};

/// Publishes and binds APIs, manages sites, and says where things are and why.
#[derive(Parser)]
#[command(
    name = "kubectl hanse",
    bin_name = "kubectl hanse",
    version,
    max_term_width = 100
)]
#[command(after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples, for a platform team:
  kubectl hanse site join berlin --label region=eu > berlin.yaml
  kubectl hanse site list
  kubectl hanse import deployments.apps services --site-kubeconfig berlin.kubeconfig \\
      --export kubernetes
for a tenant:
  kubectl hanse bind apiexport root:platform:kubernetes
  kubectl hanse plan -f placement.yaml --without berlin
  kubectl hanse sync-status
  kubectl hanse why deployment/web

`kubectl hanse COMMAND --help` says more; `kubectl ws` moves between workspaces.";

#[derive(Subcommand)]
enum Command {
    /// Imports APIs from a physical cluster into the current workspace, as an APIExport.
    ///
    /// The schemas come from the cluster's CRDs, or from its OpenAPI for kinds that Kubernetes
    /// itself defines. Importing again publishes changed schemas under new names.
    #[command(after_help = import::EXAMPLES)]
    Import(import::Flags),
    /// Manages sites: physical clusters with one syncer each.
    Site {
        #[command(subcommand)]
        command: site::Command,
    },
    /// Lists the placed objects of the current workspace with what became of them.
    #[command(after_help = explain::STATUS_EXAMPLES)]
    SyncStatus(explain::StatusFlags),
    /// Says what would change if objects were applied, or a site went; changes nothing.
    #[command(after_help = plan::EXAMPLES)]
    Plan(plan::Flags),
    /// Says what keeps one object from being well: request, policy, placement, render, apply,
    /// health, the first broken link on top.
    #[command(after_help = why::EXAMPLES)]
    Why(why::Flags),
    /// Shows what workspaces hold and cost.
    Top {
        #[command(subcommand)]
        command: top::Command,
    },
    #[command(flatten)]
    Kcp(kcp::Command),
}

/// Runs the plugin.
///
/// # Errors
/// What the user is to read.
pub async fn run() -> Result<()> {
    let cli = Cli::parse();
    let session = || Session::open(&cli.flags);
    match &cli.command {
        Command::Import(flags) => import::run(&session()?, flags).await,
        Command::Site { command } => site::run(&session()?, command).await,
        Command::SyncStatus(flags) => explain::status(&session()?, flags).await,
        Command::Plan(flags) => plan::run(&session()?, flags).await,
        Command::Why(flags) => why::run(&session()?, flags).await,
        Command::Top { command } => top::run(&session()?, command).await,
        Command::Kcp(command) => command.run(&cli.flags).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_words_fit_together() {
        super::Cli::command().debug_assert();
    }
}
