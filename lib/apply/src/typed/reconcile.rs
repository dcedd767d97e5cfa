//! Brings a manager's set in line with a schema that changed between *atomic* and *granular*:
//! fields inside what is now one unit become the unit, and a unit that is now granular becomes the
//! fields that the object has there.

use hanse_json::Value;

use super::step_of;
use crate::path::PathElement;
use crate::set::Set;
use crate::types::{ListKind, Shape, TypeRef, TypeSchema};

/// The set as it reads under the schema of today, for the object as it is.
pub fn reconcile(schema: &TypeSchema, value: &Value, set: &Set) -> Set {
    level(schema, schema.root(), Some(value), set)
}

fn level(schema: &TypeSchema, ty: TypeRef, value: Option<&Value>, set: &Set) -> Set {
    let mut out = Set::new();
    for step in set.members() {
        out.insert_member(step.clone());
        if set.child(step).is_none()
            && let Some(below) = expand(schema, ty, value, step)
        {
            out.insert_child(step.clone(), below);
        }
    }
    for (step, below) in set.children() {
        let Some(ty_below) = super::type_below(schema, ty, step) else {
            out.insert_child(step.clone(), below.clone());
            continue;
        };
        let inner = child(schema, ty, value, step);
        if is_unit(schema, ty_below, inner) {
            out.insert_member(step.clone());
        } else {
            out.insert_child(step.clone(), level(schema, ty_below, inner, below));
        }
    }
    out
}

/// What a leaf that is granular now stands for; `None` where nothing is to be added.
fn expand(
    schema: &TypeSchema,
    ty: TypeRef,
    value: Option<&Value>,
    step: &PathElement,
) -> Option<Set> {
    // Items of lists and keys of maps own themselves beside their fields: not a former unit.
    let PathElement::Field(name) = step else {
        return None;
    };
    let map = schema.node(ty).map.as_ref()?;
    let ty_below = map.fields.get(name)?.ty;
    let inner = child(schema, ty, value, step)?;
    if super::is_hollow(Some(inner)) || is_unit(schema, ty_below, Some(inner)) {
        return None;
    }
    let mut set = Set::new();
    super::to_set::add(schema, ty_below, inner, step.clone(), &mut set);
    set.child(step).cloned()
}

fn is_unit(schema: &TypeSchema, ty: TypeRef, value: Option<&Value>) -> bool {
    match schema.node(ty).deduce(value) {
        Shape::List(list) => list.kind == ListKind::Atomic,
        Shape::Map(map) => schema.is_atomic(ty, map),
        Shape::Scalar(_) | Shape::Nothing => false,
    }
}

fn child<'v>(
    schema: &TypeSchema,
    ty: TypeRef,
    value: Option<&'v Value>,
    step: &PathElement,
) -> Option<&'v Value> {
    match (value?, step) {
        (Value::Object(fields), PathElement::Field(name)) => fields.get(name),
        (Value::Array(items), _) => {
            let list = schema.node(ty).list.as_ref()?;
            items
                .iter()
                .find(|item| step_of(schema, list, item).is_ok_and(|s| s == *step))
        }
        _ => None,
    }
}
