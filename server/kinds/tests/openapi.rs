//! OpenAPI documents compared with those of a real kcp.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use hanse_json::{Limits, Value, json, parse};
use hanse_kinds::{ResourceDef, builtin, kcp, openapi};
use hanse_wire::GroupVersion;

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

fn compare(group_version: &str, defs: &[&ResourceDef]) {
    let parsed = GroupVersion::parse(group_version).unwrap();
    let mut ours = openapi::v3(&parsed, defs);
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
    let defs: Vec<&ResourceDef> = builtin().iter().map(AsRef::as_ref).collect();
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
        compare(group_version, &defs);
    }
}

#[test]
fn documents_of_kcps_kinds_are_those_recorded() {
    let defs: Vec<&ResourceDef> = kcp::system_crds().iter().map(AsRef::as_ref).collect();
    compare("core.kcp.io/v1alpha1", &defs);
    compare("apis.kcp.io/v1alpha2", &defs);
    let exported: Vec<ResourceDef> = kcp::root_schemas()
        .into_iter()
        .map(|(_, spec)| {
            let schema = json!({"spec": spec});
            ResourceDef::from_api_resource_schema(&schema, "hash", "v1alpha1").unwrap()
        })
        .collect();
    compare(
        "tenancy.kcp.io/v1alpha1",
        &exported.iter().collect::<Vec<_>>(),
    );
}
