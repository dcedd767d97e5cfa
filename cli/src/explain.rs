//! `kubectl hanse sync-status`: the Projections of a workspace, for people.
//!
//! Invariant: ages are derived here, from times that objects store. Why one object is not well:
//! [`crate::why`].

use anyhow::Result;
use hanse_apis::sites::{self, GROUP, ProjectionSpec, ProjectionStatus, VERSION};
use hanse_client::{List, Resource};
use serde_json::Value;

use crate::served::Served;
use crate::session::Session;
use crate::table::{age, cell, table};

/// For `--help`.
pub const STATUS_EXAMPLES: &str = "\
Examples:
  kubectl hanse sync-status                     everything that is placed
  kubectl hanse sync-status --failing           what is not well, and why";

/// What `sync-status` shows.
#[derive(clap::Args)]
pub struct StatusFlags {
    /// Only objects of this namespace.
    #[arg(short, long)]
    namespace: Option<String>,
    /// Only objects that are not well everywhere.
    #[arg(long)]
    failing: bool,
}

fn resource(plural: &str) -> Resource {
    Resource::new(GROUP, VERSION, plural)
}

/// How many sites are well, with what is unknown and what is late, as the server derives it.
fn ready(served: &Served, projection: &Value, status: &ProjectionStatus) -> String {
    let name = projection["metadata"]["name"].as_str().unwrap_or_default();
    let ready = served.cell(name, "Ready");
    ready.unwrap_or(&status.ready).to_owned()
}

/// Lists the placed objects.
///
/// # Errors
/// What the user is to read.
pub async fn status(session: &Session, flags: &StatusFlags) -> Result<()> {
    let list = session
        .here()
        .list(&resource("projections"), &List::default())
        .await?;
    let served = Served::get(&session.here(), &resource("projections")).await?;
    let mut rows = Vec::new();
    for projection in &list.items {
        let spec: ProjectionSpec = sites::read(projection, "spec").unwrap_or_default();
        let status: ProjectionStatus = sites::read(projection, "status").unwrap_or_default();
        let elsewhere = flags
            .namespace
            .as_ref()
            .is_some_and(|n| *n != spec.object.namespace);
        let well = status.sites.iter().all(|s| s.error.is_none()) && all_ready(&status);
        if elsewhere || (flags.failing && well) {
            continue;
        }
        let worst = status.sites.iter().find(|s| s.error.is_some());
        let reason = worst.and_then(|s| Some(format!("{}: {}", s.site, s.error.as_ref()?.reason)));
        rows.push(vec![
            cell(&spec.object.namespace),
            format!("{}/{}", spec.object.kind.to_lowercase(), spec.object.name),
            ready(&served, projection, &status),
            spec.sites
                .iter()
                .map(|a| a.site.as_str())
                .collect::<Vec<_>>()
                .join(","),
            cell(&reason.unwrap_or_default()),
            age(projection["metadata"]["creationTimestamp"].as_str()),
        ]);
    }
    if rows.is_empty() {
        eprintln!("No placed objects found in workspace {}.", session.path);
        return Ok(());
    }
    rows.sort();
    print!(
        "{}",
        table(
            &["Namespace", "Object", "Ready", "Sites", "Reason", "Age"],
            &rows
        )
    );
    Ok(())
}

fn all_ready(status: &ProjectionStatus) -> bool {
    status
        .ready
        .split_once('/')
        .is_some_and(|(ready, total)| ready == total)
}
