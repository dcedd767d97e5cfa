//! How many objects a logical cluster may hold in all.
//!
//! Counted exactly in the hub's index, and only where a limit is set. Updates and deletes always
//! pass, so somebody at the limit can free room.

use crate::Admission;
use crate::request::{Operation, Request};
use hanse_apis::kcp::{WORKSPACE_ADMIN, annotation, cluster, group, phase};
use hanse_cache::Scope;
use hanse_rules::path;
use hanse_wire::status::Result;

fn is_events(resource: &str, group_name: &str) -> bool {
    resource == "events" && matches!(group_name, "" | "events.k8s.io")
}

fn is_exempt(request: &Request<'_>) -> bool {
    request.operation != Operation::Create
        || !request.subresource.is_empty()
        || is_events(request.resource, request.group)
        || request.is(group::CORE, "logicalclusters")
        || request.is(group::RBAC, "clusterrolebindings") && request.name == WORKSPACE_ADMIN
}

/// `core.kcp.io/LogicalClusterObjectCountLimit`, validating.
pub(crate) fn limit(admission: &Admission, request: &mut Request<'_>) -> Result<()> {
    if is_exempt(request) {
        return Ok(());
    }
    let Some(object) = admission.view().logical_cluster(request.cluster) else {
        return Ok(());
    };
    let general = match request.cluster {
        cluster::ROOT => 0,
        name if path::is_system(name) => 0,
        _ => admission.object_limit(),
    };
    let own = object.annotation(annotation::MAX_TOTAL_OBJECTS);
    let limit = match own.as_deref().map(str::parse::<i64>) {
        Some(Ok(limit)) => u64::try_from(limit).unwrap_or_default(),
        _ => general,
    };
    if limit == 0 || object.text(&["status", "phase"]).as_deref() != Some(phase::READY) {
        return Ok(());
    }
    let contents = admission
        .view()
        .hub()
        .contents(&Scope::Cluster(request.cluster.into()));
    let counted = contents
        .iter()
        .filter(|(r, _)| !is_events(r.resource(), r.group()));
    let count: usize = counted.map(|(_, n)| n).sum();
    if (count as u64) < limit {
        return Ok(());
    }
    Err(request.forbidden(format!(
        "logical cluster {:?} has reached its total object count limit ({count}/{limit} objects); \
         delete objects to free up capacity",
        request.cluster
    )))
}
