//! Namespaces: what each is born with (NS-10), and its end (NS-02 to NS-05).
//!
//! A namespace's end is driven by events: the deletion of an object in it brings its key back.

use std::sync::Arc;

use hanse_cache::{
    ClusterName, DocumentError, Object, ObjectKey, ResourceId, SchemaHash, Scope, Write,
};
use hanse_json::{Value, get_array, get_str, json};

use crate::feed::list;
use crate::plan;
use crate::plan::{Plan, World, create, delete, erase, finalizers, is_full, restate, restate_with};

/// The ConfigMap with the CA in every namespace.
pub const ROOT_CA: &str = "kube-root-ca.crt";
const DEFAULT_ACCOUNT: &str = "default";
const KUBERNETES: &str = "kubernetes";
const ROOT_CA_DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the \
    kube-apiserver when using internal endpoints such as the internal service IP or \
    kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes \
    clusters.";

/// The key of a namespace.
pub fn key(cluster: &ClusterName, name: &str) -> ObjectKey {
    ObjectKey::new(&ResourceId::new("", "namespaces", ""), cluster, "", name)
}

fn schema(resource: &ResourceId) -> SchemaHash {
    hanse_kinds::builtin()
        .iter()
        .find(|def| {
            def.storage.group == resource.group() && def.storage.resource == resource.resource()
        })
        .map(|def| SchemaHash::from(def.schema.hash))
        .unwrap_or_default()
}

/// Brings a namespace right.
pub fn reconcile(
    world: &World<'_>,
    cluster: &ClusterName,
    name: &Arc<str>,
) -> Result<Plan, DocumentError> {
    let Some(namespace) = world.hub.get(&key(cluster, name)) else {
        return Ok(Plan::done());
    };
    if namespace.is_deleting() {
        return end(world, &namespace);
    }
    let mut writes = Vec::new();
    writes.extend(account(world, &namespace)?);
    writes.extend(root_ca(world, &namespace)?);
    Ok(Plan::batches(world.hub, writes))
}

fn account(world: &World<'_>, namespace: &Object) -> Result<Option<Write>, DocumentError> {
    let resource = ResourceId::new("", "serviceaccounts", "");
    let cluster = &namespace.key().cluster;
    let key = ObjectKey::new(
        &resource,
        cluster,
        namespace.key().name.clone(),
        DEFAULT_ACCOUNT,
    );
    if world.hub.get(&key).is_some() {
        return Ok(None);
    }
    let value = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": world.new_metadata(&key)
    });
    create(key, &value, schema(&resource)).map(Some)
}

fn root_ca(world: &World<'_>, namespace: &Object) -> Result<Option<Write>, DocumentError> {
    let resource = ResourceId::new("", "configmaps", "");
    let cluster = &namespace.key().cluster;
    let key = ObjectKey::new(&resource, cluster, namespace.key().name.clone(), ROOT_CA);
    let data = json!({"ca.crt": &*world.config.root_ca});
    let Some(present) = world.hub.get(&key) else {
        let mut value = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": data,
            "metadata": world.new_metadata(&key)
        });
        let annotation = json!({"kubernetes.io/description": ROOT_CA_DESCRIPTION});
        hanse_json::set(&mut value, &["metadata", "annotations"], annotation);
        return create(key, &value, schema(&resource)).map(Some);
    };
    let mut value = present.value();
    if present.is_deleting() || value.get("data") == Some(&data) {
        return Ok(None);
    }
    hanse_json::set(&mut value, &["data"], data);
    restate(&present, &value).map(Some)
}

/// Deletes what is in the namespace, and at last the namespace.
fn end(world: &World<'_>, namespace: &Object) -> Result<Plan, DocumentError> {
    let mut value = namespace.value();
    let held = get_array(&value, &["spec", "finalizers"])
        .iter()
        .any(|f| f == KUBERNETES);
    if !held {
        return Ok(Plan::done());
    }
    let key = namespace.key();
    let scope = Scope::Namespace(key.cluster.clone(), key.name.clone());
    let mut writes = Vec::new();
    let mut rest = Rest::default();
    for (resource, count) in world.hub.contents(&scope) {
        let name = match resource.group() {
            "" => resource.resource().to_owned(),
            group => format!("{}.{group}", resource.resource()),
        };
        rest.kinds.push((name, count));
        for object in list(world.hub, &resource, &scope) {
            if is_full(&writes) {
                break;
            }
            if let Some(write) = delete(world, &object, None)? {
                writes.push(write);
            } else {
                rest.add(&object);
            }
        }
    }
    if !writes.is_empty() {
        // What these deletions leave behind comes back as events, or as the next turn.
        let mut plan = Plan::batches(world.hub, writes);
        plan.again = Some(std::time::Duration::ZERO);
        return Ok(plan);
    }
    let now = world.now();
    if !rest.kinds.is_empty() {
        let changed = rest.report(&mut value, &now);
        let write = changed
            .then(|| terminating(namespace, &value))
            .transpose()?;
        return Ok(Plan::batches(world.hub, write.into_iter().collect()));
    }
    hanse_json::remove(&mut value, &["spec", "finalizers"]);
    let write = if finalizers(&value).is_empty() {
        erase(namespace)
    } else {
        rest.report(&mut value, &now);
        terminating(namespace, &value)?
    };
    Ok(Plan::batches(world.hub, vec![write]))
}

fn terminating(namespace: &Object, value: &Value) -> Result<Write, DocumentError> {
    let name = plan::name_of(value).to_owned();
    let phase = get_str(value, &["status", "phase"])
        .unwrap_or("Terminating")
        .to_owned();
    restate_with(
        namespace,
        value,
        &[("name", &name), ("status.phase", &phase)],
    )
}

/// What is left in a namespace that nothing but its finalizers can remove.
#[derive(Default)]
struct Rest {
    kinds: Vec<(String, usize)>,
    finalizers: std::collections::BTreeMap<String, usize>,
}

impl Rest {
    fn add(&mut self, object: &Object) {
        for finalizer in finalizers(&object.value()) {
            *self.finalizers.entry(finalizer).or_default() += 1;
        }
    }

    /// Writes the five conditions (NS-04); answers whether any changed.
    fn report(&self, namespace: &mut Value, now: &str) -> bool {
        let count = |n: &usize| format!("{n} resource instances");
        let left: Vec<String> = self
            .kinds
            .iter()
            .map(|(kind, n)| format!("{kind} has {}", count(n)))
            .collect();
        let waits: Vec<String> = self
            .finalizers
            .iter()
            .map(|(name, n)| format!("{name} in {}", count(n)))
            .collect();
        let remaining = format!("Some resources are remaining: {}", left.join(", "));
        let finalizing = format!(
            "Some content in the namespace has finalizers remaining: {}",
            waits.join(", ")
        );
        let rows = [
            (
                "NamespaceDeletionDiscoveryFailure",
                Err((
                    "ResourcesDiscovered",
                    "All resources successfully discovered",
                )),
            ),
            (
                "NamespaceDeletionGroupVersionParsingFailure",
                Err((
                    "ParsedGroupVersions",
                    "All legacy kube types successfully parsed",
                )),
            ),
            (
                "NamespaceDeletionContentFailure",
                Err((
                    "ContentDeleted",
                    "All content successfully deleted, may be waiting on finalization",
                )),
            ),
            (
                "NamespaceContentRemaining",
                if left.is_empty() {
                    Err(("ContentRemoved", "All content successfully removed"))
                } else {
                    Ok(("SomeResourcesRemain", remaining.as_str()))
                },
            ),
            (
                "NamespaceFinalizersRemaining",
                if waits.is_empty() {
                    Err((
                        "ContentHasNoFinalizers",
                        "All content-preserving finalizers finished",
                    ))
                } else {
                    Ok(("SomeFinalizersRemain", finalizing.as_str()))
                },
            ),
        ];
        let mut changed = false;
        for (ty, row) in rows {
            let (status, (reason, message)) = match row {
                Ok(text) => ("True", text),
                Err(text) => ("False", text),
            };
            changed |= hanse_schema::crd::status::set_condition(
                namespace, ty, status, reason, message, now,
            );
        }
        changed
    }
}
