//! LogicalCluster: who may make, change and delete one, and what its life cycle allows.

use crate::Admission;
use crate::request::{Operation, Request, annotation, set, text};
use crate::reserved;
use hanse_apis::kcp::{annotation as key, group, phase, user};
use hanse_wire::status::Result;
use serde_json::Value;

fn is_logical_cluster(request: &Request<'_>) -> bool {
    request.is(group::CORE, "logicalclusters")
}

fn enters_initializing(request: &Request<'_>) -> bool {
    let at = |object: &Value| text(object, &["status", "phase"]).to_owned();
    at(request.old_object()) != phase::INITIALIZING
        && at(request.new_object()) == phase::INITIALIZING
}

/// `core.kcp.io/LogicalCluster`, mutating: on the way into Initializing, and only then, what the
/// spec lists is to be done.
pub(crate) fn mutate(_: &Admission, request: &mut Request<'_>) -> Result<()> {
    let enters = request.operation == Operation::Update && enters_initializing(request);
    if !is_logical_cluster(request) || !enters {
        return Ok(());
    }
    let Some(object) = request.object.as_deref_mut() else {
        return Ok(());
    };
    for list in ["initializers", "terminators"] {
        let wanted = object.get("spec").and_then(|s| s.get(list)).cloned();
        let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) else {
            continue;
        };
        match wanted {
            Some(wanted) => status.insert(list.to_owned(), wanted),
            None => status.remove(list),
        };
    }
    Ok(())
}

/// `core.kcp.io/LogicalCluster`, validating.
pub(crate) fn validate(admission: &Admission, request: &mut Request<'_>) -> Result<()> {
    if !is_logical_cluster(request) {
        return Ok(());
    }
    let privileged = [
        user::MASTERS,
        user::LOGICAL_CLUSTER_ADMIN,
        user::WORKSPACE_BOOTSTRAPPER,
    ];
    if privileged.iter().any(|g| request.user.in_group(g)) {
        return Ok(());
    }
    match request.operation {
        Operation::Create => Err(request.forbidden("LogicalCluster cannot be created")),
        Operation::Delete => {
            let object = admission.view().logical_cluster(request.cluster);
            let deletable =
                object.and_then(|o| o.raw(&["spec", "directlyDeletable"]).map(|r| r == b"true"));
            match deletable {
                Some(true) => Ok(()),
                _ => Err(request.forbidden("LogicalCluster cannot be deleted")),
            }
        }
        Operation::Update => validate_update(request),
    }
}

/// The administrator of a workspace neither says whose it is nor how far its life has come.
fn own_record(request: &Request<'_>) -> Result<()> {
    if reserved::is_platform(request) {
        return Ok(());
    }
    let (new, old) = (request.new_object(), request.old_object());
    for [of, field] in [
        ["spec", "owner"],
        ["spec", "directlyDeletable"],
        ["status", "phase"],
        ["status", "URL"],
    ] {
        let at = |object: &Value| object.get(of).and_then(|part| part.get(field)).cloned();
        if at(old) != at(new) {
            return Err(request.forbidden(format!("{of}.{field} is immutable")));
        }
    }
    Ok(())
}

/// Phases in the order in which they may follow each other.
fn ordinal(at: &str) -> u8 {
    match at {
        "" => 1,
        phase::SCHEDULING => 2,
        phase::INITIALIZING => 3,
        phase::READY | phase::UNAVAILABLE | phase::INACTIVE => 4,
        phase::TERMINATING => 5,
        _ => 6,
    }
}

fn validate_update(request: &Request<'_>) -> Result<()> {
    let (new, old) = (request.new_object(), request.old_object());
    let (before, after) = (
        text(old, &["status", "phase"]),
        text(new, &["status", "phase"]),
    );
    let lists = |name: &str| {
        (
            set(old, &["spec", name]),
            set(new, &["spec", name]),
            set(old, &["status", name]),
            set(new, &["status", name]),
        )
    };
    let (old_spec, new_spec, old_status, new_status) = lists("initializers");
    if old_spec != new_spec {
        return Err(request.forbidden("spec.initializers is immutable"));
    }
    if lists("terminators").0 != lists("terminators").1 {
        return Err(request.forbidden("spec.terminators is immutable"));
    }
    let created_by = |object: &Value| object.get("spec").and_then(|s| s.get("createdBy")).cloned();
    if created_by(old) != created_by(new) {
        return Err(request.forbidden("spec.createdBy is immutable"));
    }
    own_record(request)?;
    let enters = enters_initializing(request);
    if enters && new_spec != new_status {
        let why = "status.initializers do not equal spec.initializers";
        return Err(request.forbidden(why));
    }
    if !enters && after == phase::INITIALIZING && !old_status.is_superset(&new_status) {
        return Err(request.forbidden("status.initializers must not grow"));
    }
    if after != phase::INITIALIZING && before != phase::INITIALIZING && old_status != new_status {
        let why = "status.initializers is immutable after initilization";
        return Err(request.forbidden(why));
    }
    if before == phase::INITIALIZING && after != phase::INITIALIZING && !new_status.is_empty() {
        return Err(request.forbidden("status.initializers is not empty"));
    }
    if ordinal(before) > ordinal(after) {
        return Err(request.forbidden(format!("cannot transition from {before:?} to {after:?}")));
    }
    let inactive = |object: &Value| annotation(object, key::INACTIVE) == "true";
    if inactive(new) && !inactive(old) && before != phase::READY {
        let why = format!(
            "annotation {} may only be added in phase Ready",
            key::INACTIVE
        );
        return Err(request.forbidden(why));
    }
    Ok(())
}
