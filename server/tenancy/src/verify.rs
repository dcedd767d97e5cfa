//! What must hold between the objects of a shard, whatever was written in which order.
//!
//! Start at [`verify`]. Each rule is one function that names what breaks it; `hanse-cache` has
//! looked at every object by itself before. The invariant: a state that controllers are about to
//! leave (an owner that was just deleted, an export that is gone while bindings to it remain) is
//! no finding, so what is named here has no way back by itself.

use std::collections::{BTreeMap, BTreeSet};

use hanse_apis::kcp::{annotation, cluster, group, phase};
use hanse_cache::{ClusterName, Hub, ListQuery, Object, ObjectKey, ResourceId, Scope};
use hanse_kinds::kcp::system_crds;
use hanse_rules::locks::{self, Locks};
use hanse_rules::{hash, path};
use serde_json::Value;

use crate::catalog::{BoundResource, bound_resources};
use crate::exit::all;

/// Objects looked at in one turn of the hub's lock.
const STEP: usize = 4096;

/// Where the objects of a workspace's own CRDs lie.
const CUSTOM: &str = "customresources";

/// Names everything that breaks a rule.
#[must_use]
pub fn verify(hub: &Hub) -> Vec<String> {
    let shard = Shard::read(hub);
    let mut findings = Vec::new();
    shard.tree(&mut findings);
    shard.exports(hub, &mut findings);
    shard.bindings(&mut findings);
    shard.locks(&mut findings);
    shard.places(hub, &mut findings);
    owners(hub, &mut findings);
    findings
}

/// What the rules look at more than once.
struct Shard {
    /// The LogicalCluster of each logical cluster.
    clusters: BTreeMap<ClusterName, Object>,
    workspaces: Vec<Object>,
    exports: Vec<Object>,
    bindings: Vec<Object>,
    crds: Vec<Object>,
    namespaces: BTreeSet<(ClusterName, String)>,
}

fn text(object: &Object, at: &[&str]) -> String {
    object.text(at).unwrap_or_default().into_owned()
}

/// Whether an export says itself that its key is not that of its identity any more: whoever may
/// write the Secret may do that, and is told so there.
fn self_told_invalid(export: &Object) -> bool {
    let raw = export.raw(&["status", "conditions"]).unwrap_or(b"[]");
    let conditions: Vec<Value> = serde_json::from_slice(raw).unwrap_or_default();
    conditions
        .iter()
        .any(|one| one["type"] == "IdentityValid" && one["status"] == "False")
}

/// Calls `each` for every object of a resource, a step at a time.
fn walk(hub: &Hub, resource: &ResourceId, mut each: impl FnMut(&Object)) {
    let mut after = None;
    loop {
        let query = ListQuery {
            after: after.take(),
            limit: Some(STEP),
            ..ListQuery::default()
        };
        let Ok(page) = hub.list(resource, &Scope::Wildcard, &query) else {
            return;
        };
        page.objects.iter().for_each(&mut each);
        match page.objects.last() {
            Some(last) if page.more => after = Some(last.key().path()),
            _ => return,
        }
    }
}

impl Shard {
    fn read(hub: &Hub) -> Self {
        let clusters = all(hub, group::CORE, "logicalclusters").into_iter();
        let namespaces = all(hub, "", "namespaces").into_iter();
        Self {
            clusters: clusters.map(|o| (o.key().cluster.clone(), o)).collect(),
            workspaces: all(hub, group::TENANCY, "workspaces"),
            exports: all(hub, group::APIS, "apiexports"),
            bindings: all(hub, group::APIS, "apibindings"),
            crds: all(hub, "apiextensions.k8s.io", "customresourcedefinitions"),
            namespaces: namespaces
                .map(|o| (o.key().cluster.clone(), o.key().name.to_string()))
                .collect(),
        }
    }

    fn path_of(&self, cluster: &str) -> Option<String> {
        let object = self.clusters.get(cluster)?;
        let path = object.annotation(annotation::PATH);
        // A root is called as it is.
        Some(path.map_or_else(|| cluster.to_owned(), |path| path.into_owned()))
    }

    /// Workspaces and logical clusters belong together, and a path says where one hangs.
    fn tree(&self, findings: &mut Vec<String>) {
        let mut named: BTreeMap<String, &Object> = BTreeMap::new();
        for workspace in &self.workspaces {
            let at = text(workspace, &["spec", "cluster"]);
            let ready = text(workspace, &["status", "phase"]) == phase::READY;
            let (key, mounted) = (workspace.key(), workspace.raw(&["spec", "mount"]).is_some());
            if mounted || workspace.is_deleting() {
                named.insert(at, workspace);
                continue;
            }
            if ready && !self.clusters.contains_key(&*at) {
                findings.push(format!("{key}: its logical cluster {at} is missing"));
            }
            let wanted = self
                .path_of(&key.cluster)
                .map(|p| path::join(&p, &key.name));
            let told = self.path_of(&at);
            if let (Some(wanted), Some(told)) = (wanted, told)
                && wanted != told
            {
                findings.push(format!(
                    "{key}: its logical cluster {at} says that it is {told}"
                ));
            }
            if let Some(other) = named.insert(at.clone(), workspace)
                && !at.is_empty()
            {
                findings.push(format!(
                    "{key}: {} has the same logical cluster",
                    other.key()
                ));
            }
        }
        for (cluster, object) in &self.clusters {
            if object.raw(&["spec", "owner"]).is_none() || object.is_deleting() {
                continue;
            }
            match named.get(cluster.as_str()) {
                None => findings.push(format!("{}: no workspace names it", object.key())),
                Some(workspace) => {
                    let owner = text(object, &["spec", "owner", "uid"]);
                    if owner != workspace.uid() {
                        let key = object.key();
                        findings.push(format!("{key}: its owner is not {}", workspace.key()));
                    }
                }
            }
        }
    }

    /// An export's identity is the hash of its key.
    fn exports(&self, hub: &Hub, findings: &mut Vec<String>) {
        let secrets = ResourceId::new("", "secrets", "");
        for export in &self.exports {
            let reference = |of| text(export, &["spec", "identity", "secretRef", of]);
            let (namespace, name) = (reference("namespace"), reference("name"));
            let hash_told = text(export, &["status", "identityHash"]);
            if self_told_invalid(export) {
                continue;
            }
            let key = ObjectKey::new(&secrets, &export.key().cluster, &*namespace, &*name);
            // Without its Secret (a dump may have left it out) there is nothing to compare.
            let Some(secret) = hub.get(&key) else {
                continue;
            };
            let bytes = secret.text(&["data", "key"]).unwrap_or_default();
            let Ok(bytes) = hanse_wire::base64::decode(&bytes) else {
                findings.push(format!("{key}: its key is no base64"));
                continue;
            };
            if !hash_told.is_empty() && hash::identity_hash(&bytes) != hash_told {
                let export = export.key();
                findings.push(format!("{export}: its identity is not that of {key}"));
            }
        }
    }

    /// What is bound has a CRD, and the identity of the export that it names.
    fn bindings(&self, findings: &mut Vec<String>) {
        let bound: BTreeSet<&str> = self
            .crds
            .iter()
            .filter(|crd| &*crd.key().cluster == cluster::BOUND_CRDS)
            .map(|crd| &*crd.key().name)
            .collect();
        let exports: BTreeMap<(String, String), &Object> = self
            .exports
            .iter()
            .map(|e| ((e.key().cluster.to_string(), e.key().name.to_string()), e))
            .collect();
        for binding in self
            .bindings
            .iter()
            .filter(|binding| !binding.is_deleting())
        {
            let key = binding.key();
            let at = text(binding, &["status", "apiExportClusterName"]);
            let name = text(binding, &["spec", "reference", "export", "name"]);
            // The export may be gone: what was bound stays.
            let export = exports.get(&(at, name));
            let identity = export.map(|export| text(export, &["status", "identityHash"]));
            for one in bound_resources(binding) {
                let shown = locks::key(&one.group, &one.resource);
                if !bound.contains(one.uid.as_str()) {
                    let uid = &one.uid;
                    findings.push(format!("{key}: the CRD {uid} of its {shown} is missing"));
                }
                if identity
                    .as_ref()
                    .is_some_and(|identity| *identity != one.identity)
                {
                    findings.push(format!(
                        "{key}: its {shown} has another identity than its export"
                    ));
                }
            }
        }
    }

    /// The table of who owns a name in a logical cluster says what bindings and CRDs say.
    fn locks(&self, findings: &mut Vec<String>) {
        let names: BTreeSet<(&str, &str)> = self
            .bindings
            .iter()
            .map(|binding| (&*binding.key().cluster, &*binding.key().name))
            .collect();
        let table = |cluster: &str| {
            let object = self.clusters.get(cluster)?;
            let text = object.annotation(annotation::RESOURCE_BINDINGS)?;
            Some(Locks::parse(&text))
        };
        for binding in self
            .bindings
            .iter()
            .filter(|binding| !binding.is_deleting())
        {
            let key = binding.key();
            let Some(locks) = table(&key.cluster) else {
                continue;
            };
            for one in bound_resources(binding) {
                let shown = locks::key(&one.group, &one.resource);
                let owner = locks.owner(&shown).map(|lock| lock.binding.as_str());
                if owner != Some(&*key.name) {
                    let owner = owner.unwrap_or("nobody");
                    findings.push(format!(
                        "{key}: its {shown} is {owner}'s by the table of locks"
                    ));
                }
            }
        }
        for cluster in self.clusters.keys() {
            for (name, lock) in table(cluster).iter().flat_map(Locks::iter) {
                if !lock.binding.is_empty() && !names.contains(&(cluster, lock.binding.as_str())) {
                    let binding = &lock.binding;
                    findings.push(format!(
                        "{cluster}: {name} is locked by {binding}, which is missing"
                    ));
                }
            }
        }
    }

    /// Every object is in a logical cluster and a namespace that exist, of a kind that is there.
    fn places(&self, hub: &Hub, findings: &mut Vec<String>) {
        let bound: BTreeSet<(String, String, String, String)> = self
            .bindings
            .iter()
            .flat_map(|binding| {
                let cluster = binding.key().cluster.to_string();
                bound_resources(binding).into_iter().map(move |one| {
                    let BoundResource {
                        group,
                        resource,
                        identity,
                        ..
                    } = one;
                    (cluster.clone(), group, resource, identity)
                })
            })
            .collect();
        let own: BTreeSet<(String, String, String)> = self
            .crds
            .iter()
            .map(|crd| {
                let spec = |at: &[&str]| text(crd, at);
                let (group, plural) =
                    (spec(&["spec", "group"]), spec(&["spec", "names", "plural"]));
                (crd.key().cluster.to_string(), group, plural)
            })
            .collect();
        for resource in hub.resources() {
            let (group, name, identity) =
                (resource.group(), resource.resource(), resource.identity());
            let mut system = system_crds().iter().map(|row| &row.storage);
            let everywhere = identity.is_empty()
                || system.any(|of| *of.group == *group && *of.resource == *name);
            walk(hub, &resource, |object| {
                let key = object.key();
                let (cluster, namespace) = (&key.cluster, key.namespace.to_string());
                let parts = || (cluster.to_string(), group.to_owned(), name.to_owned());
                let is_served = || {
                    let (cluster, group, name) = parts();
                    match identity {
                        CUSTOM => own.contains(&(cluster, group, name)),
                        _ => bound.contains(&(cluster, group, name, identity.to_owned())),
                    }
                };
                if !self.clusters.contains_key(cluster) && !cluster.starts_with("system:") {
                    findings.push(format!("{key}: there is no such logical cluster"));
                } else if !namespace.is_empty()
                    && !self.namespaces.contains(&(cluster.clone(), namespace))
                {
                    findings.push(format!("{key}: there is no such namespace"));
                } else if !everywhere && !is_served() {
                    let text = match identity {
                        CUSTOM => "no CRD of its logical cluster defines it",
                        _ => "nobody binds it in its logical cluster",
                    };
                    findings.push(format!("{key}: {text}"));
                }
            });
        }
    }
}

/// An owner that is there is the one that is meant.
fn owners(hub: &Hub, findings: &mut Vec<String>) {
    let mut meant: BTreeMap<(ClusterName, String), Vec<(ObjectKey, String)>> = BTreeMap::new();
    for resource in hub.resources() {
        walk(hub, &resource, |object| {
            if object.owners().next().is_none() {
                return;
            }
            let raw = object
                .raw(&["metadata", "ownerReferences"])
                .unwrap_or(b"[]");
            let references: Vec<Value> = serde_json::from_slice(raw).unwrap_or_default();
            for reference in references {
                let part = |name: &str| reference[name].as_str().unwrap_or_default().to_owned();
                let owner = (object.key().cluster.clone(), part("uid"));
                let told = (object.key().clone(), part("name"));
                meant.entry(owner).or_default().push(told);
            }
        });
    }
    for resource in hub.resources() {
        walk(hub, &resource, |object| {
            let owner = (object.key().cluster.clone(), object.uid().to_owned());
            for (key, name) in meant.get(&owner).into_iter().flatten() {
                let it = object.key();
                if *it.name != **name {
                    findings.push(format!("{key}: its owner {name} is {it}"));
                } else if !it.namespace.is_empty() && it.namespace != key.namespace {
                    findings.push(format!("{key}: its owner {it} is in another namespace"));
                }
            }
        });
    }
}
