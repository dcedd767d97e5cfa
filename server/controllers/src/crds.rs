//! CRDs: accepted names, establishment, and their end with all of their objects (CRD-03 to CRD-11).
//! What the status says is decided in [`hanse_schema::crd::status`]; here is when.

use std::sync::Arc;

use hanse_cache::{ClusterName, DocumentError, Object, ObjectKey, ResourceId, Scope};
use hanse_json::{Value, get_str};
use hanse_schema::crd::status::{self, UsedNames};

use crate::feed::list;
use crate::plan::{Plan, World, delete, finalizers, is_full, release, restate};

/// The storage identity of objects of a logical cluster's own CRDs.
pub const LOCAL: &str = "customresources";
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

fn resource() -> ResourceId {
    ResourceId::new("apiextensions.k8s.io", "customresourcedefinitions", "")
}

/// Brings a CRD right.
pub fn reconcile(
    world: &World<'_>,
    cluster: &ClusterName,
    name: &Arc<str>,
) -> Result<Plan, DocumentError> {
    let key = ObjectKey::new(&resource(), cluster, "", name.clone());
    let Some(crd) = world.hub.get(&key) else {
        return Ok(Plan::done());
    };
    let mut value = crd.value();
    if crd.is_deleting() {
        return end(world, &crd, value);
    }
    if cluster.starts_with("system:") {
        // Those are made established, and share names: several stand for one API.
        return Ok(Plan::done());
    }
    let now = world.now();
    let mut used = UsedNames::default();
    let group = get_str(&value, &["spec", "group"])
        .unwrap_or_default()
        .to_owned();
    for other in list(world.hub, &resource(), &Scope::Cluster(cluster.clone())) {
        if other.key().name == *name || !is_of_group(&other, &group) {
            continue;
        }
        let other = other.value();
        if get_str(&other, &["spec", "group"]) == Some(&group) {
            used.add(&other);
        }
    }
    let mut changed = status::accept_names(&mut value, &used, &now);
    changed |= status::establish(&mut value, &now);
    if !changed {
        return Ok(Plan::done());
    }
    Ok(Plan::batches(world.hub, vec![restate(&crd, &value)?]))
}

/// Whether a CRD is of a group, by its name alone. The core group is called `core` there.
pub(crate) fn is_of_group(crd: &Object, group: &str) -> bool {
    let named = crd.key().name.split_once('.').map_or("", |(_, of)| of);
    named == group_word(group)
}

/// A group as names of CRDs spell it.
pub(crate) fn group_word(group: &str) -> &str {
    if group.is_empty() { "core" } else { group }
}

/// Deletes the objects of a CRD, then lets it go.
fn end(world: &World<'_>, crd: &Object, mut value: Value) -> Result<Plan, DocumentError> {
    if !finalizers(&value).iter().any(|f| f == CLEANUP) {
        return Ok(Plan::done());
    }
    let text = |path: &[&str]| get_str(&value, path).unwrap_or_default().to_owned();
    let objects = ResourceId::new(
        &text(&["spec", "group"]),
        &text(&["spec", "names", "plural"]),
        LOCAL,
    );
    let scope = Scope::Cluster(crd.key().cluster.clone());
    let mut writes = Vec::new();
    let mut left = 0;
    // A CRD whose names were never accepted has no objects: those there belong to another.
    if status::is_true(&value, "Established") {
        for object in list(world.hub, &objects, &scope) {
            left += 1;
            if !is_full(&writes) {
                writes.extend(delete(world, &object, None)?);
            }
        }
    }
    let now = world.now();
    if left > 0 {
        let message = "CustomResource deletion is in progress";
        let reason = "InstanceDeletionInProgress";
        if status::set_condition(&mut value, "Terminating", "True", reason, message, &now) {
            writes.push(restate(crd, &value)?);
        }
        let more = is_full(&writes);
        let mut plan = Plan::batches(world.hub, writes);
        plan.again = more.then_some(std::time::Duration::ZERO);
        return Ok(plan);
    }
    let (reason, message) = ("InstanceDeletionCompleted", "removed all instances");
    status::set_condition(&mut value, "Terminating", "False", reason, message, &now);
    Ok(Plan::batches(
        world.hub,
        vec![release(crd, &mut value, CLEANUP)?],
    ))
}
