//! An inbox: a logical cluster of type `root:site` with what its syncer needs, and nothing else.
//!
//! Invariant: the syncer's group is bound here and nowhere else. The key of the names below lies
//! in a Secret that no role here opens.

use hanse_apis::sites::{
    COMPARISONS, GROUP, INBOX_PREFIX, INBOX_TYPE, MassChange, SiteSpec, names,
};
use hanse_cache::{ClusterName, DocumentError, Object};
use hanse_projection::names::KEY_BYTES;
use hanse_rules::hash;
use hanse_rules::types::TypeRef;
use hanse_tenancy::birth::Plan;
use hanse_tenancy::{Draft, objects};
use serde_json::{Value, json};

use crate::run::Sites;
use crate::turn::{Turn, annotate};

/// Name of the role of syncers, and of its binding, in an inbox.
pub const SYNCER_ROLE: &str = "hanse:syncer";
/// Name of the role of bootstrap accounts in an inbox.
pub const JOIN_ROLE: &str = "hanse:join";

/// Name of a Site's inbox; it follows from the Site's uid, so making it twice makes one.
#[must_use]
pub fn name(site: &Object) -> ClusterName {
    let digest = hash::sha224(format!("inbox of {}", site.uid()).as_bytes());
    let text = hash::base36_padded(&digest);
    ClusterName::from(format!("{INBOX_PREFIX}{}", &text[..16]).as_str())
}

/// The URL under which a syncer reaches an inbox.
#[must_use]
pub fn url(sites: &Sites, inbox: &ClusterName) -> String {
    sites.tenancy.shard().cluster_url(inbox)
}

/// Adds what an inbox lacks. Answers whether it is complete.
///
/// # Errors
/// A tree that is no object.
pub fn ensure(
    sites: &Sites,
    turn: &mut Turn,
    inbox: &ClusterName,
    spec: &SiteSpec,
) -> Result<bool, DocumentError> {
    let lease_seconds = spec.times.lease();
    let tenancy = &sites.tenancy;
    let maker = tenancy.maker();
    let view = tenancy.view();
    let before = turn.writes.len();
    if view.logical_cluster(inbox).is_none() {
        let of = TypeRef {
            path: "root".into(),
            name: INBOX_TYPE.into(),
        };
        let types = view
            .workspace_type(&of)
            .and_then(|t| view.resolve_type(t).ok());
        let Some(types) = types else {
            return Ok(false);
        };
        let plan = Plan {
            cluster: inbox.clone(),
            path: inbox.to_string(),
            types,
            owner: None,
            required_groups: None,
            spec_owner: None,
        };
        turn.writes
            .extend(tenancy.newborn(&plan, &maker.now())?.writes);
    }
    for draft in drafts(sites, inbox, lease_seconds) {
        let found = view.get(&draft.resource, inbox, &draft.namespace, draft.name());
        let Some(found) = found else {
            turn.create(maker, inbox, draft)?;
            continue;
        };
        let mut value = found.value();
        match draft.value["kind"].as_str() {
            Some("Lease") => {
                value["spec"]["leaseDurationSeconds"] = lease_seconds.into();
                // The syncer reads here what the operator says of mass changes.
                let said = json!(spec.mass_change).to_string();
                let said = (spec.mass_change != MassChange::default()).then_some(said);
                annotate(&mut value, names::MASS_CHANGE_ANNOTATION, said.as_deref());
            }
            Some("ClusterRole") => value["rules"] = draft.value["rules"].clone(),
            _ => continue,
        }
        turn.update(maker, &found, &value)?;
    }
    Ok(turn.writes.len() == before)
}

fn drafts(sites: &Sites, inbox: &ClusterName, lease_seconds: i64) -> Vec<Draft> {
    let tenancy = &sites.tenancy;
    let of = tenancy.view().resources();
    let ca = &tenancy.shard().ca_pem;
    let mut out = Vec::new();
    out.extend(objects::namespace_set(of, names::LEASE_NAMESPACE, true, ca));
    for (name, rules) in [(SYNCER_ROLE, syncer_rules()), (JOIN_ROLE, join_rules())] {
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name}, "rules": rules,
        });
        out.push(Draft::new(&of.cluster_roles, role));
    }
    let subject = json!({
        "apiGroup": "rbac.authorization.k8s.io", "kind": "Group",
        "name": format!("{}{inbox}", names::SYNCER_GROUP),
    });
    out.push(Draft::new(
        &of.cluster_role_bindings,
        binding(SYNCER_ROLE, SYNCER_ROLE, subject),
    ));
    let mut key = [0u8; KEY_BYTES];
    tenancy.maker().seams().rng.fill(&mut key);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": names::NAME_KEY_SECRET},
        "data": {"key": hanse_wire::base64::encode(&key)},
    });
    out.push(Draft::new(&of.secrets, secret).within(names::LEASE_NAMESPACE));
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": names::LEASE}, "spec": {"leaseDurationSeconds": lease_seconds},
    });
    out.push(Draft::new(&sites.ids.leases, lease).within(names::LEASE_NAMESPACE));
    let inventory = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names::INVENTORY},
    });
    out.push(Draft::new(&of.config_maps, inventory).within(names::LEASE_NAMESPACE));
    out
}

/// A ClusterRoleBinding of one subject.
#[must_use]
pub fn binding(name: &str, role: &str, subject: Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": name}, "subjects": [subject],
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role,
        },
    })
}

fn syncer_rules() -> Value {
    json!([
        {"nonResourceURLs": ["/"], "verbs": ["access"]},
        {"apiGroups": [GROUP], "resources": ["manifests"],
         "verbs": ["get", "list", "watch", "update", "patch"]},
        {"apiGroups": [GROUP], "resources": ["manifests/status"],
         "verbs": ["get", "update", "patch"]},
        {"apiGroups": [GROUP], "resources": ["manifests/token", COMPARISONS],
         "verbs": ["create"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
         "resourceNames": [names::LEASE], "verbs": ["get", "update", "patch"]},
        {"apiGroups": [""], "resources": ["configmaps"],
         "resourceNames": [names::INVENTORY], "verbs": ["get", "update", "patch"]},
        {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"],
         "verbs": ["create", "get"]},
    ])
}

fn join_rules() -> Value {
    json!([
        {"nonResourceURLs": ["/"], "verbs": ["access"]},
        {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"],
         "verbs": ["create", "get"]},
    ])
}

/// The key of the names below, once the inbox is complete.
#[must_use]
pub fn name_key(sites: &Sites, inbox: &str) -> Option<Vec<u8>> {
    let view = sites.tenancy.view();
    let of = &view.resources().secrets;
    let secret = view.get(of, inbox, names::LEASE_NAMESPACE, names::NAME_KEY_SECRET)?;
    let packed = secret.text(&["data", "key"])?;
    hanse_wire::base64::decode(&packed)
        .ok()
        .filter(|key| key.len() >= KEY_BYTES)
}

/// Whether a logical cluster's name is that of an inbox. Others may be called so too; whoever
/// acts on it looks the Site up.
#[must_use]
pub fn is_inbox(cluster: &str) -> bool {
    cluster.starts_with(INBOX_PREFIX) && cluster.len() == INBOX_PREFIX.len() + 16
}
