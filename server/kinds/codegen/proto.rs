//! The numbers and types of fields in Kubernetes' protobuf form of its kinds.
//!
//! Reads `generated.proto` of Kubernetes' modules line by line; generators wrote these files, so
//! their style is uniform. For every message that a component leads to: field number to
//! `NAME TYPE`, where a type is a scalar or a message, with `[]` (repeated) or `{}` (map from
//! strings) in front.

use std::collections::BTreeMap;
use std::path::Path;

use hanse_json::Value;

use crate::MODULES;

/// `message -> number -> "name type"`; messages are named like components.
pub fn messages(components: &BTreeMap<String, Value>, modules: &Path) -> BTreeMap<String, Value> {
    let mut known: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut out = BTreeMap::new();
    let mut wanted: Vec<String> = components.keys().cloned().collect();
    while let Some(name) = wanted.pop() {
        if out.contains_key(&name) {
            continue;
        }
        if !known.contains_key(&name) {
            known.extend(read_package(&name, modules));
        }
        let Some(fields) = known.get(&name) else {
            continue;
        };
        for ty in fields.values().filter_map(|fact| fact.split(' ').nth(1)) {
            let ty = ty.trim_start_matches("[]").trim_start_matches("{}");
            if ty.starts_with("io.") {
                wanted.push(ty.to_owned());
            }
        }
        let fields = fields
            .iter()
            .map(|(number, fact)| (number.clone(), Value::from(fact.as_str())));
        out.insert(name, Value::Object(fields.collect()));
    }
    out
}

/// All messages of the package of `name`.
fn read_package(name: &str, modules: &Path) -> BTreeMap<String, BTreeMap<String, String>> {
    let Some((prefix, module)) = MODULES.iter().find(|(prefix, _)| name.starts_with(prefix)) else {
        return BTreeMap::new();
    };
    let package = name.rsplit_once('.').map_or("", |(package, _)| package);
    let directory = package[prefix.len()..].replace('.', "/");
    let path = modules.join(module).join(directory).join("generated.proto");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut found = BTreeMap::new();
    let mut message: Option<(String, BTreeMap<String, String>)> = None;
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("message ") {
            let name = rest.trim_end_matches(['{', ' ']);
            message = Some((format!("{package}.{name}"), BTreeMap::new()));
        } else if line == "}" {
            found.extend(message.take());
        } else if let Some((name, fields)) = &mut message
            && let Some((number, fact)) = field(line, package)
        {
            let in_schema = name.ends_with(".JSONSchemaProps");
            fields.insert(number, if in_schema { json_named(&fact) } else { fact });
        }
    }
    found
}

/// `optional string name = 1;`, `repeated X items = 2;`, `map<string, X> data = 3;`.
fn field(line: &str, package: &str) -> Option<(String, String)> {
    let (declaration, number) = line.strip_suffix(';')?.split_once(" = ")?;
    let (kind, name) = declaration.rsplit_once(' ')?;
    let ty = if let Some(value) = kind.strip_prefix("map<string, ") {
        format!("{{}}{}", full_name(value.strip_suffix('>')?, package))
    } else {
        let (label, ty) = kind.split_once(' ')?;
        let many = if label == "repeated" { "[]" } else { "" };
        format!("{many}{}", full_name(ty, package))
    };
    Some((number.to_owned(), format!("{name} {ty}")))
}

/// The fields of a CRD's schema are called as in JSON Schema there, as in Go in protobuf.
fn json_named(fact: &str) -> String {
    let (name, ty) = fact.split_once(' ').unwrap_or((fact, ""));
    let name = match name {
        "schema" | "ref" => format!("${name}"),
        _ if name.starts_with("xKubernetes") => name.chars().fold(String::new(), |mut out, c| {
            if c.is_ascii_uppercase() {
                out.push('-');
            }
            out.push(c.to_ascii_lowercase());
            out
        }),
        _ => name.to_owned(),
    };
    format!("{name} {ty}")
}

fn full_name(ty: &str, package: &str) -> String {
    match ty.strip_prefix(".k8s.io.") {
        Some(rest) => format!("io.k8s.{rest}"),
        None if ty.starts_with(char::is_lowercase) => ty.to_owned(),
        None => format!("{package}.{ty}"),
    }
}
