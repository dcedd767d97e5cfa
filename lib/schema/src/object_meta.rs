//! ObjectMeta as a type: which fields `metadata` has and what they may hold.
//!
//! Start at [`coerce`]. Custom resources and embedded resources are trees, but their metadata is
//! read as Go reads the ObjectMeta type: unknown fields go, ill-typed ones are an error or go,
//! empty ones are not written back. Whether names and labels are good is [`crate::meta`]'s.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::limits::UNKNOWN_FIELDS_MAX;
use hanse_json::go;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Text,
    Int,
    Bool,
    Time,
    Texts,
    TextMap,
    /// Any JSON object.
    Raw,
    List(&'static Struct),
}

/// One Go struct: name and fields. Fields marked `true` are written even when empty.
#[derive(PartialEq, Eq)]
struct Struct {
    name: &'static str,
    fields: &'static [(&'static str, Shape, bool)],
}

static OWNER_REFERENCE: Struct = Struct {
    name: "OwnerReference",
    fields: &[
        ("apiVersion", Shape::Text, true),
        ("kind", Shape::Text, true),
        ("name", Shape::Text, true),
        ("uid", Shape::Text, true),
        ("controller", Shape::Bool, false),
        ("blockOwnerDeletion", Shape::Bool, false),
    ],
};

static MANAGED_FIELDS: Struct = Struct {
    name: "ManagedFieldsEntry",
    fields: &[
        ("manager", Shape::Text, false),
        ("operation", Shape::Text, false),
        ("apiVersion", Shape::Text, false),
        ("time", Shape::Time, false),
        ("fieldsType", Shape::Text, false),
        ("fieldsV1", Shape::Raw, false),
        ("subresource", Shape::Text, false),
    ],
};

static OBJECT_META: Struct = Struct {
    name: "ObjectMeta",
    fields: &[
        ("name", Shape::Text, false),
        ("generateName", Shape::Text, false),
        ("namespace", Shape::Text, false),
        ("selfLink", Shape::Text, false),
        ("uid", Shape::Text, false),
        ("resourceVersion", Shape::Text, false),
        ("generation", Shape::Int, false),
        ("creationTimestamp", Shape::Time, false),
        ("deletionTimestamp", Shape::Time, false),
        ("deletionGracePeriodSeconds", Shape::Int, false),
        ("labels", Shape::TextMap, false),
        ("annotations", Shape::TextMap, false),
        ("ownerReferences", Shape::List(&OWNER_REFERENCE), false),
        ("finalizers", Shape::Texts, false),
        ("managedFields", Shape::List(&MANAGED_FIELDS), false),
    ],
};

/// Reads `metadata` as ObjectMeta and writes it back normalised; answers the paths of unknown
/// fields, relative to `metadata`.
///
/// With `drop_invalid`, fields of the wrong type go instead of being an error.
///
/// # Errors
/// Go's text for the first ill-typed field.
pub fn coerce(metadata: &mut Value, drop_invalid: bool) -> Result<Vec<String>, String> {
    let mut unknown = Vec::new();
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    if !metadata.is_object() {
        let got = go_kind(metadata);
        return Err(format!(
            "json: cannot unmarshal {got} into Go value of type v1.ObjectMeta"
        ));
    }
    let mut reader = Reader {
        drop_invalid,
        unknown: &mut unknown,
    };
    reader.structure(&OBJECT_META, metadata, "", "")?;
    Ok(unknown)
}

fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

struct Reader<'a> {
    drop_invalid: bool,
    unknown: &'a mut Vec<String>,
}

impl Reader<'_> {
    /// `go_path` is the path as Go's decoder names it (without indices), `path` the real one.
    fn structure(
        &mut self,
        of: &Struct,
        value: &mut Value,
        go_path: &str,
        path: &str,
    ) -> Result<(), String> {
        let Value::Object(map) = value else {
            return Ok(());
        };
        let join = |prefix: &str, key: &str| {
            if prefix.is_empty() {
                key.to_owned()
            } else {
                format!("{prefix}.{key}")
            }
        };
        let at_root = path.is_empty();
        let mut failed = None;
        map.retain(|key, child| {
            let Some((name, shape, always)) = of.fields.iter().find(|(n, ..)| n == key) else {
                if self.unknown.len() < UNKNOWN_FIELDS_MAX {
                    self.unknown.push(join(path, key));
                }
                return false;
            };
            if failed.is_some() {
                return true;
            }
            let (go_path, path) = (join(go_path, name), join(path, name));
            match self.field(of, *shape, child, &go_path, &path) {
                Ok(()) => *always || !is_empty(child),
                Err(_) if self.drop_invalid && at_root => false,
                Err(why) => {
                    failed = Some(why);
                    true
                }
            }
        });
        if let Some(why) = failed {
            return Err(why);
        }
        for (name, _, _) in of.fields.iter().filter(|(.., always)| *always) {
            map.entry(*name)
                .or_insert_with(|| Value::String(String::new()));
        }
        Ok(())
    }

    fn field(
        &mut self,
        of: &Struct,
        shape: Shape,
        value: &mut Value,
        go_path: &str,
        path: &str,
    ) -> Result<(), String> {
        let wrong = |got: &Value, wanted: &str| {
            let kind = match got {
                Value::Number(n) if wanted == "int64" => format!("number {n}"),
                other => go_kind(other).to_owned(),
            };
            let name = of.name;
            Err(format!(
                "json: cannot unmarshal {kind} into Go struct field {name}.{go_path} of type {wanted}"
            ))
        };
        if value.is_null() {
            return Ok(());
        }
        match (shape, &mut *value) {
            (Shape::Text, Value::String(_)) | (Shape::Bool, Value::Bool(_)) => Ok(()),
            (Shape::Raw, _) => Ok(()),
            (Shape::Int, Value::Number(n)) if n.is_i64() => Ok(()),
            (Shape::Time, value) => normalise_time(value),
            (Shape::Texts, Value::Array(items)) => {
                for item in items.iter_mut().filter(|item| !item.is_string()) {
                    if !item.is_null() {
                        return wrong(item, "string");
                    }
                    *item = Value::String(String::new());
                }
                Ok(())
            }
            (Shape::TextMap, Value::Object(map)) => {
                for item in map.values_mut().filter(|item| !item.is_string()) {
                    if !item.is_null() {
                        return wrong(item, "string");
                    }
                    *item = Value::String(String::new());
                }
                Ok(())
            }
            (Shape::List(of), Value::Array(items)) => {
                for (i, item) in items.iter_mut().enumerate() {
                    if item.is_null() {
                        *item = Value::Object(Map::new());
                    } else if !item.is_object() {
                        return wrong(item, &format!("v1.{}", of.name));
                    }
                    self.structure(of, item, go_path, &format!("{path}[{i}]"))?;
                }
                Ok(())
            }
            (Shape::Text, value) => wrong(value, "string"),
            (Shape::Bool, value) => wrong(value, "bool"),
            (Shape::Int, value) => wrong(value, "int64"),
            (Shape::Texts, value) => wrong(value, "[]string"),
            (Shape::TextMap, value) => wrong(value, "map[string]string"),
            (Shape::List(of), value) => wrong(value, &format!("[]v1.{}", of.name)),
        }
    }
}

/// `omitempty` for the shapes of ObjectMeta.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(_) | Value::Bool(_) => false,
    }
}

/// Times rest in UTC and whole seconds.
fn normalise_time(value: &mut Value) -> Result<(), String> {
    let Some(text) = value.as_str() else {
        let got = go_kind(value);
        return Err(format!(
            "json: cannot unmarshal {got} into Go value of type string"
        ));
    };
    match text.parse::<Timestamp>() {
        Ok(time) => {
            *value = Value::String(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
            Ok(())
        }
        Err(_) => {
            let shown = go::quote(text);
            let layout = "2006-01-02T15:04:05Z07:00";
            Err(format!(
                "parsing time {shown} as \"{layout}\": cannot parse {shown} as \"2006\""
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_and_empty_fields_go() {
        let mut meta = json!({"name": "a", "foo": 1, "labels": {}, "creationTimestamp": null,
            "ownerReferences": [{"kind": "A", "x": 1}], "uid": ""});
        let unknown = coerce(&mut meta, false).unwrap();
        assert_eq!(unknown, ["foo", "ownerReferences[0].x"]);
        let owner = json!({"apiVersion": "", "kind": "A", "name": "", "uid": ""});
        assert_eq!(meta, json!({"name": "a", "ownerReferences": [owner]}));
    }

    #[test]
    fn wrong_types() {
        let mut meta = json!({"labels": {"a": 1}});
        let why = coerce(&mut meta, false).unwrap_err();
        let want =
            "json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string";
        assert_eq!(why, want);
        coerce(&mut meta, true).unwrap();
        assert_eq!(meta, json!({}));
        let why = coerce(
            &mut json!({"ownerReferences": [{"controller": "x"}]}),
            false,
        );
        let want = "json: cannot unmarshal string into Go struct field \
                    OwnerReference.ownerReferences.controller of type bool";
        assert_eq!(why.unwrap_err(), want);
        assert!(coerce(&mut json!([]), true).is_err());
    }

    #[test]
    fn times_rest_in_utc() {
        let mut meta = json!({"creationTimestamp": "2026-01-01T01:00:00.5+01:00"});
        coerce(&mut meta, false).unwrap();
        assert_eq!(meta, json!({"creationTimestamp": "2026-01-01T00:00:00Z"}));
    }
}
