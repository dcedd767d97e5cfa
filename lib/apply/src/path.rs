//! One step into an object, as `fieldsV1` knows it: a field, a list item by key, by value or by
//! place. The order of steps is part of the contract: conflicts and entries are listed by it.

use std::cmp::Ordering;
use std::fmt;

use hanse_json::{Map, Value};

/// One step from a value to a value inside it.
#[derive(Clone, Debug)]
pub enum PathElement {
    /// `f:NAME`: a field of a struct or a key of a map.
    Field(String),
    /// `k:{...}`: the item of an associative list with these key fields, sorted by name.
    Key(Vec<(String, Value)>),
    /// `v:VALUE`: the item of a set with this value.
    Value(Value),
    /// `i:N`: an item by its place; only ever read, never made by this crate.
    Index(i64),
}

impl PathElement {
    /// A field step.
    pub fn field(name: impl Into<String>) -> Self {
        PathElement::Field(name.into())
    }

    /// Reads the key of a `fieldsV1` object; `None` when it has none of the four forms.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_at_checked(2)?;
        match kind {
            "f:" => Some(PathElement::Field(rest.to_owned())),
            "v:" => Some(PathElement::Value(parse_value(rest)?)),
            "i:" => rest.parse().ok().map(PathElement::Index),
            "k:" => match parse_value(rest)? {
                Value::Object(map) => Some(PathElement::Key(map.into_iter().collect())),
                _ => None,
            },
            _ => None,
        }
    }

    /// The key under which `fieldsV1` holds this step.
    pub fn serialize(&self) -> String {
        match self {
            PathElement::Field(name) => format!("f:{name}"),
            PathElement::Value(value) => format!("v:{}", compact(value)),
            PathElement::Index(place) => format!("i:{place}"),
            PathElement::Key(fields) => {
                let map: Map<String, Value> = fields.iter().cloned().collect();
                format!("k:{}", compact(&Value::Object(map)))
            }
        }
    }

    fn rank(&self) -> u8 {
        match self {
            PathElement::Field(_) => 0,
            PathElement::Key(_) => 1,
            PathElement::Value(_) => 2,
            PathElement::Index(_) => 3,
        }
    }
}

fn compact(value: &Value) -> String {
    String::from_utf8_lossy(&hanse_json::to_vec(value)).into_owned()
}

/// How a path reads in conflicts: `.spec.ports[containerPort=80,protocol="TCP"].name`.
impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathElement::Field(name) => write!(f, ".{name}"),
            PathElement::Value(value) => write!(f, "[={}]", compact(value)),
            PathElement::Index(place) => write!(f, "[{place}]"),
            PathElement::Key(fields) => {
                let parts: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{name}={}", compact(value)))
                    .collect();
                write!(f, "[{}]", parts.join(","))
            }
        }
    }
}

impl Ord for PathElement {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (PathElement::Field(a), PathElement::Field(b)) => a.cmp(b),
            (PathElement::Index(a), PathElement::Index(b)) => a.cmp(b),
            (PathElement::Value(a), PathElement::Value(b)) => compare(a, b),
            (PathElement::Key(a), PathElement::Key(b)) => {
                for ((name_a, value_a), (name_b, value_b)) in a.iter().zip(b) {
                    let order = name_a.cmp(name_b).then_with(|| compare(value_a, value_b));
                    if order.is_ne() {
                        return order;
                    }
                }
                a.len().cmp(&b.len())
            }
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for PathElement {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for PathElement {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for PathElement {}

/// A total order of JSON values: numbers, strings, booleans, lists, maps, null. Numbers compare by
/// value, whatever their form.
pub fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => match (x.as_i64(), y.as_i64()) {
            (Some(x), Some(y)) => x.cmp(&y),
            _ => {
                let (x, y) = (x.as_f64().unwrap_or(0.0), y.as_f64().unwrap_or(0.0));
                x.partial_cmp(&y).unwrap_or(Ordering::Equal)
            }
        },
        (Value::String(x), Value::String(y)) => x.cmp(y),
        (Value::Bool(x), Value::Bool(y)) => x.cmp(y),
        (Value::Array(x), Value::Array(y)) => {
            for (p, q) in x.iter().zip(y) {
                let order = compare(p, q);
                if order.is_ne() {
                    return order;
                }
            }
            x.len().cmp(&y.len())
        }
        (Value::Object(x), Value::Object(y)) => compare_maps(x, y),
        _ => kind_rank(a).cmp(&kind_rank(b)),
    }
}

fn compare_maps(a: &Map<String, Value>, b: &Map<String, Value>) -> Ordering {
    for ((name_a, value_a), (name_b, value_b)) in a.iter().zip(b) {
        let order = name_a.cmp(name_b).then_with(|| compare(value_a, value_b));
        if order.is_ne() {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

fn kind_rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}

/// Are the two values the same, numbers by value?
pub fn equal(a: &Value, b: &Value) -> bool {
    compare(a, b).is_eq()
}

/// Renders a whole path as conflicts and typed errors do.
pub fn render(path: &[PathElement]) -> String {
    path.iter().map(ToString::to_string).collect()
}

fn parse_value(text: &str) -> Option<Value> {
    hanse_json::parse(text.as_bytes(), &hanse_json::Limits::default())
        .ok()
        .map(|p| p.value)
}
