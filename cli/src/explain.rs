//! `kubectl hanse sync-status` and `why`: the Projections of a workspace, for people.
//!
//! Invariant: ages are derived here, from times that objects store.

use anyhow::{Result, bail};
use hanse_apis::sites::{self, GROUP, PlacementStatus, ProjectionSpec, ProjectionStatus, VERSION};
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

/// For `--help`.
pub const WHY_EXAMPLES: &str = "\
Examples:
  kubectl hanse why deployment/web
  kubectl hanse why deployments.apps/web -n shop";

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

/// What `why` is asked about.
#[derive(clap::Args)]
pub struct WhyFlags {
    /// The object: KIND/NAME, as `deployment/web`.
    object: String,
    /// Its namespace; that of the context, or `default`, when it is not given.
    #[arg(short, long)]
    namespace: Option<String>,
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

/// Explains one object.
///
/// # Errors
/// What the user is to read.
pub async fn why(session: &Session, flags: &WhyFlags) -> Result<()> {
    let Some((kind, name)) = flags.object.split_once('/') else {
        bail!("{:?} is not KIND/NAME, as in deployment/web", flags.object);
    };
    let namespace = flags.namespace.as_deref().unwrap_or("default");
    let kind = kind.split('.').next().unwrap_or_default().to_lowercase();
    let here = session.here();
    let list = here
        .list(&resource("projections"), &List::default())
        .await?;
    let of = |p: &&Value| {
        let object = &p["spec"]["object"];
        let word = |key: &str| object[key].as_str().unwrap_or_default().to_lowercase();
        object["name"] == name
            && (object["namespace"].is_null() || object["namespace"] == namespace)
            && (word("kind") == kind || word("resource") == kind)
    };
    let Some(projection) = list.items.iter().find(of) else {
        println!("{}/{name} is not placed.", kind);
        return placements(session, None).await;
    };
    let spec: ProjectionSpec = sites::read(projection, "spec").unwrap_or_default();
    let status: ProjectionStatus = sites::read(projection, "status").unwrap_or_default();
    let served = Served::get(&here, &resource("projections")).await?;
    println!(
        "{}/{name}: {} ready, placed by placement/{}",
        kind,
        ready(&served, projection, &status),
        spec.placement
    );
    println!();
    let rows: Vec<Vec<String>> = status
        .sites
        .iter()
        .map(|s| {
            let share = spec
                .sites
                .iter()
                .find(|a| a.site == s.site)
                .and_then(|a| a.replicas);
            vec![
                s.site.clone(),
                cell(&s.state),
                cell(&s.health),
                cell(&s.certainty),
                share.map_or("<none>".into(), |n| n.to_string()),
                age(Some(&s.observed)),
            ]
        })
        .collect();
    let heads = [
        "Site",
        "State",
        "Health",
        "Certainty",
        "Replicas",
        "Observed",
    ];
    print!("{}", table(&heads, &rows));
    for site in &status.sites {
        let Some(error) = &site.error else {
            continue;
        };
        println!();
        println!(
            "{}: {} for {}",
            site.site,
            error.reason,
            age(Some(&error.since))
        );
        println!("  {}", error.message);
        if !error.next_try.is_empty() {
            println!("  next try: {}", error.next_try);
        }
    }
    println!();
    placements(session, Some(&spec.placement)).await
}

/// The decisions of one Placement, or of all.
async fn placements(session: &Session, only: Option<&str>) -> Result<()> {
    let list = session
        .here()
        .list(&resource("placements"), &List::default())
        .await?;
    let mut rows = Vec::new();
    for placement in &list.items {
        let name = placement["metadata"]["name"].as_str().unwrap_or_default();
        if only.is_some_and(|o| o != name) {
            continue;
        }
        let status: PlacementStatus = sites::read(placement, "status").unwrap_or_default();
        for decision in status.sites {
            let chosen = if decision.chosen { "yes" } else { "no" };
            rows.push(vec![
                name.to_owned(),
                decision.site,
                chosen.to_owned(),
                decision.reason,
                cell(&decision.message),
            ]);
        }
    }
    if rows.is_empty() {
        println!("No Placement of this workspace has decided about any site.");
        return Ok(());
    }
    print!(
        "{}",
        table(&["Placement", "Site", "Chosen", "Rule", "Message"], &rows)
    );
    Ok(())
}
