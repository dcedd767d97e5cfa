//! The CustomResourceDefinition that stands for a bound APIResourceSchema.
//!
//! It lives in `system:bound-crds` under the uid of the schema, so that bound APIs outlive the
//! export and every binding of one schema shares it.

use hanse_apis::kcp::annotation;
use serde_json::{Map, Value, json};

/// A schema that cannot be bound, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbindable(pub String);

/// Makes the CRD for a schema object that lives in `cluster`, established at `now`.
///
/// # Errors
/// A schema of several versions without `spec.conversion`, or one without uid or versions.
pub fn from_schema(schema: &Value, cluster: &str, now: &str) -> Result<Value, Unbindable> {
    let text = |path: &[&str]| -> &str {
        path.iter()
            .try_fold(schema, |v, key| v.get(key))
            .and_then(Value::as_str)
            .unwrap_or("")
    };
    let uid = text(&["metadata", "uid"]);
    let name = text(&["metadata", "name"]);
    let spec = schema.get("spec").unwrap_or(&Value::Null);
    let versions = spec
        .get("versions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if uid.is_empty() || versions.is_empty() {
        return Err(Unbindable(format!(
            "APIResourceSchema {name:?} is incomplete"
        )));
    }
    let conversion = match (versions.len(), spec.get("conversion")) {
        (1, _) => json!({"strategy": "None"}),
        (_, Some(conversion)) => conversion.clone(),
        (_, None) => {
            return Err(Unbindable(format!(
                "APIResourceSchema {name:?} has multiple versions and no conversion"
            )));
        }
    };
    let mut annotations = Map::new();
    annotations.insert(annotation::BOUND_CRD.into(), "".into());
    annotations.insert(annotation::SCHEMA_CLUSTER.into(), cluster.into());
    annotations.insert(annotation::SCHEMA_NAME.into(), name.into());
    let approval = schema.get("metadata").and_then(|m| m.get("annotations"));
    if let Some(approval) = approval.and_then(|a| a.get(annotation::API_APPROVED)) {
        annotations.insert(annotation::API_APPROVED.into(), approval.clone());
    }
    if spec.get("nameValidation").and_then(Value::as_str) == Some("PathSegmentName") {
        annotations.insert(annotation::VALIDATE_NAME.into(), "path-segment".into());
    }
    Ok(definition(uid, annotations, spec, &conversion, now))
}

/// Makes the CRD of one of kcp's own kinds, which lives in `system:system-crds`: `spec` is that of
/// an APIResourceSchema.
#[must_use]
pub fn of_system(name: &str, spec: &Value, now: &str) -> Value {
    definition(name, Map::new(), spec, &json!({"strategy": "None"}), now)
}

/// An established CRD.
fn definition(
    name: &str,
    annotations: Map<String, Value>,
    spec: &Value,
    conversion: &Value,
    now: &str,
) -> Value {
    let part = |key: &str| spec.get(key).cloned().unwrap_or_default();
    let names = part("names");
    let versions = spec.get("versions").and_then(Value::as_array);
    let versions = versions.cloned().unwrap_or_default();
    let stored = versions
        .iter()
        .filter(|v| v.get("storage") == Some(&Value::Bool(true)));
    let stored: Vec<Value> = stored.filter_map(|v| v.get("name").cloned()).collect();
    let mut metadata = json!({"name": name});
    if !annotations.is_empty() {
        metadata["annotations"] = annotations.into();
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {
            "group": spec.get("group").and_then(Value::as_str).unwrap_or_default(),
            "names": names,
            "scope": spec.get("scope").and_then(Value::as_str).unwrap_or_default(),
            "versions": versions.into_iter().map(wrap_version).collect::<Vec<_>>(),
            "conversion": conversion,
        },
        "status": {
            "acceptedNames": names,
            "storedVersions": stored,
            "conditions": [
                {"type": "NamesAccepted", "status": "True", "lastTransitionTime": now,
                 "reason": "NoConflicts", "message": "no conflicts found"},
                {"type": "Established", "status": "True", "lastTransitionTime": now,
                 "reason": "InitialNamesAccepted",
                 "message": "the initial names have been accepted"},
            ],
        },
    })
}

/// A CRD wraps its schema in `openAPIV3Schema`; an APIResourceSchema does not.
#[must_use]
pub fn wrap_version(mut version: Value) -> Value {
    if let Some(fields) = version.as_object_mut() {
        let schema = fields.remove("schema").unwrap_or_else(|| Map::new().into());
        fields.insert("schema".into(), json!({"openAPIV3Schema": schema}));
    }
    version
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_becomes_a_crd() {
        let mut schema = json!({
            "metadata": {"name": "v1.widgets.g.io", "uid": "u-1"},
            "spec": {"group": "g.io", "scope": "Namespaced", "nameValidation": "PathSegmentName",
                "names": {"plural": "widgets", "kind": "Widget"},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "schema": {"type": "object"}}]},
        });
        let crd = from_schema(&schema, "c1", "t").unwrap();
        assert_eq!(crd["metadata"]["name"], "u-1");
        assert_eq!(crd["metadata"]["annotations"]["apis.kcp.io/bound-crd"], "");
        assert_eq!(
            crd["metadata"]["annotations"]["internal.kcp.io/validate-name"],
            "path-segment"
        );
        assert_eq!(
            crd["spec"]["versions"][0]["schema"],
            json!({"openAPIV3Schema": {"type": "object"}})
        );
        assert_eq!(crd["status"]["storedVersions"], json!(["v1"]));
        let second = json!({"name": "v2", "served": true, "storage": false, "schema": {}});
        schema["spec"]["versions"]
            .as_array_mut()
            .unwrap()
            .push(second);
        assert!(from_schema(&schema, "c1", "t").is_err());
        schema["spec"]["conversion"] = json!({"strategy": "None"});
        assert!(from_schema(&schema, "c1", "t").is_ok());
    }
}
