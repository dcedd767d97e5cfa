//! Brings a manager's set in line with a schema that changed from *granular* to *atomic*: fields
//! inside what is now one unit become the unit. The other direction needs nothing: the manager of a
//! former unit owns the field itself and none of what is inside, as in Kubernetes.

use std::collections::BTreeMap;

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
    let items = items_by_step(schema, ty, value);
    for (step, below) in set.children() {
        let Some(ty_below) = super::type_below(schema, ty, step) else {
            out.insert_child(step.clone(), below.clone());
            continue;
        };
        let inner = match (value, step) {
            (Some(Value::Object(fields)), PathElement::Field(name)) => fields.get(name),
            _ => items.get(step).copied(),
        };
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

/// The items of a list, the first of each step: looked up once, not once for each step.
fn items_by_step<'v>(
    schema: &TypeSchema,
    ty: TypeRef,
    value: Option<&'v Value>,
) -> BTreeMap<PathElement, &'v Value> {
    let mut found = BTreeMap::new();
    let (Some(Value::Array(items)), Some(list)) = (value, schema.node(ty).list.as_ref()) else {
        return found;
    };
    for item in items {
        if let Ok(step) = step_of(schema, list, item) {
            found.entry(step).or_insert(item);
        }
    }
    found
}
