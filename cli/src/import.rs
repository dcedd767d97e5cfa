//! `kubectl hanse import`: a physical cluster's APIs published in a workspace.
//!
//! For each resource one APIResourceSchema, named after the hash of its content, and one APIExport
//! for all of them. Invariant: importing the same twice changes nothing; a changed schema gets a
//! new name, because schemas cannot change.

use std::path::PathBuf;

use anyhow::{Context, Result};
use hanse_client::discovery::{Served, discover};
use hanse_client::http::Http;
use hanse_client::{Api, Config, PatchKind, Resource};
use hanse_projection::content_hash;
use hanse_seams::Seams;
use serde_json::{Map, Value, json};

use crate::advice::advise;
use crate::crd::{self, APPROVED};
use crate::openapi;
use crate::session::Session;

/// What is imported, from where, and under which name.
#[derive(clap::Args)]
pub struct Flags {
    /// Resources to import: `deployments.apps`, `services`, `gateways.gateway.networking.k8s.io`,
    /// or `*.gateway.networking.k8s.io` for a whole group.
    #[arg(required = true, value_name = "RESOURCE")]
    resources: Vec<String>,
    /// Kubeconfig of the physical cluster.
    #[arg(long, value_name = "FILE")]
    site_kubeconfig: PathBuf,
    /// Context in that kubeconfig; its current one when it is not given.
    #[arg(long, value_name = "NAME")]
    site_context: Option<String>,
    /// Name of the APIExport.
    #[arg(long)]
    export: String,
    /// Prints the objects instead of creating them.
    #[arg(long)]
    dry_run: bool,
}

/// For `--help`.
pub const EXAMPLES: &str = "\
Examples:
  kubectl hanse import deployments.apps services --site-kubeconfig berlin.kubeconfig \\
      --export kubernetes                       two kinds that Kubernetes itself defines
  kubectl hanse import '*.cert-manager.io' --site-kubeconfig berlin.kubeconfig \\
      --export cert-manager                     every kind of a group
  kubectl hanse import '*.cert-manager.io' --site-kubeconfig berlin.kubeconfig \\
      --export cert-manager --dry-run           to read first, or to keep in git

Then, in a tenant's workspace: kubectl hanse bind apiexport root:PLATFORM:cert-manager";

/// Columns for kinds that Kubernetes prints by code: name, type, JSON path.
type Column = (&'static str, &'static str, &'static str);
const COLUMNS: &[(&str, &str, &[Column])] = &[
    (
        "apps",
        "deployments",
        &[
            ("Desired", "integer", ".spec.replicas"),
            ("Ready", "integer", ".status.readyReplicas"),
            ("Up-To-Date", "integer", ".status.updatedReplicas"),
            ("Available", "integer", ".status.availableReplicas"),
        ],
    ),
    (
        "apps",
        "statefulsets",
        &[
            ("Desired", "integer", ".spec.replicas"),
            ("Ready", "integer", ".status.readyReplicas"),
        ],
    ),
    (
        "",
        "services",
        &[
            ("Type", "string", ".spec.type"),
            ("Port", "integer", ".spec.ports[0].port"),
            (
                "External-IP",
                "string",
                ".status.loadBalancer.ingress[0].ip",
            ),
        ],
    ),
    (
        "batch",
        "jobs",
        &[("Succeeded", "integer", ".status.succeeded")],
    ),
];

/// Kinds that Kubernetes lets scale.
const SCALES: &[(&str, &str)] = &[
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
];

/// Imports.
///
/// # Errors
/// What the user is to read.
pub async fn run(session: &Session, flags: &Flags) -> Result<()> {
    let config = Config::from_file(&flags.site_kubeconfig, flags.site_context.as_deref())?;
    let site = Http::api(config, Seams::real()).context("the physical cluster")?;
    let served = discover(&site).await.context("the physical cluster")?;
    let mut schemas = Vec::new();
    for wanted in &flags.resources {
        let found = select(&served, wanted);
        if found.is_empty() {
            return Err(advise(
                format!("the cluster does not serve {wanted:?}"),
                format!(
                    "`kubectl --kubeconfig {} api-resources -o name` lists what it serves.",
                    flags.site_kubeconfig.display()
                ),
            ));
        }
        for versions in found {
            schemas.push(
                schema(&site, &versions)
                    .await
                    .with_context(|| wanted.clone())?,
            );
        }
    }
    let export = export(&flags.export, &schemas);
    if flags.dry_run {
        for object in schemas.iter().chain([&export]) {
            print!("---\n{}", serde_saphyr::to_string(object)?);
        }
        return Ok(());
    }
    publish(&session.here(), &schemas, &export).await
}

/// The resources that a word means, each with its versions, preferred first.
fn select<'a>(served: &'a [Served], wanted: &str) -> Vec<Vec<&'a Served>> {
    let (plural, group) = wanted.split_once('.').unwrap_or((wanted, ""));
    let mut out: Vec<Vec<&Served>> = Vec::new();
    for one in served {
        let fits = one.resource.group == group
            && (plural == "*" || plural == one.resource.plural)
            && one.verbs.iter().any(|v| v == "create")
            && one.verbs.iter().any(|v| v == "watch");
        if !fits {
            continue;
        }
        match out
            .iter_mut()
            .find(|v| v[0].resource.plural == one.resource.plural)
        {
            Some(versions) => versions.push(one),
            None => out.push(vec![one]),
        }
    }
    out
}

async fn schema(site: &Api, versions: &[&Served]) -> Result<Value> {
    let first = versions[0];
    let crds = Resource::new("apiextensions.k8s.io", "v1", "customresourcedefinitions");
    let name = format!("{}.{}", first.resource.plural, first.resource.group);
    let found = match first.resource.group.as_str() {
        "" => None,
        _ => site.find(&crds, "", &name).await?,
    };
    let (spec, approved) = match found {
        Some(crd) => {
            let approved = crd["metadata"]["annotations"][APPROVED].as_str();
            (crd::spec(&crd)?, approved.map(str::to_owned))
        }
        None => (
            from_openapi(site, first).await?,
            approval(&first.resource.group),
        ),
    };
    let group = match first.resource.group.as_str() {
        "" => "core",
        group => group,
    };
    let hash = content_hash(&spec);
    let name = format!("i{}.{}.{group}", &hash[..8], first.resource.plural);
    Ok(crd::schema(&name, spec, approved.as_deref()))
}

/// Groups of Kubernetes' community ask for an approval; what a cluster serves was not ours to
/// approve.
fn approval(group: &str) -> Option<String> {
    let protected = |suffix: &str| group == suffix || group.ends_with(&format!(".{suffix}"));
    (protected("k8s.io") || protected("kubernetes.io"))
        .then(|| "unapproved, imported from a cluster that serves it".to_owned())
}

async fn from_openapi(site: &Api, served: &Served) -> Result<Value> {
    let Resource {
        group,
        version,
        plural,
    } = &served.resource;
    let path = match group.as_str() {
        "" => format!("/openapi/v3/api/{version}"),
        group => format!("/openapi/v3/apis/{group}/{version}"),
    };
    let document = site.path(&path).await?;
    let schema = openapi::structural(&document, group, version, &served.kind)
        .with_context(|| format!("the cluster's OpenAPI does not describe {}", served.kind))?;
    let is = |row: &&(&str, &str)| row.0 == group && row.1 == plural;
    let mut subresources = Map::new();
    if served.subresources.iter().any(|s| s == "status") {
        subresources.insert("status".into(), json!({}));
    }
    if SCALES.iter().any(|row| is(&row)) {
        subresources.insert(
            "scale".into(),
            json!({
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
            }),
        );
    }
    let columns = COLUMNS.iter().find(|(g, p, _)| g == group && p == plural);
    let mut columns: Vec<Value> = columns
        .map(|(_, _, columns)| columns.iter())
        .into_iter()
        .flatten()
        .map(|(name, ty, path)| json!({"name": name, "type": ty, "jsonPath": path}))
        .collect();
    columns.push(json!({
        "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp",
    }));
    let singular = match served.singular.as_str() {
        "" => served.kind.to_lowercase(),
        singular => singular.to_owned(),
    };
    Ok(json!({
        "group": group,
        "names": {
            "plural": plural, "singular": singular, "kind": served.kind,
            "listKind": format!("{}List", served.kind), "shortNames": served.short_names,
            "categories": served.categories,
        },
        "scope": if served.namespaced { "Namespaced" } else { "Cluster" },
        "versions": [{
            "name": version, "served": true, "storage": true, "schema": schema,
            "subresources": subresources, "additionalPrinterColumns": columns,
        }],
    }))
}

fn export(name: &str, schemas: &[Value]) -> Value {
    let resources: Vec<Value> = schemas
        .iter()
        .map(|schema| {
            json!({
                "group": schema["spec"]["group"], "name": schema["spec"]["names"]["plural"],
                "schema": schema["metadata"]["name"], "storage": {"crd": {}},
            })
        })
        .collect();
    json!({
        "apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIExport",
        "metadata": {"name": name}, "spec": {"resources": resources},
    })
}

async fn publish(here: &Api, schemas: &[Value], export: &Value) -> Result<()> {
    let of = Resource::new("apis.kcp.io", "v1alpha1", "apiresourceschemas");
    for schema in schemas {
        let name = schema["metadata"]["name"].as_str().unwrap_or_default();
        match here.create(&of, schema).await {
            Ok(_) => println!("apiresourceschema.apis.kcp.io/{name} created"),
            Err(error) if error.is_already_exists() => {
                println!("apiresourceschema.apis.kcp.io/{name} unchanged");
            }
            Err(error) => return Err(error).with_context(|| name.to_owned()),
        }
    }
    let of = Resource::new("apis.kcp.io", "v1alpha2", "apiexports");
    let name = export["metadata"]["name"].as_str().unwrap_or_default();
    let Some(found) = here.find(&of, "", name).await? else {
        here.create(&of, export).await?;
        println!("apiexport.apis.kcp.io/{name} created");
        return Ok(());
    };
    let resources = merged(&found["spec"]["resources"], &export["spec"]["resources"]);
    if found["spec"]["resources"] == resources {
        println!("apiexport.apis.kcp.io/{name} unchanged");
        return Ok(());
    }
    let patch = json!({"spec": {"resources": resources}});
    here.patch(&of, ("", name, ""), PatchKind::Merge, &patch)
        .await?;
    println!("apiexport.apis.kcp.io/{name} configured");
    Ok(())
}

/// What an export has, with what is imported now in its place or behind it.
fn merged(old: &Value, new: &Value) -> Value {
    let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
    let mut out = list(old);
    for resource in list(new) {
        let same =
            |o: &&mut Value| o["group"] == resource["group"] && o["name"] == resource["name"];
        match out.iter_mut().find(same) {
            Some(old) => *old = resource,
            None => out.push(resource),
        }
    }
    Value::Array(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_grows_and_takes_new_schemas() {
        let old = json!([{"group": "a", "name": "x", "schema": "1"}]);
        let new = json!([{"group": "a", "name": "x", "schema": "2"},
                         {"group": "b", "name": "y", "schema": "3"}]);
        assert_eq!(merged(&old, &new), new);
        assert!(approval("gateway.networking.k8s.io").is_some());
        assert_eq!(approval("apps"), None);
    }
}
