//! Lists of type set and map hold no item twice.
//!
//! Start at [`validate`]. The invariant: of each repeated item or key only the second occurrence
//! is an error, as in Kubernetes.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::field::{BadValue, Error, ErrorList, Path};
use crate::node::{ListType, Node};
use crate::trail::Trail;
use hanse_json::go;

/// Every repeated item or key of the lists in an object.
pub fn validate(node: &Node, value: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    walk(node, value, &Trail::Start(path), &mut errors);
    errors
}

fn walk(node: &Node, value: &Value, at: &Trail<'_>, errors: &mut ErrorList) {
    if !node.has_keyed_lists {
        return;
    }
    match value {
        Value::Object(map) => {
            if let Some(schema) = node.additional_schema() {
                map.iter()
                    .for_each(|(k, v)| walk(schema, v, &Trail::Key(at, k), errors));
            }
            for (key, child) in map {
                if let Some(schema) = node.property(key) {
                    walk(schema, child, &Trail::Child(at, key), errors);
                }
            }
        }
        Value::Array(items) => {
            match node.list_type {
                Some(ListType::Set) => {
                    for i in repeated(items.iter()) {
                        errors.push(Error::duplicate(&at.path().index(i), &items[i]));
                    }
                }
                Some(ListType::Map) => keyed(node, items, at, errors),
                _ => {}
            }
            if let Some(schema) = node.items.as_deref() {
                let each = items.iter().enumerate();
                each.for_each(|(i, item)| walk(schema, item, &Trail::Index(at, i), errors));
            }
        }
        _ => {}
    }
}

/// Places where a value stands for the second time.
pub fn repeated<'v>(values: impl Iterator<Item = &'v Value>) -> Vec<usize> {
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    let mut places = Vec::new();
    for (i, value) in values.enumerate() {
        let mut text = String::new();
        exact(value, &mut text);
        let seen = times.entry(text).or_default();
        *seen += 1;
        if *seen == 2 {
            places.push(i);
        }
    }
    places
}

/// A text that two values share when they are the same to Kubernetes: an integer and a float are
/// not, at any depth, though their JSON may be.
fn exact(value: &Value, text: &mut String) {
    match value {
        Value::Number(n) => {
            text.push(if n.is_i64() { 'i' } else { 'f' });
            text.push_str(&n.to_string());
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                exact(item, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Object(map) => {
            text.push('{');
            for (name, item) in map {
                text.push_str(&go::quote(name));
                exact(item, text);
            }
            text.push('}');
        }
        other => text.push_str(&go::json(other)),
    }
}

fn keyed(node: &Node, items: &[Value], at: &Trail<'_>, errors: &mut ErrorList) {
    if node.list_map_keys.len() == 1 && distinct_texts(&node.list_map_keys[0], items) {
        return;
    }
    let is_item = |item: &Value| item.is_null() || item.is_object();
    if let Some((i, item)) = items.iter().enumerate().find(|(_, item)| !is_item(item)) {
        let detail = "must be an object for an array of list-type map";
        return errors.push(Error::invalid(&at.path().index(i), item, detail));
    }
    let keys: Vec<Value> = items
        .iter()
        .map(|item| {
            let present = node.list_map_keys.iter().filter_map(|key| {
                item.get(key.as_ref())
                    .map(|v| (key.as_ref().to_owned(), v.clone()))
            });
            Value::Object(present.collect::<Map<_, _>>())
        })
        .collect();
    for i in repeated(keys.iter()) {
        let value = BadValue::Json(go::json(&keys[i]));
        errors.push(Error::duplicate(&at.path().index(i), value));
    }
}

/// The common good case without copies: one key, a text in each item, none twice.
fn distinct_texts(key: &str, items: &[Value]) -> bool {
    let texts: Option<Vec<&str>> = items.iter().map(|item| item.get(key)?.as_str()).collect();
    let Some(mut texts) = texts else { return false };
    texts.sort_unstable();
    texts.windows(2).all(|pair| pair[0] != pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_integer_and_a_float_are_two_values_at_any_depth() {
        let places = |items: Value| repeated(items.as_array().unwrap().iter());
        assert_eq!(places(json!([1, 1.0, 1])), [2]);
        assert_eq!(places(json!([{"a": 1.0}, {"a": 1}, {"a": 1.0}])), [2]);
        assert_eq!(places(json!([[1], [1.0], ["1"], ["i1"]])), [0; 0]);
        assert_eq!(places(json!([{"a": {"b": 2}}, {"a": {"b": 2}}])), [1]);
    }
}
