//! What a value may be: the neutral tree between a schema and CEL.
//!
//! A [`DeclType`] serves three: the checker (which fields exist and of which type), the cost
//! estimator (how large a value can get), and the evaluator (how JSON is to be read).
//! [`DeclType::from_schema`] makes one from an OpenAPI v3 schema by Kubernetes' rules; it knows
//! nothing of validation. Bounds are estimated from the largest request where a schema states none.

use crate::escape::{escape, is_reserved, unescape};
use crate::limits::REQUEST_BYTES;
use crate::types::Type;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How a list compares and merges (`x-kubernetes-list-type`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListKind {
    /// Element by element, in order.
    Atomic,
    /// Without regard to order.
    Set,
    /// By the values of these properties of the elements.
    Map(Vec<String>),
}

/// What kind of value is declared.
#[derive(Debug, Clone)]
pub enum DeclKind {
    /// Any JSON, read as it comes.
    Dyn,
    /// An integer or a string.
    IntOrString,
    /// Kept without a schema: expressions cannot name it, only equality looks inside.
    Preserved,
    /// `true` or `false`.
    Bool,
    /// A 64-bit integer.
    Int,
    /// A 64-bit floating point number.
    Double,
    /// Text.
    String,
    /// Base64 text, read as bytes.
    Bytes,
    /// A duration as text.
    Duration,
    /// A date as text, read as the timestamp of its midnight.
    Date,
    /// A point in time as text.
    DateTime,
    /// An object with properties.
    Object(Arc<ObjectType>),
    /// An object with arbitrary keys and values of one type.
    Map(Arc<DeclType>),
    /// A list.
    List(Arc<ListType>),
    /// `optional_type` of another, as `oldSelf` is with `optionalOldSelf`.
    Optional(Arc<DeclType>),
}

/// A list and its elements.
#[derive(Debug, Clone)]
pub struct ListType {
    /// Type of the elements.
    pub item: DeclType,
    /// How it compares and merges.
    pub kind: ListKind,
}

/// An object with properties.
#[derive(Debug, Clone)]
pub struct ObjectType {
    /// Unique name within one environment; part of error messages.
    pub name: String,
    /// By property name (not escaped).
    pub fields: BTreeMap<String, DeclType>,
    /// Whether the schema states properties at all: without any, keys are not escaped and null
    /// counts as present.
    pub has_properties: bool,
}

/// A declared type with its bounds.
#[derive(Debug, Clone)]
pub struct DeclType {
    /// What it is.
    pub kind: DeclKind,
    /// Whether null is a value of it.
    pub nullable: bool,
    /// Largest number of elements, entries, bytes or code points (by kind); zero where a value has
    /// a fixed size.
    pub max_elements: i64,
    /// Fewest bytes that it takes in JSON.
    pub min_size: i64,
}

const MAX_TIME_TEXT: i64 = 32;
const DATE_TEXT: i64 = 12;

impl DeclType {
    fn plain(kind: DeclKind, min_size: i64) -> Self {
        Self {
            kind,
            nullable: false,
            max_elements: 0,
            min_size,
        }
    }

    /// Any JSON.
    pub fn any() -> Self {
        Self::plain(DeclKind::Dyn, 1)
    }

    /// `bool`.
    pub fn bool() -> Self {
        Self::plain(DeclKind::Bool, 4)
    }

    /// `int`.
    pub fn int() -> Self {
        Self::plain(DeclKind::Int, 1)
    }

    /// `double`.
    pub fn double() -> Self {
        Self::plain(DeclKind::Double, 1)
    }

    /// `string` of at most `max_length` code points.
    pub fn string(max_length: Option<i64>) -> Self {
        let max = max_length.map_or(REQUEST_BYTES - 2, |m| m.max(0) * 4);
        Self {
            max_elements: max,
            ..Self::plain(DeclKind::String, 2)
        }
    }

    /// `list` of at most `max_items` elements.
    pub fn list(item: DeclType, kind: ListKind, max_items: Option<i64>) -> Self {
        let max = max_items.map_or((REQUEST_BYTES - 2) / (item.min_size + 1), |m| m.max(0));
        let kind = DeclKind::List(Arc::new(ListType { item, kind }));
        Self {
            max_elements: max,
            ..Self::plain(kind, 2)
        }
    }

    /// `map` from strings, of at most `max_properties` entries.
    pub fn map(value: DeclType, max_properties: Option<i64>) -> Self {
        let max = max_properties.map_or((REQUEST_BYTES - 2) / (value.min_size + 6), |m| m.max(0));
        Self {
            max_elements: max,
            ..Self::plain(DeclKind::Map(Arc::new(value)), 2)
        }
    }

    /// An object. `required` are the properties that are always present and have no default.
    pub fn object(fields: BTreeMap<String, DeclType>, required: &[&str]) -> Self {
        let size = |name: &&&str| {
            let field = fields.get(**name).filter(|f| f.cel_type().is_some())?;
            Some(name.len() as i64 + field.min_size + 4)
        };
        let min_size = 2 + required.iter().filter_map(|n| size(&n)).sum::<i64>();
        let has_properties = !fields.is_empty();
        let object = ObjectType {
            name: "object".into(),
            fields,
            has_properties,
        };
        Self::plain(DeclKind::Object(Arc::new(object)), min_size)
    }

    /// `optional_type` of a type.
    pub fn optional(of: DeclType) -> Self {
        let (max_elements, min_size) = (of.max_elements, of.min_size);
        Self {
            max_elements,
            ..Self::plain(DeclKind::Optional(Arc::new(of)), min_size)
        }
    }

    /// The same, with null among its values.
    pub fn or_null(mut self) -> Self {
        self.nullable = true;
        self
    }

    /// Gives every object below a name that tells where it is: `NAME.field`, `NAME.list.@idx`,
    /// `NAME.map.@elem`. Names of objects are part of error messages.
    pub fn named(self, name: &str) -> Self {
        let kind = match self.kind {
            DeclKind::Object(o) => {
                let name = if o.name == "object" { name } else { &o.name };
                let fields = o.fields.iter().map(|(property, field)| {
                    let part = escape(property).unwrap_or_else(|| property.clone());
                    (
                        property.clone(),
                        field.clone().named(&format!("{name}.{part}")),
                    )
                });
                DeclKind::Object(Arc::new(ObjectType {
                    name: name.into(),
                    fields: fields.collect(),
                    has_properties: o.has_properties,
                }))
            }
            DeclKind::Map(value) => {
                let value = Arc::unwrap_or_clone(value).named(&format!("{name}.@elem"));
                DeclKind::Map(Arc::new(value))
            }
            DeclKind::List(list) => {
                let list = Arc::unwrap_or_clone(list);
                let item = list.item.named(&format!("{name}.@idx"));
                DeclKind::List(Arc::new(ListType {
                    item,
                    kind: list.kind,
                }))
            }
            DeclKind::Optional(of) => {
                DeclKind::Optional(Arc::new(Arc::unwrap_or_clone(of).named(name)))
            }
            other => other,
        };
        Self { kind, ..self }
    }

    /// The type that expressions see, or `None` if they cannot see values of it at all.
    pub fn cel_type(&self) -> Option<Type> {
        Some(match &self.kind {
            DeclKind::Dyn | DeclKind::IntOrString => Type::Dyn,
            DeclKind::Preserved => return None,
            DeclKind::Bool => Type::Bool,
            DeclKind::Int => Type::Int,
            DeclKind::Double => Type::Double,
            DeclKind::String => Type::String,
            DeclKind::Bytes => Type::Bytes,
            DeclKind::Duration => Type::Duration,
            DeclKind::Date | DeclKind::DateTime => Type::Timestamp,
            DeclKind::Object(o) => Type::Object(o.clone()),
            DeclKind::Map(value) => Type::map(Type::String, value.cel_type()?),
            DeclKind::List(list) => Type::list(list.item.cel_type()?),
            DeclKind::Optional(of) => Type::optional(of.cel_type()?),
        })
    }

    /// What one step of a path leads to: a field name, `@items`, `@values` or `@keys`.
    pub(crate) fn step(&self, name: &str) -> Option<&DeclType> {
        match (&self.kind, name) {
            (DeclKind::Optional(of), _) => of.step(name),
            (DeclKind::List(list), "@items" | "@values") => Some(&list.item),
            (DeclKind::Map(value), "@items" | "@values") => Some(value),
            (DeclKind::Object(o), _) => o.escaped_field(name),
            _ => None,
        }
    }

    /// Whether values have keys of a declared type (for the size of keys, which is taken as zero).
    pub(crate) fn has_keys(&self) -> bool {
        match &self.kind {
            DeclKind::Optional(of) => of.has_keys(),
            kind => matches!(kind, DeclKind::Map(_)),
        }
    }

    /// From an OpenAPI v3 schema (structural, as CRDs have it). `is_root`: the schema of a whole
    /// resource, which always has `apiVersion`, `kind`, `metadata.name` and
    /// `metadata.generateName`. `None` if the schema says nothing about the type at all.
    pub fn from_schema(schema: &Value, is_root: bool) -> Option<Self> {
        let decl = Self::read(schema, is_root)?;
        Some(if flag(schema, "nullable") {
            decl.or_null()
        } else {
            decl
        })
    }

    fn read(schema: &Value, is_root: bool) -> Option<Self> {
        if flag(schema, "x-kubernetes-int-or-string") {
            let max = bound(schema, "maxLength").map_or(REQUEST_BYTES - 2, |m| m * 4);
            return Some(Self {
                max_elements: max,
                ..Self::plain(DeclKind::IntOrString, 1)
            });
        }
        match schema
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
        {
            "array" => {
                let items = schema.get("items")?;
                let item = Self::from_schema(items, is_embedded(items))?;
                Some(Self::list(
                    item,
                    list_kind(schema),
                    bound(schema, "maxItems"),
                ))
            }
            "object" => Self::read_object(schema, is_root),
            "string" => Some(Self::read_string(schema)),
            "boolean" => Some(Self::bool()),
            "number" => Some(Self::double()),
            "integer" => Some(Self::int()),
            _ if flag(schema, "x-kubernetes-preserve-unknown-fields") => {
                Some(Self::plain(DeclKind::Preserved, 1))
            }
            _ => None,
        }
    }

    fn read_object(schema: &Value, is_root: bool) -> Option<Self> {
        let no_properties = schema
            .get("properties")
            .and_then(Value::as_object)
            .is_none();
        if no_properties
            && !is_root
            && let Some(values) = schema.get("additionalProperties").filter(|v| v.is_object())
        {
            let value = Self::from_schema(values, is_embedded(values))?;
            return Some(Self::map(value, bound(schema, "maxProperties")));
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        let mut fields = BTreeMap::new();
        let mut defaulted = Vec::new();
        for (name, property) in properties.into_iter().flatten() {
            if let Some(field) = Self::from_schema(property, is_embedded(property)) {
                fields.insert(name.clone(), field);
            }
            if property.get("default").is_some() {
                defaulted.push(name.as_str());
            }
        }
        if is_root {
            Self::add_metadata(&mut fields);
        }
        let required = schema.get("required").and_then(Value::as_array);
        let required: Vec<&str> = required
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter(|name| !defaulted.contains(name))
            .collect();
        Some(Self::object(fields, &required))
    }

    fn add_metadata(fields: &mut BTreeMap<String, DeclType>) {
        let is_string =
            |f: Option<&DeclType>| f.is_some_and(|f| matches!(f.kind, DeclKind::String));
        let has_names = matches!(
            fields.get("metadata").map(|m| &m.kind),
            Some(DeclKind::Object(m))
                if is_string(m.fields.get("name")) && is_string(m.fields.get("generateName"))
        );
        if has_names && is_string(fields.get("kind")) && is_string(fields.get("apiVersion")) {
            return;
        }
        let names = ["name", "generateName"].map(|n| (n.to_owned(), Self::string(None)));
        fields.insert("metadata".into(), Self::object(BTreeMap::from(names), &[]));
        fields.insert("kind".into(), Self::string(None));
        fields.insert("apiVersion".into(), Self::string(None));
    }

    fn read_string(schema: &Value) -> Self {
        let text = |kind, max_elements, min_size| Self {
            max_elements,
            ..Self::plain(kind, min_size)
        };
        match schema
            .get("format")
            .and_then(Value::as_str)
            .unwrap_or_default()
        {
            "byte" => {
                let max = bound(schema, "maxLength").unwrap_or(REQUEST_BYTES - 2);
                text(DeclKind::Bytes, max, 2)
            }
            "duration" => text(DeclKind::Duration, MAX_TIME_TEXT, 3),
            "date" => text(DeclKind::Date, DATE_TEXT, DATE_TEXT),
            "date-time" => text(DeclKind::DateTime, MAX_TIME_TEXT, 21),
            _ => {
                let values = schema.get("enum").and_then(Value::as_array);
                let longest = values
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .map(str::len)
                    .max();
                match (bound(schema, "maxLength"), values.filter(|v| !v.is_empty())) {
                    (None, Some(_)) => text(DeclKind::String, longest.unwrap_or(0) as i64, 2),
                    (max_length, _) => Self::string(max_length),
                }
            }
        }
    }
}

impl ObjectType {
    /// The field that an identifier names, if expressions can see it. A field whose name is a
    /// reserved word can be named as it is, too.
    pub(crate) fn field(&self, identifier: &str) -> Option<&DeclType> {
        self.escaped_field(identifier).or_else(|| {
            self.fields
                .get(identifier)
                .filter(|_| is_reserved(identifier))
        })
    }

    /// The field that an identifier names by its escaped name only, as cost estimates look it up.
    fn escaped_field(&self, identifier: &str) -> Option<&DeclType> {
        let property = unescape(identifier)?;
        let field = self.fields.get(&*property)?;
        (escape(&property).as_deref() == Some(identifier)).then_some(field)
    }
}

fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn bound(schema: &Value, name: &str) -> Option<i64> {
    schema.get(name).and_then(Value::as_i64).map(|m| m.max(0))
}

fn is_embedded(schema: &Value) -> bool {
    flag(schema, "x-kubernetes-embedded-resource")
}

fn list_kind(schema: &Value) -> ListKind {
    match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => ListKind::Set,
        Some("map") => {
            let keys = schema
                .get("x-kubernetes-list-map-keys")
                .and_then(Value::as_array);
            let keys = keys
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned);
            ListKind::Map(keys.collect())
        }
        _ => ListKind::Atomic,
    }
}
