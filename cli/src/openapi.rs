//! From a server's OpenAPI v3 to a structural schema: references put in place, what only OpenAPI
//! says left out.
//!
//! Start at [`structural`]. Invariant: the result says as much about the shape as a structural
//! schema can: list types and keys stay, so apply merges above as below. Defaults are kept where
//! a list's keys need them (a port's protocol) and dropped elsewhere: the site's server has its
//! own.

use serde_json::{Map, Value, json};

/// Deepest nesting of references that is followed; deeper ones keep unknown fields.
const DEPTH_MAX: usize = 40;

/// Kinds of values that have a Go type and no fixed shape.
const ANYTHING: &[&str] = &[
    "io.k8s.apimachinery.pkg.runtime.RawExtension",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
];

/// The schema of a kind, out of the document of its group and version.
#[must_use]
pub fn structural(document: &Value, group: &str, version: &str, kind: &str) -> Option<Value> {
    let schemas = document["components"]["schemas"].as_object()?;
    let is_kind = |schema: &&Value| {
        let kinds = schema["x-kubernetes-group-version-kind"].as_array();
        kinds.into_iter().flatten().any(|k| {
            k["group"].as_str().unwrap_or_default() == group
                && k["version"] == version
                && k["kind"] == kind
        })
    };
    let root = schemas.values().find(is_kind)?;
    let mut out = convert(schemas, root, 0);
    let properties = out["properties"].as_object_mut()?;
    properties.insert("metadata".into(), json!({"type": "object"}));
    for name in ["apiVersion", "kind"] {
        if let Some(property) = properties.get_mut(name).and_then(Value::as_object_mut) {
            property.retain(|key, _| key == "type" || key == "description");
        }
    }
    Some(out)
}

fn convert(schemas: &Map<String, Value>, schema: &Value, depth: usize) -> Value {
    let unknown = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    if depth > DEPTH_MAX {
        return unknown;
    }
    if let Some(name) = reference(schema) {
        if ANYTHING.contains(&name) {
            return json!({"x-kubernetes-preserve-unknown-fields": true});
        }
        let Some(target) = schemas.get(name) else {
            return unknown;
        };
        let mut out = convert(schemas, target, depth + 1);
        // What is said at the place goes before what is said at the type.
        for key in ["description", "x-kubernetes-map-type"] {
            if let Some(own) = schema.get(key) {
                out[key] = own.clone();
            }
        }
        return out;
    }
    let mut out = Map::new();
    let one_of_words = schema.get("oneOf").is_some();
    let format = schema["format"].as_str().unwrap_or_default();
    if format == "int-or-string" || (one_of_words && schema.get("properties").is_none()) {
        out.insert("x-kubernetes-int-or-string".into(), json!(true));
        copy(schema, &mut out, &["description"]);
        return Value::Object(out);
    }
    copy(
        schema,
        &mut out,
        &[
            "type",
            "description",
            "enum",
            "required",
            "x-kubernetes-list-type",
            "x-kubernetes-list-map-keys",
            "x-kubernetes-map-type",
            "x-kubernetes-preserve-unknown-fields",
        ],
    );
    if matches!(
        format,
        "int32" | "int64" | "double" | "float" | "byte" | "date-time"
    ) {
        out.insert("format".into(), json!(format));
    }
    // Go writes times that are not set as null.
    if format == "date-time" {
        out.insert("nullable".into(), json!(true));
    }
    if let Some(properties) = schema["properties"].as_object() {
        let converted = properties
            .iter()
            .map(|(name, inner)| (name.clone(), convert(schemas, inner, depth + 1)))
            .collect();
        out.insert("properties".into(), Value::Object(converted));
    }
    if let Some(items) = schema.get("items") {
        out.insert("items".into(), convert(schemas, items, depth + 1));
        keep_key_defaults(schemas, items, &mut out);
    }
    if let Some(additional) = schema.get("additionalProperties").filter(|a| a.is_object()) {
        out.insert(
            "additionalProperties".into(),
            convert(schemas, additional, depth + 1),
        );
    }
    if out.get("type").is_some_and(|t| t == "object")
        && !out.contains_key("properties")
        && !out.contains_key("additionalProperties")
    {
        out.insert("x-kubernetes-preserve-unknown-fields".into(), json!(true));
    }
    if !out.contains_key("type") && !out.contains_key("x-kubernetes-int-or-string") {
        out.insert("x-kubernetes-preserve-unknown-fields".into(), json!(true));
    }
    Value::Object(out)
}

fn copy(from: &Value, to: &mut Map<String, Value>, keys: &[&str]) {
    for key in keys {
        if let Some(value) = from.get(*key) {
            to.insert((*key).to_owned(), value.clone());
        }
    }
}

/// The name that a schema refers to, bare or as the only part of `allOf`.
fn reference(schema: &Value) -> Option<&str> {
    let bare = schema["$ref"].as_str();
    let wrapped = || schema["allOf"].as_array()?.first()?["$ref"].as_str();
    bare.or_else(wrapped)?.strip_prefix("#/components/schemas/")
}

/// The keys of a list of maps must be there: required, or with a default.
fn keep_key_defaults(schemas: &Map<String, Value>, source: &Value, out: &mut Map<String, Value>) {
    if out.get("x-kubernetes-list-type").is_none_or(|t| t != "map") {
        return;
    }
    let keys: Vec<String> = out
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|k| k.as_str().map(str::to_owned))
        .collect();
    let element = reference(source)
        .and_then(|name| schemas.get(name))
        .unwrap_or(source);
    let Some(items) = out.get_mut("items").and_then(Value::as_object_mut) else {
        return;
    };
    for key in keys {
        let required = items
            .get("required")
            .and_then(Value::as_array)
            .is_some_and(|r| r.iter().any(|n| *n == key.as_str()));
        if required {
            continue;
        }
        let default = &element["properties"][&key]["default"];
        if default.is_null() {
            let list = items.entry("required").or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(key.into());
            }
        } else if let Some(property) = items.get_mut("properties").and_then(|p| p.get_mut(&key)) {
            property["default"] = default.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_put_in_place() {
        let document = json!({"components": {"schemas": {
            "x.Deployment": {
                "type": "object",
                "x-kubernetes-group-version-kind":
                    [{"group": "apps", "version": "v1", "kind": "Deployment"}],
                "properties": {
                    "kind": {"type": "string", "enum": ["Deployment"]},
                    "metadata": {"allOf": [{"$ref": "#/components/schemas/x.Meta"}]},
                    "spec": {"allOf": [{"$ref": "#/components/schemas/x.Spec"}],
                             "description": "Wished.", "default": {}},
                },
            },
            "x.Meta": {"type": "object", "properties": {"name": {"type": "string"}}},
            "x.Spec": {"type": "object", "properties": {
                "max": {"oneOf": [{"type": "integer"}, {"type": "string"}]},
                "ports": {"type": "array", "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["port", "protocol", "zone"],
                    "items": {"allOf": [{"$ref": "#/components/schemas/x.Port"}], "default": {}}},
                "raw": {"$ref":
                    "#/components/schemas/io.k8s.apimachinery.pkg.runtime.RawExtension"},
                "time": {"type": "string", "format": "date-time"},
            }},
            "x.Port": {"type": "object", "required": ["port"], "properties": {
                "port": {"type": "integer", "format": "int32", "default": 0},
                "protocol": {"type": "string", "default": "TCP"},
                "zone": {"type": "string"},
            }},
        }}});
        let out = structural(&document, "apps", "v1", "Deployment").unwrap();
        assert_eq!(out["properties"]["metadata"], json!({"type": "object"}));
        let spec = &out["properties"]["spec"];
        assert_eq!(spec["description"], "Wished.");
        assert!(spec.get("default").is_none());
        assert_eq!(
            spec["properties"]["max"],
            json!({"x-kubernetes-int-or-string": true})
        );
        assert_eq!(spec["properties"]["time"]["nullable"], true);
        let port = &spec["properties"]["ports"]["items"];
        assert_eq!(port["properties"]["protocol"]["default"], "TCP");
        assert!(port["properties"]["port"].get("default").is_none());
        assert_eq!(port["required"], json!(["port", "zone"]));
        assert_eq!(
            spec["properties"]["raw"],
            json!({"x-kubernetes-preserve-unknown-fields": true})
        );
        assert!(structural(&document, "apps", "v2", "Deployment").is_none());
    }
}
