//! The paths of a resource and what can be done at each, as OpenAPI tells it.
//!
//! Start at [`add`]. kubectl reads two things here: that a PATCH of a kind takes the parameter
//! `fieldValidation` (OAS-24), and which patches it takes (OAS-25). The rest is for generated
//! clients (OAS-32).

use hanse_json::{Map, Value, json};
use hanse_kinds::ResourceDef;

use super::document::SchemaNames;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const LIST_PARAMETERS: [(&str, &str); 10] = [
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const WRITE_PARAMETERS: [(&str, &str); 3] = [
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
];
const PATCH_PARAMETERS: [(&str, &str); 4] = [
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
    ("force", "boolean"),
];
const DELETE_PARAMETERS: [(&str, &str); 4] = [
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];

/// One verb at a path.
struct Row {
    verb: &'static str,
    method: &'static str,
    action: &'static str,
    word: &'static str,
}

const COLLECTION: [Row; 3] = [
    Row {
        verb: "list",
        method: "get",
        action: "list",
        word: "list",
    },
    Row {
        verb: "create",
        method: "post",
        action: "post",
        word: "create",
    },
    Row {
        verb: "deletecollection",
        method: "delete",
        action: "deletecollection",
        word: "delete",
    },
];
const ITEM: [Row; 4] = [
    Row {
        verb: "get",
        method: "get",
        action: "get",
        word: "read",
    },
    Row {
        verb: "update",
        method: "put",
        action: "put",
        word: "replace",
    },
    Row {
        verb: "patch",
        method: "patch",
        action: "patch",
        word: "patch",
    },
    Row {
        verb: "delete",
        method: "delete",
        action: "delete",
        word: "delete",
    },
];

/// Adds the paths of a resource and of its subresources.
pub fn add(row: &ResourceDef, names: &SchemaNames, paths: &mut Map<String, Value>) {
    let root = match row.group.as_str() {
        "" => format!("/api/{}", row.version),
        group => format!("/apis/{group}/{}", row.version),
    };
    let everywhere = format!("{root}/{}", row.plural);
    let collection = match row.namespaced {
        true => format!("{root}/namespaces/{{namespace}}/{}", row.plural),
        false => everywhere.clone(),
    };
    let mut put = |path: String, rows: &[Row], verbs: &[&str], sub: &str| {
        let mut operations = Map::new();
        for one in rows.iter().filter(|one| verbs.contains(&one.verb)) {
            operations.insert(
                one.method.to_owned(),
                operation(row, names, one, &path, sub),
            );
        }
        if operations.is_empty() {
            return;
        }
        operations.insert("parameters".to_owned(), path_parameters(&path));
        paths.insert(path, Value::Object(operations));
    };
    put(collection.clone(), &COLLECTION, row.verbs, "");
    if row.namespaced && row.verbs.contains(&"list") {
        put(everywhere, &COLLECTION[..1], &["list"], "");
    }
    let item = format!("{collection}/{{name}}");
    for sub in &row.subresources {
        let path = format!("{item}/{}", sub.name);
        if sub.verbs.contains(&"create") {
            put(path, &COLLECTION[1..2], sub.verbs, &sub.name);
        } else {
            put(path, &ITEM, sub.verbs, &sub.name);
        }
    }
    put(item, &ITEM, row.verbs, "");
}

fn path_parameters(path: &str) -> Value {
    let mut parameters = Vec::new();
    for name in ["name", "namespace"] {
        if path.contains(&format!("{{{name}}}")) {
            parameters.push(json!({
                "name": name,
                "in": "path",
                "required": true,
                "schema": {"type": "string", "uniqueItems": true},
            }));
        }
    }
    parameters.push(parameter("pretty", "string"));
    parameters.into()
}

fn parameter(name: &str, kind: &str) -> Value {
    json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
}

fn reference(name: &str) -> Value {
    json!({"schema": {"$ref": format!("#/components/schemas/{name}")}})
}

/// Upper-case first letter.
fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + letters.as_str()
    })
}

/// The group as operation ids name it: `core`, `rbacAuthorization`, `goldenExampleCom`.
fn group_word(group: &str) -> String {
    let group = match group {
        "" => "core",
        other => other.strip_suffix(".k8s.io").unwrap_or(other),
    };
    let words = group.split(['.', '-']).map(capital).collect::<String>();
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().collect::<String>() + letters.as_str()
    })
}

fn operation(row: &ResourceDef, names: &SchemaNames, one: &Row, path: &str, sub: &str) -> Value {
    let group = group_word(&row.group);
    let all = row.namespaced && !path.contains("{namespace}");
    let id = format!(
        "{}{}{}{}{}{}{}{}",
        one.word,
        capital(&group),
        capital(&row.version),
        if one.verb == "deletecollection" {
            "Collection"
        } else {
            ""
        },
        if row.namespaced && !all {
            "Namespaced"
        } else {
            ""
        },
        row.kind,
        capital(sub),
        if all { "ForAllNamespaces" } else { "" },
    );
    let parameters: &[(&str, &str)] = match one.verb {
        "list" => &LIST_PARAMETERS,
        "create" | "update" => &WRITE_PARAMETERS,
        "patch" => &PATCH_PARAMETERS,
        "delete" => &DELETE_PARAMETERS,
        _ => &LIST_PARAMETERS,
    };
    let result = match one.verb {
        "list" => names.list.clone(),
        "delete" | "deletecollection" => format!("{META}.Status"),
        _ => names.object.clone(),
    };
    let content = json!({
        "application/json": reference(&result),
        "application/yaml": reference(&result),
    });
    let code = if one.verb == "create" { "201" } else { "200" };
    let mut responses = json!({"401": {"description": "Unauthorized"}});
    responses[code] = json!({"description": "OK", "content": content});
    let mut operation = json!({
        "operationId": id,
        "tags": [format!("{group}_{}", row.version)],
        "parameters": parameters.iter().map(|(n, k)| parameter(n, k)).collect::<Vec<_>>(),
        "responses": responses,
        "x-kubernetes-action": one.action,
        "x-kubernetes-group-version-kind": {
            "group": row.group.as_str(),
            "version": row.version.as_str(),
            "kind": row.kind.as_str(),
        },
    });
    if let Some(body) = request_body(row, names, one.verb) {
        operation["requestBody"] = body;
    }
    operation
}

fn request_body(row: &ResourceDef, names: &SchemaNames, verb: &str) -> Option<Value> {
    let content = match verb {
        "create" | "update" => json!({"*/*": reference(&names.object)}),
        "delete" | "deletecollection" => {
            json!({"*/*": reference(&format!("{META}.DeleteOptions"))})
        }
        "patch" => {
            let mut types = vec![
                "application/apply-patch+yaml",
                "application/json-patch+json",
                "application/merge-patch+json",
            ];
            if row.flags.strategic_merge {
                types.push("application/strategic-merge-patch+json");
            }
            let patch = reference(&format!("{META}.Patch"));
            types
                .into_iter()
                .map(|media| (media.to_owned(), patch.clone()))
                .collect::<Map<_, _>>()
                .into()
        }
        _ => return None,
    };
    let mut body = json!({"content": content});
    if verb != "delete" && verb != "deletecollection" {
        body["required"] = true.into();
    }
    Some(body)
}

/// Turns the operations of a path into those of version 2: media types stand beside, bodies are
/// parameters, answers have one schema.
pub fn to_v2(path: &mut Value) {
    let Some(fields) = path.as_object_mut() else {
        return;
    };
    for (field, operation) in fields.iter_mut() {
        if field == "parameters" {
            flatten_parameters(operation);
            continue;
        }
        flatten_parameters(&mut operation["parameters"]);
        let body = operation
            .as_object_mut()
            .and_then(|fields| fields.remove("requestBody"));
        if let Some(content) = body.as_ref().and_then(|body| body["content"].as_object()) {
            operation["consumes"] = content.keys().cloned().collect::<Vec<_>>().into();
            if let (Some(media), Some(list)) = (
                content.values().next(),
                operation["parameters"].as_array_mut(),
            ) {
                let schema = v2_reference(&media["schema"]);
                list.push(json!({"name": "body", "in": "body", "schema": schema}));
            }
        }
        operation["produces"] = json!(["application/json", "application/yaml"]);
        for (_, response) in operation["responses"].as_object_mut().into_iter().flatten() {
            let content = response
                .as_object_mut()
                .and_then(|fields| fields.remove("content"));
            if let Some(content) = content {
                response["schema"] = v2_reference(&content["application/json"]["schema"]);
            }
        }
    }
}

fn flatten_parameters(parameters: &mut Value) {
    for parameter in parameters.as_array_mut().into_iter().flatten() {
        let schema = parameter
            .as_object_mut()
            .and_then(|fields| fields.remove("schema"));
        for (name, value) in schema
            .as_ref()
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            parameter[name] = value.clone();
        }
    }
}

fn v2_reference(schema: &Value) -> Value {
    let target = schema["$ref"].as_str().unwrap_or_default();
    json!({"$ref": target.replace("#/components/schemas/", "#/definitions/")})
}
