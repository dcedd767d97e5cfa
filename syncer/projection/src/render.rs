//! From a tenant's object to the object that a site shall have.
//!
//! Two steps. [`render`] makes the body, which says nothing of the site, of the workspace or of
//! the name, so that equal intents have equal bytes wherever they go and are kept once.
//! [`dress`], at the site, gives a body its name and its marks. Invariant: rendering reads neither
//! status nor managedFields, so a change of either changes no intent; rendering twice gives equal
//! bytes. Whatever belongs to the place where the object stands above (uid, versions, owners,
//! finalizers, marks of the workspace) stays above.

use hanse_apis::sites::{Source, Target, names};
use serde_json::{Map, Value, json};

use crate::kinds::{self, KindRow};
use crate::names::locator_line;
use crate::steps::{Edit, Steps};

/// Everything that decides what a site gets.
pub struct Render<'a> {
    /// The tenant's object.
    pub object: &'a Value,
    /// Its identity.
    pub source: &'a Source,
    /// The site's share, and the dotted path where it goes.
    pub replicas: Option<(&'a str, i64)>,
}

/// Prefixes of labels and annotations that belong to the workspace.
const MARKS: &[&str] = &["sites.hanse.dev/", "kcp.io/", "kcp.dev/"];
/// Annotations that describe the object above, not the object.
const ANNOTATIONS: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
];

/// Renders the body of an object.
#[must_use]
pub fn render(r: &Render<'_>) -> Value {
    let mut out = Map::new();
    for (member, value) in r.object.as_object().into_iter().flatten() {
        if !matches!(member.as_str(), "metadata" | "status") {
            out.insert(member.clone(), without_nulls(value));
        }
    }
    out.insert("metadata".into(), metadata(r));
    let mut out = Value::Object(out);
    if let Some(row) = kinds::row(&r.source.group, &r.source.resource) {
        drop_allocated(&mut out, row);
    }
    if let Some((path, n)) = r.replicas {
        put(&mut out, path, json!(n));
    }
    out
}

fn metadata(r: &Render<'_>) -> Value {
    let meta = &r.object["metadata"];
    let mut out = Map::new();
    for (member, dropped) in [("annotations", ANNOTATIONS), ("labels", &[])] {
        let kept = kept(&meta[member], dropped);
        if !kept.is_empty() {
            out.insert(member.into(), Value::Object(kept));
        }
    }
    Value::Object(out)
}

/// The object as a site is asked for it: a body with its name, its namespace and our marks.
#[must_use]
pub fn dress(body: &Value, source: &Source, target: &Target, site: &str) -> Value {
    let mut out = body.clone();
    // By what it is below: a rule may call it something else there.
    let row = match target.resource.is_empty() {
        true => kinds::row(&source.group, &source.resource),
        false => kinds::row(&target.group, &target.resource),
    };
    if let Some(row) = row.filter(|_| !target.workspace.is_empty()) {
        keep_to_workspace(&mut out, row, &target.workspace);
    }
    let Some(map) = out.as_object_mut() else {
        return out;
    };
    let meta = map.entry("metadata").or_insert_with(|| json!({}));
    meta["name"] = json!(target.name);
    if !target.namespace.is_empty() {
        meta["namespace"] = json!(target.namespace);
    }
    meta["labels"][names::SITE_LABEL] = json!(site);
    meta["labels"][names::LOCATOR_LABEL] = json!(target.locator);
    meta["annotations"][names::LOCATOR_ANNOTATION] = json!(locator_line(source));
    out
}

fn kept(from: &Value, dropped: &[&str]) -> Map<String, Value> {
    let stays = |key: &str| {
        dropped.contains(&key) || {
            // A mark's prefix also holds for subdomains: internal.apis.kcp.io/x.
            MARKS.iter().any(|m| {
                key.strip_suffix(key.split_once('/').map_or("", |(_, name)| name))
                    .is_some_and(|domain| domain == *m || domain.ends_with(&format!(".{m}")))
            })
        }
    };
    from.as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| !stays(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Nulls say nothing in JSON of Kubernetes but would be claims in an apply.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(_, v)| !v.is_null())
                .map(|(k, v)| (k.clone(), without_nulls(v)))
                .collect(),
        ),
        Value::Array(list) => Value::Array(list.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

fn drop_allocated(object: &mut Value, row: &KindRow) {
    for (path, kept) in row.allocated {
        let Ok(steps) = Steps::parse(path) else {
            continue;
        };
        let drop: Result<(), ()> = steps.edit(object, &mut |found| {
            Ok(match found {
                Some(value) if kept.is_empty() || value != kept => Edit::Remove,
                _ => Edit::Keep,
            })
        });
        // Nobody asked here fails.
        debug_assert!(drop.is_ok());
    }
}

/// Selectors of namespaces mean those of the tenant's own workspace, by the tenant's names: an
/// empty one would mean everybody's here. `kube-system` is the site's own.
fn keep_to_workspace(object: &mut Value, row: &KindRow, workspace: &str) {
    const NAME: &str = "kubernetes.io/metadata.name";
    for path in row.peers {
        let Ok(steps) = Steps::parse(path) else {
            continue;
        };
        let kept: Result<(), ()> = steps.edit(object, &mut |found| {
            let Some(selector) = found else {
                return Ok(Edit::Keep);
            };
            let mut selector = selector.clone();
            if selector["matchLabels"][NAME] == "kube-system" {
                return Ok(Edit::Keep);
            }
            if let Some(labels) = selector["matchLabels"].as_object_mut()
                && let Some(name) = labels.remove(NAME)
            {
                labels.insert(names::NAMESPACE_LABEL.into(), name);
            }
            for rule in selector["matchExpressions"]
                .as_array_mut()
                .into_iter()
                .flatten()
            {
                if rule["key"] == NAME {
                    rule["key"] = json!(names::NAMESPACE_LABEL);
                }
            }
            selector["matchLabels"][names::WORKSPACE_LABEL] = json!(workspace);
            // Looking into them has made members that were not there.
            if let Some(map) = selector.as_object_mut() {
                map.retain(|_, v| !v.is_null());
            }
            Ok(Edit::Set(selector))
        });
        debug_assert!(kept.is_ok());
    }
}

/// The value at a dotted path.
#[must_use]
pub fn at<'a>(object: &'a Value, dotted: &str) -> Option<&'a Value> {
    dotted
        .split('.')
        .try_fold(object, |value, step| value.get(step))
}

fn put(object: &mut Value, dotted: &str, value: Value) {
    let (parents, last) = dotted.rsplit_once('.').unwrap_or(("", dotted));
    let mut at = object;
    for step in parents.split('.').filter(|s| !s.is_empty()) {
        let Some(map) = at.as_object_mut() else {
            return;
        };
        at = map.entry(step).or_insert_with(|| json!({}));
    }
    if let Some(map) = at.as_object_mut() {
        map.insert(last.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::target;
    use proptest::prelude::*;

    fn source(group: &str, resource: &str) -> Source {
        Source {
            cluster: "c1".into(),
            group: group.into(),
            version: "v1".into(),
            resource: resource.into(),
            namespace: "shop".into(),
            name: "web".into(),
            ..Source::default()
        }
    }

    fn rendered(object: &Value, source: &Source, replicas: Option<(&str, i64)>) -> Value {
        render(&Render {
            object,
            source,
            replicas,
        })
    }

    #[test]
    fn only_the_intent_travels() {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7",
                "generation": 3, "finalizers": ["sites.hanse.dev/placed"],
                "ownerReferences": [{"name": "x"}], "managedFields": [{"manager": "kubectl"}],
                "labels": {
                    "app": "web", "claimed.internal.apis.kcp.io/abc": "x",
                    "app.kcp.io.example.com/x": "stays",
                },
                "annotations": {
                    "kcp.io/cluster": "c1", "note": "hello", "sites.hanse.dev/status": "2/2",
                    "kubectl.kubernetes.io/last-applied-configuration": "{}",
                },
            },
            "spec": {"replicas": 6, "template": {"metadata": {"creationTimestamp": null}}},
            "status": {"replicas": 6},
        });
        let s = source("apps", "deployments");
        let body = rendered(&object, &s, Some(("spec.replicas", 3)));
        let mut other = s.clone();
        other.cluster = "c2".into();
        assert_eq!(body, rendered(&object, &other, Some(("spec.replicas", 3))));
        let t = target(&[3; 32], &s);
        assert_eq!(
            dress(&body, &s, &t, "site-x"),
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {
                    "name": "web", "namespace": t.namespace,
                    "labels": {
                        "app": "web", "app.kcp.io.example.com/x": "stays",
                        "sites.hanse.dev/site": "site-x", "sites.hanse.dev/locator": t.locator,
                    },
                    "annotations": {
                        "note": "hello", "sites.hanse.dev/locator": locator_line(&s),
                    },
                },
                "spec": {"replicas": 3, "template": {"metadata": {}}},
            })
        );
    }

    #[test]
    fn what_a_site_allocates_stays_above() {
        let service = |ip: &str| json!({"spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80}]}});
        let s = source("", "services");
        let out = rendered(&service("10.0.0.1"), &s, None);
        assert_eq!(out["spec"], json!({"ports": [{"port": 80}]}));
        let out = rendered(&service("None"), &s, None);
        assert_eq!(
            out["spec"],
            json!({"clusterIP": "None", "ports": [{"port": 80}]})
        );
    }

    #[test]
    fn a_policy_means_the_namespaces_of_its_workspace() {
        let s = source("networking.k8s.io", "networkpolicies");
        let t = target(&[3; 32], &s);
        let body = json!({"spec": {"ingress": [{"from": [
            {"namespaceSelector": {}}, {"podSelector": {}},
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}},
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}},
        ]}]}});
        let out = dress(&body, &s, &t, "site-x");
        let from = &out["spec"]["ingress"][0]["from"];
        let own = json!({"sites.hanse.dev/workspace": t.workspace});
        assert_eq!(from[0], json!({"namespaceSelector": {"matchLabels": own}}));
        assert_eq!(from[1], json!({"podSelector": {}}));
        let shop = &from[2]["namespaceSelector"]["matchLabels"];
        assert_eq!(shop["sites.hanse.dev/namespace"], "shop");
        assert_eq!(shop.as_object().unwrap().len(), 2);
        assert_eq!(from[3], body["spec"]["ingress"][0]["from"][3]);
    }

    #[test]
    fn a_job_travels_without_what_its_server_made() {
        let s = source("batch", "jobs");
        let made = "batch.kubernetes.io/controller-uid";
        let job = json!({"spec": {
            "selector": {"matchLabels": {made: "u"}},
            "template": {"metadata": {"labels": {made: "u", "controller-uid": "u", "app": "x"}}},
        }});
        let out = rendered(&job, &s, None);
        assert_eq!(
            out["spec"],
            json!({"template": {"metadata": {"labels": {"app": "x"}}}})
        );
    }

    proptest! {
        #[test]
        fn status_and_versions_never_change_the_intent(a in 0u32..9, b in 0u32..9) {
            let object = |n: u32| json!({
                "kind": "ConfigMap", "data": {"k": "v"},
                "metadata": {"name": "web", "resourceVersion": n.to_string(), "generation": n,
                             "managedFields": [{"time": n}]},
                "status": {"n": n},
            });
            let s = source("", "configmaps");
            let (x, y) = (rendered(&object(a), &s, None), rendered(&object(b), &s, None));
            prop_assert_eq!(crate::content_hash(&x), crate::content_hash(&y));
        }
    }
}
