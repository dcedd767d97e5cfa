//! `kubectl hanse why`: the chain from a request to the health of what it asked for, the first
//! broken link on top.
//!
//! What is said is decided in `hanse-projection`; here it is only gathered, as far as one may read
//! it. Invariant: what may not be read is left out and never guessed.

use anyhow::{Result, bail};
use hanse_apis::sites::{self, GROUP, PlacementStatus, ProjectionSpec, ProjectionStatus, VERSION};
use hanse_client::discovery::{Served as Known, discover};
use hanse_client::{Api, List, Resource};
use hanse_projection::why::{Facts, State, chain, first, named};
use hanse_seams::Clock as _;
use serde_json::Value;

use crate::session::Session;
use crate::table::{age, cell, table};

/// For `--help`.
pub const EXAMPLES: &str = "\
Examples:
  kubectl hanse why deployment/web
  kubectl hanse why deployments.apps/web -n shop";

/// What `why` is asked about.
#[derive(clap::Args)]
pub struct Flags {
    /// The object: KIND/NAME, as `deployment/web`.
    object: String,
    /// Its namespace; that of the context, or `default`, when it is not given.
    #[arg(short, long)]
    namespace: Option<String>,
}

fn resource(plural: &str) -> Resource {
    Resource::new(GROUP, VERSION, plural)
}

/// Explains one object.
///
/// # Errors
/// What the user is to read.
pub async fn run(session: &Session, flags: &Flags) -> Result<()> {
    let Some((kind, name)) = flags.object.split_once('/') else {
        bail!("{:?} is not KIND/NAME, as in deployment/web", flags.object);
    };
    let here = session.here();
    let namespace = flags.namespace.as_deref().unwrap_or("default");
    let facts = gather(session, &here, (kind, namespace, name)).await?;
    let links = chain(&facts);
    let title = format!("{}/{name}", kind.to_lowercase());
    match first(&links) {
        Some(link) => println!("{title}: {}: {}", link.stage.as_str(), link.text),
        None => println!("{title}: nothing is wrong: {}", ready(&facts)),
    }
    println!();
    let word = |state| match state {
        State::Holds => "ok",
        State::Broken => "BROKEN",
        State::Open => "-",
    };
    for link in &links {
        let line = format!(
            "  {:<10} {:<7} {}",
            link.stage.as_str(),
            word(link.state),
            link.text
        );
        println!("{}", line.trim_end());
    }
    sites_of(&facts);
    decisions(&facts);
    Ok(())
}

fn ready(facts: &Facts) -> String {
    let of = |p: &Value| -> ProjectionStatus { sites::read(p, "status").unwrap_or_default() };
    let status = facts.projection.as_ref().map(of).unwrap_or_default();
    format!("{} ready", status.ready)
}

/// The kind that a user means: `deployment`, `deployments.apps`, `deploy`.
fn known<'a>(all: &'a [Known], word: &str) -> Option<&'a Known> {
    let word = word.to_lowercase();
    let (plain, group) = word.split_once('.').unwrap_or((&word, ""));
    all.iter().find(|k| {
        let named = *k.resource.plural == *plain
            || k.singular == plain
            || k.kind.to_lowercase() == plain
            || k.short_names.iter().any(|s| s == plain);
        named && (group.is_empty() || *k.resource.group == *group)
    })
}

async fn gather(
    session: &Session,
    here: &Api,
    (kind, namespace, name): (&str, &str, &str),
) -> Result<Facts> {
    let all = discover(here).await?;
    let now = hanse_seams::RealClock::new().wall().as_micros();
    let mut facts = Facts {
        resource: kind.to_lowercase(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        now: i64::try_from(now).unwrap_or(i64::MAX),
        ago: Some(hanse_wire::time::human_duration),
        ..Facts::default()
    };
    match known(&all, kind) {
        None => {
            let path = &session.path;
            facts.unreadable = format!("workspace {path} does not serve {kind:?}");
        }
        Some(known) => {
            facts.group = known.resource.group.to_string();
            facts.resource = known.resource.plural.to_string();
            if !known.namespaced {
                facts.namespace.clear();
            }
            match here.find(&known.resource, &facts.namespace, name).await {
                Ok(found) => facts.object = found,
                Err(error) => facts.unreadable = error.to_string(),
            }
        }
    }
    let list = async |plural: &str| -> Vec<Value> {
        let listed = here.list(&resource(plural), &List::default()).await;
        listed.map(|l| l.items).unwrap_or_default()
    };
    facts.placements = list("placements").await;
    facts.rules = list("projectionrules").await;
    facts.sites = list("sites").await;
    let projections = list("projections").await;
    facts.projection = projections.into_iter().find(|p| {
        let of: ProjectionSpec = sites::read(p, "spec").unwrap_or_default();
        let of = of.object;
        of.name == facts.name
            && of.namespace == facts.namespace
            && of.resource == facts.resource
            && of.group == facts.group
    });
    beside(here, &all, &mut facts).await;
    Ok(facts)
}

/// What the object names and is not there, and what it was warned of.
async fn beside(here: &Api, all: &[Known], facts: &mut Facts) {
    let Some(object) = facts.object.clone() else {
        return;
    };
    for (plural, name) in named(&object, &facts.group, &facts.resource) {
        let kind = all
            .iter()
            .find(|k| *k.resource.plural == *plural && k.resource.group.is_empty());
        let Some(kind) = kind else {
            continue;
        };
        if let Ok(None) = here.find(&kind.resource, &facts.namespace, &name).await {
            facts.missing.push((plural, name));
        }
    }
    let list = List {
        namespace: facts.namespace.clone(),
        fields: format!("involvedObject.name={}", facts.name),
        ..List::default()
    };
    let events = here.list(&Resource::new("", "v1", "events"), &list).await;
    let mut events = events.map(|l| l.items).unwrap_or_default();
    events.retain(|e| e["type"] == "Warning");
    events.sort_by(|a, b| {
        b["lastTimestamp"]
            .as_str()
            .cmp(&a["lastTimestamp"].as_str())
    });
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    facts.warnings = events
        .iter()
        .map(|e| (text(&e["reason"]), text(&e["message"])))
        .collect();
}

/// The sites in detail.
fn sites_of(facts: &Facts) {
    let Some(projection) = &facts.projection else {
        return;
    };
    let spec: ProjectionSpec = sites::read(projection, "spec").unwrap_or_default();
    let status: ProjectionStatus = sites::read(projection, "status").unwrap_or_default();
    let row = |s: &sites::SiteDetail| {
        let share = spec.sites.iter().find(|a| a.site == s.site);
        let share = share.and_then(|a| a.replicas);
        vec![
            s.site.clone(),
            cell(&s.state),
            cell(&s.health),
            cell(&s.certainty),
            share.map_or("<none>".into(), |n| n.to_string()),
            age(Some(&s.observed)),
        ]
    };
    let rows: Vec<Vec<String>> = status.sites.iter().map(row).collect();
    if rows.is_empty() {
        return;
    }
    let heads = [
        "Site",
        "State",
        "Health",
        "Certainty",
        "Replicas",
        "Observed",
    ];
    println!();
    print!("{}", table(&heads, &rows));
}

/// What the Placement that decides has decided, or all of them where none does.
fn decisions(facts: &Facts) {
    let spec = facts.projection.as_ref();
    let spec: ProjectionSpec = spec
        .map(|p| sites::read(p, "spec").unwrap_or_default())
        .unwrap_or_default();
    let mut rows = Vec::new();
    for placement in &facts.placements {
        let name = placement["metadata"]["name"].as_str().unwrap_or_default();
        if !spec.placement.is_empty() && spec.placement != name {
            continue;
        }
        let status: PlacementStatus = sites::read(placement, "status").unwrap_or_default();
        for decision in status.sites {
            rows.push(vec![
                name.to_owned(),
                decision.site,
                if decision.chosen { "yes" } else { "no" }.to_owned(),
                decision.reason,
                cell(&decision.message),
            ]);
        }
    }
    if !rows.is_empty() {
        println!();
        let heads = ["Placement", "Site", "Chosen", "Rule", "Message"];
        print!("{}", table(&heads, &rows));
    }
}
