//! `kubectl hanse plan`: what would change if a file were applied, or a Site went.
//!
//! The objects are applied first, without effect (a server-side apply as a dry run), so what is
//! planned with has passed admission and carries its defaults; the server answers the rest.
//! Invariant: nothing is written.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hanse_apis::sites::{
    self, API_VERSION, GROUP, PLANS, PlanStatus, PlannedObject, PlannedPlacement, VERSION,
};
use hanse_client::discovery::{Served, discover};
use hanse_client::{PatchKind, Request, Resource};
use http::Method;
use serde_json::{Value, json};

use crate::crd::read;
use crate::session::Session;
use crate::table::{cell, table};

/// For `--help`.
pub const EXAMPLES: &str = "\
Examples:
  kubectl hanse plan -f placement.yaml
  kubectl hanse plan -f placement.yaml -f deployment.yaml --without berlin
  kubectl hanse plan --without berlin -o yaml

The objects of the files are taken as `kubectl apply --server-side` would leave them. Nothing is
written.";

/// Field manager of the dry run: that of `kubectl apply --server-side`.
const MANAGER: &str = "kubectl";

/// What is supposed, and how the answer is printed.
#[derive(clap::Args)]
pub struct Flags {
    /// File with objects, in YAML or JSON; `-` is standard input. May be given several times.
    #[arg(short, long, value_name = "FILE")]
    filename: Vec<PathBuf>,
    /// Name of a Site that would be gone; may be given several times.
    #[arg(long, value_name = "SITE")]
    without: Vec<String>,
    /// Namespace of objects that name none.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// How the answer is printed.
    #[arg(short, long, value_parser = ["text", "yaml", "json"], default_value = "text")]
    output: String,
}

/// Asks and prints.
///
/// # Errors
/// What the user is to read.
pub async fn run(session: &Session, flags: &Flags) -> Result<()> {
    if flags.filename.is_empty() && flags.without.is_empty() {
        bail!("nothing is supposed: give -f FILE or --without SITE");
    }
    let mut objects = Vec::new();
    for file in &flags.filename {
        let text = read(file)?;
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
            .with_context(|| format!("{} cannot be read", file.display()))?;
        for document in documents.into_iter().filter(|d| !d.is_null()) {
            match document["items"].as_array() {
                Some(items) => objects.extend(items.iter().cloned()),
                None => objects.push(document),
            }
        }
    }
    let here = session.here();
    let served = match objects.is_empty() {
        true => Vec::new(),
        false => discover(&here).await?,
    };
    let mut supposed = Vec::new();
    for object in objects {
        supposed.push(rehearse(session, &served, object, &flags.namespace).await?);
    }
    let plan = json!({
        "apiVersion": API_VERSION, "kind": "Plan", "metadata": {"name": "plan"},
        "spec": {"objects": supposed, "without": flags.without},
    });
    let answer = here
        .create(&Resource::new(GROUP, VERSION, PLANS), &plan)
        .await?;
    match flags.output.as_str() {
        "json" => println!("{}", serde_json::to_string_pretty(&answer["status"])?),
        "yaml" => print!("{}", serde_saphyr::to_string(&answer["status"])?),
        _ => {
            let status: PlanStatus = sites::read(&answer, "status")?;
            print!("{}", text(&status)?);
        }
    }
    Ok(())
}

/// The object as an apply would leave it.
async fn rehearse(
    session: &Session,
    served: &[Served],
    mut object: Value,
    namespace: &str,
) -> Result<Value> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let row = served.iter().find(|s| {
        let of = &s.resource;
        let own = match of.group.as_str() {
            "" => of.version.clone(),
            group => format!("{group}/{}", of.version),
        };
        s.kind == kind && own == version
    });
    let row = row.with_context(|| format!("{version} {kind} is not served here"))?;
    if row.namespaced && object["metadata"]["namespace"].is_null() {
        object["metadata"]["namespace"] = json!(namespace);
    }
    let meta = &object["metadata"];
    let (namespace, name) = (text(&meta["namespace"]), text(&meta["name"]));
    let path = row.resource.object_path(&namespace, &name, "");
    let request = Request::new(Method::PATCH, path)
        .with("fieldManager", MANAGER)
        .with("force", "true")
        .with("dryRun", "All")
        .body(
            PatchKind::Apply.content_type(),
            Bytes::from(object.to_string()),
        );
    let bytes = session.here().raw(request).await?;
    let mut object: Value = serde_json::from_slice(&bytes)?;
    if let Some(meta) = object["metadata"].as_object_mut() {
        meta.remove("managedFields");
    }
    Ok(object)
}

fn text(status: &PlanStatus) -> Result<String> {
    let mut out = String::new();
    for placement in &status.placements {
        decision(&mut out, placement)?;
    }
    for object in &status.objects {
        planned(&mut out, object)?;
    }
    if status.placements.is_empty() && status.objects.is_empty() {
        writeln!(out, "Nothing would change.")?;
    }
    if status.unchanged > 0 {
        writeln!(out, "{} objects would stay as they are.", status.unchanged)?;
    }
    if status.hidden > 0 {
        writeln!(
            out,
            "{} more would change that are not shown.",
            status.hidden
        )?;
    }
    Ok(out)
}

fn decision(out: &mut String, placement: &PlannedPlacement) -> Result<()> {
    writeln!(out, "placement/{}", placement.name)?;
    if !placement.unmet.is_empty() {
        writeln!(out, "  {}", placement.unmet)?;
    }
    let now: BTreeSet<&String> = placement.chosen.iter().collect();
    let mark = |chosen: bool| if chosen { "chosen" } else { "" };
    let rows: Vec<Vec<String>> = placement
        .sites
        .iter()
        .map(|row| {
            let mut why = row.reason.clone();
            if !row.message.is_empty() {
                why = format!("{why}: {}", row.message);
            }
            vec![
                row.site.clone(),
                cell(mark(now.contains(&row.site))),
                cell(mark(row.chosen)),
                why,
            ]
        })
        .collect();
    out.push_str(&table(&["Site", "Now", "Then", "Why"], &rows));
    out.push('\n');
    Ok(())
}

fn planned(out: &mut String, planned: &PlannedObject) -> Result<()> {
    let of = &planned.object;
    let kind = match of.group.as_str() {
        "" => of.resource.clone(),
        group => format!("{}.{group}", of.resource),
    };
    let place = match of.namespace.as_str() {
        "" => String::new(),
        namespace => format!(" -n {namespace}"),
    };
    writeln!(out, "{kind}/{}{place}", of.name)?;
    for site in &planned.sites {
        let replicas = site.replicas.filter(|_| !site.action.starts_with("Delete"));
        let replicas = replicas.map(|n| format!(", {n} replicas"));
        let why = match site.reason.as_str() {
            "" => String::new(),
            reason => format!(", {reason}: {}", site.message),
        };
        let replicas = replicas.unwrap_or_default();
        writeln!(out, "  {}: {}{replicas}{why}", site.site, site.action)?;
        if !site.object.is_null() && site.action != "Keep" {
            for line in serde_saphyr::to_string(&site.object)?.lines() {
                writeln!(out, "    {line}")?;
            }
        }
    }
    out.push('\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use hanse_apis::sites::{PlannedSite, SiteDecision, Source};

    use super::*;

    #[test]
    fn a_plan_reads_from_decisions_to_objects() {
        let status = PlanStatus {
            placements: vec![PlannedPlacement {
                name: "web".into(),
                sites: vec![
                    SiteDecision {
                        site: "berlin".into(),
                        reason: "Leaving".into(),
                        message: "the site is being deleted".into(),
                        ..SiteDecision::default()
                    },
                    SiteDecision {
                        site: "paris".into(),
                        chosen: true,
                        reason: "Fits".into(),
                        ..SiteDecision::default()
                    },
                ],
                chosen: vec!["berlin".into()],
                ..PlannedPlacement::default()
            }],
            objects: vec![PlannedObject {
                object: Source {
                    group: "apps".into(),
                    resource: "deployments".into(),
                    namespace: "shop".into(),
                    name: "web".into(),
                    ..Source::default()
                },
                sites: vec![
                    PlannedSite {
                        site: "berlin".into(),
                        action: "Delete".into(),
                        ..PlannedSite::default()
                    },
                    PlannedSite {
                        site: "paris".into(),
                        action: "Create".into(),
                        replicas: Some(3),
                        object: json!({"kind": "Deployment"}),
                        ..PlannedSite::default()
                    },
                ],
                ..PlannedObject::default()
            }],
            unchanged: 2,
            ..PlanStatus::default()
        };
        let text = text(&status).unwrap();
        let folded: Vec<String> = text
            .lines()
            .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
            .filter(|l| !l.is_empty())
            .collect();
        assert_eq!(
            folded,
            [
                "placement/web",
                "SITE NOW THEN WHY",
                "berlin chosen <none> Leaving: the site is being deleted",
                "paris <none> chosen Fits",
                "deployments.apps/web -n shop",
                "berlin: Delete",
                "paris: Create, 3 replicas",
                "kind: Deployment",
                "2 objects would stay as they are.",
            ]
        );
        let nothing = super::text(&PlanStatus::default()).unwrap();
        assert_eq!(nothing, "Nothing would change.\n");
    }
}
