//! RBAC without state: rules and bindings as data, matching, coverage (escalation), aggregation.
//!
//! Start with [`PolicyRule::allows`]. The semantics are Kubernetes': additive, default deny,
//! `res` does not cover `res/sub`, `*/sub` covers a subresource of everything.

use crate::{Attributes, UserInfo};
use hanse_rules::selector;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// One rule of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyRule {
    /// Verbs, `*` for all.
    pub verbs: Vec<Box<str>>,
    /// API groups, `*` for all.
    pub api_groups: Vec<Box<str>>,
    /// Resources, `*`, `res`, `res/sub`, `*/sub`.
    pub resources: Vec<Box<str>>,
    /// Names; empty for all.
    pub resource_names: Vec<Box<str>>,
    /// URLs that are no resources; a trailing `*` is a prefix.
    pub non_resource_urls: Vec<Box<str>>,
}

fn strings(value: &Value, key: &str) -> Vec<Box<str>> {
    let list = value.get(key).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|s| Some(s.as_str()?.into()))
        .collect()
}

fn has(list: &[Box<str>], wanted: &str) -> bool {
    list.iter().any(|s| &**s == wanted)
}

fn has_or_all(list: &[Box<str>], wanted: &str) -> bool {
    list.iter().any(|s| &**s == "*" || &**s == wanted)
}

/// True if one of the URL patterns covers the path.
fn url_matches(patterns: &[Box<str>], path: &str) -> bool {
    patterns.iter().any(|p| match p.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => &**p == path,
    })
}

/// Matches `resource[/subresource]` against a rule's resources.
fn resource_matches(resources: &[Box<str>], resource: &str, subresource: &str) -> bool {
    resources.iter().any(|r| {
        if &**r == "*" {
            return true;
        }
        match r.split_once('/') {
            None => subresource.is_empty() && &**r == resource,
            Some((of, sub)) => {
                !subresource.is_empty() && sub == subresource && (of == "*" || of == resource)
            }
        }
    })
}

impl PolicyRule {
    /// Reads a rule of a role object.
    #[must_use]
    pub fn from_value(value: &Value) -> PolicyRule {
        PolicyRule {
            verbs: strings(value, "verbs"),
            api_groups: strings(value, "apiGroups"),
            resources: strings(value, "resources"),
            resource_names: strings(value, "resourceNames"),
            non_resource_urls: strings(value, "nonResourceURLs"),
        }
    }

    /// All rules of a role object.
    #[must_use]
    pub fn list(role: &Value) -> Vec<PolicyRule> {
        let rules = role.get("rules").and_then(Value::as_array);
        rules
            .into_iter()
            .flatten()
            .map(PolicyRule::from_value)
            .collect()
    }

    /// True if the rule grants the request.
    #[must_use]
    pub fn allows(&self, want: &Attributes<'_>) -> bool {
        if !has_or_all(&self.verbs, want.verb) {
            return false;
        }
        if !want.is_resource {
            return url_matches(&self.non_resource_urls, want.path);
        }
        has_or_all(&self.api_groups, want.group)
            && resource_matches(&self.resources, want.resource, want.subresource)
            && (self.resource_names.is_empty() || has(&self.resource_names, want.name))
    }

    /// Splits the rule into rules of one verb and one resource (or URL) each.
    fn split(&self, into: &mut Vec<PolicyRule>) {
        let one = |s: &str| vec![Box::from(s)];
        for verb in &self.verbs {
            for group in &self.api_groups {
                for resource in &self.resources {
                    let rule = PolicyRule {
                        verbs: one(verb),
                        api_groups: one(group),
                        resources: one(resource),
                        ..PolicyRule::default()
                    };
                    if self.resource_names.is_empty() {
                        into.push(rule);
                        continue;
                    }
                    into.extend(self.resource_names.iter().map(|name| PolicyRule {
                        resource_names: one(name),
                        ..rule.clone()
                    }));
                }
            }
            into.extend(self.non_resource_urls.iter().map(|url| PolicyRule {
                verbs: one(verb),
                non_resource_urls: one(url),
                ..PolicyRule::default()
            }));
        }
    }

    /// True if this rule grants all that `other` (one verb, one resource or URL) grants.
    fn covers(&self, other: &PolicyRule) -> bool {
        let only = |list: &[Box<str>]| list.first().map(|s| s.to_string()).unwrap_or_default();
        if !has_or_all(&self.verbs, &only(&other.verbs)) {
            return false;
        }
        if let Some(url) = other.non_resource_urls.first() {
            return url_matches(&self.non_resource_urls, url);
        }
        let resource = only(&other.resources);
        let (of, sub) = resource.split_once('/').unwrap_or((&resource, ""));
        let resource_covered = has(&self.resources, &resource)
            || resource_matches(&self.resources, of, sub) && of != "*";
        let names_covered = self.resource_names.is_empty()
            || other
                .resource_names
                .first()
                .is_some_and(|n| has(&self.resource_names, n));
        has_or_all(&self.api_groups, &only(&other.api_groups)) && resource_covered && names_covered
    }

    /// The form of error texts: `{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}`.
    #[must_use]
    pub fn compact_text(&self) -> String {
        let quoted = |list: &[Box<str>]| {
            let items: Vec<String> = list.iter().map(|s| format!("{s:?}")).collect();
            format!("[{}]", items.join(" "))
        };
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let parts = parts.iter().filter(|(_, list)| !list.is_empty());
        let parts: Vec<String> = parts
            .map(|(name, l)| format!("{name}:{}", quoted(l)))
            .collect();
        format!("{{{}}}", parts.join(", "))
    }

    /// The rule as it stands in SelfSubjectRulesReview.
    #[must_use]
    pub fn to_review(&self) -> Value {
        let list =
            |l: &[Box<str>]| Value::from(l.iter().map(|s| s.to_string()).collect::<Vec<_>>());
        let mut out = Map::new();
        out.insert("verbs".into(), list(&self.verbs));
        let parts = [
            ("apiGroups", &self.api_groups),
            ("resources", &self.resources),
            ("resourceNames", &self.resource_names),
            ("nonResourceURLs", &self.non_resource_urls),
        ];
        for (key, strings) in parts.iter().filter(|(_, l)| !l.is_empty()) {
            out.insert((*key).into(), list(strings));
        }
        out.into()
    }
}

/// Rules of `wanted` that `owned` does not cover, split finely.
#[must_use]
pub fn uncovered(owned: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    let mut pieces = Vec::new();
    wanted.iter().for_each(|rule| rule.split(&mut pieces));
    pieces.retain(|piece| !owned.iter().any(|rule| rule.covers(piece)));
    pieces
}

/// The text after `... is forbidden: ` for rights that the user lacks.
#[must_use]
pub fn escalation_text(user: &UserInfo, missing: &[PolicyRule]) -> String {
    let mut compact: BTreeMap<PolicyRule, Vec<Box<str>>> = BTreeMap::new();
    for rule in missing {
        let key = PolicyRule {
            verbs: Vec::new(),
            ..rule.clone()
        };
        let verbs = compact.entry(key).or_default();
        verbs.extend(
            rule.verbs
                .iter()
                .filter(|v| !verbs.contains(v))
                .cloned()
                .collect::<Vec<_>>(),
        );
    }
    let lines: BTreeSet<String> = compact
        .into_iter()
        .map(|(rule, verbs)| PolicyRule { verbs, ..rule }.compact_text())
        .collect();
    let lines: Vec<String> = lines.into_iter().collect();
    let groups: Vec<String> = user.groups.iter().map(|g| format!("{g:?}")).collect();
    format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        groups.join(" "),
        lines.join("\n")
    )
}

/// Whom a binding names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// By user name.
    User(Box<str>),
    /// By group.
    Group(Box<str>),
    /// The full user name of a service account.
    ServiceAccount(Box<str>),
}

impl Subject {
    fn from_value(value: &Value, namespace: &str) -> Option<Subject> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        match text("kind") {
            "User" => Some(Subject::User(text("name").into())),
            "Group" => Some(Subject::Group(text("name").into())),
            "ServiceAccount" => {
                let ns = if text("namespace").is_empty() {
                    namespace
                } else {
                    text("namespace")
                };
                let name = format!("system:serviceaccount:{ns}:{}", text("name"));
                Some(Subject::ServiceAccount(name.into()))
            }
            _ => None,
        }
    }

    /// True if the subject names the user.
    #[must_use]
    pub fn is(&self, user: &UserInfo) -> bool {
        match self {
            Subject::User(name) | Subject::ServiceAccount(name) => **name == *user.name,
            Subject::Group(group) => user.in_group(group),
        }
    }

    fn describe(&self) -> String {
        match self {
            Subject::User(name) => format!("User {name:?}"),
            Subject::Group(name) => format!("Group {name:?}"),
            Subject::ServiceAccount(name) => format!("ServiceAccount {name:?}"),
        }
    }
}

/// A RoleBinding or ClusterRoleBinding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Its name.
    pub name: Box<str>,
    /// Its namespace; empty for a ClusterRoleBinding.
    pub namespace: Box<str>,
    /// True if the role is a ClusterRole.
    pub to_cluster_role: bool,
    /// Name of the role.
    pub role: Box<str>,
    /// Whom it names.
    pub subjects: Vec<Subject>,
}

impl Binding {
    /// Reads a binding object.
    #[must_use]
    pub fn from_value(object: &Value) -> Binding {
        let at = |path: &[&str]| -> Box<str> {
            let found = path.iter().try_fold(object, |v, key| v.get(key));
            found.and_then(Value::as_str).unwrap_or_default().into()
        };
        let namespace = at(&["metadata", "namespace"]);
        let subjects = object
            .get("subjects")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        Binding {
            name: at(&["metadata", "name"]),
            to_cluster_role: &*at(&["roleRef", "kind"]) == "ClusterRole",
            role: at(&["roleRef", "name"]),
            subjects: subjects
                .filter_map(|s| Subject::from_value(s, &namespace))
                .collect(),
            namespace,
        }
    }

    /// Kubernetes' reason for an allowed request.
    #[must_use]
    pub fn reason(&self, user: &UserInfo) -> String {
        let kind = if self.namespace.is_empty() {
            "ClusterRoleBinding"
        } else {
            "RoleBinding"
        };
        let name = if self.namespace.is_empty() {
            self.name.to_string()
        } else {
            format!("{}/{}", self.name, self.namespace)
        };
        let role = if self.to_cluster_role {
            "ClusterRole"
        } else {
            "Role"
        };
        let subject = self
            .subjects
            .iter()
            .find(|s| s.is(user))
            .map(Subject::describe);
        format!(
            "RBAC: allowed by {kind} {name:?} of {role} {:?} to {}",
            self.role,
            subject.unwrap_or_default()
        )
    }
}

/// Rules of an aggregated ClusterRole: the union of the rules of all that its selectors match,
/// ordered by name, never its own. `None` if it does not aggregate.
#[must_use]
pub fn aggregate<'a>(role: &Value, all: impl Iterator<Item = &'a Value>) -> Option<Vec<Value>> {
    let selectors = role
        .get("aggregationRule")?
        .get("clusterRoleSelectors")?
        .as_array()?;
    let name = |v: &Value| v.get("metadata").and_then(|m| m.get("name")).cloned();
    let own = name(role);
    let matching = |other: &&Value| {
        let label = selector::label_of(other);
        name(other) != own && selectors.iter().any(|s| selector::matches(Some(s), &label))
    };
    let mut sources: Vec<&Value> = all.filter(matching).collect();
    sources.sort_by_key(|v| name(v).and_then(|n| n.as_str().map(str::to_owned)));
    let mut rules: Vec<Value> = Vec::new();
    for source in sources {
        for rule in source
            .get("rules")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    Some(rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(value: Value) -> PolicyRule {
        PolicyRule::from_value(&value)
    }

    #[test]
    fn matching() {
        let user = UserInfo::new("u", &[]);
        let ask = |r: &PolicyRule, verb: &str, group: &str, res: &str, sub: &str, name: &str| {
            let want = Attributes {
                subresource: sub,
                ..Attributes::resource(&user, verb, group, res, name)
            };
            r.allows(&want)
        };
        let r =
            rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "*/scale"]}));
        assert!(ask(&r, "get", "", "pods", "", "a"));
        assert!(!ask(&r, "get", "", "pods", "log", "a"));
        assert!(ask(&r, "get", "", "pods", "scale", "a"));
        assert!(!ask(&r, "list", "", "pods", "", ""));
        assert!(!ask(&r, "get", "apps", "pods", "", ""));
        let r = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["pods/*"]}));
        assert!(!ask(&r, "get", "", "pods", "log", ""));
        let r = rule(
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"],
            "resourceNames": ["a"]}),
        );
        assert!(ask(&r, "get", "x", "pods", "log", "a"));
        assert!(!ask(&r, "list", "x", "pods", "", ""));
        let r = rule(json!({"verbs": ["get"], "nonResourceURLs": ["/metrics", "/api/*"]}));
        assert!(r.allows(&Attributes::url(&user, "get", "/api/v1")));
        assert!(r.allows(&Attributes::url(&user, "get", "/metrics")));
        assert!(!r.allows(&Attributes::url(&user, "get", "/metrics/x")));
        assert!(!r.allows(&Attributes::url(&user, "post", "/metrics")));
    }

    #[test]
    fn coverage() {
        let owned = [rule(json!({"verbs": ["get", "list"], "apiGroups": [""],
            "resources": ["pods", "secrets"]}))];
        let wanted = [rule(
            json!({"verbs": ["get", "list", "watch"], "apiGroups": ["", "apps"],
            "resources": ["pods"]}),
        )];
        let missing = uncovered(&owned, &wanted);
        let user = UserInfo::new("u", &["g1", "g2"]);
        assert_eq!(
            escalation_text(&user, &missing),
            "user \"u\" (groups=[\"g1\" \"g2\"]) is attempting to grant RBAC permissions not \
             currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"watch\"]}\n\
             {APIGroups:[\"apps\"], Resources:[\"pods\"], Verbs:[\"get\" \"list\" \"watch\"]}"
        );
        let all = [rule(
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
        )];
        assert!(uncovered(&all, &wanted).is_empty());
        let star = [rule(
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["*"]}),
        )];
        assert_eq!(
            uncovered(&owned, &star).len(),
            1,
            "a star is not covered by names"
        );
        let named = [rule(
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"],
            "resourceNames": ["a"]}),
        )];
        assert!(uncovered(&owned, &named).is_empty());
        assert_eq!(uncovered(&named, &owned).len(), 4);
        let scale = [rule(
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["*/scale"]}),
        )];
        let one = [rule(
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["a/scale"]}),
        )];
        assert!(uncovered(&scale, &one).is_empty());
        assert_eq!(uncovered(&one, &scale).len(), 1);
    }

    #[test]
    fn bindings_and_reasons() {
        let object = json!({"metadata": {"name": "b"},
            "roleRef": {"kind": "ClusterRole", "name": "r"},
            "subjects": [{"kind": "User", "name": "u"},
                {"kind": "ServiceAccount", "name": "s", "namespace": "n"}]});
        let binding = Binding::from_value(&object);
        let user = UserInfo::new("u", &[]);
        assert_eq!(
            binding.reason(&user),
            "RBAC: allowed by ClusterRoleBinding \"b\" of ClusterRole \"r\" to User \"u\""
        );
        let account = UserInfo::new("system:serviceaccount:n:s", &[]);
        assert!(binding.subjects.iter().any(|s| s.is(&account)));
    }

    #[test]
    fn aggregation_is_ordered_and_never_includes_itself() {
        let role = |name: &str, label: &str, verb: &str| {
            json!({"metadata": {"name": name, "labels": {label: "true"}},
                "rules": [{"verbs": [verb]}]})
        };
        let selector = json!([{"matchLabels": {"to-admin": "true"}}]);
        let mut admin = role("admin", "to-admin", "self");
        admin["aggregationRule"] = json!({"clusterRoleSelectors": selector});
        let all = [
            role("z", "to-admin", "z"),
            admin.clone(),
            role("a", "to-admin", "a"),
            role("m", "other", "m"),
        ];
        let rules = aggregate(&admin, all.iter()).unwrap();
        assert_eq!(rules, [json!({"verbs": ["a"]}), json!({"verbs": ["z"]})]);
        assert_eq!(aggregate(&all[0], all.iter()), None);
    }
}
