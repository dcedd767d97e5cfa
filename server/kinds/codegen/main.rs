//! Makes the data files of this crate (`data/`) out of recorded answers of real servers.
//!
//! Run from the root of the project:
//! `cargo run -p hanse-kinds --example kinds-codegen -- e2e/golden server/kinds/data <modules>`,
//! where `<modules>` is `k8s.io` in the Go module cache (with the modules of [`MODULES`]).
//! What it writes is checked in; tests compare it with the recordings. It takes facts only: names,
//! types, defaults, list types and merge keys. Descriptions, which only `kubectl explain` shows,
//! are Kubernetes' own texts and stand in a file of their own (`descriptions.json`).

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "run by hand; stops at the first surprise"
)]

use std::collections::BTreeMap;
use std::path::Path;

use hanse_json::{Limits, Map, Value, get, get_array, get_object, get_str, json, parse, to_vec};

mod gotypes;
mod proto;

/// Where the facts come from that the recordings do not have: the prefix of component names,
/// and the module.
pub const MODULES: [(&str, &str); 3] = [
    ("io.k8s.api.", "api@v0.36.1"),
    ("io.k8s.apimachinery.", "apimachinery@v0.36.1"),
    (
        "io.k8s.apiextensions-apiserver.",
        "apiextensions-apiserver@v0.35.4",
    ),
];
const KUBERNETES: &str = "kubernetes@v1.35.4";

const SCHEMA: &str = "#/components/schemas/";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [golden, out, modules] = arguments.as_slice() else {
        panic!("usage: kinds-codegen <golden> <out> <k8s.io in the module cache>");
    };
    let (golden, out) = (Path::new(golden), Path::new(out));
    let modules = Path::new(modules);
    let openapi = modules.join(KUBERNETES).join("api/openapi-spec/v3");
    let components = components(&golden.join("kcp"), &openapi);
    write(
        &out.join("go-fields.json"),
        &gotypes::fields(&components, modules),
    );
    write(
        &out.join("proto-fields.json"),
        &proto::messages(&components, modules),
    );
    write(
        &out.join("descriptions.json"),
        &descriptions(&components, &openapi),
    );
    write(&out.join("components.json"), &components);
    write(
        &out.join("kcp-schemas.json"),
        &kcp_schemas(&golden.join("kcp")),
    );
    write(&out.join("merge-keys.json"), &merge_keys(&openapi));
}

fn read(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
    parse(&bytes, &Limits::default())
        .unwrap_or_else(|err| panic!("{}: {err}", path.display()))
        .value
}

/// One entry a line, so that changes can be read.
fn write(path: &Path, entries: &BTreeMap<String, Value>) {
    let mut bytes = b"{".to_vec();
    for (i, (name, value)) in entries.iter().enumerate() {
        bytes.extend_from_slice(if i > 0 { b",\n" } else { b"\n" });
        hanse_json::write_str(name, &mut bytes);
        bytes.push(b':');
        bytes.extend_from_slice(&to_vec(value));
    }
    bytes.extend_from_slice(b"\n}\n");
    std::fs::write(path, bytes).unwrap();
}

fn files(directory: &Path, prefix: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with(prefix)
    });
    paths.sort();
    paths
}

/// The components of all recorded documents of built-in kinds, and those of CRDs, which were not
/// recorded. The documents of custom resources list fewer groups in DeleteOptions: the fuller
/// form wins here.
fn components(golden: &Path, openapi: &Path) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    for path in files(golden, "openapi-v3-api") {
        let recorded = read(&path);
        let schemas = get_object(&recorded[0], &["body", "components", "schemas"]).unwrap();
        for (name, schema) in schemas
            .iter()
            .filter(|(name, _)| name.starts_with("io.k8s."))
        {
            let size = |value: &Value| to_vec(value).len();
            let fuller = out.get(name).is_none_or(|old| size(old) < size(schema));
            if fuller {
                out.insert(name.clone(), schema.clone());
            }
        }
    }
    // Nor were the documents of what is no resource.
    for name in ["api", "apis", "version"] {
        let document = read(&openapi.join(format!("{name}_openapi.json")));
        for (name, schema) in get_object(&document, &["components", "schemas"]).unwrap() {
            let mut schema = schema.clone();
            drop_descriptions(&mut schema, false);
            out.entry(name.clone()).or_insert(schema);
        }
    }
    let crds = read(&openapi.join("apis__apiextensions.k8s.io__v1_openapi.json"));
    for (name, schema) in get_object(&crds, &["components", "schemas"]).unwrap() {
        if name.starts_with("io.k8s.apiextensions-apiserver.") {
            let mut schema = schema.clone();
            drop_descriptions(&mut schema, false);
            out.insert(name.clone(), schema);
        }
    }
    // The recording hides everything that is called `data` in a Secret, also where it is a type.
    let secret = out.get_mut("io.k8s.api.core.v1.Secret").unwrap();
    secret["properties"]["data"] =
        json!({"additionalProperties": {"format": "byte", "type": "string"}, "type": "object"});
    out
}

/// What Kubernetes says about its types (`""`) and their fields, by component. Types that this
/// minor has in an earlier version only have their texts from there.
fn descriptions(components: &BTreeMap<String, Value>, openapi: &Path) -> BTreeMap<String, Value> {
    let mut published = Map::new();
    for path in files(openapi, "api") {
        let document = read(&path);
        let schemas = get_object(&document, &["components", "schemas"]);
        published.extend(
            schemas
                .into_iter()
                .flatten()
                .map(|(k, v)| (k.clone(), v.clone())),
        );
    }
    let mut out = BTreeMap::new();
    for (name, component) in components {
        let earlier = name.replace(".v1.", ".v1beta1.");
        let Some(schema) = published.get(name).or_else(|| published.get(&earlier)) else {
            continue;
        };
        let mut texts = Map::new();
        let text = get_str(schema, &["description"]).map(|text| (String::new(), json!(text)));
        texts.extend(text);
        for field in get_object(component, &["properties"]).into_iter().flatten() {
            let text = get_str(schema, &["properties", field.0, "description"]);
            texts.extend(text.map(|text| (field.0.clone(), json!(text))));
        }
        out.insert(name.clone(), Value::Object(texts));
    }
    out
}

fn drop_descriptions(value: &mut Value, names: bool) {
    match value {
        Value::Object(map) => {
            if !names {
                map.remove("description");
            }
            for (key, value) in map.iter_mut() {
                drop_descriptions(value, key == "properties" && !names);
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| drop_descriptions(item, false)),
        _ => {}
    }
}

/// The specs of the APIResourceSchemas that kcp exports from `root`, by `<plural>.<group>`.
fn kcp_schemas(golden: &Path) -> BTreeMap<String, Value> {
    let recorded = read(&golden.join("root-schemas.json"));
    let list = recorded.get(0).map_or(&recorded, |entry| &entry["body"]);
    let items = get_array(list, &["items"]).iter();
    items
        .map(|item| {
            let (plural, group) = (
                get_str(item, &["spec", "names", "plural"]),
                get_str(item, &["spec", "group"]),
            );
            (
                format!("{}.{}", plural.unwrap(), group.unwrap()),
                item["spec"].clone(),
            )
        })
        .collect()
}

/// For every kind of Kubernetes: paths of lists and maps and how they merge, as far as it has any.
/// `group/kind` -> `path` -> `[strategy, merge key]`; list items are `*` in paths.
fn merge_keys(openapi: &Path) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    for path in files(openapi, "api") {
        let document = read(&path);
        let Some(schemas) = get_object(&document, &["components", "schemas"]) else {
            continue;
        };
        for schema in schemas.values() {
            for gvk in get_array(schema, &["x-kubernetes-group-version-kind"]) {
                let text = |name: &str| get_str(gvk, &[name]).unwrap();
                let kind = text("kind");
                let plain =
                    !kind.ends_with("List") && get(schema, &["properties", "metadata"]).is_some();
                if !plain {
                    continue;
                }
                let mut facts = Map::new();
                walk(
                    schema,
                    schemas,
                    &mut Vec::new(),
                    &mut Vec::new(),
                    &mut facts,
                );
                // Versions agree where both have a path; later files add what earlier lack.
                let name = format!("{}/{kind}", text("group"));
                let entry = out.entry(name).or_insert_with(|| json!({}));
                for (path, fact) in facts {
                    entry[path.as_str()] = fact;
                }
            }
        }
    }
    out
}

fn walk<'s>(
    schema: &'s Value,
    schemas: &'s Map<String, Value>,
    path: &mut Vec<String>,
    open: &mut Vec<&'s str>,
    facts: &mut Map<String, Value>,
) {
    let reference = get_str(schema, &["$ref"]).or_else(|| {
        get_array(schema, &["allOf"])
            .first()
            .and_then(|s| get_str(s, &["$ref"]))
    });
    if let Some(name) = reference.and_then(|reference| reference.strip_prefix(SCHEMA)) {
        // JSONSchemaProps contains itself; ObjectMeta is the same everywhere.
        if open.contains(&name) || name.ends_with(".ObjectMeta") {
            return;
        }
        open.push(name);
        if let Some(schema) = schemas.get(name) {
            walk(schema, schemas, path, open, facts);
        }
        open.pop();
        return;
    }
    for (name, property) in get_object(schema, &["properties"]).into_iter().flatten() {
        path.push(name.clone());
        if let Some(strategy) = get_str(property, &["x-kubernetes-patch-strategy"]) {
            let key = get_str(property, &["x-kubernetes-patch-merge-key"]);
            facts.insert(path.join("."), json!([strategy, key]));
        }
        walk(property, schemas, path, open, facts);
        path.pop();
    }
    for (inner, step) in [("items", "*"), ("additionalProperties", "*")] {
        if let Some(inner) = get(schema, &[inner]) {
            path.push(step.to_owned());
            walk(inner, schemas, path, open, facts);
            path.pop();
        }
    }
}
