//! What of a workspace's own record only the platform writes: where it stands in the tree, whose
//! it is, what it may hold.
//!
//! kcp brings a plugin of this sort that no stock server runs, so there the administrator of a
//! workspace may rewrite all of it. Here the rows of [`ROWS`] hold; `core.kcp.io/inactive` is not
//! among them, because taking an own workspace offline is for its administrator to decide.

use crate::Admission;
use crate::request::{Operation, Request, text};
use hanse_apis::kcp::{annotation as key, group, label, user};
use hanse_wire::status::Result;
use serde_json::Value;

/// A kind's reserved metadata.
struct Row {
    group: &'static str,
    resource: &'static str,
    annotations: &'static [&'static str],
    /// Written over whatever a creation brings, so a creation may bring them.
    overwritten: &'static [&'static str],
}

const ROWS: [Row; 2] = [
    Row {
        group: group::CORE,
        resource: "logicalclusters",
        annotations: &[
            key::PATH,
            key::TYPE,
            key::SHARD,
            key::OWNER,
            key::REQUIRED_GROUPS,
            key::MAX_TOTAL_OBJECTS,
            key::RESOURCE_BINDINGS,
        ],
        overwritten: &[],
    },
    Row {
        group: group::TENANCY,
        resource: "workspaces",
        annotations: &[
            key::WORKSPACE_CLUSTER,
            key::WORKSPACE_SHARD_HASH,
            key::SHARD,
            key::OWNER,
            key::REQUIRED_GROUPS,
        ],
        overwritten: &[key::OWNER, key::REQUIRED_GROUPS],
    },
];

/// Labels by which initializers, terminators and the platform find workspaces.
const LABELS: [&str; 3] = [
    label::PHASE,
    label::INITIALIZER_PREFIX,
    label::TERMINATOR_PREFIX,
];

/// Whether the writer belongs to the platform rather than to a workspace.
pub(crate) fn is_platform(request: &Request<'_>) -> bool {
    let platform = [
        user::MASTERS,
        user::KCP_ADMIN,
        user::LOGICAL_CLUSTER_ADMIN,
        user::EXTERNAL_LOGICAL_CLUSTER_ADMIN,
        user::WORKSPACE_BOOTSTRAPPER,
    ];
    platform.iter().any(|g| request.user.in_group(g))
}

/// `ReservedMetadata`, mutating: it runs before the plugins that write these keys themselves.
pub(crate) fn metadata(_: &Admission, request: &mut Request<'_>) -> Result<()> {
    let row = ROWS.iter().find(|r| request.is(r.group, r.resource));
    let Some(row) = row.filter(|_| request.operation != Operation::Delete) else {
        return Ok(());
    };
    if is_platform(request) {
        return Ok(());
    }
    let (new, old) = (request.new_object(), request.old_object());
    for key in row.annotations {
        let at = ["metadata", "annotations", *key];
        let free = request.operation == Operation::Create && row.overwritten.contains(key);
        if !free && text(new, &at) != text(old, &at) {
            let why = format!("modification of reserved annotation: {key:?}");
            return Err(request.forbidden(why));
        }
    }
    if reserved_labels(new) != reserved_labels(old) {
        return Err(request.forbidden("modification of reserved labels"));
    }
    Ok(())
}

fn reserved_labels(object: &Value) -> Vec<(&String, &Value)> {
    let labels = object.get("metadata").and_then(|m| m.get("labels"));
    let reserved = |key: &str| LABELS.iter().any(|r| key.starts_with(r));
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    labels.filter(|(key, _)| reserved(key)).collect()
}
