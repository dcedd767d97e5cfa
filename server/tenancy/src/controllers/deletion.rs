//! The end of a logical cluster: its content goes in bounded batches, in kcp's order.
//!
//! The walk goes over the hub's index, not over the API. Objects without finalizers are deleted,
//! those with finalizers are marked and counted. Order: everything else, then APIBindings (whose
//! own end deletes what they bind, child workspaces among it), then RBAC, so that whoever deletes
//! keeps access to the last, and the LogicalCluster itself.

use super::{Controllers, Step, StepError, drop_finalizer, mark_deleted, strings};
use crate::objects;
use hanse_apis::kcp::{conditions as condition, finalizer, group, phase};
use hanse_cache::{ListQuery, Object, ResourceId, Scope, Write};
use hanse_rules::conditions::{self, Severity, State};
use hanse_rules::path;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Deletions of one commit.
const BATCH: usize = 200;
/// Bytes that one look writes, about: what is not committed yet is in memory.
const BATCH_BYTES: usize = 8 << 20;
/// Objects looked at in one step of a walk.
const PAGE: usize = 1000;

/// Whether a look has as much to write as one look may.
pub(super) fn is_full(writes: &[Write]) -> bool {
    let bytes = || writes.iter().map(Write::weight).sum::<usize>();
    writes.len() >= BATCH || bytes() >= BATCH_BYTES
}

/// What is left and cannot go yet.
#[derive(Default)]
pub(super) struct Left {
    /// Objects by resource.
    resources: BTreeMap<String, usize>,
    /// Finalizers that hold them.
    finalizers: BTreeMap<String, usize>,
}

impl Left {
    pub(super) fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    fn note(&mut self, object: &Object) {
        let resource = &object.key().resource;
        let name = match resource.group() {
            "" => resource.resource().to_owned(),
            group => format!("{}.{group}", resource.resource()),
        };
        *self.resources.entry(name).or_default() += 1;
        for finalizer in finalizers(object) {
            *self.finalizers.entry(finalizer).or_default() += 1;
        }
    }

    /// `Some resources are remaining: ...; Some content in the ... has finalizers remaining: ...`.
    pub(super) fn message(&self, place: &str) -> String {
        let list = |map: &BTreeMap<String, usize>, word: &str| {
            let parts = map
                .iter()
                .map(|(name, n)| format!("{name}{word} {n} resource instances"));
            parts.collect::<Vec<_>>().join(", ")
        };
        let mut text = format!(
            "Some resources are remaining: {}",
            list(&self.resources, " has")
        );
        if !self.finalizers.is_empty() {
            let held = list(&self.finalizers, " in");
            text.push_str(&format!(
                "; Some content in the {place} has finalizers remaining: {held}"
            ));
        }
        text
    }

    /// Only the part about finalizers.
    pub(super) fn finalizer_message(&self, place: &str) -> Option<String> {
        if self.finalizers.is_empty() {
            return None;
        }
        let parts = self.finalizers.iter();
        let parts: Vec<String> = parts
            .map(|(name, n)| format!("{name} in {n} resource instances"))
            .collect();
        let parts = parts.join(", ");
        Some(format!(
            "Some content in the {place} has finalizers remaining: {parts}"
        ))
    }
}

impl Controllers {
    pub(super) fn logical_cluster_end(&self, object: &Object) -> Result<Step, StepError> {
        let now = self.tenancy.maker().now();
        let mut value = object.value();
        let terminators = strings(&value["status"]["terminators"]);
        let next = if terminators.is_empty() {
            phase::DELETING
        } else {
            phase::TERMINATING
        };
        objects::set_phase(&mut value, next);
        self.tenancy.list_lifecycle(&mut value, &[], &terminators);
        let mut left = Left::default();
        let mut writes = self.content(object, &mut left)?;
        if is_full(&writes) {
            // More to come: this commit is only a part, and its own events bring the key back.
            return Ok(Step {
                writes,
                again: Some(Duration::ZERO),
            });
        }
        let done = writes.is_empty() && left.is_empty();
        let only_deletions = left.is_empty() && writes.iter().all(|w| w.put.is_none());
        let state = if done || only_deletions {
            State::True
        } else {
            State::no(
                Severity::Error,
                "SomeResourcesRemain",
                left.message("logical cluster"),
            )
        };
        conditions::set(
            &mut value,
            condition::WORKSPACE_CONTENT_DELETED,
            &state,
            &now,
        );
        if done || only_deletions {
            writes.extend(self.rbac_deletions(object));
            if terminators.is_empty() {
                drop_finalizer(&mut value, finalizer::LOGICAL_CLUSTER_DELETION);
            }
        }
        writes.extend(self.change(object, &value)?);
        Ok(Step::write(writes))
    }

    /// Deletes what was still written into a logical cluster while it went.
    pub(super) fn sweep(&self, cluster: &str) -> Result<Step, StepError> {
        if path::is_system(cluster) || cluster == hanse_apis::kcp::cluster::ROOT {
            return Ok(Step::done());
        }
        let view = self.tenancy.view();
        let scope = Scope::Cluster(cluster.into());
        let found = view.hub().contents(&scope).into_iter();
        let writes = found.flat_map(|(resource, _)| view.list(&resource, &scope));
        let writes = writes
            .take(BATCH)
            .map(|o| crate::Maker::delete(&o))
            .collect::<Vec<_>>();
        let again = (writes.len() == BATCH).then_some(Duration::ZERO);
        Ok(Step { writes, again })
    }

    /// A batch of deletions and marks of everything but RBAC and the LogicalCluster; what cannot
    /// go now is noted.
    fn content(&self, object: &Object, left: &mut Left) -> Result<Vec<Write>, StepError> {
        let cluster = &object.key().cluster;
        let scope = Scope::Cluster(cluster.clone());
        let view = self.tenancy.view();
        let of = view.resources();
        let bindings = view.list_cluster(&of.api_bindings, cluster);
        let bound: BTreeSet<ResourceId> = bindings
            .iter()
            .flat_map(super::binding::bound_storages)
            .collect();
        let last = [
            &of.logical_clusters,
            &of.cluster_roles,
            &of.cluster_role_bindings,
        ];
        let mut writes = Vec::new();
        let mut bound_left = false;
        let mut namespaced_left = false;
        for (resource, _) in view.hub().contents(&scope) {
            if last.contains(&&resource) || resource == of.api_bindings || resource == of.namespaces
            {
                continue;
            }
            if bound.contains(&resource) {
                bound_left = true;
                continue;
            }
            let before = left.resources.len();
            self.delete_all(&resource, &scope, &mut writes, left)?;
            namespaced_left |= left.resources.len() > before;
            if is_full(&writes) {
                return Ok(writes);
            }
        }
        self.namespaces(&scope, namespaced_left, &mut writes, left)?;
        let others_gone = left.is_empty() && !is_full(&writes);
        if others_gone {
            self.bindings_last(&bindings, bound_left, &mut writes, left)?;
        } else {
            bindings.iter().for_each(|b| left.note(b));
        }
        Ok(writes)
    }

    /// Deletes or marks all objects of a resource in a scope, up to a batch.
    pub(super) fn delete_all(
        &self,
        resource: &ResourceId,
        scope: &Scope,
        writes: &mut Vec<Write>,
        left: &mut Left,
    ) -> Result<(), StepError> {
        let mut after = None;
        while !is_full(writes) {
            let query = ListQuery {
                after,
                limit: Some(PAGE),
                ..ListQuery::default()
            };
            let Ok(page) = self.tenancy.view().hub().list(resource, scope, &query) else {
                break;
            };
            for object in &page.objects {
                if is_full(writes) {
                    break;
                }
                self.delete_one(object, writes, left)?;
            }
            after = page
                .objects
                .last()
                .filter(|_| page.more)
                .map(|o| o.key().path());
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Deletes an object, or marks it while something holds it.
    fn delete_one(
        &self,
        object: &Object,
        writes: &mut Vec<Write>,
        left: &mut Left,
    ) -> Result<(), StepError> {
        if finalizers(object).is_empty() {
            writes.push(crate::Maker::delete(object));
            return Ok(());
        }
        left.note(object);
        if !object.is_deleting() {
            let mut value = object.value();
            mark_deleted(&mut value, &self.tenancy.maker().now());
            writes.extend(self.change(object, &value)?);
        }
        Ok(())
    }

    /// Namespaces go when nothing is left in them; until then they are Terminating.
    fn namespaces(
        &self,
        scope: &Scope,
        occupied: bool,
        writes: &mut Vec<Write>,
        left: &mut Left,
    ) -> Result<(), StepError> {
        let of = &self.tenancy.view().resources().namespaces;
        for object in self.tenancy.view().list(of, scope) {
            let mut value = object.value();
            let held = !strings(&value["metadata"]["finalizers"]).is_empty();
            if !occupied && !held {
                writes.push(crate::Maker::delete(&object));
                continue;
            }
            left.note(&object);
            if !object.is_deleting() {
                mark_deleted(&mut value, &self.tenancy.maker().now());
                value["status"]["phase"] = "Terminating".into();
                writes.extend(self.change(&object, &value)?);
            }
        }
        Ok(())
    }

    /// Bindings without instances go at once; others are marked and end by themselves.
    fn bindings_last(
        &self,
        bindings: &[Object],
        instances: bool,
        writes: &mut Vec<Write>,
        left: &mut Left,
    ) -> Result<(), StepError> {
        for object in bindings {
            let mut value = object.value();
            let foreign = super::other_finalizers(&value, finalizer::API_BINDING) > 0;
            if !instances && !foreign {
                writes.push(crate::Maker::delete(object));
                continue;
            }
            left.note(object);
            if !object.is_deleting() {
                mark_deleted(&mut value, &self.tenancy.maker().now());
                writes.extend(self.change(object, &value)?);
            }
        }
        Ok(())
    }

    fn rbac_deletions(&self, object: &Object) -> Vec<Write> {
        let view = self.tenancy.view();
        let of = view.resources();
        [&of.cluster_roles, &of.cluster_role_bindings]
            .into_iter()
            .flat_map(|resource| view.list_cluster(resource, &object.key().cluster))
            .map(|object| crate::Maker::delete(&object))
            .collect()
    }
}

/// The storage name of a built-in or system resource that a claim names without identity.
pub(super) fn claim_storage(group_name: &str, resource: &str, identity: &str) -> ResourceId {
    let custom = matches!(group_name, group::APIS | group::CORE);
    let identity = match (identity, custom) {
        ("", true) => hanse_apis::kcp::CUSTOM_RESOURCES,
        (identity, _) => identity,
    };
    ResourceId::new(group_name, resource, identity)
}

/// Finalizers of an object, read without the rest of it.
fn finalizers(object: &Object) -> Vec<String> {
    let raw = object.raw(&["metadata", "finalizers"]).unwrap_or(b"[]");
    serde_json::from_slice(raw).unwrap_or_default()
}
