//! What things are called below (rule 7).
//!
//! A tenant's namespace becomes one namespace below whose name is a keyed hash of (logical
//! cluster, namespace); inside it names stay, because objects refer to each other by them. A
//! cluster-scoped object's name is the keyed hash of its whole locator. The key stays at the hub,
//! so a name below tells a neighbour nothing and cannot be guessed.
//!
//! Invariant: two different locators never get one name (128 bits of a keyed hash), and the
//! locator stands in the name, in a label (hashed) and in an annotation (in clear), so that each
//! can be restored from the others: [`ownership`] accepts any of them, and the rendered object
//! carries both marks, so the next apply writes a lost one again.

use hanse_apis::sites::{ProjectionRuleSpec, Source, Target, names};
use serde_json::{Value, json};

use crate::digest::{base36, keyed};
use crate::kinds;

/// Shortest key that [`target`] should be given, in bytes.
pub const KEY_BYTES: usize = 32;

/// Name of the namespace below for a namespace of a logical cluster.
#[must_use]
pub fn namespace_below(key: &[u8], cluster: &str, namespace: &str) -> String {
    format!("h-{}", namespace_hash(key, cluster, namespace))
}

fn namespace_hash(key: &[u8], cluster: &str, namespace: &str) -> String {
    base36(&keyed(key, &["namespace", cluster, namespace]))
}

/// Where an object of a tenant stands below, by the rules for names that hold without others.
#[must_use]
pub fn target(key: &[u8], source: &Source) -> Target {
    target_by(key, source, &ProjectionRuleSpec::default())
}

/// Where an object of a tenant stands below, and as what, by its kind's rule.
#[must_use]
pub fn target_by(key: &[u8], source: &Source, rule: &ProjectionRuleSpec) -> Target {
    let hash = base36(&keyed(
        key,
        &[
            "object",
            &source.cluster,
            &source.group,
            &source.resource,
            &source.namespace,
            &source.name,
        ],
    ));
    let prefix = match rule.names.prefix.as_str() {
        "" => "h",
        prefix => prefix,
    };
    let hashed = || format!("{prefix}-{hash}");
    let mut target = Target {
        name: hashed(),
        locator: hash.clone(),
        workspace: base36(&keyed(key, &["workspace", &source.cluster])),
        group: rule.target.group.clone(),
        version: rule.target.version.clone(),
        resource: rule.target.resource.clone(),
        ..Target::default()
    };
    if source.namespace.is_empty() {
        let own = kinds::row(&source.group, &source.resource).is_some_and(|row| row.own_name);
        if own {
            target.name = source.name.clone();
        }
        return target;
    }
    match rule.names.namespace.as_str() {
        "Fixed" => {
            target.namespace = rule.names.fixed.clone();
            return target;
        }
        "Workspace" => {
            let namespace = base36(&keyed(key, &["namespaces", &source.cluster]));
            target.namespace = format!("h-{namespace}");
            target.namespace_locator = namespace;
            target.all_namespaces = true;
            return target;
        }
        _ => {}
    }
    let namespace = namespace_hash(key, &source.cluster, &source.namespace);
    target.namespace = format!("h-{namespace}");
    target.namespace_locator = namespace;
    if rule.names.name != "Hash" {
        target.name = source.name.clone();
    }
    target
}

/// Name of the Manifest of an object in any inbox, and of its Projection: an unkeyed hash, since
/// both stand where only their owners look.
#[must_use]
pub fn object_name(source: &Source) -> String {
    let hash = base36(&keyed(
        b"manifest",
        &[
            &source.cluster,
            &source.group,
            &source.resource,
            &source.namespace,
            &source.name,
        ],
    ));
    format!("m-{hash}")
}

/// The locator in clear, as it stands in the annotation below.
#[must_use]
pub fn locator_line(source: &Source) -> String {
    json!({
        "cluster": source.cluster, "group": source.group, "resource": source.resource,
        "namespace": source.namespace, "name": source.name,
    })
    .to_string()
}

/// The locator of the namespace below in clear; without a namespace where it holds all of a
/// workspace.
#[must_use]
pub fn namespace_locator_line(source: &Source, target: &Target) -> String {
    match of_workspace(source, target) {
        true => json!({"cluster": source.cluster}).to_string(),
        false => json!({"cluster": source.cluster, "namespace": source.namespace}).to_string(),
    }
}

/// Whether the namespace below holds all namespaces of a workspace: names are hashes there.
fn of_workspace(source: &Source, target: &Target) -> bool {
    target.all_namespaces && !source.namespace.is_empty()
}

/// Whose an object below is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// It is what we made for this locator; the marks that it lacks are restored by an apply.
    Ours,
    /// Nobody marked it: it was there before, or somebody else made it.
    Foreign,
    /// It is marked for another site or another locator.
    Another(String),
}

/// Decides whose a live object is, by label, annotation and field manager. A mark of another
/// locator outweighs our field manager: then the name is disputed and nobody may guess.
#[must_use]
pub fn ownership(live: &Value, site: &str, locator: &str, line: &str) -> Ownership {
    let label = |key: &str| live["metadata"]["labels"][key].as_str();
    let annotation = live["metadata"]["annotations"][names::LOCATOR_ANNOTATION].as_str();
    if let Some(other) = label(names::SITE_LABEL).filter(|s| *s != site) {
        return Ownership::Another(format!("site {other}"));
    }
    match (label(names::LOCATOR_LABEL), annotation) {
        (Some(l), _) if l == locator => Ownership::Ours,
        (_, Some(a)) if a == line => Ownership::Ours,
        (Some(l), None) => Ownership::Another(format!("locator {l}")),
        (_, Some(a)) => Ownership::Another(a.to_owned()),
        (None, None) if crate::owned::fields(live, names::FIELD_MANAGER).is_some() => {
            Ownership::Ours
        }
        // The name is a mark of its own where it is the locator's hash.
        (None, None)
            if live["metadata"]["name"]
                .as_str()
                .and_then(|n| n.strip_prefix("h-"))
                == Some(locator) =>
        {
            Ownership::Ours
        }
        (None, None) => Ownership::Foreign,
    }
}

/// The namespace object below for a tenant's namespace, marked like every object of ours, and
/// with what selectors of namespaces are translated to.
#[must_use]
pub fn namespace_object(source: &Source, target: &Target, site: &str) -> Value {
    let mut labels = json!({
        names::SITE_LABEL: site, names::LOCATOR_LABEL: target.namespace_locator,
    });
    if !target.workspace.is_empty() {
        labels[names::WORKSPACE_LABEL] = json!(target.workspace);
        if !of_workspace(source, target) {
            labels[names::NAMESPACE_LABEL] = json!(source.namespace);
        }
    }
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": target.namespace, "labels": labels,
            "annotations": {names::LOCATOR_ANNOTATION: namespace_locator_line(source, target)},
        },
    })
}

/// What the namespace below begins with and its site may change: Pods of tenants do not reach into
/// the nodes.
#[must_use]
pub fn namespace_defaults(target: &Target) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": target.namespace,
            "labels": {"pod-security.kubernetes.io/enforce": "baseline"},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn source(cluster: &str, namespace: &str, name: &str) -> Source {
        Source {
            cluster: cluster.into(),
            group: "apps".into(),
            resource: "deployments".into(),
            namespace: namespace.into(),
            name: name.into(),
            ..Source::default()
        }
    }

    proptest! {
        #[test]
        fn different_locators_never_share_a_place(
            all in proptest::collection::btree_set(("[a-c]{1,3}", "[a-c]{0,3}", "[a-c]{1,3}"), 2..40)
        ) {
            let mut seen = BTreeMap::new();
            for (cluster, namespace, name) in all {
                for mode in ["Own", "Workspace", "Fixed"] {
                    let mut rule = ProjectionRuleSpec::default();
                    rule.names.namespace = mode.into();
                    rule.names.fixed = "tenants".into();
                    let t = target_by(&[7; 32], &source(&cluster, &namespace, &name), &rule);
                    prop_assert!(t.name.len() <= 63 && t.namespace.len() <= 63);
                    let place = (mode, t.namespace.clone(), t.name.clone());
                    let of = (cluster.clone(), namespace.clone(), name.clone());
                    prop_assert!(seen.insert(place, of).is_none());
                }
            }
        }
    }

    #[test]
    fn a_rule_says_where_and_as_what_an_object_stands() {
        let s = source("c", "n", "web");
        let rule = |names: Value| -> ProjectionRuleSpec {
            let to = json!({"group": "x.io", "version": "v2", "resource": "webs"});
            let spec = json!({"resource": "r", "names": names, "target": to});
            serde_json::from_value(spec).unwrap()
        };
        let key = [1; 32];
        let t = target_by(
            &key,
            &s,
            &rule(json!({"namespace": "Fixed", "fixed": "shared"})),
        );
        assert_eq!(
            (t.namespace.as_str(), t.namespace_locator.as_str()),
            ("shared", "")
        );
        assert_eq!(t.name, format!("h-{}", t.locator));
        assert_eq!((t.group.as_str(), t.resource.as_str()), ("x.io", "webs"));
        let t = target_by(&key, &s, &rule(json!({"name": "Hash", "prefix": "db"})));
        assert!(t.name.starts_with("db-") && t.namespace == target(&key, &s).namespace);
        let whole = rule(json!({"namespace": "Workspace"}));
        let (a, b) = (
            target_by(&key, &s, &whole),
            target_by(&key, &source("c", "m", "web"), &whole),
        );
        assert!(a.namespace == b.namespace && a.name != b.name);
        assert_ne!(
            a.namespace,
            target_by(&key, &source("d", "n", "web"), &whole).namespace
        );
        assert_eq!(namespace_locator_line(&s, &a), r#"{"cluster":"c"}"#);
        let crd = Source {
            group: "apiextensions.k8s.io".into(),
            resource: "customresourcedefinitions".into(),
            ..source("c", "", "things.example.com")
        };
        assert_eq!(
            target(&key, &crd).name,
            "things.example.com",
            "its name is what it is"
        );
    }

    #[test]
    fn names_tell_nothing_without_the_key() {
        let s = source("secretcorp", "payroll", "web");
        let (a, b) = (target(&[1; 32], &s), target(&[2; 32], &s));
        assert_ne!(a.namespace, b.namespace);
        assert!(!a.namespace.contains("payroll") && !a.namespace.contains("secret"));
        assert_eq!(a.name, "web");
    }

    #[test]
    fn each_mark_is_enough_and_a_strange_mark_wins() {
        let s = source("c", "n", "web");
        let t = target(&[1; 32], &s);
        let line = locator_line(&s);
        let own = |meta: Value| ownership(&json!({"metadata": meta}), "site-a", &t.locator, &line);
        assert_eq!(
            own(json!({"labels": {names::LOCATOR_LABEL: t.locator}})),
            Ownership::Ours
        );
        assert_eq!(
            own(json!({"annotations": {names::LOCATOR_ANNOTATION: line}})),
            Ownership::Ours
        );
        let managed = json!({"managedFields": [{
            "manager": "hanse-syncer", "operation": "Apply", "fieldsV1": {},
        }]});
        assert_eq!(own(managed), Ownership::Ours);
        assert_eq!(own(json!({"labels": {"app": "web"}})), Ownership::Foreign);
        assert_eq!(
            own(json!({"name": format!("h-{}", t.locator)})),
            Ownership::Ours
        );
        let other = json!({"labels": {names::SITE_LABEL: "site-b"}});
        assert!(matches!(own(other), Ownership::Another(_)));
        assert!(matches!(
            own(json!({"labels": {names::LOCATOR_LABEL: "x"}})),
            Ownership::Another(_)
        ));
    }
}
