//! What an object needs beside it: ConfigMaps, Secrets, ServiceAccounts, claims of its Pods, and
//! what else its kind names.
//!
//! Start at [`references`]. Pod specs are found by kind, by the paths that a rule declares, and
//! else by their shape. Invariant: names of the same namespace only; Pods cannot refer further.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::kinds;
use crate::steps::Steps;

/// Something that an object names: API group, plural, name.
pub type Reference = (String, String, String);

/// Where a pod spec stands in kinds that nobody has described: in a workload, in a CronJob, in a
/// Pod.
const SHAPES: &[&str] = &[
    "spec.template.spec",
    "spec.jobTemplate.spec.template.spec",
    "spec",
];

const MAPS: &str = "configmaps";
const SECRETS: &str = "secrets";
const ACCOUNTS: &str = "serviceaccounts";
const CLAIMS: &str = "persistentvolumeclaims";

/// Paths of pod specs: of the kind, then those that a rule declares (each of what holds a `spec`).
#[must_use]
pub fn pod_paths(group: &str, resource: &str, declared: &[String]) -> Vec<Steps> {
    let known = kinds::row(group, resource).map_or(&[][..], |row| row.pods);
    let known = known.iter().map(|path| (*path).to_owned());
    let declared = declared.iter().map(|path| format!("{path}.spec"));
    let all: Vec<Steps> = known
        .chain(declared)
        .filter_map(|path| Steps::parse(&path).ok())
        .collect();
    match all.is_empty() && kinds::row(group, resource).is_none() {
        false => all,
        true => SHAPES.iter().filter_map(|p| Steps::parse(p).ok()).collect(),
    }
}

/// What an object names; nothing for one that names nothing.
#[must_use]
pub fn references(
    object: &Value,
    group: &str,
    resource: &str,
    declared: &[String],
) -> BTreeSet<Reference> {
    let mut out = BTreeSet::new();
    for path in pod_paths(group, resource, declared) {
        for spec in path.all(object) {
            if spec["containers"].is_array() {
                of_pods(spec, &mut out);
            }
        }
    }
    for (path, group, plural) in kinds::row(group, resource).map_or(&[][..], |row| row.names) {
        let found = Steps::parse(path).map(|steps| steps.all(object));
        for name in found.unwrap_or_default() {
            add(&mut out, group, plural, name);
        }
    }
    out
}

fn add(out: &mut BTreeSet<Reference>, group: &str, resource: &str, name: &Value) {
    if let Some(name) = name.as_str().filter(|name| !name.is_empty()) {
        out.insert((group.to_owned(), resource.to_owned(), name.to_owned()));
    }
}

fn of_pods(spec: &Value, out: &mut BTreeSet<Reference>) {
    let mut name = |resource: &str, value: &Value| add(out, "", resource, value);
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
        // Storage drivers: csi, cephfs, iscsi, rbd, flexVolume ... name a Secret alike.
        for source in volume.as_object().into_iter().flat_map(|v| v.values()) {
            name(SECRETS, &source["secretRef"]["name"]);
            name(SECRETS, &source["nodePublishSecretRef"]["name"]);
        }
        name(SECRETS, &volume["azureFile"]["secretName"]);
    }
    for containers in ["containers", "initContainers", "ephemeralContainers"] {
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
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(rows: &[(&str, &str)]) -> BTreeSet<Reference> {
        let own = |(r, n): &(&str, &str)| (String::new(), (*r).to_owned(), (*n).to_owned());
        rows.iter().map(own).collect()
    }

    fn pod() -> Value {
        json!({
            "serviceAccountName": "runner",
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [
                {"configMap": {"name": "files"}},
                {"secret": {"secretName": "tls"}},
                {"persistentVolumeClaim": {"claimName": "data"}},
                {"csi": {"nodePublishSecretRef": {"name": "disk"}}},
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
        })
    }

    #[test]
    fn every_way_to_name_something_is_read() {
        let want = set(&[
            (MAPS, "files"),
            (MAPS, "first"),
            (MAPS, "more"),
            (MAPS, "one"),
            (CLAIMS, "data"),
            (SECRETS, "all"),
            (SECRETS, "disk"),
            (SECRETS, "pull"),
            (SECRETS, "tls"),
            (SECRETS, "token"),
            (SECRETS, "two"),
            (ACCOUNTS, "runner"),
        ]);
        let of =
            |group: &str, resource: &str, object: Value| references(&object, group, resource, &[]);
        assert_eq!(of("", "pods", json!({"spec": pod()})), want);
        let template = json!({"spec": {"template": {"spec": pod()}}});
        assert_eq!(of("apps", "deployments", template.clone()), want);
        assert_eq!(of("example.com", "alikes", template), want);
        let cron = json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": pod()}}}}});
        assert_eq!(of("batch", "cronjobs", cron), want);
        let nothing = json!({"spec": {"replicas": 1}});
        assert!(of("example.com", "alikes", nothing).is_empty());
        assert!(of("", "pods", json!("no object")).is_empty());
    }

    #[test]
    fn declared_paths_and_what_kinds_name_are_read() {
        let declared = ["spec.workloads[].template".to_owned()];
        let object = json!({"spec": {"workloads": [{"template": {"spec": {
            "containers": [{"envFrom": [{"secretRef": {"name": "all"}}]}],
        }}}]}});
        let found = references(&object, "example.com", "apps", &declared);
        assert_eq!(found, set(&[(SECRETS, "all")]));
        let ingress = json!({"spec": {
            "tls": [{"secretName": "cert"}],
            "rules": [{"http": {"paths": [{"backend": {"service": {"name": "web"}}}]}}],
        }});
        let found = references(&ingress, "networking.k8s.io", "ingresses", &[]);
        assert_eq!(found, set(&[(SECRETS, "cert"), ("services", "web")]));
    }
}
