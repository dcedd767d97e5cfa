//! What `site join` prints for a cluster: the syncer, its rights, and how it first reaches the hub.
//!
//! Invariant: with `--allow` it may do what it needs for these resources, and nothing else; the
//! table in `docs/site-owners.md` says the same.

use anyhow::Result;
use serde_json::{Value, json};

use crate::site::Join;

/// The syncer's name in the cluster.
const NAME: &str = "hanse-syncer";
/// The Secret that keeps its certificate.
const IDENTITY: &str = "hanse-identity";
/// What it does with an object.
const VERBS: [&str; 7] = [
    "get", "list", "watch", "create", "update", "patch", "delete",
];

/// Everything that the cluster needs, as one YAML stream.
///
/// # Errors
/// None that a user can bring about.
pub fn text(join: &Join, kubeconfig: &str) -> Result<String> {
    let namespace = join.namespace.as_str();
    let mut documents = vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount",
               "metadata": {"name": NAME, "namespace": namespace}}),
    ];
    documents.extend(rights(&join.allow, namespace));
    documents.push(json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "hanse-bootstrap", "namespace": namespace},
        "stringData": {"kubeconfig": kubeconfig},
    }));
    documents.push(deployment(join));
    let mut out = String::new();
    for document in &documents {
        out.push_str("---\n");
        out.push_str(&serde_saphyr::to_string(document)?);
    }
    Ok(out)
}

/// What the syncer may do: everything, or what it needs for the allowed resources.
fn rights(allow: &[String], namespace: &str) -> Vec<Value> {
    let subjects = json!([{"kind": "ServiceAccount", "namespace": namespace, "name": NAME}]);
    let api = "rbac.authorization.k8s.io";
    let bound = |kind: &str, role: &str| json!({"apiGroup": api, "kind": kind, "name": role});
    let all = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": NAME}, "subjects": subjects,
    });
    let with = |mut binding: Value, role: Value| {
        binding["roleRef"] = role;
        binding
    };
    if allow.is_empty() {
        return vec![with(all, bound("ClusterRole", "cluster-admin"))];
    }
    let mut rules = vec![
        json!({"nonResourceURLs": ["/version"], "verbs": ["get"]}),
        json!({"apiGroups": [""], "resources": ["namespaces"], "verbs": VERBS}),
        json!({"apiGroups": [""], "resources": ["events"], "verbs": ["get", "list", "watch"]}),
    ];
    rules.extend(allow.iter().map(|word| {
        let (plural, group) = word.split_once('.').unwrap_or((word, ""));
        json!({"apiGroups": [group], "resources": [plural], "verbs": VERBS})
    }));
    // The inventory; an owner who takes these away is passed by where placements ask for it.
    rules.push(json!({"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["list"]}));
    rules.push(json!({
        "apiGroups": ["storage.k8s.io", "networking.k8s.io"],
        "resources": ["storageclasses", "ingressclasses"], "verbs": ["list"],
    }));
    let meta = json!({"name": NAME, "namespace": namespace});
    let own = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": meta, "subjects": subjects,
    });
    vec![
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": NAME}, "rules": rules,
        }),
        with(all, bound("ClusterRole", NAME)),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta,
            "rules": [
                {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [IDENTITY],
                 "verbs": ["get", "patch"]},
                {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
            ],
        }),
        with(own, bound("Role", NAME)),
    ]
}

fn deployment(join: &Join) -> Value {
    let namespace = join.namespace.as_str();
    let labels = json!({"app.kubernetes.io/name": NAME});
    json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME, "namespace": namespace},
            "spec": {
                "replicas": 1, "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {
                    "serviceAccountName": NAME,
                    "containers": [{
                        "name": "syncer", "image": join.image,
                        "args": [
                            "--hub-kubeconfig=/bootstrap/kubeconfig", "--state-dir=/state",
                            format!("--identity-secret={namespace}/{IDENTITY}"),
                        ],
                        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
                        "securityContext": {
                            "allowPrivilegeEscalation": false, "runAsNonRoot": true,
                            "runAsUser": 65532, "capabilities": {"drop": ["ALL"]},
                            "readOnlyRootFilesystem": true,
                        },
                        "volumeMounts": [
                            {"name": "bootstrap", "mountPath": "/bootstrap", "readOnly": true},
                            {"name": "state", "mountPath": "/state"},
                        ],
                    }],
                    "securityContext": {"fsGroup": 65532},
                    "volumes": [
                        {"name": "bootstrap", "secret": {"secretName": "hanse-bootstrap"}},
                        {"name": "state", "emptyDir": {}},
                    ],
                }},
            },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_allowed_is_not_granted() {
        let allow = ["deployments.apps".to_owned(), "services".to_owned()];
        let narrow = rights(&allow, "hanse-system");
        let rules = narrow[0]["rules"].as_array().unwrap();
        let mut written = rules.iter().filter(|r| r["verbs"] == json!(VERBS));
        written.next();
        assert_eq!(written.next().unwrap()["apiGroups"], json!(["apps"]));
        let last = written.next().unwrap();
        assert_eq!(
            (&last["apiGroups"], &last["resources"]),
            (&json!([""]), &json!(["services"]))
        );
        assert!(written.next().is_none());
        let text = Value::from(narrow.clone()).to_string();
        assert!(!text.contains("cluster-admin"), "{text}");
        let whole = rights(&[], "hanse-system");
        assert_eq!(whole[0]["roleRef"]["name"], "cluster-admin");
    }
}
