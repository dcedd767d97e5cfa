//! Whether an object may be so, by its metadata, its schema and its kind's own rules.
//!
//! Start at [`new_object`] and [`changed_object`]. The order of the errors is Kubernetes':
//! metadata, schema, the kind's rules. Admission is deliberately elsewhere: it judges requests,
//! this judges objects.

use hanse_json::Value;
use hanse_kinds::{ResourceDef, Update};
use hanse_schema::field::{Error as FieldError, ErrorList, Path};
use hanse_schema::meta::{finalizer_warnings, validate_object_meta, validate_object_meta_update};
use hanse_schema::rules::OBJECT_BUDGET;
use hanse_schema::{blocking_error, scale};

/// Everything wrong with an object that is to be created; `warn` is told what is wrong but
/// tolerated.
#[must_use]
pub fn new_object(def: &ResourceDef, object: &Value, warn: &mut dyn FnMut(String)) -> ErrorList {
    let mut errors = new_metadata(def, &object["metadata"]);
    structural(def, object, None, "", &mut errors, warn);
    errors.extend((def.hooks.validate)(object));
    errors
}

/// Everything wrong with a change; `warn` is told what is wrong but tolerated.
#[must_use]
pub fn changed_object(
    def: &ResourceDef,
    new: &Value,
    old: &Value,
    subresource: &str,
    warn: &mut dyn FnMut(String),
) -> ErrorList {
    let mut errors = changed_metadata(def, &new["metadata"], &old["metadata"]);
    structural(def, new, Some(old), subresource, &mut errors, warn);
    errors.extend((def.hooks.validate_update)(
        new,
        Update { old, subresource },
    ));
    errors
}

/// Metadata by the rules of all objects; core kinds have a rule for finalizers of their own.
fn new_metadata(def: &ResourceDef, meta: &Value) -> ErrorList {
    let path = Path::new("metadata");
    let mut errors = validate_object_meta(meta, def.namespaced, def.name_rule, &path);
    errors.extend(core_finalizers(def, meta, &path));
    errors
}

/// Kubernetes checks the metadata of an update as a new object's and as a change, and then most
/// kinds do it again: each finding is one cause, and the message names it once.
fn changed_metadata(def: &ResourceDef, new: &Value, old: &Value) -> ErrorList {
    let path = Path::new("metadata");
    let change = validate_object_meta_update(new, old, &path);
    let own = core_finalizers(def, new, &path);
    if change.is_empty() && own.is_empty() {
        return change;
    }
    let whole = validate_object_meta(new, def.namespaced, def.name_rule, &path);
    let mut errors = whole.clone();
    errors.extend(change.clone());
    errors.extend(change);
    errors.extend(own.clone());
    if def.flags.native && !matches!(def.plural.as_str(), "namespaces" | "leases") {
        errors.extend(whole);
        errors.extend(own);
    }
    errors
}

/// Kinds of these groups take finalizers with a domain, and Kubernetes' own three.
fn core_finalizers(def: &ResourceDef, meta: &Value, path: &Path) -> ErrorList {
    const GROUPS: [&str; 3] = ["", "rbac.authorization.k8s.io", "certificates.k8s.io"];
    const STANDARD: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];
    let mut errors = ErrorList::new();
    if !def.flags.native || !GROUPS.contains(&def.group.as_str()) {
        return errors;
    }
    let finalizers = hanse_json::get_array(meta, &["finalizers"]).iter();
    for (at, name) in finalizers
        .map(|f| f.as_str().unwrap_or_default())
        .enumerate()
    {
        if !STANDARD.contains(&name) && !name.contains('/') {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            let path = path.child("finalizers").index(at);
            errors.push(FieldError::invalid(&path, name, why));
        }
    }
    errors
}

/// The schema of a custom resource, what its scale subresource reads, and then its rules in CEL,
/// unless the object is so wrong that they could not mean anything.
fn structural(
    def: &ResourceDef,
    new: &Value,
    old: Option<&Value>,
    subresource: &str,
    errors: &mut ErrorList,
    warn: &mut dyn FnMut(String),
) {
    let Some(schema) = def.schema.structural() else {
        return;
    };
    match (subresource, old) {
        ("status", Some(old)) => {
            errors.extend(schema.validate_status(new, old));
            errors.extend(scale(def, new, false));
        }
        _ => {
            errors.extend(schema.validate_values(new, old));
            errors.extend(scale(def, new, true));
            errors.extend(schema.validate_resources(new, old));
        }
    }
    let before = old.map(|old| &old["metadata"]);
    for text in finalizer_warnings(&new["metadata"], before) {
        warn(text);
    }
    if !schema.has_rules() {
        return;
    }
    if let Some(blocked) = blocking_error(errors) {
        return errors.push(blocked);
    }
    let outcome = schema.validate_cel(new, old, OBJECT_BUDGET);
    errors.extend(outcome.errors);
    outcome.warnings.into_iter().for_each(warn);
}

fn scale(def: &ResourceDef, object: &Value, with_spec: bool) -> ErrorList {
    let mut all = def.subresources.iter();
    let Some(paths) = all.find_map(|subresource| subresource.scale.as_ref()) else {
        return ErrorList::new();
    };
    let paths = scale::Paths {
        spec_replicas: with_spec.then_some(paths.spec_replicas.as_slice()),
        status_replicas: &paths.status_replicas,
        label_selector: paths.label_selector.as_deref(),
    };
    scale::validate(object, paths)
}
