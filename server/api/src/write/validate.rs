//! Whether an object may be so, by its metadata, its schema and its kind's own rules.
//!
//! Start at [`new_object`] and [`changed_object`]. The order of the errors is Kubernetes':
//! metadata, schema, the kind's rules. Admission is deliberately elsewhere: it judges requests,
//! this judges objects.

use hanse_json::Value;
use hanse_kinds::{ResourceDef, Update};
use hanse_schema::blocking_error;
use hanse_schema::field::{ErrorList, Path};
use hanse_schema::meta::{validate_object_meta, validate_object_meta_update};

/// Everything wrong with an object that is to be created.
#[must_use]
pub fn new_object(def: &ResourceDef, object: &Value) -> ErrorList {
    let path = Path::new("metadata");
    let mut errors =
        validate_object_meta(&object["metadata"], def.namespaced, def.name_rule, &path);
    structural(def, object, None, "", &mut errors);
    errors.extend((def.hooks.validate)(object));
    errors
}

/// Everything wrong with a change.
#[must_use]
pub fn changed_object(def: &ResourceDef, new: &Value, old: &Value, subresource: &str) -> ErrorList {
    let path = Path::new("metadata");
    let mut errors = validate_object_meta_update(&new["metadata"], &old["metadata"], &path);
    structural(def, new, Some(old), subresource, &mut errors);
    errors.extend((def.hooks.validate_update)(
        new,
        Update { old, subresource },
    ));
    errors
}

/// The schema of a custom resource, and then its rules in CEL, unless the object is so wrong that
/// they could not mean anything.
fn structural(
    def: &ResourceDef,
    new: &Value,
    old: Option<&Value>,
    subresource: &str,
    errors: &mut ErrorList,
) {
    let Some(schema) = def.schema.structural() else {
        return;
    };
    let found = match (subresource, old) {
        ("status", Some(old)) => schema.validate_status(new, old),
        _ => schema.validate(new, old),
    };
    let blocked = blocking_error(&found);
    errors.extend(found);
    if let Some(blocked) = blocked {
        errors.push(blocked);
    }
}
