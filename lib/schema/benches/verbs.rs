//! Times of the verbs on an object of a Deployment's size: one JSON line each.
//!
//! `cargo bench -p hanse-schema --bench verbs` (or with `--profile fast`, which compiles faster).

// A benchmark that cannot set itself up has nothing to measure.
#![allow(clippy::expect_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use hanse_schema::Schema;
use serde_json::{Value, json};

/// A container with the fields that people set.
fn container_schema() -> Value {
    let string = || json!({"type": "string"});
    let env = json!({"type": "array", "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object", "required": ["name"],
            "properties": {"name": string(), "value": string()}}});
    let ports = json!({"type": "array", "items": {"type": "object", "required": ["containerPort"],
        "properties": {"containerPort": {"type": "integer", "minimum": 1, "maximum": 65535},
            "protocol": {"type": "string", "default": "TCP", "enum": ["TCP", "UDP", "SCTP"]},
            "name": {"type": "string", "maxLength": 15, "pattern": "^[a-z0-9-]*$"}}}});
    let resources = json!({"type": "object", "properties": {
        "limits": {"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": true}},
        "requests": {"type": "object", "additionalProperties":
            {"x-kubernetes-int-or-string": true}}}});
    json!({"type": "object", "required": ["name"], "properties": {
        "name": string(), "image": string(), "imagePullPolicy": {"type": "string",
            "default": "IfNotPresent"}, "command": {"type": "array", "items": string()},
        "args": {"type": "array", "items": string()}, "env": env, "ports": ports,
        "resources": resources, "terminationMessagePath": {"type": "string",
            "default": "/dev/termination-log"}, "volumeMounts": {"type": "array", "items": {
            "type": "object", "properties": {"name": string(), "mountPath": string(),
                "readOnly": {"type": "boolean"}}}}}})
}

fn schema() -> Value {
    let labels = || json!({"type": "object", "additionalProperties": {"type": "string"}});
    let pod = json!({"type": "object", "properties": {
        "containers": {"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"], "items": container_schema()},
        "restartPolicy": {"type": "string", "default": "Always"},
        "terminationGracePeriodSeconds": {"type": "integer", "default": 30},
        "nodeSelector": labels(), "serviceAccountName": {"type": "string"},
        "volumes": {"type": "array", "items": {"type": "object",
            "x-kubernetes-preserve-unknown-fields": true}}}});
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["selector", "template"], "properties": {
            "replicas": {"type": "integer", "minimum": 0, "default": 1},
            "selector": {"type": "object", "properties": {"matchLabels": labels()}},
            "strategy": {"type": "object", "default": {}, "properties": {
                "type": {"type": "string", "default": "RollingUpdate"}}},
            "template": {"type": "object", "properties": {
                "metadata": {"type": "object", "properties": {"labels": labels()}},
                "spec": pod}}}},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}})
}

fn object() -> Value {
    let container = |name: &str| {
        json!({"name": name, "image": "registry.example/app:1.2.3", "args": ["--port", "8080"],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "two"}, {"name": "C"}],
        "ports": [{"containerPort": 8080, "name": "http"}, {"containerPort": 9090}],
        "resources": {"limits": {"cpu": 1, "memory": "256Mi"}, "requests": {"cpu": "100m"}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}]})
    };
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app",
        "namespace": "default", "labels": {"app": "app"}},
        "spec": {"selector": {"matchLabels": {"app": "app"}}, "template": {
            "metadata": {"labels": {"app": "app", "tier": "web"}},
            "spec": {"containers": [container("app"), container("sidecar")],
                "volumes": [{"name": "data", "emptyDir": {}}]}}}})
}

/// Mean time of a call over about a quarter of a second.
fn time(mut call: impl FnMut()) -> Duration {
    call();
    let start = Instant::now();
    let mut calls = 0;
    while start.elapsed() < Duration::from_millis(250) {
        (0..16).for_each(|_| call());
        calls += 16;
    }
    start.elapsed() / calls
}

fn report(name: &str, duration: Duration) {
    let micros = (duration.as_secs_f64() * 1e9).round() / 1e3;
    println!("{}", json!({"name": name, "value": micros, "unit": "us"}));
}

fn main() {
    let source = schema();
    let mut variant = 0;
    report(
        "schema_compile",
        time(|| {
            // A new description each time: nothing is found by content.
            variant += 1;
            let mut source = source.clone();
            source["description"] = json!(variant.to_string());
            black_box(Schema::compile(&source).expect("structural"));
        }),
    );
    let schema = Schema::compile(&source).expect("structural");
    report(
        "schema_find",
        time(|| drop(black_box(Schema::compile(&source)))),
    );
    let given = object();
    report("object_clone", time(|| drop(black_box(given.clone()))));
    report(
        "prune_default_validate",
        time(|| {
            let mut object = given.clone();
            schema.coerce(&mut object, false).expect("good metadata");
            schema.default(&mut object);
            assert!(schema.validate(&object, None).is_empty());
            black_box(object);
        }),
    );
    let mut settled = given.clone();
    schema.coerce(&mut settled, false).expect("good metadata");
    schema.default(&mut settled);
    report(
        "validate",
        time(|| drop(black_box(schema.validate(&settled, None)))),
    );
    report(
        "validate_update",
        time(|| drop(black_box(schema.validate(&settled, Some(&settled))))),
    );
}
