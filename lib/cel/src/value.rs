//! Values of expressions, and how JSON is read as one without being copied.
//!
//! Start at [`Value`] and [`read`]. Lists and maps are either views into the caller's JSON together
//! with their declaration, or made by the expression and shared. A declared view reads its parts
//! only when they are asked for, and remembers how it compares (sets, lists with keys).

use crate::decl::{DeclKind, DeclType, ListKind, ObjectType};
use crate::escape::{escape, unescape};
use crate::opaque::Opaque;
use crate::time::{self, Timestamp};
use base64::Engine;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A runtime error of an expression: `no such key: x`, `division by zero`, ...
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CelError(pub Arc<str>);

impl CelError {
    pub(crate) fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    pub(crate) fn no_overload() -> Self {
        Self::new("no such overload")
    }
}

impl fmt::Display for CelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CelError {}

pub(crate) type Eval<T> = Result<T, CelError>;

/// Text, borrowed from the caller's JSON or from the program, or made by the expression.
#[derive(Debug, Clone)]
pub enum Text<'a> {
    /// Part of the input.
    Borrowed(&'a str),
    /// Made while evaluating.
    Owned(Arc<str>),
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(s) => s,
            Self::Owned(s) => s,
        }
    }
}

/// The value of an expression.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `bool`.
    Bool(bool),
    /// `int`.
    Int(i64),
    /// `uint`.
    Uint(u64),
    /// `double`.
    Double(f64),
    /// `string`.
    String(Text<'a>),
    /// `bytes`.
    Bytes(Arc<[u8]>),
    /// `google.protobuf.Duration`, in nanoseconds.
    Duration(i64),
    /// `google.protobuf.Timestamp`.
    Timestamp(Timestamp),
    /// A type; its name.
    Type(Text<'a>),
    /// `list`.
    List(List<'a>),
    /// `map`, and every object.
    Map(Map<'a>),
    /// `optional_type`.
    Optional(Option<Arc<Value<'a>>>),
    /// JSON without a schema that is kept as it is: comparable, otherwise closed.
    Preserved(&'a Json),
    /// A value of one of Kubernetes' libraries.
    Opaque(Arc<Opaque>),
    /// What could not be read, inside of an optional only: there it is a value like any other
    /// until somebody takes it out.
    Broken(CelError),
}

/// A list.
#[derive(Debug, Clone)]
pub enum List<'a> {
    /// JSON with a declaration.
    Declared(&'a [Json], &'a crate::decl::ListType),
    /// JSON as it comes.
    Raw(&'a [Json]),
    /// Made by the expression.
    Owned(Arc<Vec<Value<'a>>>),
    /// A declared list with elements added by the expression.
    Merged(Arc<Merged<'a>>),
}

/// A declared list with elements added: each with its JSON, if it has one, or why it cannot be
/// read.
#[derive(Debug)]
pub struct Merged<'a> {
    pub(crate) items: Vec<Eval<Value<'a>>>,
    pub(crate) decl: &'a crate::decl::ListType,
}

/// A map or an object.
#[derive(Debug, Clone)]
pub enum Map<'a> {
    /// A JSON object with declared properties.
    Object(&'a serde_json::Map<String, Json>, &'a ObjectType),
    /// A JSON object with values of one declared type.
    Values(&'a serde_json::Map<String, Json>, &'a DeclType),
    /// A JSON object as it comes.
    Raw(&'a serde_json::Map<String, Json>),
    /// Made by the expression.
    Owned(Arc<BTreeMap<Key<'a>, Value<'a>>>),
}

/// A key of a map made by an expression. Numbers of different types are different keys.
#[derive(Debug, Clone)]
pub enum Key<'a> {
    /// `null`.
    Null,
    /// `bool`.
    Bool(bool),
    /// `int`.
    Int(i64),
    /// `uint`.
    Uint(u64),
    /// `double`, by its bits.
    Double(u64),
    /// `string`.
    String(Text<'a>),
}

impl Key<'_> {
    fn rank(&self) -> (u8, u64, &str) {
        match self {
            Self::Null => (0, 2, ""),
            Self::Bool(b) => (0, u64::from(*b), ""),
            Self::Int(i) => (1, (*i as u64) ^ (1 << 63), ""),
            Self::Uint(u) => (2, *u, ""),
            Self::Double(d) => (3, *d, ""),
            Self::String(s) => (4, 0, s),
        }
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Key<'_> {}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl<'a> Key<'a> {
    pub(crate) fn from_value(value: &Value<'a>) -> Option<Self> {
        Some(match value {
            Value::Null => Self::Null,
            Value::Bool(b) => Self::Bool(*b),
            Value::Int(i) => Self::Int(*i),
            Value::Uint(u) => Self::Uint(*u),
            Value::Double(d) => Self::Double(d.to_bits()),
            Value::String(s) => Self::String(s.clone()),
            _ => return None,
        })
    }

    pub(crate) fn to_value(&self) -> Value<'a> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(b) => Value::Bool(*b),
            Self::Int(i) => Value::Int(*i),
            Self::Uint(u) => Value::Uint(*u),
            Self::Double(d) => Value::Double(f64::from_bits(*d)),
            Self::String(s) => Value::String(s.clone()),
        }
    }

    /// The keys of other numeric types that count as this one when looking it up.
    fn aliases(&self) -> [Option<Key<'a>>; 2] {
        match self {
            Self::Int(i) => [u64::try_from(*i).ok().map(Self::Uint), None],
            Self::Uint(u) => [i64::try_from(*u).ok().map(Self::Int), None],
            Self::Double(bits) => {
                let d = f64::from_bits(*bits);
                let int = crate::number::double_to_int(d).filter(|i| *i as f64 == d);
                let uint = crate::number::double_to_uint(d).filter(|u| *u as f64 == d);
                [int.map(Self::Int), uint.map(Self::Uint)]
            }
            _ => [None, None],
        }
    }
}

/// Reads JSON as its declaration says.
pub(crate) fn read<'a>(json: &'a Json, decl: &'a DeclType) -> Eval<Value<'a>> {
    if json.is_null() && !matches!(decl.kind, DeclKind::Dyn | DeclKind::Optional(_)) {
        if decl.nullable {
            return Ok(Value::Null);
        }
        return Err(CelError::new(
            "invalid data, got null for schema with nullable=false",
        ));
    }
    match &decl.kind {
        DeclKind::Dyn => Ok(raw(json)),
        DeclKind::Optional(of) => {
            let value = read(json, of).unwrap_or_else(|error| {
                // The words of the second conversion that the original tries on the error.
                let why =
                    format!("unsupported conversion to ref.Val: (*errors.errorString){error}");
                Value::Broken(CelError::new(why))
            });
            Ok(Value::Optional(Some(Arc::new(value))))
        }
        DeclKind::Preserved => Ok(Value::Preserved(json)),
        DeclKind::IntOrString => match json {
            Json::String(s) => Ok(Value::String(Text::Borrowed(s))),
            Json::Number(n) if n.is_i64() => Ok(raw(json)),
            _ => Err(CelError::new(
                "invalid data, expected XIntOrString value to be either a string or integer",
            )),
        },
        DeclKind::Object(o) => match json {
            Json::Object(m) => Ok(Value::Map(Map::Object(m, o))),
            _ => expected_map(),
        },
        DeclKind::Map(values) => match json {
            Json::Object(m) => Ok(Value::Map(Map::Values(m, values))),
            _ => expected_map(),
        },
        DeclKind::List(list) => match json {
            Json::Array(items) => Ok(Value::List(List::Declared(items, list))),
            _ => Err(CelError::new(
                "invalid data, expected an array for the provided schema with type=array",
            )),
        },
        _ => read_scalar(json, &decl.kind),
    }
}

fn expected_map<'a>() -> Eval<Value<'a>> {
    Err(CelError::new(
        "invalid data, expected a map for the provided schema with type=object",
    ))
}

fn read_scalar<'a>(json: &'a Json, kind: &DeclKind) -> Eval<Value<'a>> {
    let wrong = |what: &str| {
        CelError::new(format!(
            "invalid data, expected {what}, got {}",
            go_type(json)
        ))
    };
    match (kind, json) {
        (DeclKind::Bool, Json::Bool(b)) => Ok(Value::Bool(*b)),
        (DeclKind::Bool, _) => Err(wrong("bool")),
        (DeclKind::Int, Json::Number(n)) => n.as_i64().map(Value::Int).ok_or_else(|| wrong("int")),
        (DeclKind::Int, _) => Err(wrong("int")),
        (DeclKind::Double, Json::Number(n)) => {
            n.as_f64().map(Value::Double).ok_or_else(|| wrong("float"))
        }
        (DeclKind::Double, _) => Err(wrong("float")),
        (DeclKind::Duration, Json::String(s)) => time::parse_schema_duration(s)
            .map(Value::Duration)
            .map_err(|e| CelError::new(format!("Invalid duration {s}: {e}"))),
        (DeclKind::Date, Json::String(s)) => time::parse_date(s)
            .map(Value::Timestamp)
            .ok_or_else(|| CelError::new(format!("Invalid date formatted string {s}"))),
        (DeclKind::DateTime, Json::String(s)) => time::parse_schema_date_time(s)
            .map(Value::Timestamp)
            .ok_or_else(|| CelError::new(format!("Invalid date-time formatted string {s}"))),
        (DeclKind::Bytes, Json::String(s)) => read_bytes(s),
        (_, Json::String(s)) => Ok(Value::String(Text::Borrowed(s))),
        _ => Err(wrong("string")),
    }
}

/// Bytes are read in the alphabet for URLs, whatever the format's name says.
fn read_bytes<'a>(text: &str) -> Eval<Value<'a>> {
    use base64::DecodeError::InvalidByte;
    let plain: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    base64::engine::general_purpose::URL_SAFE
        .decode(&plain)
        .map(|b| Value::Bytes(b.into()))
        .map_err(|e| {
            let at = match e {
                InvalidByte(at, _) => at,
                _ => plain.len() - plain.len() % 4,
            };
            let why = format!("illegal base64 data at input byte {at}");
            CelError::new(format!("Invalid byte formatted string {text}: {why}"))
        })
}

/// Reads JSON as it comes.
pub(crate) fn raw(json: &Json) -> Value<'_> {
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => match n.as_i64() {
            Some(i) => Value::Int(i),
            None => Value::Double(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(s) => Value::String(Text::Borrowed(s)),
        Json::Array(items) => Value::List(List::Raw(items)),
        Json::Object(m) => Value::Map(Map::Raw(m)),
    }
}

/// The Go type that Kubernetes' decoder gives a JSON value; part of error texts.
fn go_type(json: &Json) -> &'static str {
    match json {
        Json::Null => "<nil>",
        Json::Bool(_) => "bool",
        Json::Number(n) if n.is_i64() => "int64",
        Json::Number(_) => "float64",
        Json::String(_) => "string",
        Json::Array(_) => "[]interface {}",
        Json::Object(_) => "map[string]interface {}",
    }
}

impl<'a> Value<'a> {
    /// Text made by the expression.
    pub(crate) fn text(s: impl Into<Arc<str>>) -> Self {
        Self::String(Text::Owned(s.into()))
    }

    pub(crate) fn list(items: Vec<Value<'a>>) -> Self {
        Self::List(List::Owned(Arc::new(items)))
    }

    pub(crate) fn some(value: Value<'a>) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    pub(crate) fn opaque(value: Opaque) -> Self {
        Self::Opaque(Arc::new(value))
    }

    /// Name of the type at run time.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Type(_) => "type",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Optional(_) => "optional_type",
            Self::Preserved(_) => "unknown",
            Self::Opaque(o) => o.type_name(),
            Self::Broken(_) => "error",
        }
    }

    /// What an optional holds, when it is taken out.
    pub(crate) fn taken_out(&self) -> Eval<Value<'a>> {
        match self {
            Self::Broken(error) => Err(error.clone()),
            value => Ok(value.clone()),
        }
    }

    /// Whether the value is `true`; `None` if it is no bool.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The text, if the value is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(s) => Some(s),
            _ => None,
        }
    }

    /// Number of code points, bytes, elements or entries; `None` for values without a size.
    pub(crate) fn size(&self) -> Option<usize> {
        match self {
            Self::String(s) => Some(s.chars().count()),
            Self::Bytes(b) => Some(b.len()),
            Self::List(l) => Some(l.len()),
            Self::Map(m) => Some(m.len()),
            _ => None,
        }
    }

    /// The value inside an optional once that was named: declared views lose their declaration.
    pub(crate) fn undeclared(&self) -> Value<'a> {
        match self {
            Self::Map(Map::Object(m, _) | Map::Values(m, _)) => Self::Map(Map::Raw(m)),
            Self::List(List::Declared(items, _)) => Self::List(List::Raw(items)),
            Self::Preserved(json) => raw(json),
            Self::Type(name) => Self::String(name.clone()),
            other => other.clone(),
        }
    }

    /// The value as JSON, where it has one: for callers that print or store results.
    pub fn to_json(&self) -> Option<Json> {
        Some(match self {
            Self::Null => Json::Null,
            Self::Bool(b) => Json::Bool(*b),
            Self::Int(i) => Json::from(*i),
            Self::Uint(u) => Json::from(*u),
            Self::Double(d) => Json::from(*d),
            Self::String(s) => Json::from(&**s),
            Self::Bytes(b) => Json::from(base64::engine::general_purpose::STANDARD.encode(b)),
            Self::Duration(d) => Json::from(time::format_duration(*d)),
            Self::Timestamp(t) => Json::from(t.to_string()),
            Self::Type(name) => Json::from(&**name),
            Self::List(l) => {
                let items = (0..l.len()).map(|i| l.get(i).ok()?.to_json());
                Json::Array(items.collect::<Option<_>>()?)
            }
            Self::Map(Map::Object(m, _) | Map::Values(m, _) | Map::Raw(m)) => {
                Json::Object((*m).clone())
            }
            Self::Map(m @ Map::Owned(_)) => {
                let entries = m.keys().into_iter().map(|k| {
                    let value = m.find(&k).ok()??.to_json()?;
                    Some((crate::number::plain(&k), value))
                });
                Json::Object(entries.collect::<Option<_>>()?)
            }
            Self::Optional(o) => o.as_ref()?.to_json()?,
            Self::Preserved(json) => (*json).clone(),
            Self::Opaque(o) => Json::from(o.to_string()),
            Self::Broken(_) => return None,
        })
    }
}

impl<'a> List<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Declared(items, _) | Self::Raw(items) => items.len(),
            Self::Owned(items) => items.len(),
            Self::Merged(m) => m.items.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at `index`.
    pub fn get(&self, index: usize) -> Result<Value<'a>, CelError> {
        let out = || CelError::new(format!("index out of bounds: {index}"));
        match self {
            Self::Declared(items, list) => read(items.get(index).ok_or_else(out)?, &list.item),
            Self::Raw(items) => items.get(index).map(raw).ok_or_else(out),
            Self::Owned(items) => items.get(index).cloned().ok_or_else(out),
            Self::Merged(m) => m.items.get(index).cloned().ok_or_else(out)?,
        }
    }

    /// The declaration, if elements are read by one.
    pub(crate) fn declaration(&self) -> Option<&'a crate::decl::ListType> {
        match self {
            Self::Declared(_, list) => Some(list),
            Self::Merged(m) => Some(m.decl),
            _ => None,
        }
    }

    pub(crate) fn kind(&self) -> &ListKind {
        self.declaration().map_or(&ListKind::Atomic, |d| &d.kind)
    }
}

impl<'a> Map<'a> {
    /// Number of entries.
    pub fn len(&self) -> usize {
        match self {
            Self::Object(m, _) | Self::Values(m, _) | Self::Raw(m) => m.len(),
            Self::Owned(m) => m.len(),
        }
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key. Null properties of objects count as absent.
    pub(crate) fn find(&self, key: &Value<'a>) -> Eval<Option<Value<'a>>> {
        match (self, key) {
            (Self::Object(m, o), Value::String(k)) if o.has_properties => {
                let Some(property) = unescape(k) else {
                    return Ok(None);
                };
                let value = m.get(&*property).filter(|v| !v.is_null());
                match value.zip(o.fields.get(&*property)) {
                    Some((value, field)) => read(value, field).map(Some),
                    None => Ok(None),
                }
            }
            (Self::Object(..), Value::String(_)) => Ok(None),
            (Self::Values(m, decl), Value::String(k)) => {
                m.get(&**k).map(|v| read(v, decl)).transpose()
            }
            (Self::Object(..) | Self::Values(..), _) => Err(CelError::no_overload()),
            (Self::Raw(m), Value::String(k)) => Ok(m.get(&**k).map(raw)),
            (Self::Raw(_), _) => Ok(None),
            (Self::Owned(m), _) => Ok(Self::find_owned(m, key)),
        }
    }

    /// The value of a key that there is. A null property has a key and no value.
    pub(crate) fn at(&self, key: &Value<'a>) -> Eval<Value<'a>> {
        let missing = || CelError::new(format!("no such key: {}", crate::number::plain(key)));
        self.find(key)?.ok_or_else(missing)
    }

    fn find_owned(m: &BTreeMap<Key<'a>, Value<'a>>, key: &Value<'a>) -> Option<Value<'a>> {
        let key = Key::from_value(key)?;
        let found = m.get(&key);
        found
            .or_else(|| key.aliases().iter().flatten().find_map(|k| m.get(k)))
            .cloned()
    }

    pub(crate) fn has_owned(m: &BTreeMap<Key<'a>, Value<'a>>, key: &Value<'a>) -> bool {
        Self::find_owned(m, key).is_some()
    }

    /// All entries that expressions see, each value read as declared.
    pub fn entries(&self) -> Vec<(Key<'a>, Result<Value<'a>, CelError>)> {
        let entry = |key: Value<'a>| Some((Key::from_value(&key)?, self.at(&key)));
        self.keys().into_iter().filter_map(entry).collect()
    }

    /// The keys that expressions see: escaped identifiers for objects.
    pub(crate) fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Self::Object(m, o) => m
                .keys()
                .filter(|k| o.fields.contains_key(*k))
                .map(|k| match escape(k) {
                    Some(escaped) if escaped != *k => Value::text(escaped),
                    _ => Value::String(Text::Borrowed(k)),
                })
                .collect(),
            Self::Values(m, _) | Self::Raw(m) => {
                m.keys().map(|k| Value::String(Text::Borrowed(k))).collect()
            }
            Self::Owned(m) => m.keys().map(Key::to_value).collect(),
        }
    }
}
