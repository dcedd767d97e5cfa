//! What the Pods of an object need beside it: ConfigMaps, Secrets, ServiceAccounts, claims.
//!
//! Start at [`references`]. Anything with a pod template is read, by its shape and not by its
//! kind. Invariant: names of the same namespace only; Pods cannot refer further.

use std::collections::BTreeSet;

use serde_json::Value;

/// Something that Pods name: plural name in the core group, and its name.
pub type Reference = (&'static str, String);

/// Where a pod spec stands: in a workload, in a CronJob, in a Pod.
const TEMPLATES: &[&str] = &[
    "/spec/template/spec",
    "/spec/jobTemplate/spec/template/spec",
    "/spec",
];

const MAPS: &str = "configmaps";
const SECRETS: &str = "secrets";
const ACCOUNTS: &str = "serviceaccounts";
const CLAIMS: &str = "persistentvolumeclaims";

/// Kinds that can be named.
pub const RESOURCES: &[&str] = &[MAPS, SECRETS, ACCOUNTS, CLAIMS];

/// What the Pods of an object name; nothing for an object that makes none.
#[must_use]
pub fn references(object: &Value) -> BTreeSet<Reference> {
    let mut out = BTreeSet::new();
    let specs = TEMPLATES.iter().filter_map(|path| object.pointer(path));
    let Some(spec) = specs.into_iter().find(|spec| spec["containers"].is_array()) else {
        return out;
    };
    let mut name = |resource: &'static str, value: &Value| {
        if let Some(name) = value.as_str().filter(|name| !name.is_empty()) {
            out.insert((resource, name.to_owned()));
        }
    };
    name(ACCOUNTS, &spec["serviceAccountName"]);
    for secret in list(&spec["imagePullSecrets"]) {
        name(SECRETS, &secret["name"]);
    }
    for volume in list(&spec["volumes"]) {
        name(MAPS, &volume["configMap"]["name"]);
        name(SECRETS, &volume["secret"]["secretName"]);
        name(CLAIMS, &volume["persistentVolumeClaim"]["claimName"]);
        for source in list(&volume["projected"]["sources"]) {
            name(MAPS, &source["configMap"]["name"]);
            name(SECRETS, &source["secret"]["name"]);
        }
    }
    for containers in ["containers", "initContainers"] {
        for container in list(&spec[containers]) {
            for from in list(&container["envFrom"]) {
                name(MAPS, &from["configMapRef"]["name"]);
                name(SECRETS, &from["secretRef"]["name"]);
            }
            for variable in list(&container["env"]) {
                let from = &variable["valueFrom"];
                name(MAPS, &from["configMapKeyRef"]["name"]);
                name(SECRETS, &from["secretKeyRef"]["name"]);
            }
        }
    }
    out
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_way_to_name_something_is_read() {
        let pod = json!({
            "serviceAccountName": "runner",
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [
                {"configMap": {"name": "files"}},
                {"secret": {"secretName": "tls"}},
                {"persistentVolumeClaim": {"claimName": "data"}},
                {"projected": {"sources": [
                    {"configMap": {"name": "more"}}, {"secret": {"name": "token"}},
                    {"serviceAccountToken": {"path": "x"}},
                ]}},
                {"emptyDir": {}},
            ],
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "first"}}]}],
            "containers": [{
                "envFrom": [{"secretRef": {"name": "all"}}],
                "env": [
                    {"valueFrom": {"configMapKeyRef": {"name": "one", "key": "k"}}},
                    {"valueFrom": {"secretKeyRef": {"name": "two", "key": "k"}}},
                    {"valueFrom": {"fieldRef": {"fieldPath": "x"}}}, {"name": "plain"},
                ],
            }],
        });
        let want = [
            (MAPS, "files"),
            (MAPS, "first"),
            (MAPS, "more"),
            (MAPS, "one"),
            (CLAIMS, "data"),
            (SECRETS, "all"),
            (SECRETS, "pull"),
            (SECRETS, "tls"),
            (SECRETS, "token"),
            (SECRETS, "two"),
            (ACCOUNTS, "runner"),
        ];
        let want: BTreeSet<Reference> = want.map(|(r, n)| (r, n.to_owned())).into();
        assert_eq!(references(&json!({"spec": pod})), want);
        assert_eq!(
            references(&json!({"spec": {"template": {"spec": pod}}})),
            want
        );
        let cron = json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": pod}}}}});
        assert_eq!(references(&cron), want);
        assert!(references(&json!({"spec": {"replicas": 1}})).is_empty());
        assert!(references(&json!("no object")).is_empty());
    }
}
