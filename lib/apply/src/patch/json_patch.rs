//! JSON patch (RFC 6902) with the habits of the library that Kubernetes uses: negative indices
//! count from the end, `test` of a missing field succeeds against null.

use hanse_json::{Value, get_str};

use super::PatchError;
use crate::limits::{JSON_PATCH_COPY_BYTES_MAX, JSON_PATCH_OPERATIONS_MAX};
use crate::path::equal;

/// The patched document; the input is untouched on error.
pub fn json_patch(document: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Array(operations) = patch else {
        return Err(PatchError::Malformed(
            "a JSON patch must be an array of operations".to_owned(),
        ));
    };
    if operations.len() > JSON_PATCH_OPERATIONS_MAX {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {JSON_PATCH_OPERATIONS_MAX}, got {}",
            operations.len()
        )));
    }
    let mut run = Run {
        document: document.clone(),
        copied: 0,
    };
    for operation in operations {
        run.step(operation)?;
    }
    Ok(run.document)
}

struct Run {
    document: Value,
    copied: usize,
}

fn missing(operation: &str, path: &str) -> PatchError {
    PatchError::Unprocessable(format!(
        "{operation} operation does not apply: doc is missing path: {path}: missing value"
    ))
}

impl Run {
    fn step(&mut self, operation: &Value) -> Result<(), PatchError> {
        let op = get_str(operation, &["op"]).unwrap_or_default();
        let path = get_str(operation, &["path"])
            .ok_or_else(|| PatchError::Unprocessable(format!("{op} operation has no path")))?;
        let value = || operation.get("value").cloned();
        match op {
            // Without a value it is null, as the library has it.
            "add" => self.add(path, value().unwrap_or_default()),
            "remove" => self.remove(path).map(drop),
            "replace" => {
                let value = value().ok_or_else(|| missing(op, path))?;
                if let Some(place) = find(&mut self.document, path) {
                    *place = value;
                    return Ok(());
                }
                // A field that is not there is set, as Kubernetes' library does; an item is not.
                let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
                match find(&mut self.document, parent) {
                    Some(Value::Object(_)) => self.add(path, value),
                    _ => Err(missing(op, path)),
                }
            }
            "move" => {
                let from = get_str(operation, &["from"]).ok_or_else(|| missing(op, path))?;
                let value = self.remove(from)?;
                self.add(path, value)
            }
            "copy" => {
                let from = get_str(operation, &["from"]).ok_or_else(|| missing(op, path))?;
                self.copy(from, path)
            }
            "test" => self.test(path, operation.get("value").unwrap_or(&Value::Null)),
            other => Err(PatchError::Unprocessable(format!(
                "Unexpected kind: {other}"
            ))),
        }
    }

    fn copy(&mut self, from: &str, path: &str) -> Result<(), PatchError> {
        let value = find(&mut self.document, from)
            .ok_or_else(|| missing("copy", from))?
            .clone();
        self.copied += hanse_json::to_vec(&value).len();
        if self.copied > JSON_PATCH_COPY_BYTES_MAX {
            return Err(PatchError::TooLarge(format!(
                "Unable to copy, the accumulated size increase of copy is {}, exceeding the limit \
                 {JSON_PATCH_COPY_BYTES_MAX}",
                self.copied
            )));
        }
        self.add(path, value)
    }

    fn test(&mut self, path: &str, expected: &Value) -> Result<(), PatchError> {
        let found = find(&mut self.document, path);
        let holds = found.map_or(expected.is_null(), |found| equal(found, expected));
        if holds {
            return Ok(());
        }
        Err(PatchError::Unprocessable(format!(
            "testing value {path} failed: test failed"
        )))
    }

    fn add(&mut self, path: &str, value: Value) -> Result<(), PatchError> {
        if path.is_empty() {
            self.document = value;
            return Ok(());
        }
        let (parent, last) = split(path).ok_or_else(|| missing("add", path))?;
        match find(&mut self.document, parent).ok_or_else(|| missing("add", path))? {
            Value::Object(fields) => {
                fields.insert(last, value);
                Ok(())
            }
            Value::Array(items) => {
                let place = if last == "-" {
                    Some(items.len())
                } else {
                    index(&last, items.len() + 1)
                };
                let place = place.ok_or_else(|| missing("add", path))?;
                items.insert(place, value);
                Ok(())
            }
            _ => Err(missing("add", path)),
        }
    }

    fn remove(&mut self, path: &str) -> Result<Value, PatchError> {
        let (parent, last) = split(path).ok_or_else(|| missing("remove", path))?;
        let removed = match find(&mut self.document, parent) {
            Some(Value::Object(fields)) => fields.remove(&last),
            Some(Value::Array(items)) => index(&last, items.len()).map(|place| items.remove(place)),
            _ => None,
        };
        removed.ok_or_else(|| missing("remove", path))
    }
}

/// Splits a JSON pointer into its parent and its last, unescaped token; `None` for the root.
fn split(path: &str) -> Option<(&str, String)> {
    let at = path.rfind('/')?;
    Some((&path[..at], unescape(&path[at + 1..])))
}

fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

fn find<'v>(document: &'v mut Value, path: &str) -> Option<&'v mut Value> {
    if path.is_empty() {
        return Some(document);
    }
    let mut place = document;
    for token in path.strip_prefix('/')?.split('/') {
        let token = unescape(token);
        place = match place {
            Value::Object(fields) => fields.get_mut(&token)?,
            Value::Array(items) => {
                let at = index(&token, items.len())?;
                items.get_mut(at)?
            }
            _ => return None,
        };
    }
    Some(place)
}

/// An index below `len`; negative ones count from the end.
fn index(token: &str, len: usize) -> Option<usize> {
    let number: i64 = token.parse().ok()?;
    let len = i64::try_from(len).ok()?;
    let at = if number < 0 { number + len } else { number };
    (0..len)
        .contains(&at)
        .then_some(at)
        .and_then(|at| usize::try_from(at).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hanse_json::json;

    fn check(document: Value, patch: Value, expected: Option<Value>) {
        assert_eq!(
            json_patch(&document, &patch).ok(),
            expected,
            "{document} + {patch}"
        );
    }

    #[test]
    fn operations() {
        let doc = || json!({"a": [1, 2], "b": {"c": "d"}, "x/y": 1});
        let op =
            |op: &str, path: &str, value: Value| json!([{"op": op, "path": path, "value": value}]);
        check(
            doc(),
            op("add", "/a/-", json!(3)),
            Some(json!({"a": [1,2,3], "b": {"c": "d"}, "x/y": 1})),
        );
        check(
            doc(),
            op("add", "/a/0", json!(0)),
            Some(json!({"a": [0,1,2], "b": {"c": "d"}, "x/y": 1})),
        );
        check(doc(), op("add", "/a/3", json!(0)), None);
        check(doc(), op("add", "/z/y", json!(0)), None);
        check(
            doc(),
            op("replace", "/x~1y", json!(2)),
            Some(json!({"a": [1,2], "b": {"c": "d"}, "x/y": 2})),
        );
        check(
            doc(),
            op("replace", "/b/n", json!(2)),
            Some(json!({"a": [1,2], "b": {"c": "d", "n": 2}, "x/y": 1})),
        );
        check(doc(), op("replace", "/a/7", json!(2)), None);
        check(doc(), op("replace", "/z/y", json!(2)), None);
        check(
            doc(),
            op("remove", "/a/-1", json!(null)),
            Some(json!({"a": [1], "b": {"c": "d"}, "x/y": 1})),
        );
        check(doc(), op("remove", "/a/2", json!(null)), None);
        check(doc(), op("test", "/b/c", json!("d")), Some(doc()));
        check(doc(), op("test", "/b/c", json!("e")), None);
        check(doc(), op("test", "/b/zz", json!(null)), Some(doc()));
        check(
            doc(),
            json!([{"op": "move", "from": "/b/c", "path": "/d"}]),
            Some(json!({"a": [1, 2], "b": {}, "d": "d", "x/y": 1})),
        );
        check(
            doc(),
            json!([{"op": "copy", "from": "/b", "path": "/d"}]),
            Some(json!({"a": [1, 2], "b": {"c": "d"}, "d": {"c": "d"}, "x/y": 1})),
        );
    }

    #[test]
    fn limits() {
        let many: Vec<Value> = (0..10_001)
            .map(|_| json!({"op": "test", "path": "", "value": {}}))
            .collect();
        let error = json_patch(&json!({}), &Value::Array(many)).expect_err("too many");
        assert_eq!(
            error.to_string(),
            "The allowed maximum operations in a JSON patch is 10000, got 10001"
        );
        let big = json!({"a": "x".repeat(2 * 1024 * 1024)});
        let copy = json!([
            {"op": "copy", "from": "/a", "path": "/b"}, {"op": "copy", "from": "/a", "path": "/c"}
        ]);
        assert!(matches!(
            json_patch(&big, &copy),
            Err(PatchError::TooLarge(_))
        ));
    }
}
