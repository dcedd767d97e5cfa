//! ObjectMeta: what `metadata` may say when an object is made or changed.
//!
//! Start at [`validate_object_meta`] and [`validate_object_meta_update`]. The invariant: texts and
//! order are those of Kubernetes, except that maps are walked in the order of their keys (Go walks
//! them in any order). Values of the wrong JSON type are taken as absent here: decoding refuses
//! them before. Filling in what a client left out
//! on update is the registry's.

use jiff::Timestamp;
use serde_json::Value;

use crate::field::{BadValue, Error, ErrorList, Path};
use crate::limits::WHOLE_ERRORS_MAX;
use crate::names::{self, NameRule};
use hanse_json::go;

/// Most bytes of all annotation keys and values together.
pub const ANNOTATIONS_SIZE_MAX: usize = 256 * 1024;
/// Most bytes of a field manager's name.
pub const FIELD_MANAGER_LENGTH_MAX: usize = 128;
const SUBRESOURCE_NAME_LENGTH_MAX: usize = 256;
const FIELD_IMMUTABLE: &str = "field is immutable";
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

fn text<'a>(meta: &'a Value, key: &str) -> &'a str {
    meta.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn items<'a>(meta: &'a Value, key: &str) -> &'a [Value] {
    meta.get(key)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn strings<'a>(meta: &'a Value, key: &str) -> Vec<&'a str> {
    items(meta, key).iter().filter_map(Value::as_str).collect()
}

/// Everything that may be wrong with the metadata of a new object, `generateName` resolved.
pub fn validate_object_meta(
    meta: &Value,
    namespaced: bool,
    rule: NameRule,
    path: &Path,
) -> ErrorList {
    validate_object_meta_with(
        meta,
        namespaced,
        &|name, prefix| rule.check(name, prefix),
        path,
    )
}

/// As [`validate_object_meta`], for kinds whose names follow a rule of their own: `rule` answers
/// the complaints about a name, or (`true`) about the beginning of one.
pub fn validate_object_meta_with(
    meta: &Value,
    namespaced: bool,
    rule: &dyn Fn(&str, bool) -> Vec<String>,
    path: &Path,
) -> ErrorList {
    let mut errors = ErrorList::new();
    let generate_name = text(meta, "generateName");
    if !generate_name.is_empty() {
        let at = path.child("generateName");
        let complaints = rule(generate_name, true);
        errors.extend(
            complaints
                .into_iter()
                .map(|c| Error::invalid(&at, generate_name, c)),
        );
    }
    let name = text(meta, "name");
    let at = path.child("name");
    if name.is_empty() {
        errors.push(Error::required(&at, "name or generateName is required"));
    } else {
        errors.extend(
            rule(name, false)
                .into_iter()
                .map(|c| Error::invalid(&at, name, c)),
        );
    }
    validate_namespace(meta, namespaced, path, &mut errors);
    let generation = meta
        .get("generation")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    if generation < 0 {
        let detail = "must be greater than or equal to 0";
        errors.push(Error::invalid(
            &path.child("generation"),
            generation,
            detail,
        ));
    }
    validate_labels(meta.get("labels"), &path.child("labels"), &mut errors);
    validate_annotations(
        meta.get("annotations"),
        &path.child("annotations"),
        &mut errors,
    );
    validate_owner_references(meta, &path.child("ownerReferences"), &mut errors);
    validate_finalizers(
        &strings(meta, "finalizers"),
        &path.child("finalizers"),
        &mut errors,
    );
    validate_managed_fields(meta, &path.child("managedFields"), &mut errors);
    errors
}

fn validate_namespace(meta: &Value, namespaced: bool, path: &Path, errors: &mut ErrorList) {
    let namespace = text(meta, "namespace");
    let at = path.child("namespace");
    match (namespaced, namespace.is_empty()) {
        (true, true) => errors.push(Error::required(&at, "")),
        (true, false) => {
            let complaints = names::is_dns1123_label(namespace);
            errors.extend(
                complaints
                    .into_iter()
                    .map(|c| Error::invalid(&at, namespace, c)),
            );
        }
        (false, false) => errors.push(Error::forbidden(&at, "not allowed on this type")),
        (false, true) => {}
    }
}

/// Label keys and values.
pub fn validate_labels(labels: Option<&Value>, path: &Path, errors: &mut ErrorList) {
    let Some(labels) = labels.and_then(Value::as_object) else {
        return;
    };
    for (key, value) in labels {
        for complaint in names::is_qualified_name(key) {
            errors.push(Error::invalid(path, key.as_str(), complaint));
        }
        let value = value.as_str().unwrap_or_default();
        for complaint in names::is_valid_label_value(value) {
            errors.push(Error::invalid(path, value, complaint));
        }
    }
}

/// Annotation keys (whatever their case) and the size of all annotations together.
pub fn validate_annotations(annotations: Option<&Value>, path: &Path, errors: &mut ErrorList) {
    let Some(annotations) = annotations.and_then(Value::as_object) else {
        return;
    };
    let mut size = 0;
    for (key, value) in annotations {
        for complaint in names::is_qualified_name(&key.to_lowercase()) {
            errors.push(Error::invalid(path, key.as_str(), complaint));
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_SIZE_MAX {
        errors.push(Error::too_long(path, ANNOTATIONS_SIZE_MAX));
    }
}

/// `group/version` split; nothing when it has more than one slash.
fn split_api_version(api_version: &str) -> (&str, &str) {
    match api_version.split_once('/') {
        None => ("", api_version),
        Some(("", "")) => ("", ""),
        Some((_, version)) if version.contains('/') => ("", ""),
        Some((group, version)) => (group, version),
    }
}

fn validate_owner_references(meta: &Value, path: &Path, errors: &mut ErrorList) {
    let references = items(meta, "ownerReferences");
    let mut controller: Option<String> = None;
    for reference in references {
        // Kubernetes leaves the index out of the path.
        validate_owner_reference(reference, path, errors);
        if reference.get("controller").and_then(Value::as_bool) != Some(true) {
            continue;
        }
        let name = format!("{}/{}", text(reference, "kind"), text(reference, "name"));
        if errors.len() > WHOLE_ERRORS_MAX {
            // Each shows the whole list.
            break;
        }
        if let Some(first) = &controller {
            let detail = format!(
                "Only one reference can have Controller set to true. Found \"true\" in \
                 references for {first} and {name}"
            );
            let all: Vec<_> = references.iter().map(owner_reference_json).collect();
            let value = BadValue::Json(format!("[{}]", all.join(",")));
            errors.push(Error::invalid(path, value, detail));
        } else {
            controller = Some(name);
        }
    }
}

fn validate_owner_reference(reference: &Value, path: &Path, errors: &mut ErrorList) {
    let api_version = text(reference, "apiVersion");
    let (group, version) = split_api_version(api_version);
    let kind = text(reference, "kind");
    if version.is_empty() {
        let at = path.child("apiVersion");
        errors.push(Error::invalid(
            &at,
            api_version,
            "version must not be empty",
        ));
    }
    for key in ["kind", "name", "uid"] {
        if text(reference, key).is_empty() {
            errors.push(Error::invalid(&path.child(key), "", "must not be empty"));
        }
    }
    if (group, version, kind) == ("", "v1", "Event") {
        let value = BadValue::Json(owner_reference_json(reference));
        let detail = "/v1, Kind=Event is disallowed from being an owner";
        errors.push(Error::invalid(path, value, detail));
    }
}

// The order of fields is that of the Go type.
fn owner_reference_json(reference: &Value) -> String {
    let mut out = String::from("{");
    for key in ["apiVersion", "kind", "name", "uid"] {
        let value = go::json_string(text(reference, key));
        out.push_str(&format!(
            "{}\"{key}\":{value}",
            if out.len() > 1 { "," } else { "" }
        ));
    }
    for key in ["controller", "blockOwnerDeletion"] {
        if let Some(value) = reference.get(key).and_then(Value::as_bool) {
            out.push_str(&format!(",\"{key}\":{value}"));
        }
    }
    out.push('}');
    out
}

fn validate_finalizers(finalizers: &[&str], path: &Path, errors: &mut ErrorList) {
    for finalizer in finalizers {
        for complaint in names::is_qualified_name(finalizer) {
            errors.push(Error::invalid(path, *finalizer, complaint));
        }
    }
    if finalizers.contains(&ORPHAN) && finalizers.contains(&FOREGROUND) {
        let all: Vec<_> = finalizers.iter().map(|f| go::json_string(f)).collect();
        let value = BadValue::Json(format!("[{}]", all.join(",")));
        let detail = format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set");
        errors.push(Error::invalid(path, value, detail));
    }
}

/// The name of a field manager: its length, and printable characters only.
pub fn validate_field_manager(manager: &str, path: &Path, errors: &mut ErrorList) {
    if manager.len() > FIELD_MANAGER_LENGTH_MAX {
        errors.push(Error::too_long(path, FIELD_MANAGER_LENGTH_MAX));
    }
    for (position, c) in manager.char_indices().filter(|(_, c)| !go::is_print(*c)) {
        let detail = format!(
            "invalid character U+{:04X} (at position {position})",
            u32::from(c)
        );
        errors.push(Error::invalid(path, manager, detail));
    }
}

fn validate_managed_fields(meta: &Value, path: &Path, errors: &mut ErrorList) {
    for (i, entry) in items(meta, "managedFields").iter().enumerate() {
        let path = path.index(i);
        let operation = text(entry, "operation");
        if operation != "Apply" && operation != "Update" {
            let value = BadValue::Json(go::json_string(operation));
            let detail = "must be `Apply` or `Update`";
            errors.push(Error::invalid(&path.child("operation"), value, detail));
        }
        let fields_type = text(entry, "fieldsType");
        if !fields_type.is_empty() && fields_type != "FieldsV1" {
            let at = path.child("fieldsType");
            errors.push(Error::invalid(&at, fields_type, "must be `FieldsV1`"));
        }
        validate_field_manager(text(entry, "manager"), &path.child("manager"), errors);
        if text(entry, "subresource").len() > SUBRESOURCE_NAME_LENGTH_MAX {
            errors.push(Error::too_long(
                &path.child("subresource"),
                SUBRESOURCE_NAME_LENGTH_MAX,
            ));
        }
    }
}

/// Everything that may be wrong with changed metadata, compared with what is stored.
pub fn validate_object_meta_update(new: &Value, old: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if old.get("deletionTimestamp").is_some_and(|t| !t.is_null()) {
        validate_no_new_finalizers(new, old, &path.child("finalizers"), &mut errors);
    }
    if text(new, "resourceVersion").is_empty() {
        let at = path.child("resourceVersion");
        errors.push(Error::invalid(&at, "", "must be specified for an update"));
    }
    let generation = |meta: &Value| meta.get("generation").and_then(Value::as_i64).unwrap_or(0);
    if generation(new) < generation(old) {
        let at = path.child("generation");
        errors.push(Error::invalid(
            &at,
            generation(new),
            "must not be decremented",
        ));
    }
    for key in ["name", "namespace"] {
        if text(new, key) != text(old, key) {
            errors.push(Error::invalid(
                &path.child(key),
                text(new, key),
                FIELD_IMMUTABLE,
            ));
        }
    }
    if text(new, "uid") != text(old, "uid") {
        let value = BadValue::Json(go::json_string(text(new, "uid")));
        errors.push(Error::invalid(&path.child("uid"), value, FIELD_IMMUTABLE));
    }
    for key in ["creationTimestamp", "deletionTimestamp"] {
        if !same_time(new.get(key), old.get(key)) {
            let value = time_value(new.get(key));
            errors.push(Error::invalid(&path.child(key), value, FIELD_IMMUTABLE));
        }
    }
    let key = "deletionGracePeriodSeconds";
    let seconds = |meta: &Value| meta.get(key).and_then(Value::as_i64);
    if seconds(new) != seconds(old) {
        let value = seconds(new).map_or(BadValue::null(), BadValue::Int);
        errors.push(Error::invalid(&path.child(key), value, FIELD_IMMUTABLE));
    }
    validate_labels(new.get("labels"), &path.child("labels"), &mut errors);
    validate_annotations(
        new.get("annotations"),
        &path.child("annotations"),
        &mut errors,
    );
    validate_owner_references(new, &path.child("ownerReferences"), &mut errors);
    validate_managed_fields(new, &path.child("managedFields"), &mut errors);
    errors
}

/// Takes out owner references that stand there twice; answers the warning about them, if any did.
pub fn dedup_owner_references(meta: &mut Value) -> Option<String> {
    let list = meta.get_mut("ownerReferences")?.as_array_mut()?;
    let mut seen = std::collections::BTreeSet::new();
    let mut repeated: Vec<String> = Vec::new();
    list.retain(|reference| {
        let fresh = seen.insert(hanse_json::to_vec(reference));
        if !fresh {
            repeated.push(text(reference, "uid").to_owned());
        }
        fresh
    });
    (!repeated.is_empty()).then(|| {
        format!(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner \
             references in 1.20+, and may reject such requests as early as 1.24; please fix your \
             requests; duplicate UID(s) observed: {}",
            repeated.join(", ")
        )
    })
}

/// Warnings about the finalizers of a custom resource that were not there before.
pub fn finalizer_warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    let known = old.map(|old| strings(old, "finalizers"));
    let known: std::collections::BTreeSet<_> = known.unwrap_or_default().into_iter().collect();
    let mut fresh = strings(new, "finalizers");
    fresh.retain(|finalizer| !known.contains(finalizer));
    fresh.sort_unstable();
    fresh.dedup();
    let mut warnings = Vec::new();
    for finalizer in fresh {
        let shown = format!("metadata.finalizers: {}", go::quote(finalizer));
        let complaints = names::is_qualified_name(finalizer);
        warnings.extend(
            complaints
                .into_iter()
                .map(|complaint| format!("{shown}: {complaint}")),
        );
        if finalizer.contains('/') || [ORPHAN, FOREGROUND, "kubernetes"].contains(&finalizer) {
            continue;
        }
        let path = if finalizer.contains('.') {
            " including a path (/)"
        } else {
            ""
        };
        warnings.push(format!(
            "{shown}: prefer a domain-qualified finalizer name{path} to avoid accidental conflicts \
             with other finalizer writers"
        ));
    }
    warnings
}

fn validate_no_new_finalizers(new: &Value, old: &Value, path: &Path, errors: &mut ErrorList) {
    let old = strings(old, "finalizers");
    let mut extra = strings(new, "finalizers");
    extra.retain(|f| !old.contains(f));
    extra.sort_unstable();
    extra.dedup();
    if !extra.is_empty() {
        let all: Vec<_> = extra.iter().map(|f| go::quote(f)).collect();
        let detail = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers \
             []string{{{}}}",
            all.join(", ")
        );
        errors.push(Error::forbidden(path, detail));
    }
}

fn parse_time(value: Option<&Value>) -> Option<Timestamp> {
    value
        .and_then(Value::as_str)
        .and_then(|text| text.parse().ok())
}

fn same_time(a: Option<&Value>, b: Option<&Value>) -> bool {
    parse_time(a) == parse_time(b)
}

fn time_value(value: Option<&Value>) -> BadValue {
    match parse_time(value) {
        None => BadValue::null(),
        Some(time) => BadValue::Json(format!("\"{}\"", time.strftime("%Y-%m-%dT%H:%M:%SZ"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn create(meta: Value) -> String {
        let path = Path::new("metadata");
        validate_object_meta(&meta, true, NameRule::DnsSubdomain, &path).to_string()
    }

    fn update(new: Value, old: Value) -> String {
        validate_object_meta_update(&new, &old, &Path::new("metadata")).to_string()
    }

    #[test]
    fn names_and_namespaces() {
        assert_eq!(create(json!({"name": "a", "namespace": "b"})), "[]");
        assert_eq!(
            create(json!({})),
            "[metadata.name: Required value: name or generateName is required, \
             metadata.namespace: Required value]"
        );
        let meta = json!({"name": "a", "namespace": "b"});
        let errors = validate_object_meta(&meta, false, NameRule::Any, &Path::new("metadata"));
        assert_eq!(
            errors.to_string(),
            "metadata.namespace: Forbidden: not allowed on this type"
        );
    }

    #[test]
    fn annotations_are_bounded_and_case_blind() {
        let meta = json!({"name": "a", "namespace": "b", "annotations": {"Example.com/A": "x"}});
        assert_eq!(create(meta), "[]");
        let big = "x".repeat(ANNOTATIONS_SIZE_MAX);
        let meta = json!({"name": "a", "namespace": "b", "annotations": {"a": big}});
        assert_eq!(
            create(meta),
            "metadata.annotations: Too long: may not be more than 262144 bytes"
        );
    }

    #[test]
    fn owners() {
        let owner = |name: &str| json!({"apiVersion": "v1", "kind": "A", "name": name, "uid": "u", "controller": true});
        let meta =
            json!({"name": "a", "namespace": "b", "ownerReferences": [owner("a"), owner("b")]});
        let want = "metadata.ownerReferences: Invalid value: [{\"apiVersion\":\"v1\",\
            \"kind\":\"A\",\"name\":\"a\",\"uid\":\"u\",\"controller\":true},\
            {\"apiVersion\":\"v1\",\"kind\":\"A\",\"name\":\"b\",\"uid\":\"u\",\
            \"controller\":true}]: Only one reference can have Controller set to true. Found \
            \"true\" in references for A/a and A/b";
        assert_eq!(create(meta), want);
        let meta =
            json!({"name": "a", "namespace": "b", "ownerReferences": [{"apiVersion": "g/"}]});
        assert!(create(meta).starts_with(
            "[metadata.ownerReferences.apiVersion: Invalid value: \"g/\": version must not be empty"
        ));
    }

    #[test]
    fn updates() {
        let old = json!({"name": "a", "resourceVersion": "1", "finalizers": ["a/b"],
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "deletionTimestamp": "2026-01-01T00:00:00Z"});
        let mut new = old.clone();
        assert_eq!(update(new.clone(), old.clone()), "[]");
        new["finalizers"] = json!(["x/y", "a/b"]);
        assert_eq!(
            update(new, old.clone()),
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is \
             being deleted, found new finalizers []string{\"x/y\"}"
        );
        let new = json!({"name": "b", "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T01:00:00+01:00"});
        assert_eq!(
            update(new, old),
            "[metadata.name: Invalid value: \"b\": field is immutable, \
             metadata.deletionTimestamp: Invalid value: null: field is immutable]"
        );
    }

    #[test]
    fn owners_that_stand_twice() {
        let owner = json!({"apiVersion": "v1", "kind": "A", "name": "a", "uid": "u"});
        let other = json!({"apiVersion": "v1", "kind": "A", "name": "b", "uid": "u"});
        let many: Vec<_> = (0..2_000)
            .map(|n| {
                json!({"apiVersion": "v1", "kind": "A", "name": format!("n{n}"),
                "uid": format!("u{n}"), "controller": true})
            })
            .collect();
        let mut meta = json!({"name": "a", "namespace": "b", "ownerReferences": many});
        assert_eq!(dedup_owner_references(&mut meta), None);
        let errors =
            validate_object_meta(&meta, true, NameRule::DnsSubdomain, &Path::new("metadata"));
        assert!(
            errors.len() <= WHOLE_ERRORS_MAX + 1,
            "each shows the whole list"
        );
        let mut meta = json!({"ownerReferences": [owner, other, owner]});
        let warning = dedup_owner_references(&mut meta).unwrap();
        assert!(warning.ends_with("duplicate UID(s) observed: u"));
        assert_eq!(meta, json!({"ownerReferences": [owner, other]}));
        assert_eq!(dedup_owner_references(&mut meta), None);
        assert_eq!(dedup_owner_references(&mut json!({})), None);
    }

    #[test]
    fn finalizers_without_domain() {
        let old = json!({"finalizers": ["old"]});
        let new = json!({"finalizers": ["old", "b.c", "a", "orphan", "x/y"]});
        let prefer = "prefer a domain-qualified finalizer name";
        let conflicts = "to avoid accidental conflicts with other finalizer writers";
        assert_eq!(
            finalizer_warnings(&new, Some(&old)),
            [
                format!("metadata.finalizers: \"a\": {prefer} {conflicts}"),
                format!("metadata.finalizers: \"b.c\": {prefer} including a path (/) {conflicts}"),
            ]
        );
    }

    #[test]
    fn finalizers_exclude_each_other() {
        let meta =
            json!({"name": "a", "namespace": "b", "finalizers": ["orphan", "foregroundDeletion"]});
        assert_eq!(
            create(meta),
            "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer \
             orphan and foregroundDeletion cannot be both set"
        );
    }
}
