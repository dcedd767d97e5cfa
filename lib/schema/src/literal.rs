//! JSON values that rest in a compiled schema: defaults and enumerations.
//!
//! A compiled schema lives as long as somebody binds it, so it holds no `serde_json` trees; a
//! [`Literal`] is exact in size and immutable. Start at [`Literal::from`] and
//! [`Literal::to_value`].

use serde_json::{Map, Number, Value};

/// An immutable JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    Null,
    Bool(bool),
    Number(Number),
    Text(Box<str>),
    List(Box<[Literal]>),
    Map(Box<[(Box<str>, Literal)]>),
}

impl From<&Value> for Literal {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Literal::Null,
            Value::Bool(b) => Literal::Bool(*b),
            Value::Number(n) => Literal::Number(n.clone()),
            Value::String(s) => Literal::Text(s.as_str().into()),
            Value::Array(items) => Literal::List(items.iter().map(Literal::from).collect()),
            Value::Object(map) => Literal::Map(
                map.iter()
                    .map(|(k, v)| (k.as_str().into(), Literal::from(v)))
                    .collect(),
            ),
        }
    }
}

impl Literal {
    /// A fresh tree of this value.
    pub fn to_value(&self) -> Value {
        match self {
            Literal::Null => Value::Null,
            Literal::Bool(b) => Value::Bool(*b),
            Literal::Number(n) => Value::Number(n.clone()),
            Literal::Text(s) => Value::String(s.as_ref().to_owned()),
            Literal::List(items) => Value::Array(items.iter().map(Literal::to_value).collect()),
            Literal::Map(map) => {
                let pairs = map
                    .iter()
                    .map(|(k, v)| (k.as_ref().to_owned(), v.to_value()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// Whether a value given by a client is this member of an enumeration.
    ///
    /// Go converts the value to the member's type first, so `1.5` is the member `1`. Lists and
    /// maps are compared deeply and without conversion.
    pub fn is_enum_member(&self, value: &Value) -> bool {
        match (self, value) {
            (Literal::Bool(a), Value::Bool(b)) => a == b,
            (Literal::Text(a), Value::String(b)) => a.as_ref() == b,
            (Literal::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
                (Some(a), Some(b)) => a == b,
                // A saturating cast is not Go's for values out of range, but neither is defined.
                (Some(a), None) => b.as_f64().is_some_and(|b| b as i64 == a),
                (None, _) => a.as_f64() == b.as_f64(),
            },
            // Go converts an integer to a string as a code point.
            (Literal::Text(a), Value::Number(b)) => b.as_i64().is_some_and(|code| {
                let c = u32::try_from(code).ok().and_then(char::from_u32);
                a.as_ref() == c.unwrap_or('\u{fffd}').encode_utf8(&mut [0; 4])
            }),
            (Literal::List(_), Value::Array(_)) | (Literal::Map(_), Value::Object(_)) => {
                self.equals(value)
            }
            _ => false,
        }
    }

    /// Deep equality as Go's `reflect.DeepEqual`: an integer never equals a float.
    pub fn equals(&self, value: &Value) -> bool {
        match (self, value) {
            (Literal::Null, Value::Null) => true,
            (Literal::Bool(a), Value::Bool(b)) => a == b,
            (Literal::Number(a), Value::Number(b)) => a == b,
            (Literal::Text(a), Value::String(b)) => a.as_ref() == b,
            (Literal::List(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b))
            }
            (Literal::Map(a), Value::Object(b)) => {
                a.len() == b.len()
                    && a.iter()
                        .all(|(k, v)| b.get(k.as_ref()).is_some_and(|b| v.equals(b)))
            }
            _ => false,
        }
    }
}
