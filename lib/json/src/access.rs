//! Walks a tree by path: read, write, remove, compare.
//!
//! Start at [`get`] and [`set`]. A path is a list of field names from the root; lists are not
//! walked through. Reading is total (wrong types are simply absent); writing makes the objects on
//! the way, and replaces what is no object.

use serde_json::{Map, Value};

use crate::write::number_string;

/// The value at a path, `null` included.
pub fn get<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter()
        .try_fold(value, |at, name| at.as_object()?.get(*name))
}

/// The value at a path, to change it in place.
pub fn get_mut<'v>(value: &'v mut Value, path: &[&str]) -> Option<&'v mut Value> {
    path.iter()
        .try_fold(value, |at, name| at.as_object_mut()?.get_mut(*name))
}

/// The string at a path, if it is one.
pub fn get_str<'v>(value: &'v Value, path: &[&str]) -> Option<&'v str> {
    get(value, path)?.as_str()
}

/// The integer at a path; floats without a fraction count, as they do for Kubernetes.
pub fn get_i64(value: &Value, path: &[&str]) -> Option<i64> {
    let number = get(value, path)?;
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        // 2^63 is exactly representable, and the first float that no longer fits.
        let fits = float.fract() == 0.0 && (-(2f64.powi(63))..2f64.powi(63)).contains(&float);
        fits.then_some(float as i64)
    })
}

/// The boolean at a path, if it is one.
pub fn get_bool(value: &Value, path: &[&str]) -> Option<bool> {
    get(value, path)?.as_bool()
}

/// The object at a path, if it is one.
pub fn get_object<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Map<String, Value>> {
    get(value, path)?.as_object()
}

/// The list at a path; an empty one when it is absent or something else.
pub fn get_array<'v>(value: &'v Value, path: &[&str]) -> &'v [Value] {
    get(value, path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Puts a value at a path, making the objects on the way. An empty path replaces the root.
pub fn set(value: &mut Value, path: &[&str], new: Value) {
    match path.split_last() {
        None => *value = new,
        Some((last, parents)) => {
            entry_object(value, parents).insert((*last).to_owned(), new);
        }
    }
}

/// Takes the value at a path out of the tree.
pub fn remove(value: &mut Value, path: &[&str]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    get_mut(value, parents)?.as_object_mut()?.remove(*last)
}

/// The object at a path, made (or put in the place of what is no object) where it is missing.
pub fn entry_object<'v>(value: &'v mut Value, path: &[&str]) -> &'v mut Map<String, Value> {
    let mut at = as_object(value);
    for name in path {
        at = as_object(at.entry((*name).to_owned()).or_insert(Value::Null));
    }
    at
}

fn as_object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("made an object on the line above"),
    }
}

/// Whether two trees mean the same. A whole float equals the integer that it is written as, so
/// `1` equals `1.0`: at rest there is no difference between them.
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || (a.is_f64() != b.is_f64() && number_string(a) == number_string(b))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|((ka, va), (kb, vb))| ka == kb && equal(va, vb))
        }
        _ => a == b,
    }
}

/// The JSON type of a value in the words of JSON Schema; `integer` for whole numbers.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_by_path() {
        let value =
            json!({"metadata": {"name": "x", "n": 3.0, "big": 1e19, "yes": true, "l": [1]}});
        assert_eq!(get_str(&value, &["metadata", "name"]), Some("x"));
        assert_eq!(get_str(&value, &["metadata", "name", "x"]), None);
        assert_eq!(get_i64(&value, &["metadata", "n"]), Some(3));
        assert_eq!(get_i64(&value, &["metadata", "big"]), None);
        assert_eq!(get_bool(&value, &["metadata", "yes"]), Some(true));
        assert_eq!(get_array(&value, &["metadata", "l"]), [json!(1)]);
        assert!(get_array(&value, &["metadata", "none"]).is_empty());
    }

    #[test]
    fn writes_and_removes_by_path() {
        let mut value = json!({"a": 1});
        set(&mut value, &["a", "b", "c"], json!(2));
        assert_eq!(value, json!({"a": {"b": {"c": 2}}}));
        assert_eq!(remove(&mut value, &["a", "b", "c"]), Some(json!(2)));
        assert_eq!(remove(&mut value, &["a", "x", "c"]), None);
        entry_object(&mut value, &["m"]).insert("k".into(), json!("v"));
        assert_eq!(value, json!({"a": {"b": {}}, "m": {"k": "v"}}));
    }

    #[test]
    fn compares_numbers_by_value() {
        assert!(equal(&json!({"a": [1]}), &json!({"a": [1.0]})));
        assert!(!equal(&json!(1), &json!(1.5)));
        assert!(!equal(&json!({"a": null}), &json!({})));
        assert!(!equal(
            &json!(9007199254740993i64),
            &json!(9007199254740992.0)
        ));
    }
}
