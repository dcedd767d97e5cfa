//! Dropping what the schema does not know.
//!
//! Start at [`prune`]. The invariant: pruning twice is pruning once, and what is dropped is
//! reported by path, bounded by `limits::UNKNOWN_FIELDS_MAX`. `apiVersion`, `kind` and `metadata`
//! of a resource stay whatever the schema says; what is inside of `metadata` is
//! [`crate::object_meta`]'s.

use std::fmt::Write as _;

use serde_json::Value;

use crate::limits::UNKNOWN_FIELDS_MAX;
use crate::node::{Additional, Node};

/// The path to where a walk is, cut back after each step down.
#[derive(Default)]
struct Trail {
    text: String,
    dropped: Vec<String>,
}

impl Trail {
    fn key(&mut self, key: &str) -> usize {
        let length = self.text.len();
        if length > 0 {
            self.text.push('.');
        }
        self.text.push_str(key);
        length
    }

    fn index(&mut self, index: usize) -> usize {
        let length = self.text.len();
        // Writing to a String cannot fail.
        let _ = write!(self.text, "[{index}]");
        length
    }

    fn back(&mut self, length: usize) {
        self.text.truncate(length);
    }

    fn record(&mut self, key: &str) {
        if self.dropped.len() < UNKNOWN_FIELDS_MAX {
            let length = self.key(key);
            self.dropped.push(self.text.clone());
            self.back(length);
        }
    }
}

/// Whether the field is one that every resource has.
pub(crate) fn is_meta_field(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}

/// Drops every field of `value` that `node` does not specify; answers their paths, sorted.
///
/// With `is_root` the value is a resource: its `apiVersion`, `kind` and `metadata` stay.
pub fn prune(node: &Node, value: &mut Value, is_root: bool) -> Vec<String> {
    let mut trail = Trail::default();
    walk(Some(node), value, is_root, &mut trail);
    trail.dropped.sort();
    trail.dropped
}

fn walk(node: Option<&Node>, value: &mut Value, is_root: bool, trail: &mut Trail) {
    let Some(node) = node else {
        return drop_fields(value, trail);
    };
    let is_resource = is_root || node.embedded;
    match value {
        Value::Object(map) => {
            map.retain(|key, child| {
                if is_resource && is_meta_field(key) {
                    return true;
                }
                let schema = match (node.property(key), &node.additional) {
                    (Some(schema), _) | (None, Additional::Schema(schema)) => Some(schema),
                    (None, Additional::Allowed(_)) => None,
                    (None, Additional::Unspecified) => {
                        if !node.preserve_unknown && (!is_meta_field(key) || !trail.text.is_empty())
                        {
                            trail.record(key);
                        }
                        return node.preserve_unknown;
                    }
                };
                if is_scalar(child) {
                    return true;
                }
                let length = trail.key(key);
                walk(schema.map(|s| s.as_ref()), child, false, trail);
                trail.back(length);
                true
            });
        }
        Value::Array(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                if is_scalar(item) {
                    continue;
                }
                let length = trail.index(i);
                match (node.items.as_deref(), node.preserve_unknown) {
                    // Below a preserved list only what has a schema is looked at.
                    (None, true) => {}
                    (Some(schema), true) => preserved_item(schema, item, trail),
                    (schema, false) => walk(schema, item, false, trail),
                }
                trail.back(length);
            }
        }
        _ => {}
    }
}

/// An item of a list whose unknown fields are preserved: that goes for the item too.
fn preserved_item(schema: &Node, item: &mut Value, trail: &mut Trail) {
    match item {
        Value::Object(map) => {
            for (key, child) in map.iter_mut() {
                if (schema.embedded && is_meta_field(key)) || is_scalar(child) {
                    continue;
                }
                let below = match (schema.property(key), &schema.additional) {
                    (Some(below), _) | (None, Additional::Schema(below)) => Some(below),
                    (None, Additional::Allowed(_)) => None,
                    (None, Additional::Unspecified) => continue,
                };
                let length = trail.key(key);
                walk(below.map(|s| s.as_ref()), child, false, trail);
                trail.back(length);
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.items.as_deref() else {
                return;
            };
            for (i, item) in items.iter_mut().enumerate() {
                let length = trail.index(i);
                preserved_item(schema, item, trail);
                trail.back(length);
            }
        }
        _ => {}
    }
}

fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Object(_) | Value::Array(_))
}

/// Without a schema no field of an object is known, however deep in lists it is.
fn drop_fields(value: &mut Value, trail: &mut Trail) {
    match value {
        Value::Object(map) => {
            for key in map.keys() {
                trail.record(key);
            }
            map.clear();
        }
        Value::Array(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                let length = trail.index(i);
                drop_fields(item, trail);
                trail.back(length);
            }
        }
        _ => {}
    }
}
