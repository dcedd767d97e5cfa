//! Version 2 of OpenAPI out of version 3: the same paths and schemas in the older dialect.
//!
//! References have another prefix and stand alone, bodies are parameters, answers have one schema,
//! defaults are not told.

use hanse_json::{Map, Value, json, remove};

/// The prefix of references.
pub const REF: &str = "#/definitions/";

/// A whole document out of paths and components of version 3.
pub fn document(paths: Map<String, Value>, components: Map<String, Value>) -> Value {
    let (mut paths, mut definitions) = (Value::Object(paths), Value::Object(components));
    for path in paths.as_object_mut().into_iter().flat_map(Map::values_mut) {
        convert_path(path);
    }
    convert_schemas(&mut paths);
    convert_schemas(&mut definitions);
    json!({
        "swagger": "2.0", "info": {"title": "Kubernetes", "version": "1.36"},
        "paths": paths, "definitions": definitions,
    })
}

fn convert_path(path: &mut Value) {
    for (field, operation) in path.as_object_mut().into_iter().flatten() {
        if field == "parameters" {
            flatten(operation);
            continue;
        }
        if let Some(parameters) = operation.get_mut("parameters") {
            flatten(parameters);
        }
        if let Some(body) = remove(operation, &["requestBody"]) {
            convert_body(operation, &body);
        }
        let mut produces = Vec::new();
        let responses = operation
            .get_mut("responses")
            .and_then(Value::as_object_mut);
        for response in responses.into_iter().flat_map(Map::values_mut) {
            let Some(Value::Object(content)) = remove(response, &["content"]) else {
                continue;
            };
            produces = content.keys().cloned().collect();
            if let Some(media) = content.values().next() {
                response["schema"] = media["schema"].clone();
            }
        }
        if !produces.is_empty() {
            operation["produces"] = json!(produces);
        }
    }
}

fn convert_body(operation: &mut Value, body: &Value) {
    let Some(content) = body["content"].as_object() else {
        return;
    };
    operation["consumes"] = content.keys().cloned().collect();
    let schema = content.values().next().map(|media| media["schema"].clone());
    let mut parameter = json!({"name": "body", "in": "body", "schema": schema});
    if body["required"] == true {
        parameter["required"] = json!(true);
    }
    match operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut)
    {
        Some(parameters) => parameters.push(parameter),
        None => operation["parameters"] = json!([parameter]),
    }
}

/// What stands in the schema of a parameter stands in the parameter itself.
fn flatten(parameters: &mut Value) {
    for parameter in parameters.as_array_mut().into_iter().flatten() {
        if let Some(Value::Object(schema)) = remove(parameter, &["schema"]) {
            parameter
                .as_object_mut()
                .into_iter()
                .for_each(|map| map.extend(schema.clone()));
        }
    }
}

fn convert_schemas(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("default");
            let single = match map
                .get("allOf")
                .and_then(Value::as_array)
                .map(Vec::as_slice)
            {
                Some([only]) => only.get("$ref").cloned(),
                _ => None,
            };
            if let Some(target) = single {
                map.remove("allOf");
                map.insert("$ref".to_owned(), target);
            }
            if let Some(Value::String(target)) = map.get_mut("$ref")
                && let Some(name) = target.strip_prefix(super::REF)
            {
                *target = format!("{REF}{name}");
            }
            map.values_mut().for_each(convert_schemas);
        }
        Value::Array(items) => items.iter_mut().for_each(convert_schemas),
        _ => {}
    }
}
