//! Deletion: at once, or by a mark while finalizers hold the object.
//!
//! Start at [`remove`]. The invariant: an object with finalizers is never removed here; it is
//! marked once, and the mark never moves (DEL-04, DEL-05).

use hanse_cache::{CommitError, Object, ObjectKey, Txn};
use hanse_json::{Value, entry_object, get_i64};
use hanse_kinds::ResourceDef;
use hanse_schema::crd::status;
use hanse_wire::options::DeleteOptions;
use hanse_wire::status::{Result, Status};

use super::change::{is_held_by_spec, is_namespace};
use super::{
    Writing, admit, commit_error, finish, first_version, live_tree, meta_text, strip_cluster,
};
use crate::limits::WRITE_ATTEMPTS_MAX;

/// Finalizer that keeps an object until its dependents were told to stay.
const ORPHAN: &str = "orphan";
/// Finalizer that keeps a CRD until its objects are gone.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
/// Finalizer that keeps an object until its dependents are gone.
const FOREGROUND: &str = "foregroundDeletion";

/// What became of a deletion.
pub struct Removed {
    /// The object: its last state, or its marked one.
    pub object: Value,
    /// Whether it is gone.
    pub gone: bool,
}

/// Deletes one object.
///
/// # Errors
/// 404, 409 for preconditions that do not hold, 403 from admission.
pub async fn remove(w: &Writing<'_>, key: &ObjectKey, options: &DeleteOptions) -> Result<Removed> {
    for _ in 0..WRITE_ATTEMPTS_MAX {
        let Some(live) = w.service.hub.get(key).filter(|live| w.call.shows(live)) else {
            return Err(Status::not_found(&w.target.group_resource(), &key.name));
        };
        if let Some(removed) = attempt(w, &live, options).await? {
            return Ok(removed);
        }
    }
    Err(Status::modified(&w.target.group_resource(), &key.name))
}

/// One try. `None` when somebody else was faster.
async fn attempt(
    w: &Writing<'_>,
    live: &Object,
    options: &DeleteOptions,
) -> Result<Option<Removed>> {
    let def = &w.target.def;
    preconditions(def, live, options)?;
    let mut old = live_tree(w.target, live);
    strip_cluster(&mut old);
    admit::delete(w, &old)?;
    let mut new = old.clone();
    set_finalizers(&mut new, options);
    if is_definition(def) && !live.is_deleting() {
        hold_definition(&mut new, &w.now);
    }
    let held = meta_list_len(&new, "finalizers") > 0 || is_held_by_spec(def, &new);
    if held && !live.is_deleting() {
        mark(&mut new, def, &w.now);
    }
    let cluster = &live.key().cluster;
    let version = live.resource_version();
    if w.options.is_dry_run() || (held && hanse_json::equal(&new, &old)) {
        let object = finish(new, Some(version), cluster);
        return Ok(Some(Removed {
            object,
            gone: !held,
        }));
    }
    let txn = match held {
        true => Txn::default().update(live, w.document(&new)?),
        false => Txn::default().delete(live),
    };
    let commit = w.service.hub.commit(txn);
    match w.service.timed("delete", commit).await {
        Ok(committed) => {
            let version = if held {
                first_version(&committed)
            } else {
                Some(version)
            };
            let object = finish(new, version, cluster);
            Ok(Some(Removed {
                object,
                gone: !held,
            }))
        }
        Err(CommitError::Conflict { .. }) => Ok(None),
        Err(error) => Err(commit_error(&error)),
    }
}

fn preconditions(def: &ResourceDef, live: &Object, options: &DeleteOptions) -> Result<()> {
    // The kind stands where other conflicts name the resource: so Kubernetes has it (ERR-03).
    let kind = hanse_wire::gvk::GroupResource::new(def.group.clone(), def.kind.clone());
    let name = &live.key().name;
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != live.uid()) {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The \
             object might have been deleted and then recreated",
            live.uid()
        );
        return Err(Status::conflict(&kind, name, &why));
    }
    let current = live.resource_version().to_string();
    if let Some(version) = options
        .resource_version
        .as_deref()
        .filter(|v| *v != current)
    {
        let why = format!(
            "the ResourceVersion in the precondition ({version}) does not match the \
             ResourceVersion in record ({current}). The object might have been modified"
        );
        return Err(Status::conflict(&kind, name, &why));
    }
    Ok(())
}

/// Puts the finalizers of the propagation policy in, and takes those of another out (DEL-06).
fn set_finalizers(object: &mut Value, options: &DeleteOptions) {
    let policy = match (
        options.orphan_dependents,
        options.propagation_policy.as_deref(),
    ) {
        (Some(true), _) | (_, Some("Orphan")) => Some(ORPHAN),
        (_, Some("Foreground")) => Some(FOREGROUND),
        (Some(false), _) | (_, Some(_)) => None,
        // Nothing was asked for: what is there stays.
        (None, None) => return,
    };
    let meta = entry_object(object, &["metadata"]);
    let mut finalizers = match meta.remove("finalizers") {
        Some(Value::Array(finalizers)) => finalizers,
        _ => Vec::new(),
    };
    finalizers.retain(|f| {
        let ours = f == ORPHAN || f == FOREGROUND;
        !ours || policy.is_some_and(|policy| f == policy)
    });
    if let Some(policy) = policy
        && !finalizers.iter().any(|f| f == policy)
    {
        finalizers.push(policy.into());
    }
    if !finalizers.is_empty() {
        meta.insert("finalizers".to_owned(), Value::Array(finalizers));
    }
}

fn is_definition(def: &ResourceDef) -> bool {
    def.group == "apiextensions.k8s.io" && def.plural == "customresourcedefinitions"
}

/// A CRD outlives its objects: whoever deletes them takes the finalizer away (CRD-08).
fn hold_definition(crd: &mut Value, now: &str) {
    let finalizers = entry_object(crd, &["metadata"])
        .entry("finalizers")
        .or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(finalizers) = finalizers
        && !finalizers.iter().any(|f| f == CLEANUP)
    {
        finalizers.push(CLEANUP.into());
    }
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will \
                   begin soon";
    let (kind, reason) = ("Terminating", "InstanceDeletionPending");
    status::set_condition(crd, kind, "True", reason, message, now);
}

/// Marks an object as being on its way out.
fn mark(object: &mut Value, def: &ResourceDef, now: &str) {
    let generation = get_i64(object, &["metadata", "generation"]).unwrap_or(0);
    let meta = entry_object(object, &["metadata"]);
    meta.insert("deletionTimestamp".to_owned(), now.into());
    if is_namespace(def) {
        hanse_json::set(object, &["status", "phase"], "Terminating".into());
        return;
    }
    if is_definition(def) {
        return;
    }
    meta.insert("deletionGracePeriodSeconds".to_owned(), 0.into());
    if generation > 0 {
        meta.insert("generation".to_owned(), (generation + 1).into());
    }
}

fn meta_list_len(object: &Value, field: &str) -> usize {
    hanse_json::get_array(object, &["metadata", field]).len()
}

/// The uid of a tree.
#[must_use]
pub fn uid_of(object: &Value) -> &str {
    meta_text(object, "uid").unwrap_or_default()
}
