//! Aggregated ClusterRoles (RBA-34, RBA-35): the rules of a role with an `aggregationRule` are the
//! union of those that its selectors match.

use hanse_auth::rbac;
use hanse_cache::{ClusterName, DocumentError, ResourceId, Scope};
use hanse_json::Value;

use crate::feed::list;
use crate::plan::{Plan, World, restate};

/// Brings the aggregated roles of a logical cluster right.
pub fn reconcile(world: &World<'_>, cluster: &ClusterName) -> Result<Plan, DocumentError> {
    let resource = ResourceId::new("rbac.authorization.k8s.io", "clusterroles", "");
    let roles = list(world.hub, &resource, &Scope::Cluster(cluster.clone()));
    if !roles
        .iter()
        .any(|role| role.raw(&["aggregationRule"]).is_some())
    {
        return Ok(Plan::done());
    }
    let values: Vec<Value> = roles.iter().map(|role| role.value()).collect();
    let mut writes = Vec::new();
    for (role, value) in roles.iter().zip(&values) {
        let Some(rules) = rbac::aggregate(value, values.iter()) else {
            continue;
        };
        let rules = Value::Array(rules);
        if value.get("rules").unwrap_or(&Value::Null) == &rules || role.is_deleting() {
            continue;
        }
        let mut value = value.clone();
        hanse_json::set(&mut value, &["rules"], rules);
        writes.push(restate(role, &value)?);
    }
    Ok(Plan::batches(world.hub, writes))
}
