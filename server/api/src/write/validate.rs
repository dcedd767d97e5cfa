//! Whether an object may be so, by its metadata, its schema and its kind's own rules.
//!
//! Start at [`new_object`] and [`changed_object`]. The order of the errors is Kubernetes':
//! metadata, schema, the kind's rules. Admission is deliberately elsewhere: it judges requests,
//! this judges objects.

use hanse_json::{Value, get_array};
use hanse_kinds::{ResourceDef, Update};
use hanse_schema::field::{Error as FieldError, ErrorList, Path};
use hanse_schema::meta::{finalizer_warnings, validate_object_meta, validate_object_meta_update};
use hanse_schema::rules::OBJECT_BUDGET;
use hanse_schema::{blocking_error, scale};

/// Everything wrong with an object that is to be created; `warn` is told what is wrong but
/// tolerated.
#[must_use]
pub fn new_object(def: &ResourceDef, object: &Value, warn: &mut dyn FnMut(String)) -> ErrorList {
    let path = Path::new("metadata");
    let mut errors =
        validate_object_meta(&object["metadata"], def.namespaced, def.name_rule, &path);
    standard_finalizers(def, object, &path, &mut errors);
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
    let path = Path::new("metadata");
    let mut errors = validate_object_meta_update(&new["metadata"], &old["metadata"], &path);
    standard_finalizers(def, new, &path, &mut errors);
    structural(def, new, Some(old), subresource, &mut errors, warn);
    errors.extend((def.hooks.validate_update)(
        new,
        Update { old, subresource },
    ));
    errors
}

/// Kinds of Kubernetes' older groups take only finalizers that name a domain, and its own
/// (META-11).
fn standard_finalizers(def: &ResourceDef, object: &Value, path: &Path, errors: &mut ErrorList) {
    const GROUPS: [&str; 3] = ["", "certificates.k8s.io", "rbac.authorization.k8s.io"];
    const STANDARD: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];
    if !def.flags.native || !GROUPS.contains(&def.group.as_str()) {
        return;
    }
    let finalizers = get_array(object, &["metadata", "finalizers"]).iter();
    for (at, finalizer) in finalizers.enumerate() {
        let name = finalizer.as_str().unwrap_or_default();
        if !name.contains('/') && !STANDARD.contains(&name) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(
                &path.child("finalizers").index(at),
                name,
                why,
            ));
        }
    }
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
