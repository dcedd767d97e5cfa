//! What must hold of everything that is stored once nothing happens any more.
//!
//! Start at [`at_rest`], which names what is left behind or half there, and [`end`], the picture
//! that two runs are compared by: everything but what chance and time put in (ids, uids, versions,
//! times), with logical clusters called by their paths.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail, ensure};
use hanse_cache::{Hub, ListQuery, Object, Scope};
use hanse_rules::{hash, path};
use serde_json::Value;

/// Members that no two runs share.
const ASIDE: [&str; 12] = [
    "uid",
    "UID",
    "creationTimestamp",
    "deletionTimestamp",
    "lastTransitionTime",
    "lastUpdateTime",
    "resourceVersion",
    "managedFields",
    "identityHash",
    "contactSince",
    "lastContact",
    "time",
];

/// All objects, in order.
///
/// # Errors
/// The hub cannot list, which at rest it always can.
pub fn everything(hub: &Hub) -> Result<Vec<Object>> {
    let mut all = Vec::new();
    for resource in hub.resources() {
        let page = hub.list(&resource, &Scope::Wildcard, &ListQuery::default())?;
        all.extend(page.objects);
    }
    Ok(all)
}

/// Names what must not be.
///
/// # Errors
/// The first few findings.
pub async fn at_rest(hub: &Hub) -> Result<()> {
    let verified = hub.verify().await?;
    let mut findings = verified.findings;
    let all = everything(hub)?;
    let uids: BTreeSet<&str> = all.iter().map(Object::uid).collect();
    let clusters = of(&all, "core.kcp.io", "logicalclusters");
    let clusters: BTreeMap<&str, &Object> = clusters
        .map(|object| (&*object.key().cluster, object))
        .collect();
    let namespaces: BTreeSet<(&str, &str)> = of(&all, "", "namespaces")
        .map(|object| (&*object.key().cluster, &*object.key().name))
        .collect();
    for object in &all {
        let key = object.key();
        let (cluster, namespace) = (&*key.cluster, &*key.namespace);
        if !path::is_system(cluster) && !clusters.contains_key(cluster) {
            findings.push(format!("{key}: its logical cluster is gone"));
        }
        if !namespace.is_empty() && !namespaces.contains(&(cluster, namespace)) {
            findings.push(format!("{key}: its namespace is gone"));
        }
        if object.is_deleting() {
            findings.push(format!("{key}: it is still going: {}", short(object)));
        }
        for owner in object.owners().filter(|uid| !uids.contains(uid)) {
            findings.push(format!("{key}: its owner {owner} is gone"));
        }
    }
    for cluster in clusters.values() {
        let owner = cluster.text(&["spec", "owner", "uid"]);
        if let Some(uid) = owner.filter(|uid| !uids.contains(&**uid)) {
            findings.push(format!("{}: its workspace {uid} is gone", cluster.key()));
        }
        not_ready(cluster, &mut findings);
    }
    for workspace in of(&all, "tenancy.kcp.io", "workspaces") {
        let id = workspace.text(&["spec", "cluster"]).unwrap_or_default();
        if !clusters.contains_key(&*id) {
            findings.push(format!("{}: it has no logical cluster", workspace.key()));
        }
        not_ready(workspace, &mut findings);
    }
    let shown: Vec<String> = findings.iter().take(6).cloned().collect();
    ensure!(
        findings.is_empty(),
        "{} findings at rest: {}",
        findings.len(),
        shown.join("\n")
    );
    Ok(())
}

fn not_ready(object: &Object, findings: &mut Vec<String>) {
    let phase = object.text(&["status", "phase"]).unwrap_or_default();
    if phase != "Ready" {
        findings.push(format!("{}: it is {phase:?}", object.key()));
    }
}

fn short(object: &Object) -> String {
    let finalizers = object
        .raw(&["metadata", "finalizers"])
        .unwrap_or(b"no finalizers");
    String::from_utf8_lossy(finalizers).into_owned()
}

fn of<'o>(
    all: &'o [Object],
    group: &'o str,
    resource: &'o str,
) -> impl Iterator<Item = &'o Object> {
    all.iter().filter(move |object| {
        let of = &object.key().resource;
        of.group() == group && of.resource() == resource
    })
}

/// Everything as any run with the same wishes leaves it.
///
/// # Errors
/// See [`everything`].
pub fn end(hub: &Hub) -> Result<BTreeMap<String, String>> {
    let all = everything(hub)?;
    let mut names: Vec<(String, String)> = Vec::new();
    let mut inboxes = BTreeMap::new();
    for site in of(&all, "sites.hanse.dev", "sites") {
        let inbox = site.text(&["status", "cluster"]).unwrap_or_default();
        inboxes.insert(inbox.into_owned(), format!("inbox-of-{}", site.key().name));
    }
    for cluster in of(&all, "core.kcp.io", "logicalclusters") {
        let id = &*cluster.key().cluster;
        let path = cluster.annotation("kcp.io/path").unwrap_or_default();
        let path = inboxes.get(id).map_or(&*path, String::as_str);
        for export in ["tenancy.kcp.io", "topology.kcp.io", "sites.hanse.dev"] {
            let name = hash::default_binding_name(id, "root", export);
            names.push((name, format!("{export}-of-{path}")));
        }
        if !path.is_empty() && path != id {
            names.push((id.to_owned(), path.to_owned()));
        }
    }
    // A bound kind is called by the uid of its schema.
    for schema in of(&all, "apis.kcp.io", "apiresourceschemas") {
        names.push((schema.uid().to_owned(), format!("uid-of-{}", schema.key())));
    }
    for object in &all {
        if let Some(identity) = object.text(&["status", "identityHash"]) {
            let (cluster, name) = (&object.key().cluster, &object.key().name);
            let hash = hash::export_hash(cluster, name);
            names.push((hash, format!("hash-of-{}", object.key())));
            let export = format!("identity-of-{}", object.key());
            names.push((identity.into_owned(), export));
        }
    }
    names.retain(|(from, _)| !from.is_empty());
    // Longer ones first: none is hidden by a part of itself.
    names.sort_by(|left, right| (right.0.len(), &right.0).cmp(&(left.0.len(), &left.0)));
    names.dedup_by(|right, left| right.0 == left.0);
    let mut end = BTreeMap::new();
    for object in &all {
        // What a secret is made of, what only tells how far something has come, and what writers
        // fought over.
        let resource = object.key().resource.resource();
        let fought_over = object.key().name.starts_with(crate::load::PREFIX);
        if matches!(resource, "secrets" | "leases" | "events") || fought_over {
            continue;
        }
        let key = renamed(&object.key().to_string(), &names);
        let value = comparable(&object.value());
        let shown = renamed(&value.to_string(), &names);
        if end.insert(key.clone(), shown).is_some() {
            bail!("two objects are called {key}");
        }
    }
    Ok(end)
}

fn renamed(text: &str, names: &[(String, String)]) -> String {
    let mut text = text.to_owned();
    for (from, to) in names {
        if text.contains(from.as_str()) {
            text = text.replace(from.as_str(), to);
        }
    }
    text
}

fn comparable(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(key, _)| !ASIDE.contains(&key.as_str()));
            let kept = kept.map(|(key, value)| (key.clone(), comparable(value)));
            kept.collect::<serde_json::Map<_, _>>().into()
        }
        Value::Array(list) => list.iter().map(comparable).collect(),
        other => other.clone(),
    }
}

/// What the end of one run has and that of another has not, or has otherwise.
#[must_use]
pub fn difference(
    left: &BTreeMap<String, String>,
    right: &BTreeMap<String, String>,
) -> Vec<String> {
    let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let mut found = Vec::new();
    for key in keys {
        match (left.get(key), right.get(key)) {
            (Some(left), Some(right)) if left == right => {}
            (left, right) => found.push(format!("{key}:\n  {left:?}\n  {right:?}")),
        }
    }
    found
}
