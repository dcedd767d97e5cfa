//! Walks over one or two objects under a [`TypeSchema`](crate::TypeSchema): [`validate`],
//! [`to_set`], [`compare`], [`merge`], [`remove`], [`reconcile`]. Each is pure and linear in the
//! size of its input; the JSON reader has bounded the depth.

pub mod compare;
pub mod merge;
pub mod reconcile;
pub mod remove;
pub mod to_set;
pub mod validate;

#[cfg(test)]
mod tests;

use hanse_json::{Map, Value};

use crate::path::PathElement;
use crate::types::{ListKind, ListType, Shape, TypeRef, TypeSchema};

pub use compare::{Comparison, compare};
pub use merge::merge;
pub use reconcile::reconcile;
pub use remove::{extract, remove};
pub use to_set::to_set;
pub use validate::{Error, validate};

/// The step by which a list item is known; an error text when it has none (a missing key without
/// default, a set item that is not a scalar).
pub(crate) fn step_of(
    schema: &TypeSchema,
    list: &ListType,
    item: &Value,
) -> Result<PathElement, String> {
    match &list.kind {
        ListKind::Atomic => Err("invalid indexing of atomic list".to_owned()),
        ListKind::Set => step_of_set(item),
        ListKind::Map(keys) => step_of_map(schema, list, keys, item),
    }
}

fn step_of_set(item: &Value) -> Result<PathElement, String> {
    match item {
        Value::Object(_) => Err("associative list without keys may not contain maps".to_owned()),
        Value::Array(_) => Err("not supporting lists as set elements".to_owned()),
        _ => Ok(PathElement::Value(item.clone())),
    }
}

fn step_of_map(
    schema: &TypeSchema,
    list: &ListType,
    keys: &[String],
    item: &Value,
) -> Result<PathElement, String> {
    let fields = match item {
        Value::Null => {
            return Err("associative list with keys may not contain a null element".into());
        }
        Value::Object(fields) => fields,
        _ => return Err("associative list with keys may not contain non-map elements".to_owned()),
    };
    let mut key = Vec::with_capacity(keys.len());
    for name in keys {
        let value = match fields.get(name) {
            Some(value) => value.clone(),
            None => default_of(schema, list.element, name).ok_or_else(|| {
                format!(
                    "associative list with keys has an element that omits key field {name:?} \
                     (and doesn't have default value)"
                )
            })?,
        };
        key.push((name.clone(), value));
    }
    key.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(PathElement::Key(key))
}

fn default_of(schema: &TypeSchema, element: TypeRef, name: &str) -> Option<Value> {
    schema
        .node(element)
        .map
        .as_ref()?
        .fields
        .get(name)?
        .default
        .clone()
}

/// The type below a step, for walks that follow a set instead of an object.
pub(crate) fn type_below(schema: &TypeSchema, ty: TypeRef, step: &PathElement) -> Option<TypeRef> {
    let atom = schema.node(ty);
    match step {
        PathElement::Field(name) => atom.map.as_ref()?.type_of(name),
        _ => atom.list.as_ref().map(|list| list.element),
    }
}

pub(crate) fn shape<'s>(schema: &'s TypeSchema, ty: TypeRef, value: Option<&Value>) -> Shape<'s> {
    schema.node(ty).deduce(value)
}

pub(crate) fn items(value: Option<&Value>) -> &[Value] {
    match value {
        Some(Value::Array(items)) => items,
        _ => &[],
    }
}

pub(crate) fn fields(value: Option<&Value>) -> Option<&Map<String, Value>> {
    match value {
        Some(Value::Object(fields)) => Some(fields),
        _ => None,
    }
}

/// Is there nothing to walk into on this side: absent, null, empty, or of another kind?
pub(crate) fn is_hollow(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(fields)) => fields.is_empty(),
        _ => true,
    }
}
