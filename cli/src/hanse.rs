//! `kubectl hanse`: the words of the plugin.

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::session::{Flags, Session};
use crate::{explain, import, site};

/// Publishes APIs of physical clusters, manages sites, and says where things are and why.
#[derive(Parser)]
#[command(name = "kubectl hanse", bin_name = "kubectl hanse", version)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Imports APIs from a physical cluster into the current workspace, as an APIExport.
    ///
    /// The schemas come from the cluster's CRDs, or from its OpenAPI for kinds that Kubernetes
    /// itself defines. Importing again publishes changed schemas under new names.
    Import(import::Flags),
    /// Manages sites: physical clusters with one syncer each.
    Site {
        #[command(subcommand)]
        command: site::Command,
    },
    /// Lists the placed objects of the current workspace with what became of them.
    SyncStatus(explain::StatusFlags),
    /// Says where one object is, why there, and what keeps it from being well.
    Why(explain::WhyFlags),
}

/// Runs the plugin.
///
/// # Errors
/// What the user is to read.
pub async fn run() -> Result<()> {
    let cli = Cli::parse();
    let session = Session::open(&cli.flags)?;
    match cli.command {
        Command::Import(flags) => import::run(&session, &flags).await,
        Command::Site { command } => site::run(&session, &command).await,
        Command::SyncStatus(flags) => explain::status(&session, &flags).await,
        Command::Why(flags) => explain::why(&session, &flags).await,
    }
}
