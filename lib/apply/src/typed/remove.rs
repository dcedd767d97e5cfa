//! Takes the fields of a set out of an object, or keeps only them.

use hanse_json::{Map, Value};

use super::step_of;
use crate::path::PathElement;
use crate::set::Set;
use crate::types::{ListKind, ListType, MapType, Shape, TypeRef, TypeSchema};

/// `value` without the fields in `fields`. A map or list that loses its last entry becomes null.
pub fn remove(schema: &TypeSchema, value: &Value, fields: &Set) -> Value {
    Walk {
        schema,
        keep: false,
    }
    .value(schema.root(), value, fields)
}

/// Only the fields in `fields` (and the way to them).
pub fn extract(schema: &TypeSchema, value: &Value, fields: &Set) -> Value {
    Walk { schema, keep: true }.value(schema.root(), value, fields)
}

struct Walk<'w> {
    schema: &'w TypeSchema,
    keep: bool,
}

impl Walk<'_> {
    fn value(&self, ty: TypeRef, value: &Value, set: &Set) -> Value {
        match (self.schema.node(ty).deduce(Some(value)), value) {
            (Shape::List(list), Value::Array(items))
                if list.kind != ListKind::Atomic && !items.is_empty() =>
            {
                self.list(list, items, set)
            }
            (Shape::Map(map), Value::Object(fields))
                if !self.schema.is_atomic(ty, map) && !fields.is_empty() =>
            {
                self.map(map, fields, set)
            }
            _ => value.clone(),
        }
    }

    /// The entry's new value; `None` when it goes.
    fn entry(&self, ty: TypeRef, step: &PathElement, value: &Value, set: &Set) -> Option<Value> {
        let empty = Set::new();
        if set.has_member(step) {
            return self
                .keep
                .then(|| self.value(ty, value, set.child(step).unwrap_or(&empty)));
        }
        match set.child(step) {
            Some(below) => Some(self.value(ty, value, below)),
            None => (!self.keep).then(|| value.clone()),
        }
    }

    fn list(&self, list: &ListType, items: &[Value], set: &Set) -> Value {
        let mut out = Vec::new();
        for item in items {
            match step_of(self.schema, list, item) {
                Ok(step) => out.extend(self.entry(list.element, &step, item, set)),
                Err(_) => out.push(item.clone()),
            }
        }
        if out.is_empty() {
            Value::Null
        } else {
            Value::Array(out)
        }
    }

    fn map(&self, map: &MapType, fields: &Map<String, Value>, set: &Set) -> Value {
        let mut out = Map::new();
        for (name, value) in fields {
            let ty = map.type_of(name).unwrap_or(self.schema.root());
            let step = PathElement::field(name.as_str());
            if let Some(value) = self.entry(ty, &step, value, set) {
                out.insert(name.clone(), value);
            }
        }
        if out.is_empty() {
            Value::Null
        } else {
            Value::Object(out)
        }
    }
}
