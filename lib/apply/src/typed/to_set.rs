//! Which fields does an object set? This is what an applier owns (SSA-10).

use std::collections::BTreeMap;

use hanse_json::Value;

use super::{fields, items, shape, step_of};
use crate::path::PathElement;
use crate::set::Set;
use crate::types::{ListKind, ListType, MapType, Shape, TypeRef, TypeSchema};

/// The set of all leaves of `value`: scalars, atomic lists and maps, empty maps, nulls, and the
/// items of associative lists and keys of maps themselves. The value must have passed
/// [`validate`](super::validate()); what has no place in the schema is left out.
pub fn to_set(schema: &TypeSchema, value: &Value) -> Set {
    let mut set = Set::new();
    if let Shape::Map(map) = shape(schema, schema.root(), Some(value)) {
        walk_map(schema, map, value, &mut set);
    }
    set
}

/// Adds what `value` sets to `parent`, under `step`. `own` says that the step itself is owned too.
fn walk(
    schema: &TypeSchema,
    ty: TypeRef,
    value: &Value,
    step: PathElement,
    own: bool,
    parent: &mut Set,
) {
    let mut below = Set::new();
    let leaf = match shape(schema, ty, Some(value)) {
        Shape::Scalar(_) | Shape::Nothing => true,
        Shape::List(list) if list.kind == ListKind::Atomic => true,
        Shape::List(list) => {
            walk_list(schema, list, value, &mut below);
            false
        }
        Shape::Map(map) if schema.is_atomic(ty, map) => true,
        Shape::Map(map) => {
            walk_map(schema, map, value, &mut below);
            false
        }
    };
    parent.insert_child(step.clone(), below);
    if leaf || own {
        parent.insert_member(step);
    }
}

fn walk_map(schema: &TypeSchema, map: &MapType, value: &Value, set: &mut Set) {
    let Some(fields) = fields(Some(value)) else {
        return;
    };
    for (name, value) in fields {
        let Some(ty) = map.type_of(name) else {
            continue;
        };
        let empty =
            matches!(value, Value::Null) || matches!(value, Value::Object(m) if m.is_empty());
        let own = empty || !map.fields.contains_key(name);
        walk(
            schema,
            ty,
            value,
            PathElement::field(name.as_str()),
            own,
            set,
        );
    }
}

fn walk_list(schema: &TypeSchema, list: &ListType, value: &Value, set: &mut Set) {
    let mut steps: Vec<(PathElement, &Value)> = Vec::new();
    let mut count: BTreeMap<PathElement, usize> = BTreeMap::new();
    for item in items(Some(value)) {
        if let Ok(step) = step_of(schema, list, item) {
            *count.entry(step.clone()).or_default() += 1;
            steps.push((step, item));
        }
    }
    for (step, item) in steps {
        // Doubled items (of a live object) are owned as one unit.
        if count.get(&step).is_some_and(|n| *n > 1) {
            set.insert_member(step);
        } else {
            walk(schema, list.element, item, step, true, set);
        }
    }
}
