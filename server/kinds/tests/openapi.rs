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
    let meta = json!({"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"});
    assert_eq!(config_map["properties"]["metadata"], meta);
    let post = &document["paths"]["/api/v1/namespaces/{namespace}/configmaps"]["post"];
    let body = post["parameters"].as_array().unwrap().last().unwrap();
    assert_eq!(
        body["schema"]["$ref"],
        "#/definitions/io.k8s.api.core.v1.ConfigMap"
    );
    assert_eq!(post["responses"]["201"]["schema"], body["schema"]);
    assert!(!document.to_string().contains("components/schemas"));
}
