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

use hanse_apis::sites::{Source, Target, names};
use serde_json::{Value, json};

use crate::digest::{base36, keyed};

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

/// Where an object of a tenant stands below.
#[must_use]
pub fn target(key: &[u8], source: &Source) -> Target {
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
    if source.namespace.is_empty() {
        return Target {
            name: format!("h-{hash}"),
            locator: hash,
            ..Target::default()
        };
    }
    let namespace = namespace_hash(key, &source.cluster, &source.namespace);
    Target {
        namespace: format!("h-{namespace}"),
        name: source.name.clone(),
        locator: hash,
        namespace_locator: namespace,
    }
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

/// The locator of a namespace in clear.
#[must_use]
pub fn namespace_locator_line(source: &Source) -> String {
    json!({"cluster": source.cluster, "namespace": source.namespace}).to_string()
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

/// The namespace object below for a tenant's namespace, marked like every object of ours.
#[must_use]
pub fn namespace_object(target: &Target, site: &str, line: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": target.namespace,
            "labels": {
                names::SITE_LABEL: site, names::LOCATOR_LABEL: target.namespace_locator,
            },
            "annotations": {names::LOCATOR_ANNOTATION: line},
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
                let t = target(&[7; 32], &source(&cluster, &namespace, &name));
                prop_assert!(t.name.len() <= 63 && t.namespace.len() <= 63);
                let place = (t.namespace.clone(), t.name.clone());
                prop_assert!(seen.insert(place, (cluster, namespace, name)).is_none());
            }
        }
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
