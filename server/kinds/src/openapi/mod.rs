//! OpenAPI documents made from rows: version 3 of one group version, version 2 of everything.
//!
//! Start at [`v3`] and [`v2`]. Paths follow from verbs, scope and subresources; components of
//! built-in kinds come from the data file, those of custom resources from their schemas; a
//! document has those that its paths reach. The invariant, held by a test: for built-in groups the
//! documents are those of a real kcp, field by field. Types and fields are described in
//! Kubernetes' own words; operations and their parameters are not.
//!
//! Protobuf stands among the media types of built-in kinds as it does there, so that the
//! documents compare equal; only JSON and YAML are served.

mod general;
mod v2;

use std::collections::BTreeSet;
use std::sync::Arc;

use hanse_json::{Map, Value, get_array, get_str, json};
use hanse_schema::Schema;
use hanse_schema::openapi::{self as custom, Names, Version};
use hanse_wire::GroupVersion;

use crate::builtin;
use crate::def::{ResourceDef, Shape, Subresource};

pub use general::{general, general_keys};

const REF: &str = "#/components/schemas/";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

const BUILT_IN_TYPES: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
const CUSTOM_TYPES: [&str; 2] = ["application/json", "application/yaml"];
const STREAM_TYPES: [&str; 2] = [
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
const PATCH_TYPES: [&str; 3] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
];
const STRATEGIC: &str = "application/strategic-merge-patch+json";

const LIST: [(&str, &str); 11] = [
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("shardSelector", "string"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const DELETE: [(&str, &str); 5] = [
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    (
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
    ),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];
const WRITE: [(&str, &str); 3] = [
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
];

/// The document of one group version, made from its rows.
pub fn v3(rows: &[Arc<ResourceDef>]) -> Value {
    let mut paths = Map::new();
    let own = write(rows, Version::V3, &mut paths);
    let built_in = rows.iter().find(|row| row.flags.native);
    if let Some(row) = built_in {
        let group_version = row.group_version();
        let tag = tag(&group_version.group, &group_version.version);
        let id = format!("get{}APIResources", pascal_version(&group_version));
        let list = responses(
            &[200],
            Some(&format!("{META}APIResourceList")),
            &BUILT_IN_TYPES,
        );
        let operation = json!({"operationId": id, "tags": [tag], "responses": list});
        paths.insert(
            format!("{}/", root_path(&group_version)),
            json!({"get": operation}),
        );
    }
    let info = match built_in {
        Some(_) => json!({"title": "Kubernetes", "version": "1.36"}),
        None => json!({"title": "Kubernetes CRD Swagger", "version": "v0.1.0"}),
    };
    let components = reachable(&paths, own, built_in.is_some());
    json!({
        "openapi": "3.0.0", "info": info, "paths": paths,
        "components": {"schemas": components},
    })
}

/// The OpenAPI 2.0 document of all rows of a logical cluster.
pub fn v2(rows: &[Arc<ResourceDef>]) -> Value {
    let mut paths = Map::new();
    let own = write(rows, Version::V2, &mut paths);
    let definitions = reachable(&paths, own, true);
    v2::document(paths, definitions)
}

/// Writes the paths of rows; answers the schemas of those that are custom resources.
fn write(
    rows: &[Arc<ResourceDef>],
    version: Version,
    paths: &mut Map<String, Value>,
) -> Map<String, Value> {
    let mut own = Map::new();
    for def in rows {
        Writer { def, paths }.write();
        if let Shape::Structural(schema) = &def.schema.shape {
            custom_components(def, schema, version, &mut own);
        }
    }
    own
}

fn root_path(group_version: &GroupVersion) -> String {
    match group_version.group.as_str() {
        "" => format!("/api/{}", group_version.version),
        group => format!("/apis/{group}/{}", group_version.version),
    }
}

/// `rbac.authorization.k8s.io` is `RbacAuthorization` for Kubernetes' own groups.
fn pascal(group: &str) -> String {
    let group = match group {
        "" => "core",
        group => group.strip_suffix(".k8s.io").unwrap_or(group),
    };
    group.split(['.', '-']).map(capital).collect()
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map(|c| c.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

fn pascal_version(group_version: &GroupVersion) -> String {
    format!(
        "{}{}",
        pascal(&group_version.group),
        capital(&group_version.version)
    )
}

/// `rbacAuthorization`: how operations of a group are tagged.
fn group_tag(group: &str) -> String {
    let mut name = pascal(group);
    if let Some(first) = name.get(..1).map(str::to_lowercase) {
        name.replace_range(..1, &first);
    }
    name
}

fn tag(group: &str, version: &str) -> String {
    format!("{}_{version}", group_tag(group))
}

fn reference(component: &str) -> Value {
    json!({"$ref": format!("{REF}{component}")})
}

fn content(types: &[&str], component: &str) -> Value {
    let entry = |kind: &&str| ((*kind).to_owned(), json!({"schema": reference(component)}));
    Value::Object(types.iter().map(entry).collect())
}

fn responses(codes: &[u16], component: Option<&str>, types: &[&str]) -> Value {
    let mut out = Map::new();
    for code in codes {
        let says = match code {
            201 => "Created",
            202 => "Accepted",
            _ => "OK",
        };
        let mut answer = json!({"description": says});
        if let Some(component) = component {
            answer["content"] = content(types, component);
        }
        out.insert(code.to_string(), answer);
    }
    out.insert("401".to_owned(), json!({"description": "Unauthorized"}));
    Value::Object(out)
}

fn query(parameters: &[(&str, &str)]) -> Vec<Value> {
    let parameter = |(name, kind): &(&str, &str)| {
        let schema = json!({"type": kind, "uniqueItems": true});
        json!({"name": name, "in": "query", "schema": schema})
    };
    parameters.iter().map(parameter).collect()
}

fn in_path(name: &str) -> Value {
    let schema = json!({"type": "string", "uniqueItems": true});
    json!({"name": name, "in": "path", "required": true, "schema": schema})
}

fn sorted(mut parameters: Vec<Value>) -> Vec<Value> {
    let name = |p: &Value| get_str(p, &["name"]).unwrap_or_default().to_owned();
    parameters.sort_by_key(name);
    parameters
}

/// Which operations a path of a resource has.
struct Writer<'w> {
    def: &'w ResourceDef,
    paths: &'w mut Map<String, Value>,
}

impl Writer<'_> {
    fn types(&self) -> &'static [&'static str] {
        if self.def.flags.native {
            &BUILT_IN_TYPES
        } else {
            &CUSTOM_TYPES
        }
    }

    /// Bodies of built-in kinds are described for every media type at once.
    fn body_types(&self) -> &'static [&'static str] {
        if self.def.flags.native {
            &["*/*"]
        } else {
            &CUSTOM_TYPES
        }
    }

    fn list_types(&self) -> Vec<&'static str> {
        let streams = STREAM_TYPES.iter().filter(|_| self.def.flags.native);
        self.types().iter().chain(streams).copied().collect()
    }

    fn component(&self) -> String {
        component_name(self.def, &self.def.kind)
    }

    fn scope(&self) -> &'static str {
        if self.def.namespaced {
            "Namespaced"
        } else {
            ""
        }
    }

    fn write(&mut self) {
        let root = root_path(&self.def.group_version());
        let plural = self.def.plural.clone();
        let namespaced = match self.def.namespaced {
            true => format!("{root}/namespaces/{{namespace}}/{plural}"),
            false => format!("{root}/{plural}"),
        };
        self.collection(&namespaced);
        if self.def.allows("get") {
            self.item(&format!("{namespaced}/{{name}}"));
        }
        for sub in &self.def.subresources {
            self.subresource(&format!("{namespaced}/{{name}}/{}", sub.name), sub);
        }
        if self.def.namespaced && self.def.allows("list") {
            self.everywhere(&format!("{root}/{plural}"));
        }
        if self.def.flags.native && self.def.allows("watch") {
            self.watches(&format!("{root}/watch"));
        }
    }

    fn put(&mut self, path: &str, operations: Vec<(&str, Value)>, parameters: Vec<Value>) {
        let mut entry = Map::new();
        for (method, operation) in operations {
            entry.insert(method.to_owned(), operation);
        }
        entry.insert("parameters".to_owned(), Value::Array(sorted(parameters)));
        self.paths.insert(path.to_owned(), Value::Object(entry));
    }

    fn at_path(&self, name: bool) -> Vec<Value> {
        let mut out = query(&[("pretty", "string")]);
        if name {
            out.push(in_path("name"));
        }
        if self.def.namespaced {
            out.push(in_path("namespace"));
        }
        out
    }

    fn operation(&self, verb: &str, what: &str, action: &str, fill: Vec<(&str, Value)>) -> Value {
        let version = pascal_version(&self.def.group_version());
        let mut out = json!({
            "operationId": format!("{verb}{version}{what}"),
            "tags": [tag(&self.def.group, &self.def.version)],
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {
                "group": self.def.group.as_str(), "version": self.def.version.as_str(),
                "kind": self.def.kind.as_str(),
            },
        });
        for (name, value) in fill {
            out[name] = value;
        }
        out
    }

    fn body(&self, component: &str) -> Value {
        json!({"content": content(self.body_types(), component), "required": true})
    }

    fn delete_body(&self) -> Value {
        json!({"content": content(self.body_types(), &format!("{META}DeleteOptions"))})
    }

    fn collection(&mut self, path: &str) {
        let (def, types, own) = (self.def, self.types(), self.component());
        let what = format!("{}{}", self.scope(), def.kind);
        let mut operations = Vec::new();
        if def.allows("list") {
            let list = component_name(def, &def.list_kind);
            let answers = responses(&[200], Some(&list), &self.list_types());
            let fill = vec![("parameters", json!(query(&LIST))), ("responses", answers)];
            operations.push(("get", self.operation("list", &what, "list", fill)));
        }
        if def.allows("create") {
            let answers = responses(&[200, 201, 202], Some(&own), types);
            let mut fill = vec![("requestBody", self.body(&own)), ("responses", answers)];
            if !def.flags.review {
                fill.push(("parameters", json!(query(&WRITE))));
            }
            operations.push(("post", self.operation("create", &what, "post", fill)));
        }
        if def.allows("deletecollection") {
            let what = format!("Collection{what}");
            let answers = responses(&[200], Some(&format!("{META}Status")), types);
            let mut fill = vec![("responses", answers)];
            if def.flags.native {
                let unwatched =
                    |(name, _): &&(&str, &str)| !matches!(*name, "allowWatchBookmarks" | "watch");
                let list: Vec<_> = LIST
                    .iter()
                    .filter(unwatched)
                    .chain(&DELETE)
                    .copied()
                    .collect();
                fill.push(("parameters", json!(sorted(query(&list)))));
                fill.push(("requestBody", self.delete_body()));
            } else {
                fill.push(("parameters", json!(query(&LIST))));
            }
            let operation = self.operation("delete", &what, "deletecollection", fill);
            operations.push(("delete", operation));
        }
        let mut parameters = self.at_path(false);
        if def.flags.review {
            parameters.extend(query(&WRITE));
        }
        self.put(path, operations, parameters);
    }

    fn item(&mut self, path: &str) {
        let what = format!("{}{}", self.scope(), self.def.kind);
        let mut operations = self.reads_and_writes(&what, &["get", "patch", "put"]);
        if self.def.allows("delete") {
            let (types, own) = (self.types(), self.component());
            let status = format!("{META}Status");
            // Namespaces answer with themselves, too, but are not documented so.
            let documented = self.def.flags.returns_deleted && self.def.namespaced;
            let answer = if documented { &own } else { &status };
            let answers = responses(&[200, 202], Some(answer), types);
            let fill = vec![
                ("parameters", json!(query(&DELETE))),
                ("requestBody", self.delete_body()),
                ("responses", answers),
            ];
            operations.push(("delete", self.operation("delete", &what, "delete", fill)));
        }
        let parameters = self.at_path(true);
        self.put(path, operations, parameters);
    }

    fn reads_and_writes(&self, what: &str, methods: &[&str]) -> Vec<(&'static str, Value)> {
        let (types, own, custom) = (self.types(), self.component(), !self.def.flags.native);
        let mut out = Vec::new();
        for method in methods {
            let (verb, codes): (&str, &[u16]) = match *method {
                "get" => ("read", &[200]),
                "patch" if custom => ("patch", &[200]),
                "patch" => ("patch", &[200, 201]),
                _ => ("replace", &[200, 201]),
            };
            let mut fill = vec![("responses", responses(codes, Some(&own), types))];
            let method = match *method {
                "get" => {
                    if custom {
                        let parameters = query(&[("resourceVersion", "string")]);
                        fill.push(("parameters", json!(parameters)));
                    }
                    "get"
                }
                "patch" => {
                    let mut parameters = query(&WRITE);
                    parameters.extend(query(&[("force", "boolean")]));
                    fill.push(("parameters", json!(parameters)));
                    let strategic = self.def.flags.strategic_merge.then_some(STRATEGIC);
                    let types: Vec<_> = PATCH_TYPES.into_iter().chain(strategic).collect();
                    let patch = content(&types, &format!("{META}Patch"));
                    fill.push(("requestBody", json!({"content": patch, "required": true})));
                    "patch"
                }
                _ => {
                    fill.push(("parameters", json!(query(&WRITE))));
                    fill.push(("requestBody", self.body(&own)));
                    "put"
                }
            };
            out.push((method, self.operation(verb, what, method, fill)));
        }
        out
    }

    fn subresource(&mut self, path: &str, sub: &Subresource) {
        let what = format!("{}{}{}", self.scope(), self.def.kind, capital(&sub.name));
        let mut parameters = self.at_path(true);
        let operations = match sub.verbs {
            ["create"] => {
                parameters.extend(query(&WRITE));
                vec![("post", self.create_subresource(&what, sub))]
            }
            ["update"] => {
                parameters.extend(query(&WRITE));
                let mut operations = self.reads_and_writes(&what, &["put"]);
                for (_, operation) in &mut operations {
                    hanse_json::remove(operation, &["parameters"]);
                }
                operations
            }
            _ => self.reads_and_writes(&what, &["get", "patch", "put"]),
        };
        let operations = operations
            .into_iter()
            .map(|(method, operation)| (method, self.scaled(operation, sub)));
        let operations = operations.collect();
        self.put(path, operations, parameters);
    }

    /// Bodies of `scale` are of another kind.
    fn scaled(&self, mut operation: Value, sub: &Subresource) -> Value {
        let Some(kind) = sub.kind.as_ref().filter(|_| sub.scale.is_some()) else {
            return operation;
        };
        let own = format!("{REF}{}", self.component());
        let scale = format!("{REF}io.k8s.api.autoscaling.v1.{}", kind.kind);
        replace_refs(&mut operation, &own, &scale);
        operation["x-kubernetes-group-version-kind"] = json!({
            "group": kind.group.as_str(), "version": kind.version.as_str(),
            "kind": kind.kind.as_str(),
        });
        operation
    }

    fn create_subresource(&self, what: &str, sub: &Subresource) -> Value {
        let kind = sub.kind.clone().unwrap_or_else(|| self.def.gvk());
        let group = kind.group.strip_suffix(".k8s.io").unwrap_or(&kind.group);
        let component = format!("io.k8s.api.{group}.{}.{}", kind.version, kind.kind);
        let fill = vec![
            ("requestBody", self.body(&component)),
            (
                "responses",
                responses(&[200, 201, 202], Some(&component), self.types()),
            ),
            (
                "x-kubernetes-group-version-kind",
                json!({"group": kind.group.as_str(), "version": kind.version.as_str(),
                       "kind": kind.kind.as_str()}),
            ),
        ];
        self.operation("create", what, "post", fill)
    }

    fn everywhere(&mut self, path: &str) {
        let list = component_name(self.def, &self.def.list_kind);
        let answers = responses(&[200], Some(&list), &self.list_types());
        let what = format!("{}ForAllNamespaces", self.def.kind);
        let operation = self.operation("list", &what, "list", vec![("responses", answers)]);
        let mut parameters = query(&LIST);
        parameters.extend(query(&[("pretty", "string")]));
        self.put(path, vec![("get", operation)], parameters);
    }

    fn watches(&mut self, root: &str) {
        let (plural, kind) = (self.def.plural.clone(), self.def.kind.clone());
        let scope = self.scope();
        let inner = match self.def.namespaced {
            true => format!("{root}/namespaces/{{namespace}}/{plural}"),
            false => format!("{root}/{plural}"),
        };
        let list = format!("{scope}{kind}List");
        self.watch(&inner, &list, "watchlist", self.at_path(false));
        let item = format!("{inner}/{{name}}");
        self.watch(
            &item,
            &format!("{scope}{kind}"),
            "watch",
            self.at_path(true),
        );
        if self.def.namespaced {
            let all = format!("{kind}ListForAllNamespaces");
            let pretty = query(&[("pretty", "string")]);
            self.watch(&format!("{root}/{plural}"), &all, "watchlist", pretty);
        }
    }

    fn watch(&mut self, path: &str, what: &str, action: &str, mut parameters: Vec<Value>) {
        let event = format!("{META}WatchEvent");
        let answers = responses(&[200], Some(&event), &self.list_types());
        let operation = self.operation("watch", what, action, vec![("responses", answers)]);
        parameters.extend(query(&LIST));
        self.put(path, vec![("get", operation)], parameters);
    }
}

fn replace_refs(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text == from => *text = to.to_owned(),
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| replace_refs(item, from, to)),
        Value::Object(map) => map
            .values_mut()
            .for_each(|item| replace_refs(item, from, to)),
        _ => {}
    }
}

/// `io.k8s.api.core.v1.ConfigMap`, or `com.example.v1.Widget` for a custom resource.
pub fn component_name(def: &ResourceDef, kind: &str) -> String {
    if def.flags.native {
        return builtin::component_name(def, kind);
    }
    custom::name(&def.group, &def.version, kind)
}

fn custom_components(
    def: &ResourceDef,
    schema: &Schema,
    version: Version,
    out: &mut Map<String, Value>,
) {
    let names = Names {
        group: &def.group,
        version: &def.version,
        kind: &def.kind,
        list_kind: &def.list_kind,
        plural: &def.plural,
    };
    let selectable: Vec<String> = def.selectable.iter().map(|s| s.label.to_string()).collect();
    let mut object = custom::object(Some(schema), &names, &selectable, version);
    name_merge_keys(&mut object);
    crate::custom::annotate_all(&mut object, &def.group, &def.kind);
    let list = custom::list(&names, &selectable, version);
    out.insert(component_name(def, &def.kind), object);
    out.insert(component_name(def, &def.list_kind), list);
}

/// kcp tells clients the first key of every list of maps as its merge key; for kinds of Kubernetes
/// strategy and key come from Kubernetes' own table behind this.
fn name_merge_keys(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    let key = map
        .get("x-kubernetes-list-map-keys")
        .and_then(|keys| keys.get(0))
        .cloned();
    if let Some(key) = key {
        map.insert("x-kubernetes-patch-merge-key".to_owned(), key);
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(name_merge_keys);
    }
    for inner in ["items", "additionalProperties"] {
        map.get_mut(inner).into_iter().for_each(name_merge_keys);
    }
}

/// The components that paths lead to, directly or through others.
fn reachable(
    paths: &Map<String, Value>,
    own: Map<String, Value>,
    built_in: bool,
) -> Map<String, Value> {
    let mut known = builtin::described_components();
    known.extend(own);
    let mut wanted: Vec<String> = Vec::new();
    paths
        .values()
        .for_each(|path| collect_refs(path, &mut wanted));
    let mut out = Map::new();
    let mut seen = BTreeSet::new();
    while let Some(name) = wanted.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        if let Some(schema) = known.remove(&name) {
            collect_refs(&schema, &mut wanted);
            out.insert(name, schema);
        }
    }
    let options = format!("{META}DeleteOptions");
    if let Some(schema) = out.get_mut(&options).filter(|_| !built_in) {
        drop_groups(schema);
    }
    out
}

/// Names of all schemas that a document refers to.
pub fn references(document: &Value) -> BTreeSet<String> {
    let mut found = Vec::new();
    collect_refs(document, &mut found);
    found.into_iter().collect()
}

fn collect_refs(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let target = get_str(value, &["$ref"]);
            let name = |r: &'_ str| {
                r.strip_prefix(REF)
                    .or_else(|| r.strip_prefix(v2::REF))
                    .map(str::to_owned)
            };
            if let Some(name) = target.and_then(name) {
                out.push(name);
            }
            map.values().for_each(|value| collect_refs(value, out));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_refs(value, out)),
        _ => {}
    }
}

/// Documents of custom resources list fewer groups in DeleteOptions: those of client libraries.
fn drop_groups(schema: &mut Value) {
    const SERVER_ONLY: [&str; 3] = [
        "admission.k8s.io",
        "apiextensions.k8s.io",
        "imagepolicy.k8s.io",
    ];
    let kinds = get_array(schema, &["x-kubernetes-group-version-kind"]).to_vec();
    let kept = kinds
        .into_iter()
        .filter(|kind| !SERVER_ONLY.contains(&get_str(kind, &["group"]).unwrap_or_default()));
    schema["x-kubernetes-group-version-kind"] = kept.collect();
}
