//! CustomResourceDefinitions: defaults, validation on create and update, warnings, status.
//!
//! Start at [`validate_create`] and [`validate_update`]. `types` is a definition as validation
//! sees it, `spec` the rules for everything but schemas, `schema` those for schemas, `defaults`
//! those for default values; [`status`] holds what controllers write. The invariant: accepted is
//! what Kubernetes accepts, refused is what it refuses, with its words and order.

mod conversion;
mod defaults;
pub mod field_path;
mod options;
mod render;
mod rules;
mod schema;
mod spec;
pub mod status;
mod types;

use serde_json::{Value, json};

use crate::field::{BadValue, Error, ErrorList, Path};
use crate::formats::Format;
use crate::props::Props;
use crate::{meta, names};
use hanse_json::go;

use options::Options;
use types::Definition;

/// Fills in what a definition leaves out: names, conversion, stored versions.
pub fn default(crd: &mut Value) {
    let stored = status::storage_version(crd).map(str::to_owned);
    if let Some(spec) = crd.get_mut("spec").and_then(Value::as_object_mut) {
        if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
            let kind = names
                .get("kind")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            let empty = |value: Option<&Value>| {
                value.and_then(Value::as_str).unwrap_or_default().is_empty()
            };
            if empty(names.get("singular")) && !kind.is_empty() {
                names.insert("singular".into(), kind.to_lowercase().into());
            }
            if empty(names.get("listKind")) && !kind.is_empty() {
                names.insert("listKind".into(), format!("{kind}List").into());
            }
        }
        let conversion = spec.entry("conversion").or_insert(Value::Null);
        if conversion.is_null() {
            *conversion = json!({"strategy": "None"});
        }
        let service = conversion
            .get_mut("webhook")
            .and_then(|w| w.get_mut("clientConfig"))
            .and_then(|c| c.get_mut("service"))
            .and_then(Value::as_object_mut);
        if let Some(service) = service
            && service.get("port").is_none_or(Value::is_null)
        {
            service.insert("port".into(), 443.into());
        }
    }
    let Some(stored) = stored else { return };
    let Some(map) = crd.as_object_mut() else {
        return;
    };
    let status = map.entry("status").or_insert_with(|| json!({}));
    if let Some(status) = status.as_object_mut() {
        let none = |v: &Value| v.as_array().is_none_or(Vec::is_empty);
        if status.get("storedVersions").is_none_or(none) {
            status.insert("storedVersions".into(), json!([stored]));
        }
    }
}

/// Everything wrong with a new definition, already defaulted.
pub fn validate_create(crd: &Value) -> ErrorList {
    let definition = match Definition::decode(crd) {
        Ok(definition) => definition,
        Err(errors) => return errors,
    };
    let wanted = format!("{}.{}", definition.spec.names.plural, definition.spec.group);
    let rule = |name: &str, prefix: bool| {
        let mut complaints = names::NameRule::DnsSubdomain.check(name, prefix);
        if name != wanted {
            complaints.push("must be spec.names.plural+\".\"+spec.group".to_owned());
        }
        complaints
    };
    let path = Path::new("metadata");
    let mut errors = meta::validate_object_meta_with(&definition.metadata, false, &rule, &path);
    spec::validate(&definition.spec, &Options::create(), &mut errors);
    validate_rest(&definition, None, &mut errors);
    errors
}

/// Everything wrong with a changed definition, already defaulted; what was tolerated before is
/// tolerated on.
pub fn validate_update(new: &Value, old: &Value) -> ErrorList {
    let (definition, before) = match (Definition::decode(new), Definition::decode(old)) {
        (Ok(definition), Ok(before)) => (definition, before),
        (Err(errors), _) => return errors,
        // What cannot be read any more cannot be compared with either.
        (Ok(_), Err(_)) => return validate_create(new),
    };
    let path = Path::new("metadata");
    let mut errors =
        meta::validate_object_meta_update(&definition.metadata, &before.metadata, &path);
    let options = Options::update(&definition, &before);
    spec::validate(&definition.spec, &options, &mut errors);
    spec::validate_immutable(
        &definition.spec,
        &before.spec,
        options.immutable_names,
        &mut errors,
    );
    validate_rest(&definition, Some(&before), &mut errors);
    errors
}

/// Everything wrong with a write of a definition's `/status`.
pub fn validate_status_update(new: &Value, old: &Value) -> ErrorList {
    let definition = match Definition::decode(new) {
        Ok(definition) => definition,
        Err(errors) => return errors,
    };
    let path = Path::new("metadata");
    let null = Value::Null;
    let before = old.get("metadata").unwrap_or(&null);
    let mut errors = meta::validate_object_meta_update(&definition.metadata, before, &path);
    let path = Path::new("status").child("acceptedNames");
    spec::validate_names(&definition.accepted_names, &path, &mut errors);
    errors
}

fn validate_rest(new: &Definition, old: Option<&Definition>, errors: &mut ErrorList) {
    let path = Path::new("status");
    spec::validate_names(&new.accepted_names, &path.child("acceptedNames"), errors);
    validate_stored_versions(new, &path.child("storedVersions"), errors);
    validate_approval(new, old, errors);
    if new.spec.preserve_unknown_fields && !old.is_some_and(|o| o.spec.preserve_unknown_fields) {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                      spec.versions[*].schema instead";
        let path = Path::new("spec").child("preserveUnknownFields");
        errors.push(Error::invalid(&path, true, detail));
    }
}

fn validate_stored_versions(definition: &Definition, path: &Path, errors: &mut ErrorList) {
    let stored = &definition.stored_versions;
    let all = || match stored.is_empty() && definition.stored_versions_given {
        true => BadValue::Json("[]".to_owned()),
        false => BadValue::Json(render::texts(stored)),
    };
    if stored.is_empty() {
        errors.push(Error::invalid(
            path,
            all(),
            "must have at least one stored version",
        ));
        return;
    }
    for version in definition.spec.versions.iter().filter(|v| v.storage) {
        if !stored.contains(&version.name) {
            let detail = format!("must have the storage version {}", version.name);
            errors.push(Error::invalid(path, all(), detail));
        }
    }
    for (i, name) in stored.iter().enumerate() {
        let later = stored.iter().skip(i + 1).any(|other| other == name);
        if !later && !definition.spec.versions.iter().any(|v| v.name == *name) {
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must \
                 remain in spec.versions until a storage migration ensures no data remains \
                 persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.push(Error::invalid(&path.index(i), name.as_str(), detail));
        }
    }
}

const APPROVAL: &str = "api-approved.kubernetes.io";

#[derive(PartialEq, Eq)]
enum Approval {
    Missing,
    Bypassed,
    Approved,
    Invalid,
}

fn approval(definition: &Definition) -> (Approval, &str) {
    let annotations = definition.metadata.get("annotations");
    let text = annotations
        .and_then(|a| a.get(APPROVAL))
        .and_then(Value::as_str)
        .unwrap_or_default();
    let is_url = || {
        hanse_cel::Url::parse_request(text)
            .is_ok_and(|u| !u.host.is_empty() && !u.scheme.is_empty())
    };
    let state = if text.is_empty() {
        Approval::Missing
    } else if text.starts_with("unapproved") {
        Approval::Bypassed
    } else if is_url() {
        Approval::Approved
    } else {
        Approval::Invalid
    };
    (state, text)
}

/// Whether a group belongs to the Kubernetes community, whose APIs need an approval.
pub fn is_protected_group(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"].iter().any(|domain| {
        group
            .strip_suffix(domain)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

fn validate_approval(new: &Definition, old: Option<&Definition>, errors: &mut ErrorList) {
    if !is_protected_group(&new.spec.group) {
        return;
    }
    let (state, text) = approval(new);
    if old.is_some_and(|old| approval(old).0 == state) {
        return;
    }
    let path = Path::new("metadata").child("annotations").key(APPROVAL);
    let see = "see https://github.com/kubernetes/enhancements/pull/1111";
    let must = format!(
        "protected groups must have approval annotation {}",
        go::quote(APPROVAL)
    );
    match state {
        Approval::Missing => errors.push(Error::required(&path, format!("{must}, {see}"))),
        Approval::Invalid => {
            let detail =
                format!("{must} with either a URL or a reason starting with \"unapproved\", {see}");
            errors.push(Error::invalid(&path, text, detail));
        }
        Approval::Bypassed | Approval::Approved => {}
    }
}

/// Warnings for a written definition: string formats that nobody checks, as far as `old` had them
/// not.
pub fn warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    let formats = |crd: &Value| {
        let mut found = Vec::new();
        if let Ok(definition) = Definition::decode(crd) {
            definition
                .spec
                .schemas()
                .for_each(|schema| unrecognized(schema, &mut found));
        }
        found
    };
    let known = old.map(formats).unwrap_or_default();
    let fresh = formats(new)
        .into_iter()
        .filter(|format| !known.contains(format));
    fresh
        .map(|format| format!("unrecognized format {}", go::quote(&format)))
        .collect()
}

fn unrecognized(schema: &Props, found: &mut Vec<String>) {
    if schema.ty == "string" && Format::parse(&schema.format).is_some_and(|f| !f.is_supported()) {
        found.push(schema.format.clone());
    }
    schema
        .children()
        .for_each(|child| unrecognized(child, found));
}
