//! Nobody grants what he does not have: checks on writes of roles and bindings.
//!
//! Start with [`check`]. It runs before admission, as in Kubernetes, on create and update of the
//! four RBAC kinds; masters are exempt, and the verbs `escalate` (roles) and `bind` (bindings)
//! excuse.

use crate::authorizer::users_in;
use crate::rbac::{PolicyRule, escalation_text, uncovered};
use crate::{Attributes, Authorizer, UserInfo};
use hanse_apis::kcp::group;
use hanse_wire::gvk::GroupResource;
use hanse_wire::status::{Result, Status};
use serde_json::Value;

/// A write of an RBAC object.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// Logical cluster.
    pub cluster: &'a str,
    /// Who writes.
    pub user: &'a UserInfo,
    /// `roles`, `clusterroles`, `rolebindings` or `clusterrolebindings`.
    pub resource: &'a str,
    /// Namespace; empty for the cluster kinds.
    pub namespace: &'a str,
    /// Name of the object.
    pub name: &'a str,
    /// What it shall be.
    pub new: &'a Value,
    /// What it is.
    pub old: Option<&'a Value>,
}

/// Refuses a write that would grant more than the writer has.
///
/// # Errors
/// 403 with Kubernetes' text, or 404 for a binding to a role that does not exist.
pub fn check(authorizer: &Authorizer, write: &Write<'_>) -> Result<()> {
    if write.user.is_master() || is_only_collection(write) {
        return Ok(());
    }
    match write.resource {
        "roles" | "clusterroles" => check_role(authorizer, write),
        "rolebindings" | "clusterrolebindings" => check_binding(authorizer, write),
        _ => Ok(()),
    }
}

fn refuse(write: &Write<'_>, why: &str) -> Box<Status> {
    Status::forbidden(
        &GroupResource::new(group::RBAC, write.resource),
        write.name,
        why,
    )
}

fn may(authorizer: &Authorizer, write: &Write<'_>, verb: &str, resource: &str, name: &str) -> bool {
    let want = Attributes {
        namespace: write.namespace,
        ..Attributes::resource(write.user, verb, group::RBAC, resource, name)
    };
    authorizer.authorize(&want, Some(write.cluster)).allowed
}

fn owned(authorizer: &Authorizer, write: &Write<'_>) -> Vec<PolicyRule> {
    let users = users_in(write.user, write.cluster);
    authorizer
        .grants()
        .rules_for(&users, write.cluster, write.namespace)
}

fn check_role(authorizer: &Authorizer, write: &Write<'_>) -> Result<()> {
    if may(authorizer, write, "escalate", write.resource, write.name) {
        return Ok(());
    }
    let owned = owned(authorizer, write);
    let aggregates = write
        .new
        .get("aggregationRule")
        .is_some_and(|v| !v.is_null());
    let changed = |key: &str| {
        write
            .old
            .is_none_or(|old| old.get(key) != write.new.get(key))
    };
    if write.resource == "clusterroles"
        && aggregates
        && changed("aggregationRule")
        && !uncovered(&owned, &everything()).is_empty()
    {
        let why = "must have cluster-admin privileges to use the aggregationRule";
        return Err(refuse(write, why));
    }
    let missing = uncovered(&owned, &PolicyRule::list(write.new));
    if missing.is_empty() {
        return Ok(());
    }
    Err(refuse(write, &escalation_text(write.user, &missing)))
}

fn check_binding(authorizer: &Authorizer, write: &Write<'_>) -> Result<()> {
    let reference = |key: &str| {
        let value = write.new.get("roleRef").and_then(|r| r.get(key));
        value.and_then(Value::as_str).unwrap_or_default()
    };
    let to_cluster_role = reference("kind") == "ClusterRole";
    let role_resource = if to_cluster_role {
        "clusterroles"
    } else {
        "roles"
    };
    let name = reference("name");
    if may(authorizer, write, "bind", role_resource, name) {
        return Ok(());
    }
    let rules =
        authorizer
            .grants()
            .named_role(to_cluster_role, write.cluster, write.namespace, name);
    let Some(rules) = rules else {
        return Err(Status::not_found(
            &GroupResource::new(group::RBAC, role_resource),
            name,
        ));
    };
    let missing = uncovered(&owned(authorizer, write), &rules);
    if missing.is_empty() {
        return Ok(());
    }
    Err(refuse(write, &escalation_text(write.user, &missing)))
}

fn everything() -> [PolicyRule; 2] {
    let all = || vec![Box::from("*")];
    [
        PolicyRule {
            verbs: all(),
            api_groups: all(),
            resources: all(),
            ..PolicyRule::default()
        },
        PolicyRule {
            verbs: all(),
            non_resource_urls: all(),
            ..PolicyRule::default()
        },
    ]
}

/// True for an update that changes nothing but finalizers and owner references: the garbage
/// collector must be able to do that without having every right.
fn is_only_collection(write: &Write<'_>) -> bool {
    let Some(old) = write.old else { return false };
    let strip = |value: &Value| {
        let mut value = value.clone();
        if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            for key in [
                "finalizers",
                "ownerReferences",
                "managedFields",
                "resourceVersion",
            ] {
                meta.remove(key);
            }
        }
        value
    };
    strip(old) == strip(write.new)
}
