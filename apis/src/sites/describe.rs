//! One description for both sides: a Rust struct and its OpenAPI schema from the same lines.
//!
//! Start at [`api_type!`]. Invariant: the schema's property names, descriptions and required
//! list come from the very fields that serde reads, so neither can say what the other does not.
//! Deliberately elsewhere: CRD and APIResourceSchema envelopes (`kinds`).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// What a field's type must know about itself to stand in an API type.
pub trait Field {
    /// The structural schema of the type, without its description.
    fn schema() -> Value;
    /// Whether the field is left out when written (Go's `omitempty`).
    fn is_unset(&self) -> bool;
}

impl Field for String {
    fn schema() -> Value {
        json!({"type": "string"})
    }
    fn is_unset(&self) -> bool {
        self.is_empty()
    }
}

impl Field for bool {
    fn schema() -> Value {
        json!({"type": "boolean"})
    }
    fn is_unset(&self) -> bool {
        !*self
    }
}

impl Field for i64 {
    fn schema() -> Value {
        json!({"type": "integer", "format": "int64"})
    }
    fn is_unset(&self) -> bool {
        *self == 0
    }
}

impl Field for Value {
    fn schema() -> Value {
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
    fn is_unset(&self) -> bool {
        self.is_null()
    }
}

/// Any JSON, not only objects.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Json(pub Value);

impl Field for Json {
    fn schema() -> Value {
        json!({"x-kubernetes-preserve-unknown-fields": true})
    }
    fn is_unset(&self) -> bool {
        self.0.is_null()
    }
}

impl<T: Field> Field for Option<T> {
    fn schema() -> Value {
        T::schema()
    }
    fn is_unset(&self) -> bool {
        self.is_none()
    }
}

impl<T: Field> Field for Vec<T> {
    fn schema() -> Value {
        json!({"type": "array", "items": T::schema()})
    }
    fn is_unset(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Field> Field for BTreeMap<String, T> {
    fn schema() -> Value {
        json!({"type": "object", "additionalProperties": T::schema()})
    }
    fn is_unset(&self) -> bool {
        self.is_empty()
    }
}

/// One field of an API type as the macro hands it over.
pub struct Described {
    /// The Rust name; the property's name is its camelCase.
    pub name: &'static str,
    /// The documentation lines.
    pub docs: &'static [&'static str],
    /// Schema of the field's type.
    pub schema: Value,
    /// Whether the field must be there.
    pub required: bool,
    /// What the schema says beyond the type: limits, patterns, defaults, list types.
    pub extra: Value,
}

/// Assembles the schema of a struct.
pub fn object(docs: &[&str], fields: Vec<Described>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in fields {
        let name = camel(field.name);
        let mut schema = field.schema;
        if let Some(map) = schema.as_object_mut() {
            map.insert("description".into(), Value::String(text(field.docs)));
            if let Value::Object(extra) = field.extra {
                map.extend(extra);
            }
        }
        if field.required {
            required.push(Value::String(name.clone()));
        }
        properties.insert(name, schema);
    }
    let mut out = json!({
        "type": "object", "description": text(docs), "properties": properties,
    });
    if !required.is_empty() {
        out["required"] = Value::Array(required);
    }
    out
}

fn text(docs: &[&str]) -> String {
    let mut out = String::new();
    for line in docs {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(line.trim());
    }
    out
}

fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.trim_start_matches("r#").chars() {
        if c == '_' {
            upper = true;
        } else if std::mem::take(&mut upper) {
            out.push(c.to_ascii_uppercase());
        } else {
            out.push(c);
        }
    }
    out
}

/// Declares API types: fields end in `;`, `[required]` marks what must be there, and a JSON
/// object after the type adds to the field's schema.
macro_rules! api_type {
    ($( $(#[doc = $doc:literal])* pub struct $name:ident {
        $( $(#[doc = $fdoc:literal])* $field:ident : $ty:ty
           $([$req:ident])? $({ $($extra:tt)* })? ; )*
    } )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            $( $(#[doc = $fdoc])*
               #[serde(skip_serializing_if = "crate::sites::Field::is_unset")]
               pub $field: $ty, )*
        }
        impl crate::sites::Field for $name {
            fn schema() -> serde_json::Value {
                crate::sites::describe::object(&[$($doc),*], vec![
                    $( crate::sites::describe::Described {
                        name: stringify!($field),
                        docs: &[$($fdoc),*],
                        schema: <$ty as crate::sites::Field>::schema(),
                        required: api_type!(@required $($req)?),
                        extra: serde_json::json!({ $($($extra)*)? }),
                    } ),*
                ])
            }
            fn is_unset(&self) -> bool {
                *self == Self::default()
            }
        }
    )*};
    (@required required) => { true };
    (@required) => { false };
}
pub(crate) use api_type;

api_type! {
    /// One observation about the object, as in every Kubernetes API.
    pub struct Condition {
        /// What is observed, in CamelCase.
        r#type: String [required] {"maxLength": 316};
        /// True, False or Unknown.
        status: String [required] {"enum": ["True", "False", "Unknown"]};
        /// Generation of the object that was observed.
        observed_generation: i64 {"minimum": 0};
        /// When the status last changed.
        last_transition_time: String [required] {"format": "date-time"};
        /// Why, as one CamelCase word.
        reason: String [required] {"maxLength": 1024, "minLength": 1};
        /// Why, for people.
        message: String {"maxLength": 32768};
    }
    /// Chooses objects by their labels; an empty one chooses all.
    pub struct LabelSelector {
        /// Labels that must be there with these values.
        match_labels: BTreeMap<String, String>;
        /// Requirements that must hold, all of them.
        match_expressions: Vec<Requirement> {"x-kubernetes-list-type": "atomic", "maxItems": 64};
    }
    /// One requirement on a label.
    pub struct Requirement {
        /// The label's key.
        key: String [required] {"minLength": 1, "maxLength": 317};
        /// In, NotIn, Exists or DoesNotExist.
        operator: String [required] {"enum": ["In", "NotIn", "Exists", "DoesNotExist"]};
        /// Values for In and NotIn.
        values: Vec<String> {"x-kubernetes-list-type": "atomic", "maxItems": 256};
    }
}

impl LabelSelector {
    /// Whether a set of labels satisfies the selector. An operator that is none of the four
    /// matches nothing, so that a typing error never places everything.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels
            .iter()
            .all(|(k, v)| labels.get(k) == Some(v))
            && self.match_expressions.iter().all(|r| r.matches(labels))
    }

    /// Whether the selector asks for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }
}

impl Requirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator.as_str() {
            "In" => value.is_some_and(|v| self.values.contains(v)),
            "NotIn" => value.is_none_or(|v| !self.values.contains(v)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}

/// Sets a condition; the transition time moves only when the status does. Answers whether
/// anything changed.
pub fn set_condition(conditions: &mut Vec<Condition>, new: Condition) -> bool {
    let Some(old) = conditions.iter_mut().find(|c| c.r#type == new.r#type) else {
        conditions.push(new);
        conditions.sort_by(|a, b| a.r#type.cmp(&b.r#type));
        return true;
    };
    let mut new = new;
    if old.status == new.status {
        new.last_transition_time = old.last_transition_time.clone();
    }
    let changed = *old != new;
    *old = new;
    changed
}
