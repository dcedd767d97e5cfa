//! What Go's struct tags say that OpenAPI does not: which fields disappear when they are empty.
//!
//! Reads the type declarations of Kubernetes' modules line by line; their style is uniform enough
//! for that. For every field: `o` (omitempty), `z` (omitzero) and the Go type.

use std::collections::BTreeMap;
use std::path::Path;

use hanse_json::{Map, Value, get_object, json};

use crate::MODULES;

type Struct = Vec<(String, String, String)>;

/// `component -> field -> "flags type"`.
pub fn fields(components: &BTreeMap<String, Value>, modules: &Path) -> BTreeMap<String, Value> {
    let mut packages: BTreeMap<String, BTreeMap<String, Struct>> = BTreeMap::new();
    let mut out = BTreeMap::new();
    for (component, schema) in components {
        let Some(properties) = get_object(schema, &["properties"]) else {
            continue;
        };
        let (prefix, module) = MODULES
            .iter()
            .find(|(p, _)| component.starts_with(p))
            .unwrap();
        let (package, name) = component[prefix.len()..].rsplit_once('.').unwrap();
        let directory = modules.join(module).join(package.replace('.', "/"));
        let structs = packages
            .entry(format!("{module}/{package}"))
            .or_insert_with(|| read(&directory));
        let mut flat = BTreeMap::new();
        flatten(name, structs, &mut flat);
        let mut entry = Map::new();
        for field in properties.keys() {
            let fact = flat
                .get(field)
                .cloned()
                .unwrap_or_else(|| match field.as_str() {
                    "apiVersion" | "kind" => "o string".to_owned(),
                    _ => panic!("no Go field for {component}.{field}"),
                });
            entry.insert(field.clone(), json!(fact));
        }
        out.insert(component.clone(), Value::Object(entry));
    }
    out
}

fn flatten(name: &str, structs: &BTreeMap<String, Struct>, out: &mut BTreeMap<String, String>) {
    for (field, flags, go_type) in structs.get(name).into_iter().flatten() {
        match field.as_str() {
            "" => flatten(go_type, structs, out),
            _ => {
                out.insert(field.clone(), format!("{flags} {go_type}"));
            }
        }
    }
}

fn read(directory: &Path) -> BTreeMap<String, Struct> {
    let mut structs = BTreeMap::new();
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|err| panic!("{}: {err}", directory.display()));
    for entry in entries {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "go") {
            declarations(&std::fs::read_to_string(path).unwrap(), &mut structs);
        }
    }
    structs
}

fn declarations(source: &str, structs: &mut BTreeMap<String, Struct>) {
    let mut open: Option<(String, Struct)> = None;
    for line in source.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["type", name, "struct", "{"] = words.as_slice() {
            open = Some(((*name).to_owned(), Vec::new()));
        } else if line == "}" {
            structs.extend(open.take());
        } else if let Some((_, fields)) = &mut open
            && let Some(tag) = line
                .split("`json:\"")
                .nth(1)
                .and_then(|t| t.split('"').next())
        {
            let mut parts = tag.split(',');
            let name = parts.next().unwrap_or_default().to_owned();
            let options: Vec<&str> = parts.collect();
            let mut flags = String::new();
            for (option, flag) in [("omitempty", 'o'), ("omitzero", 'z')] {
                if options.contains(&option) {
                    flags.push(flag);
                }
            }
            let go_type = if words[1].starts_with('`') {
                words[0]
            } else {
                words[1]
            };
            fields.push((name, flags, go_type.to_owned()));
        }
    }
}
