//! Permission claims: what a provider asks for, what a consumer accepts, what both mean together.
//!
//! Start with [`effective`] (which claims are in force), [`expected_labels`] (which marks an
//! object must carry) and [`verb_allowed`] (what a view may do). A claim is identified by group,
//! resource and identity hash; verbs are intersected literally, so `["get"]` against `["*"]` is
//! nothing.

use crate::{hash, selector};
use hanse_apis::kcp::{REFLEXIVE_CLAIM_VALUE, group, label};
use serde_json::Value;
use std::collections::BTreeMap;

/// One claim, of an export or of a binding.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// API group; empty for core.
    pub group: String,
    /// Plural of the resource.
    pub resource: String,
    /// Identity of the export that provides the resource; empty for built-in ones.
    pub identity: String,
    /// Claimed verbs, `*` for all.
    pub verbs: Vec<String>,
    /// Selector of the binding or default selector of the export.
    pub selector: Option<Value>,
    /// False for a claim that the consumer rejects.
    pub accepted: bool,
}

impl Claim {
    fn from_value(value: &Value, selector_key: &str) -> Option<Claim> {
        let text = |key: &str| {
            value
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or("")
                .to_owned()
        };
        let verbs = value.get("verbs").and_then(Value::as_array);
        Some(Claim {
            group: text("group"),
            resource: value.get("resource")?.as_str()?.to_owned(),
            identity: text("identityHash"),
            verbs: verbs
                .into_iter()
                .flatten()
                .filter_map(|v| Some(v.as_str()?.into()))
                .collect(),
            selector: value.get(selector_key).cloned(),
            accepted: value
                .get("state")
                .is_none_or(|s| s.as_str() == Some("Accepted")),
        })
    }

    /// True if both speak of the same resource.
    #[must_use]
    pub fn same_resource(&self, other: &Claim) -> bool {
        self.group == other.group
            && self.resource == other.resource
            && self.identity == other.identity
    }

    /// True if the claim is on this group-resource; the two groups of events are one.
    #[must_use]
    pub fn covers(&self, group: &str, resource: &str) -> bool {
        let both_events = is_events(&self.group, &self.resource) && is_events(group, resource);
        both_events || (self.group == group && self.resource == resource)
    }
}

fn is_events(group_name: &str, resource: &str) -> bool {
    resource == "events" && matches!(group_name, "" | "events.k8s.io")
}

/// Claims in `spec.permissionClaims` of an APIExport (v1alpha2).
#[must_use]
pub fn of_export(export: &Value) -> Vec<Claim> {
    read(export, "defaultSelector")
}

/// Claims in `spec.permissionClaims` of an APIBinding (v1alpha2), rejected ones included.
#[must_use]
pub fn of_binding(binding: &Value) -> Vec<Claim> {
    read(binding, "selector")
}

fn read(object: &Value, selector_key: &str) -> Vec<Claim> {
    let list = object
        .get("spec")
        .and_then(|s| s.get("permissionClaims"))
        .and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|c| Claim::from_value(c, selector_key))
        .collect()
}

/// Accepted claims of the binding that the export also makes, as the binding states them.
#[must_use]
pub fn effective<'a>(exported: &[Claim], bound: &'a [Claim]) -> Vec<&'a Claim> {
    let exports = |c: &&Claim| exported.iter().any(|e| e.same_resource(c));
    bound
        .iter()
        .filter(|c| c.accepted)
        .filter(exports)
        .collect()
}

/// Accepted claims of the binding that the export does not make.
#[must_use]
pub fn unexpected<'a>(exported: &[Claim], bound: &'a [Claim]) -> Vec<&'a Claim> {
    let missing = |c: &&Claim| !exported.iter().any(|e| e.same_resource(c));
    bound
        .iter()
        .filter(|c| c.accepted)
        .filter(missing)
        .collect()
}

/// Claims that work, but not as the export states them (other verbs or another selector).
#[must_use]
pub fn mismatched<'a>(exported: &[Claim], bound: &'a [Claim]) -> Vec<&'a Claim> {
    let differs = |claim: &&Claim| {
        let Some(export) = exported.iter().find(|e| e.same_resource(claim)) else {
            return false;
        };
        let all = |verbs: &[String]| verbs.iter().any(|v| v == "*");
        let same_verbs = {
            let set = |verbs: &[String]| -> std::collections::BTreeSet<String> {
                verbs.iter().cloned().collect()
            };
            set(&export.verbs) == set(&claim.verbs)
        };
        let verbs_differ = !same_verbs && !all(&export.verbs) && !all(&claim.verbs);
        let wanted = export.selector.as_ref();
        verbs_differ || wanted.is_some_and(|w| claim.selector.as_ref() != Some(w))
    };
    bound
        .iter()
        .filter(|c| c.accepted)
        .filter(differs)
        .collect()
}

/// May a view use this verb on a claimed resource? The verb (or `*`) must be in the literal
/// intersection of both verb lists.
#[must_use]
pub fn verb_allowed(
    exported: &[Claim],
    bound: &[Claim],
    group: &str,
    resource: &str,
    verb: &str,
) -> bool {
    let usable = |claim: &&Claim| claim.accepted && claim.covers(group, resource);
    bound.iter().filter(usable).any(|claim| {
        exported
            .iter()
            .filter(|e| e.same_resource(claim))
            .any(|export| {
                let both = |v: &str| {
                    export.verbs.iter().any(|e| e == v) && claim.verbs.iter().any(|c| c == v)
                };
                both(verb) || both("*")
            })
    })
}

/// Group-resources that can be claimed without an identity hash.
const BUILT_IN_CLAIMABLE: [(&str, &str); 27] = [
    ("", "configmaps"),
    ("", "events"),
    ("", "namespaces"),
    ("", "resourcequotas"),
    ("", "secrets"),
    ("", "serviceaccounts"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies"),
    (
        "admissionregistration.k8s.io",
        "mutatingadmissionpolicybindings",
    ),
    (
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicybindings",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
    ),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("apis.kcp.io", "apibindings"),
    ("apis.kcp.io", "apiexports"),
    ("apis.kcp.io", "apiresourceschemas"),
    ("authentication.k8s.io", "tokenreviews"),
    ("authorization.k8s.io", "localsubjectaccessreviews"),
    ("authorization.k8s.io", "subjectaccessreviews"),
    ("certificates.k8s.io", "certificatesigningrequests"),
    ("coordination.k8s.io", "leases"),
    ("core.kcp.io", "logicalclusters"),
    ("events.k8s.io", "events"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("rbac.authorization.k8s.io", "roles"),
];

/// True if the resource can be claimed without naming a provider.
#[must_use]
pub fn is_claimable_without_identity(group: &str, resource: &str) -> bool {
    BUILT_IN_CLAIMABLE.contains(&(group, resource))
}

/// Reviews are claimable but never stored, so never labelled.
#[must_use]
pub fn is_labelled(group: &str, _resource: &str) -> bool {
    !matches!(group, "authentication.k8s.io" | "authorization.k8s.io")
}

/// What labelling needs to know of one binding.
#[derive(Clone, Debug)]
pub struct BindingClaims {
    /// Logical cluster of the export.
    pub export_cluster: String,
    /// Name of the export.
    pub export: String,
    /// Claims in force ([`effective`]).
    pub applied: Vec<Claim>,
}

/// The claim labels that an object must carry, given all bindings of its logical cluster.
/// `identity` is that of the object's resource (empty for built-in and local ones).
#[must_use]
pub fn expected_labels(
    bindings: &[BindingClaims],
    group_name: &str,
    resource: &str,
    identity: &str,
    object: &Value,
) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let is_binding = group_name == group::APIS && resource == "apibindings";
    if let Some(key) = reflexive_key(object).filter(|_| is_binding) {
        labels.insert(key, REFLEXIVE_CLAIM_VALUE.to_owned());
    }
    if !is_labelled(group_name, resource) {
        return labels;
    }
    let label = selector::label_of(object);
    for binding in bindings {
        for claim in &binding.applied {
            let identity_fits = claim.identity == identity
                || is_claimable_without_identity(group_name, resource) && claim.identity.is_empty();
            if claim.covers(group_name, resource)
                && identity_fits
                && selector::matches(claim.selector.as_ref(), &label)
            {
                let key = hash::claim_label_key(&binding.export_cluster, &binding.export);
                let group_name = if is_events(&claim.group, &claim.resource) {
                    ""
                } else {
                    claim.group.as_str()
                };
                let value = hash::claim_label_value(group_name, &claim.resource, &claim.identity);
                labels.insert(key, value);
            }
        }
    }
    labels
}

/// Key of the label that a binding carries for its own export: made of the export label.
fn reflexive_key(binding: &Value) -> Option<String> {
    let hash = selector::label_of(binding)(label::EXPORT)?;
    Some(format!("{}{hash}", label::CLAIMED_PREFIX))
}

/// Sets the claim labels of an object to exactly `expected`. True if anything changed.
pub fn apply_labels(object: &mut Value, expected: &BTreeMap<String, String>) -> bool {
    let has_labels = object
        .get("metadata")
        .is_some_and(|m| m.get("labels").is_some());
    if expected.is_empty() && !has_labels {
        return false;
    }
    let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return false;
    };
    let labels = meta
        .entry("labels")
        .or_insert_with(|| serde_json::Map::new().into());
    let Some(labels) = labels.as_object_mut() else {
        return false;
    };
    let before = labels.clone();
    labels.retain(|key, _| !key.starts_with(label::CLAIMED_PREFIX));
    labels.extend(
        expected
            .iter()
            .map(|(k, v)| (k.clone(), Value::from(v.as_str()))),
    );
    let changed = *labels != before;
    if labels.is_empty() {
        meta.remove("labels");
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn export() -> Value {
        json!({"spec": {"permissionClaims": [
            {"group": "", "resource": "configmaps", "verbs": ["get", "list"], "identityHash": ""},
            {"group": "", "resource": "events", "verbs": ["*"]},
            {"group": "x.io", "resource": "xs", "verbs": ["get"], "identityHash": "abc"},
        ]}})
    }

    fn binding() -> Value {
        json!({"spec": {"permissionClaims": [
            {"group": "", "resource": "configmaps", "verbs": ["get", "watch"],
             "selector": {"matchLabels": {"a": "b"}}, "state": "Accepted"},
            {"group": "", "resource": "events", "verbs": ["*"],
             "selector": {"matchAll": true}, "state": "Accepted"},
            {"group": "", "resource": "secrets", "verbs": ["*"],
             "selector": {"matchAll": true}, "state": "Accepted"},
            {"group": "x.io", "resource": "xs", "verbs": ["get"], "identityHash": "abc",
             "selector": {"matchAll": true}, "state": "Rejected"},
        ]}})
    }

    #[test]
    fn sets_of_claims() {
        let exported = of_export(&export());
        let bound = of_binding(&binding());
        let names = |claims: Vec<&Claim>| -> Vec<String> {
            claims.into_iter().map(|c| c.resource.clone()).collect()
        };
        assert_eq!(
            names(effective(&exported, &bound)),
            ["configmaps", "events"]
        );
        assert_eq!(names(unexpected(&exported, &bound)), ["secrets"]);
        assert_eq!(names(mismatched(&exported, &bound)), ["configmaps"]);
    }

    #[test]
    fn verbs_are_intersected_literally() {
        let exported = of_export(&export());
        let bound = of_binding(&binding());
        let allowed = |g: &str, r: &str, v: &str| verb_allowed(&exported, &bound, g, r, v);
        assert!(allowed("", "configmaps", "get"));
        assert!(!allowed("", "configmaps", "list"));
        assert!(!allowed("", "configmaps", "watch"));
        assert!(allowed("", "events", "delete"));
        assert!(allowed("events.k8s.io", "events", "delete"));
        assert!(!allowed("", "secrets", "get"));
        assert!(!allowed("x.io", "xs", "get"));
    }

    #[test]
    fn labels_follow_selector_and_cannot_be_forged() {
        let exported = of_export(&export());
        let bound = of_binding(&binding());
        let applied = effective(&exported, &bound).into_iter().cloned().collect();
        let bindings = [BindingClaims {
            export_cluster: "c".into(),
            export: "e".into(),
            applied,
        }];
        let key = hash::claim_label_key("c", "e");
        let mut object = json!({"metadata": {"labels": {"a": "b"}}});
        let expected = expected_labels(&bindings, "", "configmaps", "", &object);
        assert!(apply_labels(&mut object, &expected));
        assert_eq!(
            object["metadata"]["labels"][&key],
            "3QVjs6pfBjMpLEVYYhysJnroYGsQGlWm05E4qe"
        );
        assert!(!apply_labels(&mut object, &expected));
        let mut forged = json!({"metadata": {"labels": {key.clone(): "x"}}});
        let expected = expected_labels(&bindings, "", "configmaps", "", &forged);
        assert!(expected.is_empty());
        assert!(apply_labels(&mut forged, &expected));
        assert_eq!(forged, json!({"metadata": {}}));
    }

    #[test]
    fn a_binding_carries_its_own_export() {
        let hash = "bmCdly9xXiUpEHe3ypvDwvXMTfoVZUE92mqAQf";
        let object = json!({"metadata": {"labels": {"internal.apis.kcp.io/export": hash}}});
        let expected = expected_labels(&[], "apis.kcp.io", "apibindings", "", &object);
        let (key, value) = expected.first_key_value().unwrap();
        assert_eq!(key, &format!("claimed.internal.apis.kcp.io/{hash}"));
        assert_eq!(value, REFLEXIVE_CLAIM_VALUE);
    }
}
