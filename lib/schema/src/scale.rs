//! What the scale subresource reads has to be readable.
//!
//! Start at [`validate`]. Paths are those of the definition, without the leading dot.

use serde_json::Value;

use crate::field::{BadValue, Error, ErrorList, Path};
use hanse_json::go;

/// Where the scale subresource finds its values.
#[derive(Clone, Copy, Debug)]
pub struct Paths<'a, S> {
    /// Replicas wished for; `None` on writes of `/status`, which cannot change them.
    pub spec_replicas: Option<&'a [S]>,
    /// Replicas seen.
    pub status_replicas: &'a [S],
    /// The selector's text.
    pub label_selector: Option<&'a [S]>,
}

/// Replicas are numbers from 0 to 2^31-1 where they are there, the selector is a text.
pub fn validate<S: AsRef<str>>(object: &Value, paths: Paths<'_, S>) -> ErrorList {
    let mut errors = ErrorList::new();
    for path in paths
        .spec_replicas
        .into_iter()
        .chain([paths.status_replicas])
    {
        replicas(object, path, &mut errors);
    }
    if let Some(path) = paths.label_selector {
        match find(object, path) {
            Ok(None | Some(Value::String(_))) => {}
            Ok(Some(other)) => {
                let why = wrong_type(&rendered(path), other, "string");
                errors.push(Error::invalid(&Path::rendered(rendered(path)), "", why));
            }
            Err(why) => errors.push(Error::invalid(&Path::rendered(rendered(path)), "", why)),
        }
    }
    errors
}

fn replicas<S: AsRef<str>>(object: &Value, path: &[S], errors: &mut ErrorList) {
    let text = rendered(path);
    let at = Path::rendered(text.clone());
    let number = match find(object, path) {
        Ok(None) => return,
        Ok(Some(value)) => value
            .as_i64()
            .ok_or_else(|| wrong_type(&text, value, "int64")),
        Err(why) => Err(why),
    };
    match number {
        Err(why) => errors.push(Error::invalid(&at, BadValue::Int(0), why)),
        Ok(n) if n < 0 => errors.push(Error::invalid(&at, n, "should be a non-negative integer")),
        Ok(n) if n > i64::from(i32::MAX) => {
            let detail = format!("should be less than or equal to {}", i32::MAX);
            errors.push(Error::invalid(&at, n, detail));
        }
        Ok(_) => {}
    }
}

fn rendered<S: AsRef<str>>(path: &[S]) -> String {
    path.iter()
        .map(|part| format!(".{}", part.as_ref()))
        .collect()
}

/// The value at a path; nothing when a part of the way is absent or null.
fn find<'v, S: AsRef<str>>(object: &'v Value, path: &[S]) -> Result<Option<&'v Value>, String> {
    let mut value = object;
    for (i, part) in path.iter().enumerate() {
        value = match value {
            Value::Null => return Ok(None),
            Value::Object(map) => match map.get(part.as_ref()) {
                Some(child) => child,
                None => return Ok(None),
            },
            other => return Err(wrong_type(&rendered(&path[..=i]), other, MAP)),
        };
    }
    Ok(Some(value))
}

/// As the accessor's message spells the type that it wants; Go prints a type with a space.
const MAP: &str = "map[string]interface{}";

/// Go's complaint about a value of another type.
fn wrong_type(path: &str, value: &Value, wanted: &str) -> String {
    let (shown, got) = match value {
        Value::Null => ("<nil>".to_owned(), "<nil>"),
        Value::Bool(b) => (b.to_string(), "bool"),
        Value::Number(n) if n.is_i64() => (n.to_string(), "int64"),
        Value::Number(n) => (go::float_v(n.as_f64().unwrap_or_default()), "float64"),
        Value::String(s) => (s.clone(), "string"),
        Value::Array(_) => (go::json(value), "[]interface {}"),
        Value::Object(_) => (go::json(value), "map[string]interface {}"),
    };
    format!("{path} accessor error: {shown} is of the type {got}, expected {wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(object: Value, want: &str) {
        let paths = Paths {
            spec_replicas: Some(&["spec", "n"][..]),
            status_replicas: &["status", "n"],
            label_selector: Some(&["status", "s"]),
        };
        assert_eq!(validate(&object, paths).to_string(), want);
    }

    #[test]
    fn replicas_and_selectors() {
        check(json!({}), "[]");
        check(
            json!({"spec": {"n": 3}, "status": {"n": 0, "s": "a=b"}}),
            "[]",
        );
        check(
            json!({"spec": {"n": -1}}),
            ".spec.n: Invalid value: -1: should be a non-negative integer",
        );
        check(
            json!({"status": {"n": 2147483648_i64}}),
            ".status.n: Invalid value: 2147483648: should be less than or equal to 2147483647",
        );
        check(
            json!({"spec": {"n": "x"}, "status": {"s": 1}}),
            "[.spec.n: Invalid value: 0: .spec.n accessor error: x is of the type string, expected \
             int64, .status.s: Invalid value: \"\": .status.s accessor error: 1 is of the type \
             int64, expected string]",
        );
    }
}
