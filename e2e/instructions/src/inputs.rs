//! The inputs: a Deployment as people write it, a schema of its shape, and a ConfigMap. They never
//! change by themselves; who changes one changes every count that reads it.

use hanse_json::{Value, json};

/// A ConfigMap of about 1 KiB, as it is stored.
pub fn config_map(index: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": format!("object-{index:05}"), "namespace": "default",
            "uid": format!("6c3f1d3e-0000-4000-8000-{index:012}"),
            "resourceVersion": "4096", "creationTimestamp": "2026-11-21T10:00:00Z",
            "labels": {"app": "web", "tier": if index.is_multiple_of(2) { "front" } else { "back" }},
            "managedFields": [{
                "manager": "bench", "operation": "Update", "apiVersion": "v1",
                "time": "2026-11-21T10:00:00Z", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:data": {".": {}, "f:payload": {}}},
            }],
        },
        "data": {"payload": "x".repeat(700)},
    })
}

/// A Deployment with two containers, as it is stored after an apply.
pub fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "default", "generation": 3,
            "uid": "6c3f1d3e-0000-4000-8000-000000000001",
            "resourceVersion": "8192", "creationTimestamp": "2026-11-21T10:00:00Z",
            "labels": {"app": "web", "tier": "front", "app.kubernetes.io/part-of": "shop"},
            "annotations": {"deployment.kubernetes.io/revision": "3", "note": "a \"quoted\" one"},
        },
        "spec": {
            "replicas": 3, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
            "template": {
                "metadata": {"labels": {"app": "web", "tier": "front"}},
                "spec": {
                    "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
                    "containers": [container("web", 8080), container("sidecar", 9090)],
                    "volumes": [{"name": "data", "emptyDir": {}}],
                },
            },
        },
        "status": {
            "observedGeneration": 3, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 3,
            "conditions": [
                {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable",
                    "message": "Deployment has minimum availability."},
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable",
                    "message": "ReplicaSet \"web-5d\" has successfully progressed."},
            ],
        },
    })
}

fn container(name: &str, port: u16) -> Value {
    json!({
        "name": name, "image": format!("registry.example/{name}:1.2.3"),
        "imagePullPolicy": "IfNotPresent",
        "args": ["--listen", "0.0.0.0", "--log-level", "info"],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "two"}, {"name": "C"}],
        "ports": [{"containerPort": port, "name": "http", "protocol": "TCP"},
            {"containerPort": port + 1, "name": "metrics"}],
        "resources": {"limits": {"cpu": 1, "memory": "256Mi"}, "requests": {"cpu": "100m"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": port}, "periodSeconds": 10},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    })
}

/// A schema of the Deployment's shape, with defaults, bounds, patterns and lists that merge.
pub fn schema() -> Value {
    let text = || json!({"type": "string"});
    let labels = || json!({"type": "object", "additionalProperties": text()});
    let pod = json!({"type": "object", "required": ["containers"], "properties": {
        "containers": by_name(container_schema()),
        "restartPolicy": {"type": "string", "default": "Always",
            "enum": ["Always", "OnFailure", "Never"]},
        "terminationGracePeriodSeconds": {"type": "integer", "default": 30, "minimum": 0},
        "dnsPolicy": {"type": "string", "default": "ClusterFirst"},
        "volumes": by_name(json!({"type": "object", "required": ["name"],
            "x-kubernetes-preserve-unknown-fields": true, "properties": {"name": text()}})),
    }});
    let spec = json!({"type": "object", "required": ["selector", "template"], "properties": {
        "replicas": {"type": "integer", "minimum": 0, "default": 1},
        "revisionHistoryLimit": {"type": "integer", "default": 10},
        "progressDeadlineSeconds": {"type": "integer", "default": 600},
        "selector": {"type": "object", "properties": {"matchLabels": labels()}},
        "strategy": {"type": "object", "default": {}, "properties": {
            "type": {"type": "string", "default": "RollingUpdate"},
            "rollingUpdate": {"type": "object", "properties": {
                "maxSurge": {"x-kubernetes-int-or-string": true},
                "maxUnavailable": {"x-kubernetes-int-or-string": true}}}}},
        "template": {"type": "object", "properties": {
            "metadata": {"type": "object", "properties": {"labels": labels()}},
            "spec": pod}},
    }});
    json!({"type": "object", "properties": {
        "apiVersion": text(), "kind": text(), "metadata": {"type": "object"},
        "spec": spec,
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }})
}

/// A list whose items are told apart by name.
fn by_name(items: Value) -> Value {
    json!({"type": "array", "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"], "items": items})
}

fn container_schema() -> Value {
    let text = || json!({"type": "string"});
    let amounts = || {
        json!({"type": "object",
            "additionalProperties": {"x-kubernetes-int-or-string": true}})
    };
    json!({"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string", "maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
        "image": text(), "command": {"type": "array", "items": text()},
        "args": {"type": "array", "items": text()},
        "imagePullPolicy": {"type": "string", "default": "IfNotPresent"},
        "env": by_name(json!({"type": "object", "required": ["name"],
            "properties": {"name": text(), "value": text()}})),
        "ports": {"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
            "items": {"type": "object", "required": ["containerPort"], "properties": {
                "containerPort": {"type": "integer", "minimum": 1, "maximum": 65535},
                "protocol": {"type": "string", "default": "TCP", "enum": ["TCP", "UDP", "SCTP"]},
                "name": {"type": "string", "maxLength": 15}}}},
        "resources": {"type": "object",
            "properties": {"limits": amounts(), "requests": amounts()}},
        "readinessProbe": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "terminationMessagePath": {"type": "string", "default": "/dev/termination-log"},
        "volumeMounts": {"type": "array", "items": {"type": "object", "properties": {
            "name": text(), "mountPath": text(), "readOnly": {"type": "boolean"}}}},
    }})
}

/// What somebody applies: some of the Deployment's fields, and one that the schema does not know.
pub fn applied() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "replicas": 5,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{
                    "name": "web", "image": "registry.example/web:1.2.4",
                    "env": [{"name": "A", "value": "1"}, {"name": "D", "value": "four"}],
                    "ports": [{"containerPort": 8080, "protocol": "TCP", "name": "http"}],
                }]},
            },
        },
    })
}
