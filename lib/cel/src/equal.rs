//! Equality, membership and concatenation, for values of every kind.
//!
//! Start at [`equal`]. Declared sets compare without order and declared map lists by key, as
//! Kubernetes does it; values of its libraries refuse to be compared with anything else. What looks
//! odd here (a set compares raw JSON scalars, keys of map lists are looked up escaped) is
//! observable there.

use crate::decl::{DeclKind, ListKind};
use crate::escape::escape;
use crate::limits;
use crate::number;
use crate::value::{CelError, Eval, List, Map, Merged, Text, Value, raw};
use serde_json::Value as Json;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

/// `==`: null equals only null, otherwise as the left value decides.
pub(crate) fn equal<'x>(a: &Value<'x>, b: &Value<'x>) -> Eval<bool> {
    match (a, b) {
        (Value::Null, Value::Null) => Ok(true),
        (Value::Null, _) | (_, Value::Null) => Ok(false),
        _ => same(a, b),
    }
}

/// The left value's own idea of equality.
pub(crate) fn same<'x>(a: &Value<'x>, b: &Value<'x>) -> Eval<bool> {
    Ok(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::String(a), Value::String(b)) => **a == **b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::Timestamp(a), Value::Timestamp(b)) => a.instant() == b.instant(),
        (Value::Type(a), Value::Type(b)) => **a == **b,
        (Value::Null, other) => matches!(other, Value::Null),
        (Value::Optional(a), Value::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => return same(a, b),
            (a, b) => a.is_none() && b.is_none(),
        },
        (Value::Opaque(a), Value::Opaque(b)) => return a.same(b),
        (Value::Opaque(_), _) => return Err(CelError::no_overload()),
        (Value::List(a), Value::List(b)) => return lists(a, b),
        (Value::List(a), _) if a.declaration().is_some() => return Err(CelError::no_overload()),
        (Value::Map(a), Value::Map(b)) => return maps(a, b),
        (Value::Map(Map::Object(..) | Map::Values(..)), _) => return Err(CelError::no_overload()),
        (Value::Preserved(a), b) => preserved(a, b),
        (a, b) if number::is_number(a) && number::is_number(b) => {
            number::compare(a, b) == Some(Ordering::Equal)
        }
        _ => false,
    })
}

fn preserved(a: &Json, b: &Value<'_>) -> bool {
    match b {
        Value::Preserved(b) => json_equal(a, b),
        other => other.to_json().is_some_and(|b| json_equal(a, &b)),
    }
}

/// Deep equality of JSON as Kubernetes' `Semantic.DeepEqual` sees decoded values: empty and absent
/// containers are alike, integers and floats are not.
fn json_equal(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| json_equal(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(k, a)| b.get(k).is_some_and(|b| json_equal(a, b)))
        }
        (Json::Number(a), Json::Number(b)) => {
            a.is_i64() == b.is_i64() && a.as_f64() == b.as_f64() && a.as_i64() == b.as_i64()
        }
        (a, b) => a == b,
    }
}

fn lists<'x>(a: &List<'x>, b: &List<'x>) -> Eval<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    match a.kind() {
        ListKind::Set => return sets(a, b),
        ListKind::Map(keys) => return map_lists(a, b, keys),
        ListKind::Atomic => {}
    }
    let declared = a.declaration().is_some();
    for i in 0..a.len() {
        if declared {
            if !same(&a.get(i)?, &b.get(i)?)? {
                return Ok(false);
            }
        } else if matches!(equal(&a.get(i)?, &b.get(i)?), Ok(false)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn maps<'x>(a: &Map<'x>, b: &Map<'x>) -> Eval<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    match a {
        Map::Object(m, object) => objects(a, b, m, object),
        Map::Values(..) => {
            for key in a.keys() {
                let (Some(a), b) = (a.find(&key)?, b.find(&key)?) else {
                    continue;
                };
                match b {
                    Some(b) if same(&a, &b)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        _ => {
            for key in a.keys() {
                let a = a.find(&key)?.unwrap_or(Value::Null);
                match b.find(&key)? {
                    Some(b) if !matches!(equal(&a, &b), Ok(false)) => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
    }
}

fn objects<'x>(
    a: &Map<'x>,
    b: &Map<'x>,
    json: &'x serde_json::Map<String, Json>,
    object: &crate::decl::ObjectType,
) -> Eval<bool> {
    for (property, value) in json {
        if object.fields.contains_key(property) {
            // Looked up by the property's own name, as if that were an identifier.
            let key = Value::String(Text::Borrowed(property));
            match (a.find(&key)?, b.find(&key)?) {
                (Some(a), Some(b)) if same(&a, &b)? => {}
                (None, None) => {}
                _ => return Ok(false),
            }
        } else if let Map::Object(other, _) = b {
            if other.get(property).is_some_and(|o| !json_equal(value, o)) {
                return Ok(false);
            }
        } else {
            return Err(CelError::no_overload());
        }
    }
    Ok(true)
}

/// A scalar as Go's map keys compare it: by type and value.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    Double(u64),
    Text(String),
}

fn json_scalar(json: &Json) -> Option<Scalar> {
    scalar(&raw(json))
}

fn scalar(value: &Value<'_>) -> Option<Scalar> {
    Some(match value {
        Value::Null => Scalar::Null,
        Value::Bool(b) => Scalar::Bool(*b),
        Value::Int(i) => Scalar::Int(*i),
        Value::Double(d) => Scalar::Double(d.to_bits()),
        Value::String(s) => Scalar::Text(s.to_string()),
        _ => return None,
    })
}

/// The elements of a set as they are stored.
fn stored(list: &List<'_>) -> BTreeSet<Option<Scalar>> {
    match list {
        List::Declared(items, _) | List::Raw(items) => items.iter().map(json_scalar).collect(),
        List::Owned(items) => items.iter().map(scalar).collect(),
        List::Merged(m) => m
            .items
            .iter()
            .map(|i| i.as_ref().ok().and_then(scalar))
            .collect(),
    }
}

fn sets(a: &List<'_>, b: &List<'_>) -> Eval<bool> {
    let stored = stored(a);
    for i in 0..b.len() {
        match scalar(&b.get(i)?) {
            None => return Ok(false),
            scalar if stored.contains(&scalar) => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// The key of an element of a map list.
fn element_key(element: &Value<'_>, keys: &[String]) -> Option<Vec<Option<Scalar>>> {
    let Value::Map(Map::Object(m, _) | Map::Values(m, _) | Map::Raw(m)) = element else {
        return None;
    };
    let part = |key: &String| {
        let name = escape(key).unwrap_or_else(|| key.clone());
        m.get(&name).map_or(Some(Scalar::Null), json_scalar)
    };
    Some(keys.iter().map(part).collect())
}

fn map_lists<'x>(a: &List<'x>, b: &List<'x>, keys: &[String]) -> Eval<bool> {
    let mut by_key = std::collections::BTreeMap::new();
    for i in 0..a.len() {
        let element = a.get(i)?;
        by_key.insert(element_key(&element, keys), element);
    }
    for i in 0..b.len() {
        let b = b.get(i)?;
        match by_key.get(&element_key(&b, keys)) {
            Some(a) if same(a, &b)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// `item in list`.
pub(crate) fn contains<'x>(list: &List<'x>, item: &Value<'x>) -> Eval<bool> {
    let declared = list.declaration().is_some();
    let mut failed = None;
    for i in 0..list.len() {
        let element = list.get(i);
        let found = match (&element, declared) {
            (Ok(element), true) => same(element, item),
            (Ok(element), false) => Ok(matches!(equal(item, element), Ok(true))),
            (Err(e), _) => Err(e.clone()),
        };
        match found {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(e) => failed = failed.or(Some(e)),
        }
    }
    failed.map_or(Ok(false), Err)
}

/// `a + b` for lists; `None` if the result would be longer than an evaluation may build.
pub(crate) fn concat<'a>(a: &List<'a>, b: &List<'a>) -> Option<Eval<List<'a>>> {
    if a.len() + b.len() > limits::LIST_ITEMS {
        return None;
    }
    if let Some(decl) = a.declaration() {
        return Some(merge(a, b, decl));
    }
    if a.is_empty() {
        return Some(Ok(b.clone()));
    }
    if b.is_empty() {
        return Some(Ok(a.clone()));
    }
    let items = (0..a.len())
        .map(|i| a.get(i))
        .chain((0..b.len()).map(|i| b.get(i)));
    Some(
        items
            .collect::<Eval<Vec<_>>>()
            .map(|items| List::Owned(Arc::new(items))),
    )
}

/// Adds to a declared list: appended, as a union, or merged by key.
fn merge<'a>(a: &List<'a>, b: &List<'a>, decl: &'a crate::decl::ListType) -> Eval<List<'a>> {
    let mut items: Vec<Eval<Value<'a>>> = (0..a.len()).map(|i| a.get(i)).collect();
    let mut known = stored(a);
    for i in 0..b.len() {
        let item = b.get(i)?;
        match &decl.kind {
            ListKind::Atomic => items.push(reread(item, decl)),
            ListKind::Set => {
                if known.insert(scalar(&item)) {
                    items.push(reread(item, decl));
                }
            }
            ListKind::Map(keys) => {
                let key = element_key(&item, keys);
                let same_key = |other: &Eval<Value<'a>>| {
                    other.as_ref().is_ok_and(|o| element_key(o, keys) == key)
                };
                match items.iter().rposition(same_key) {
                    Some(at) => items[at] = reread(item, decl),
                    None => items.push(reread(item, decl)),
                }
            }
        }
    }
    Ok(List::Merged(Arc::new(Merged { items, decl })))
}

/// An element added to a declared list is read again by the declaration, from its Go value. For
/// those that are text in JSON but not in CEL, and for those of another type, this fails, there as
/// here.
fn reread<'a>(item: Value<'a>, decl: &'a crate::decl::ListType) -> Eval<Value<'a>> {
    let wanted = match (&decl.item.kind, &item) {
        (DeclKind::Object(o), Value::Map(Map::Raw(m) | Map::Object(m, _) | Map::Values(m, _))) => {
            return Ok(Value::Map(Map::Object(m, o)));
        }
        (DeclKind::Map(v), Value::Map(Map::Raw(m) | Map::Object(m, _) | Map::Values(m, _))) => {
            return Ok(Value::Map(Map::Values(m, v)));
        }
        (DeclKind::List(list), Value::List(List::Raw(items) | List::Declared(items, _))) => {
            return Ok(Value::List(List::Declared(items, list)));
        }
        (DeclKind::Int, Value::Int(_))
        | (DeclKind::Bool, Value::Bool(_))
        | (DeclKind::Double, Value::Double(_))
        | (DeclKind::String, Value::String(_))
        | (DeclKind::Dyn | DeclKind::IntOrString | DeclKind::Preserved, _) => return Ok(item),
        (DeclKind::Double, Value::Int(i)) => return Ok(Value::Double(*i as f64)),
        (DeclKind::Int, _) => "int",
        (DeclKind::Bool, _) => "bool",
        (DeclKind::Double, _) => "float",
        (DeclKind::Object(_) | DeclKind::Map(_), _) => {
            let text = "invalid data, expected a map for the provided schema with type=object";
            return Err(CelError::new(text));
        }
        (DeclKind::List(_), _) => {
            let text = "invalid data, expected an array for the provided schema with type=array";
            return Err(CelError::new(text));
        }
        _ => "string",
    };
    let given = native_type(&item);
    Err(CelError::new(format!(
        "invalid data, expected {wanted}, got {given}"
    )))
}

/// The Go type behind a value.
fn native_type(v: &Value<'_>) -> &'static str {
    match v {
        Value::Null => "structpb.NullValue",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int64",
        Value::Uint(_) => "uint64",
        Value::Double(_) => "float64",
        Value::String(_) | Value::Type(_) => "string",
        Value::Bytes(_) => "[]uint8",
        Value::Duration(_) => "time.Duration",
        Value::Timestamp(_) => "time.Time",
        Value::List(List::Owned(_)) => "[]ref.Val",
        Value::List(_) => "[]interface {}",
        Value::Map(Map::Owned(_)) => "map[ref.Val]ref.Val",
        _ => "map[string]interface {}",
    }
}
