//! Is an object of its type? Unknown fields, wrong kinds and doubled list items are errors; this is
//! what refuses an apply patch (SSA-19, SSA-20, FV-10).

use hanse_json::{Map, Value};

use super::{shape, step_of};
use crate::path::{PathElement, render};
use crate::types::{ListKind, ListType, MapType, Scalar, Shape, TypeRef, TypeSchema};

/// One violation; prints as `.spec.x: field not declared in schema`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where, rendered; empty for the object itself.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// All violations as one text, the way Kubernetes joins them.
pub fn join(errors: &[Error]) -> String {
    match errors {
        [single] => single.to_string(),
        many => {
            let lines: Vec<String> = many.iter().map(|e| format!("  {e}")).collect();
            format!("errors:\n{}", lines.join("\n"))
        }
    }
}

/// Checks `value`; `allow_duplicates` is for live objects, whose doubled items are tolerated.
pub fn validate(schema: &TypeSchema, value: &Value, allow_duplicates: bool) -> Vec<Error> {
    let mut walk = Walk {
        schema,
        allow_duplicates,
        path: vec![],
        errors: vec![],
    };
    walk.any(schema.root(), value);
    walk.errors
}

struct Walk<'w> {
    schema: &'w TypeSchema,
    allow_duplicates: bool,
    path: Vec<PathElement>,
    errors: Vec<Error>,
}

impl Walk<'_> {
    fn fail(&mut self, message: impl Into<String>) {
        self.errors.push(Error {
            path: render(&self.path),
            message: message.into(),
        });
    }

    fn any(&mut self, ty: TypeRef, value: &Value) {
        let schema = self.schema;
        match shape(schema, ty, Some(value)) {
            Shape::Scalar(kind) => self.scalar(kind, value),
            Shape::List(list) => self.list(list, value),
            Shape::Map(map) => self.map(ty, map, value),
            Shape::Nothing => self.fail("schema error: invalid atom"),
        }
    }

    fn scalar(&mut self, kind: Scalar, value: &Value) {
        let message = match (kind, value) {
            (_, Value::Null)
            | (Scalar::Numeric, Value::Number(_))
            | (Scalar::String, Value::String(_))
            | (Scalar::Boolean, Value::Bool(_))
            | (Scalar::Untyped, Value::Number(_) | Value::String(_) | Value::Bool(_)) => return,
            (Scalar::Numeric, _) => {
                format!("expected numeric (int or float), got {}", go_type(value))
            }
            (Scalar::String, _) => format!("expected string, got {}", go_value(value)),
            (Scalar::Boolean, _) => format!("expected boolean, got {}", go_value(value)),
            (Scalar::Untyped, _) => format!("expected any scalar, got {}", go_value(value)),
        };
        self.fail(message);
    }

    fn list(&mut self, list: &ListType, value: &Value) {
        let items = match value {
            Value::Null => return,
            Value::Array(items) => items,
            other => return self.fail(format!("expected list, got {}", go_value(other))),
        };
        let mut seen = std::collections::BTreeSet::new();
        for (place, item) in items.iter().enumerate() {
            let step = if list.kind == ListKind::Atomic {
                PathElement::Index(i64::try_from(place).unwrap_or(i64::MAX))
            } else {
                match step_of(self.schema, list, item) {
                    Ok(step) => step,
                    Err(message) => {
                        self.path
                            .push(PathElement::Index(i64::try_from(place).unwrap_or(0)));
                        self.fail(format!("element {place}: {message}"));
                        self.path.pop();
                        // Without a step the item cannot be walked into.
                        return;
                    }
                }
            };
            if list.kind != ListKind::Atomic && !seen.insert(step.clone()) && !self.allow_duplicates
            {
                self.fail(format!("duplicate entries for key {step}"));
            }
            self.path.push(step);
            self.any(list.element, item);
            self.path.pop();
        }
    }

    fn map(&mut self, _ty: TypeRef, map: &MapType, value: &Value) {
        let fields: &Map<String, Value> = match value {
            Value::Null => return,
            Value::Object(fields) => fields,
            other => return self.fail(format!("expected map, got {}", go_value(other))),
        };
        for (name, value) in fields {
            self.path.push(PathElement::field(name.as_str()));
            match map.type_of(name) {
                Some(ty) => self.any(ty, value),
                None => self.fail("field not declared in schema"),
            }
            self.path.pop();
        }
    }
}

/// The Go type that a decoded JSON value has, as `%T` prints it.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// The value wrapped as the original prints it: `&value.valueUnstructured{Value:...}` shortened to
/// what every client can use, the JSON.
fn go_value(value: &Value) -> String {
    format!("&{{{}}}", hanse_json::to_string(value))
}
