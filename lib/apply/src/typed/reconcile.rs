//! Brings a manager's set in line with a schema that changed from *granular* to *atomic*: fields
//! inside what is now one unit become the unit. The other direction needs nothing: the manager of a
//! former unit owns the field itself and none of what is inside, as in Kubernetes.

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
