//! Filling in defaults and taking out nulls that mean nothing.
//!
//! Start at [`drop_nulls`] and [`apply`], in this order. The invariant: both together are
//! idempotent. A default applies only where the parent exists; an explicit null of a field that is
//! not nullable gives way to the default, or goes.

use serde_json::Value;

use crate::node::Node;

/// Drops nulls of fields that are neither nullable nor defaulted.
///
/// Items of lists and fields without schema stay: validation has its say about them.
pub fn drop_nulls(node: &Node, value: &mut Value) {
    match value {
        Value::Object(map) => map.retain(|key, child| {
            let Some(schema) = node.field(key) else {
                return true;
            };
            if child.is_null() {
                return !schema.rejects_null() || schema.default.is_some();
            }
            drop_nulls(schema, child);
            true
        }),
        Value::Array(items) => {
            if let Some(schema) = node.items.as_deref() {
                items.iter_mut().for_each(|item| drop_nulls(schema, item));
            }
        }
        _ => {}
    }
}

/// Fills in every default whose parent exists.
pub fn apply(node: &Node, value: &mut Value) {
    if !node.has_defaults {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, schema) in node.properties.iter().filter(|(_, s)| s.default.is_some()) {
                match map.get_mut(name.as_ref()) {
                    Some(child) => replace_null(schema, child),
                    None => {
                        if let Some(default) = &schema.default {
                            map.insert(name.as_ref().to_owned(), default.to_value());
                        }
                    }
                }
            }
            for (key, child) in map.iter_mut() {
                if let Some(schema) = node.property(key) {
                    apply(schema, child);
                } else if let Some(schema) = node.additional_schema() {
                    replace_null(schema, child);
                    apply(schema, child);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = node.items.as_deref() {
                for item in items {
                    replace_null(schema, item);
                    apply(schema, item);
                }
            }
        }
        _ => {}
    }
}

fn replace_null(schema: &Node, value: &mut Value) {
    if value.is_null()
        && schema.rejects_null()
        && let Some(default) = &schema.default
    {
        *value = default.to_value();
    }
}
