//! One OpenAPI document out of rows: their schemas with all that these refer to, and their paths.
//!
//! Start at [`v3`] and [`v2`]. Schemas of built-in kinds come from the components of `hanse-kinds`,
//! those of custom resources from `hanse-schema`; version 2 is the same in its lossy dialect.

use std::collections::BTreeSet;
use std::sync::Arc;

use hanse_json::{Map, Value, json};
use hanse_kinds::ResourceDef;
use hanse_kinds::builtin::components;
use hanse_schema::openapi::{self, Names, Version};

use super::operations;
use crate::version;

const V3_PREFIX: &str = "#/components/schemas/";
const V2_PREFIX: &str = "#/definitions/";

/// The OpenAPI 3.0 document of one group version.
#[must_use]
pub fn v3(rows: &[Arc<ResourceDef>]) -> Value {
    let all = components();
    let mut schemas = Map::new();
    let mut paths = Map::new();
    for row in rows {
        let names = add_kind(row, &all, Version::V3, &mut schemas);
        operations::add(row, &names, &mut paths);
    }
    let mut document = json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": version::git_version()},
        "paths": paths,
    });
    close(&document, &all, &mut schemas);
    document["components"] = json!({"schemas": schemas});
    document
}

/// The OpenAPI 2.0 document of everything. Its operations say only what clients read in them:
/// which kind a path is about.
#[must_use]
pub fn v2(rows: &[Arc<ResourceDef>]) -> Value {
    let all = components();
    let (mut definitions, mut paths) = (Map::new(), Map::new());
    for row in rows {
        let names = add_kind(row, &all, Version::V2, &mut definitions);
        operations::add(row, &names, &mut paths);
    }
    for path in paths.values_mut() {
        operations::to_v2(path);
    }
    close(&json!({"paths": &paths}), &all, &mut definitions);
    let mut definitions = Value::Object(definitions);
    to_v2(&mut definitions);
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": version::git_version()},
        "paths": paths,
        "definitions": definitions,
    })
}

/// Names of a kind's schemas.
pub struct SchemaNames {
    /// Of the object.
    pub object: String,
    /// Of the list.
    pub list: String,
}

/// Adds the schemas of a row and says what they are called.
fn add_kind(
    row: &ResourceDef,
    all: &Map<String, Value>,
    version: Version,
    schemas: &mut Map<String, Value>,
) -> SchemaNames {
    if let Some(found) = built_in(row, all) {
        for name in [&found.object, &found.list] {
            if let Some(schema) = all.get(name) {
                schemas.insert(name.clone(), schema.clone());
            }
        }
        return found;
    }
    let names = Names {
        group: &row.group,
        version: &row.version,
        kind: &row.kind,
        list_kind: &row.list_kind,
        plural: &row.plural,
    };
    let selectable: Vec<String> = row
        .selectable
        .iter()
        .map(|field| format!(".{}", field.label))
        .collect();
    let found = SchemaNames {
        object: openapi::name(&row.group, &row.version, &row.kind),
        list: openapi::name(&row.group, &row.version, &row.list_kind),
    };
    let object = openapi::object(row.schema.structural(), &names, &selectable, version);
    schemas.insert(found.object.clone(), object);
    schemas.insert(
        found.list.clone(),
        openapi::list(&names, &selectable, version),
    );
    found
}

/// The components of a built-in kind, found by what they say they are.
fn built_in(row: &ResourceDef, all: &Map<String, Value>) -> Option<SchemaNames> {
    if row.schema.structural().is_some() {
        return None;
    }
    let wanted = json!({
        "group": row.group.as_str(), "version": row.version.as_str(), "kind": row.kind.as_str(),
    });
    let is_it = |schema: &Value| {
        let kinds = schema
            .get("x-kubernetes-group-version-kind")
            .and_then(Value::as_array);
        kinds.is_some_and(|kinds| kinds.contains(&wanted))
    };
    let (object, _) = all.iter().find(|(_, schema)| is_it(schema))?;
    let list = object.replace(&format!(".{}", row.kind), &format!(".{}", row.list_kind));
    Some(SchemaNames {
        object: object.clone(),
        list,
    })
}

/// Adds everything that is referred to, directly or not.
fn close(document: &Value, all: &Map<String, Value>, schemas: &mut Map<String, Value>) {
    let mut wanted: Vec<String> = references(document).into_iter().collect();
    wanted.extend(schemas.values().flat_map(references));
    while let Some(name) = wanted.pop() {
        if schemas.contains_key(&name) {
            continue;
        }
        let Some(schema) = all.get(&name) else {
            continue;
        };
        wanted.extend(references(schema));
        schemas.insert(name, schema.clone());
    }
}

/// Names of all schemas that a document refers to.
#[must_use]
pub fn references(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(value, &mut found);
    found
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let target = value.as_str().filter(|_| field == "$ref");
                let name = target.and_then(|target| {
                    target
                        .strip_prefix(V3_PREFIX)
                        .or_else(|| target.strip_prefix(V2_PREFIX))
                });
                match name {
                    Some(name) => drop(found.insert(name.to_owned())),
                    None => collect(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// Turns schemas of version 3 into those of version 2: references have another prefix and stand
/// alone, and defaults are not told.
fn to_v2(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("default");
            let only = match fields.get("allOf").and_then(Value::as_array) {
                Some(all) if all.len() == 1 && all[0].get("$ref").is_some() => {
                    all[0].get("$ref").cloned()
                }
                _ => None,
            };
            if let Some(target) = only {
                fields.remove("allOf");
                fields.insert("$ref".to_owned(), target);
            }
            if let Some(Value::String(target)) = fields.get_mut("$ref")
                && let Some(name) = target.strip_prefix(V3_PREFIX)
            {
                *target = format!("{V2_PREFIX}{name}");
            }
            fields.values_mut().for_each(to_v2);
        }
        Value::Array(items) => items.iter_mut().for_each(to_v2),
        _ => {}
    }
}
