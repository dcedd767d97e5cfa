//! Which old value a new one is compared with, and whether it changed.
//!
//! Start at [`unchanged`]. Fields correlate by name, items of map lists by their keys; items of
//! other lists do not correlate. The invariant: answers are those of Kubernetes' CorrelatedObject,
//! its corners included (a field without schema makes its object count as changed).

use serde_json::{Map, Value};

use crate::node::{ListType, Node};

/// The old value of the field `key` when both objects have it and the schema knows it.
pub fn old_field<'o>(
    node: &Node,
    new: &Map<String, Value>,
    old: Option<&'o Value>,
    key: &str,
) -> Option<&'o Value> {
    node.field(key)?;
    let old = old?.as_object()?;
    if new.contains_key(key) {
        old.get(key)
    } else {
        None
    }
}

/// The old item with the keys of `item`; only lists of type map have such.
pub fn old_item<'o>(node: &Node, old: Option<&'o Value>, item: &Value) -> Option<&'o Value> {
    if node.list_type != Some(ListType::Map) {
        return None;
    }
    let old = old?.as_array()?;
    let wanted = item_key(node, item)?;
    old.iter()
        .find(|candidate| item_key(node, candidate).is_some_and(|key| key == wanted))
}

/// The values of the list's keys in an item; `None` when one is absent or no scalar.
fn item_key<'v>(node: &Node, item: &'v Value) -> Option<Vec<&'v Value>> {
    let map = item.as_object()?;
    let scalar = |v: &&Value| matches!(v, Value::String(_) | Value::Bool(_) | Value::Number(_));
    node.list_map_keys
        .iter()
        .map(|key| map.get(key.as_ref()).filter(scalar))
        .collect()
}

/// Whether the value is what it was. Map lists compare by key, whatever their order.
pub fn unchanged(node: &Node, new: &Value, old: &Value) -> bool {
    match (new, old) {
        (Value::Object(new_map), Value::Object(old_map)) => {
            new_map.len() == old_map.len()
                && new_map
                    .iter()
                    .all(|(key, value)| match (node.field(key), old_map.get(key)) {
                        (Some(schema), Some(before)) => unchanged(schema, value, before),
                        _ => false,
                    })
        }
        (Value::Array(new_items), Value::Array(old_items)) => {
            if new_items.len() != old_items.len() {
                return false;
            }
            match node.items.as_deref() {
                Some(schema) if node.list_type == Some(ListType::Map) => {
                    new_items.iter().all(|item| {
                        old_item(node, Some(old), item)
                            .is_some_and(|before| unchanged(schema, item, before))
                    })
                }
                _ => new_items == old_items,
            }
        }
        _ => new == old,
    }
}
