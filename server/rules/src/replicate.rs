//! Which words the annotation `internal.kcp.io/replicate` of RBAC objects carries.
//!
//! A word names the API group for whose sake other shards need the object. The annotation is
//! visible to clients, so it is kept also where there is one shard.

use hanse_apis::kcp::{group, user, verb};
use serde_json::Value;
use std::collections::BTreeSet;

fn strings<'a>(rule: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    rule.get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn lists(rule: &Value, key: &str, wanted: &str) -> bool {
    strings(rule, key).any(|s| s == wanted || s == "*")
}

fn rules(role: &Value) -> impl Iterator<Item = &Value> {
    role.get("rules")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Words for which the rules of a ClusterRole are needed elsewhere.
/// `cluster_is_replicated` says whether the LogicalCluster itself is.
#[must_use]
pub fn role_words(role: &Value, cluster_is_replicated: bool) -> BTreeSet<&'static str> {
    let mut words = BTreeSet::new();
    for rule in rules(role) {
        let bind = lists(rule, "resources", "apiexports") && lists(rule, "verbs", verb::BIND);
        let content = lists(rule, "resources", "apiexports/content");
        if lists(rule, "apiGroups", group::APIS) && (bind || content) {
            words.insert(group::APIS);
        }
        let uses = [verb::USE, verb::INITIALIZE, verb::TERMINATE];
        if lists(rule, "apiGroups", group::TENANCY)
            && lists(rule, "resources", "workspacetypes")
            && uses.iter().any(|v| lists(rule, "verbs", v))
        {
            words.insert(group::TENANCY);
        }
        let access = strings(rule, "nonResourceURLs").any(|u| u == "/" || u == "*" || u == "/*")
            && lists(rule, "verbs", verb::ACCESS);
        if access && cluster_is_replicated {
            words.insert(group::CORE);
        }
    }
    words
}

/// True if the binding has a subject of a maximal permission policy.
#[must_use]
pub fn has_policy_subject(binding: &Value) -> bool {
    let subjects = binding.get("subjects").and_then(Value::as_array);
    subjects.into_iter().flatten().any(|subject| {
        let text = |key: &str| subject.get(key).and_then(Value::as_str).unwrap_or_default();
        matches!(text("kind"), "User" | "Group") && text("name").starts_with(user::BINDING_PREFIX)
    })
}

/// Words of a ClusterRoleBinding, given the words of the role that it names.
#[must_use]
pub fn binding_words<'a>(binding: &Value, role: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    let mut words = role.clone();
    if has_policy_subject(binding) {
        words.insert(group::APIS);
    }
    words
}

/// The annotation's text: sorted words with commas.
#[must_use]
pub fn text(words: &BTreeSet<&str>) -> String {
    words.iter().copied().collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_are_as_recorded() {
        let admin = json!({"rules": [
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
            {"nonResourceURLs": ["*"], "verbs": ["*"]}]});
        assert_eq!(
            text(&role_words(&admin, false)),
            "apis.kcp.io,tenancy.kcp.io"
        );
        assert_eq!(
            text(&role_words(&admin, true)),
            "apis.kcp.io,core.kcp.io,tenancy.kcp.io"
        );
        let bind = json!({"rules": [{"apiGroups": ["apis.kcp.io"], "resources": ["apiexports"],
            "resourceNames": ["tenancy.kcp.io"], "verbs": ["bind"]}]});
        assert_eq!(text(&role_words(&bind, true)), "apis.kcp.io");
        let plain =
            json!({"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]}]});
        assert_eq!(text(&role_words(&plain, true)), "");
        let policy = json!({"subjects": [
            {"kind": "Group", "name": "apis.kcp.io:binding:system:authenticated"}]});
        assert_eq!(
            text(&binding_words(&policy, &BTreeSet::new())),
            "apis.kcp.io"
        );
    }
}
