//! OpenAPI documents compared with those of a real kcp.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use hanse_json::{Limits, Value, json, parse};
use hanse_kinds::{ResourceDef, builtin, kcp, openapi};

fn recorded(group_version: &str) -> Value {
    let name = match group_version {
        "v1" => "openapi-v3-api_v1.json".to_owned(),
        other => format!("openapi-v3-apis_{}.json", other.replace('/', "_")),
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../e2e/golden/kcp")
        .join(name);
    let bytes = std::fs::read(&path).unwrap();
    parse(&bytes, &Limits::default()).unwrap().value[0]["body"].take()
}

/// The recordings have no descriptions.
fn strip(value: &mut Value, names: bool) {
    match value {
        Value::Object(map) => {
            if !names {
                map.remove("description");
            }
            map.iter_mut()
                .for_each(|(key, value)| strip(value, key == "properties" && !names));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| strip(item, false)),
        _ => {}
    }
}

fn differences(path: &str, ours: &Value, theirs: &Value, out: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let null = Value::Null;
                let (ours, theirs) = (a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null));
                differences(&format!("{path}/{key}"), ours, theirs, out);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (ours, theirs)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}/{i}"), ours, theirs, out);
            }
        }
        _ if ours == theirs => {}
        _ => out.push(format!("{path}\n  ours   {ours}\n  theirs {theirs}")),
    }
}

fn compare(group_version: &str, defs: &[Arc<ResourceDef>]) {
    let of_this = |def: &&Arc<ResourceDef>| def.api_version() == group_version;
    let rows: Vec<Arc<ResourceDef>> = defs.iter().filter(of_this).cloned().collect();
    let mut ours = openapi::v3(&rows);
    let mut theirs = recorded(group_version);
    if group_version == "v1" {
        // The recording hides whatever is called `data` in a Secret, types included.
        theirs["components"]["schemas"]["io.k8s.api.core.v1.Secret"]["properties"]["data"] =
            json!({"additionalProperties": {"format": "byte", "type": "string"}, "type": "object"});
    }
    strip(&mut ours, false);
    strip(&mut theirs, false);
    let mut found = Vec::new();
    differences("", &ours, &theirs, &mut found);
    let count = found.len();
    found.truncate(12);
    assert!(
        found.is_empty(),
        "{group_version}: {count} differences\n{}",
        found.join("\n")
    );
}

#[test]
fn built_in_documents_are_those_recorded() {
    for group_version in [
        "v1",
        "admissionregistration.k8s.io/v1",
        "authentication.k8s.io/v1",
        "authorization.k8s.io/v1",
        "certificates.k8s.io/v1",
        "coordination.k8s.io/v1",
        "events.k8s.io/v1",
        "rbac.authorization.k8s.io/v1",
    ] {
        compare(group_version, builtin());
    }
}

#[test]
fn documents_of_kcps_kinds_are_those_recorded() {
    let defs = kcp::system_crds();
    compare("core.kcp.io/v1alpha1", defs);
    compare("apis.kcp.io/v1alpha2", defs);
    let exported: Vec<Arc<ResourceDef>> = kcp::root_schemas()
        .into_iter()
        .map(|(_, spec)| {
            let schema = json!({"spec": spec});
            let def = ResourceDef::from_api_resource_schema(&schema, "hash", "v1alpha1");
            Arc::new(def.unwrap())
        })
        .collect();
    compare("tenancy.kcp.io/v1alpha1", &exported);
}

#[test]
fn version_two_is_complete_in_itself() {
    let rows: Vec<Arc<ResourceDef>> = builtin()
        .iter()
        .chain(kcp::system_crds())
        .cloned()
        .collect();
    let document = openapi::v2(&rows);
    for name in openapi::references(&document) {
        assert!(document["definitions"].get(&name).is_some(), "{name}");
    }
    let config_map = &document["definitions"]["io.k8s.api.core.v1.ConfigMap"];
    let meta = json!("#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    assert_eq!(config_map["properties"]["metadata"]["$ref"], meta);
    let post = &document["paths"]["/api/v1/namespaces/{namespace}/configmaps"]["post"];
    let body = post["parameters"].as_array().unwrap().last().unwrap();
    assert_eq!(
        body["schema"]["$ref"],
        "#/definitions/io.k8s.api.core.v1.ConfigMap"
    );
    assert_eq!(post["responses"]["201"]["schema"], body["schema"]);
    assert!(!document.to_string().contains("components/schemas"));
}

/// Types and fields of the built-in kinds are described, in both versions.
#[test]
fn built_in_kinds_are_described() {
    let document = openapi::v2(builtin());
    for (name, schema) in document["definitions"].as_object().unwrap() {
        let described = |schema: &Value| schema["description"].as_str().is_some();
        // The shards of a list are newer than the published texts.
        assert!(described(schema) || name.ends_with(".ShardInfo"), "{name}");
    }
    let rows: Vec<Arc<ResourceDef>> = builtin()
        .iter()
        .filter(|def| def.api_version() == "v1")
        .cloned()
        .collect();
    let schemas = openapi::v3(&rows)["components"]["schemas"].take();
    let config_map = &schemas["io.k8s.api.core.v1.ConfigMap"]["properties"];
    for field in [
        "apiVersion",
        "binaryData",
        "data",
        "immutable",
        "kind",
        "metadata",
    ] {
        assert!(config_map[field]["description"].is_string(), "{field}");
    }
}

/// A Deployment that is bound or installed as a CRD tells clients how its lists merge, as
/// Kubernetes' own does; a kind of Kubernetes without such lists takes the same patches.
#[test]
fn kinds_of_kubernetes_tell_how_they_merge() {
    let list = json!({"type": "array", "items": {"type": "object", "properties": {
        "name": {"type": "string"}, "env": {"type": "array", "items": {"type": "object",
            "properties": {"name": {"type": "string"}}}}}}});
    let pod = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "containers": list}}}});
    let spec = json!({"type": "object", "properties": {"template": pod, "strategy": {
        "type": "object", "properties": {"type": {"type": "string"}}}}});
    let schema = |group: &str, kind: &str| {
        let names = json!({"plural": "things", "singular": "thing", "kind": kind,
            "listKind": format!("{kind}List")});
        json!({"spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [{
            "name": "v1", "served": true, "storage": true,
            "schema": {"type": "object", "properties": {"spec": spec}}}]}})
    };
    let document = |group: &str, kind: &str| {
        let def = ResourceDef::from_api_resource_schema(&schema(group, kind), "hash", "v1");
        openapi::v3(&[Arc::new(def.unwrap())])
    };
    let types = |document: &Value| {
        let path = "/apis/GROUP/v1/namespaces/{namespace}/things/{name}";
        let paths = document["paths"].as_object().unwrap();
        let group = paths.keys().next().unwrap().split('/').nth(2).unwrap();
        let patch = &paths[&path.replace("GROUP", group)]["patch"];
        patch["requestBody"]["content"].as_object().unwrap().clone()
    };
    let strategic = "application/strategic-merge-patch+json";
    let apps = document("apps", "Deployment");
    let spec = &apps["components"]["schemas"]["apps.v1.Deployment"]["properties"]["spec"];
    assert_eq!(
        spec["properties"]["strategy"]["x-kubernetes-patch-strategy"],
        "retainKeys"
    );
    let pod = &spec["properties"]["template"]["properties"]["spec"]["properties"];
    assert_eq!(pod["containers"]["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(pod["containers"]["x-kubernetes-patch-merge-key"], "name");
    let env = &pod["containers"]["items"]["properties"]["env"];
    assert_eq!(env["x-kubernetes-patch-merge-key"], "name");
    assert!(types(&apps).contains_key(strategic));
    assert!(types(&document("networking.k8s.io", "Ingress")).contains_key(strategic));
    let other = document("example.com", "Deployment");
    assert!(!types(&other).contains_key(strategic));
    let own = &other["components"]["schemas"]["com.example.v1.Deployment"];
    assert!(!own.to_string().contains("x-kubernetes-patch-strategy"));
}

/// What is no resource has documents of its own, complete in themselves.
#[test]
fn general_documents_are_there() {
    for key in openapi::general_keys(builtin()) {
        let document = openapi::general(&key).unwrap();
        let schemas = document["components"]["schemas"].clone();
        for name in openapi::references(&document) {
            assert!(schemas.get(&name).is_some(), "{key}: {name}");
        }
    }
    let keys = openapi::general_keys(builtin());
    assert!(keys.contains("apis/rbac.authorization.k8s.io") && keys.contains("version"));
    assert!(openapi::general("nothing").is_none());
}
