//! Objects in Kubernetes' protobuf form, read into trees.
//!
//! Start at [`Messages::decode`]. Which field a number stands for is data, given by the caller;
//! the few types whose JSON form is not that of their message (times, quantities, raw JSON, the
//! alternatives in a CRD's schema) stand here. The invariant: bytes of any content end in a tree or
//! in an error, never in a panic, and nest no deeper than [`DEPTH_MAX`]. Writing protobuf is
//! deliberately not here: every client that sends it also takes JSON.

use std::collections::BTreeMap;

use hanse_json::{Limits, Map, Value, get_object};

use crate::base64;

/// What every body begins with.
pub const MAGIC: &[u8; 4] = b"k8s\0";
/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// Messages inside messages.
const DEPTH_MAX: usize = 64;

/// How often a field may stand, and what that means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Many {
    One,
    List,
    Map,
}

#[derive(Clone, Debug)]
struct Field {
    name: String,
    many: Many,
    ty: String,
}

/// The fields of messages by number.
#[derive(Debug, Default)]
pub struct Messages(BTreeMap<String, BTreeMap<u32, Field>>);

/// A body taken out of its envelope.
#[derive(Debug)]
pub struct Envelope<'b> {
    /// `apiVersion` of the object.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// The object's own message.
    pub raw: &'b [u8],
}

/// Why bytes are no such object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtobufError(String);

impl std::fmt::Display for ProtobufError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ProtobufError {}

type Result<T> = std::result::Result<T, ProtobufError>;

fn error<T>(text: impl Into<String>) -> Result<T> {
    Err(ProtobufError(text.into()))
}

/// One field on the wire.
enum Wire<'b> {
    Number(u64),
    Bytes(&'b [u8]),
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn varint(&mut self) -> Result<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let Some((byte, rest)) = self.0.split_first() else {
                break;
            };
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        error("proto: unexpected EOF")
    }

    fn take(&mut self, length: u64) -> Result<&'b [u8]> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some((taken, rest)) = self.0.split_at_checked(length) else {
            return error("proto: unexpected EOF");
        };
        self.0 = rest;
        Ok(taken)
    }

    fn next(&mut self) -> Result<Option<(u32, Wire<'b>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).unwrap_or(0);
        let wire = match key & 7 {
            0 => Wire::Number(self.varint()?),
            1 => Wire::Bytes(self.take(8)?),
            2 => {
                let length = self.varint()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Bytes(self.take(4)?),
            other => return error(format!("proto: illegal wireType {other}")),
        };
        Ok(Some((number, wire)))
    }
}

/// Opens the envelope of a body.
///
/// # Errors
/// Bytes without the magic number, or a damaged envelope.
pub fn open(body: &[u8]) -> Result<Envelope<'_>> {
    let Some(rest) = body.strip_prefix(MAGIC) else {
        return error("provided data does not appear to be a protobuf message, expected prefix");
    };
    let mut envelope = Envelope {
        api_version: String::new(),
        kind: String::new(),
        raw: &[],
    };
    let mut reader = Reader(rest);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Bytes(meta)) => {
                let mut meta = Reader(meta);
                while let Some((number, wire)) = meta.next()? {
                    match (number, wire) {
                        (1, Wire::Bytes(text)) => envelope.api_version = utf8(text)?,
                        (2, Wire::Bytes(text)) => envelope.kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(raw)) => envelope.raw = raw,
            _ => {}
        }
    }
    Ok(envelope)
}

fn utf8(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).or_else(|_| error("proto: invalid UTF-8"))
}

impl Messages {
    /// Reads the table: message to number to `NAME TYPE`, with `[]` or `{}` before the type of
    /// lists and maps.
    pub fn from_json(table: &Value) -> Self {
        let mut messages = BTreeMap::new();
        for (message, fields) in get_object(table, &[]).into_iter().flatten() {
            let mut known = BTreeMap::new();
            for (number, fact) in get_object(fields, &[]).into_iter().flatten() {
                let fact = fact.as_str().unwrap_or_default();
                let (Ok(number), Some((name, ty))) = (number.parse(), fact.split_once(' ')) else {
                    continue;
                };
                let (many, ty) = match (ty.strip_prefix("[]"), ty.strip_prefix("{}")) {
                    (Some(ty), _) => (Many::List, ty),
                    (_, Some(ty)) => (Many::Map, ty),
                    _ => (Many::One, ty),
                };
                let field = Field {
                    name: name.to_owned(),
                    many,
                    ty: ty.to_owned(),
                };
                known.insert(number, field);
            }
            messages.insert(message.clone(), known);
        }
        Self(messages)
    }

    /// Whether a message is known.
    pub fn knows(&self, message: &str) -> bool {
        self.0.contains_key(message)
    }

    /// The tree of a message.
    ///
    /// # Errors
    /// An unknown message or damaged bytes. Unknown fields are passed over, as protobuf wants it.
    pub fn decode(&self, message: &str, raw: &[u8]) -> Result<Value> {
        self.message(message, raw, 0)
    }

    fn message(&self, message: &str, raw: &[u8], depth: usize) -> Result<Value> {
        if depth > DEPTH_MAX {
            return error("proto: nested too deeply");
        }
        if let Some(value) = self.special(message, raw)? {
            return Ok(value);
        }
        if let Some(value) = self.alternative(message, raw, depth)? {
            return Ok(value);
        }
        let Some(fields) = self.0.get(message) else {
            return error(format!("no message {message}"));
        };
        let mut out = Map::new();
        let mut reader = Reader(raw);
        while let Some((number, wire)) = reader.next()? {
            let Some(field) = fields.get(&number) else {
                continue;
            };
            match field.many {
                Many::One => {
                    let value = self.value(&field.ty, wire, depth)?;
                    out.insert(field.name.clone(), value);
                }
                Many::List => {
                    let value = self.value(&field.ty, wire, depth)?;
                    let list = out
                        .entry(field.name.clone())
                        .or_insert_with(|| Value::Array(vec![]));
                    if let Value::Array(items) = list {
                        items.push(value);
                    }
                }
                Many::Map => {
                    let (key, value) = self.entry(&field.ty, wire, depth)?;
                    let map = out
                        .entry(field.name.clone())
                        .or_insert_with(|| Map::new().into());
                    if let Value::Object(entries) = map {
                        entries.insert(key, value);
                    }
                }
            }
        }
        Ok(Value::Object(out))
    }

    fn entry(&self, ty: &str, wire: Wire<'_>, depth: usize) -> Result<(String, Value)> {
        let Wire::Bytes(raw) = wire else {
            return error("proto: wrong wireType");
        };
        let (mut key, mut value) = (String::new(), None);
        let mut reader = Reader(raw);
        while let Some((number, wire)) = reader.next()? {
            match (number, wire) {
                (1, Wire::Bytes(text)) => key = utf8(text)?,
                (2, wire) => value = Some(self.value(ty, wire, depth)?),
                _ => {}
            }
        }
        let empty = || self.value(ty, Wire::Bytes(&[]), depth);
        Ok((key, value.map_or_else(empty, Ok)?))
    }

    fn value(&self, ty: &str, wire: Wire<'_>, depth: usize) -> Result<Value> {
        Ok(match (ty, wire) {
            ("string", Wire::Bytes(text)) => utf8(text)?.into(),
            ("bytes", Wire::Bytes(raw)) => base64::encode(raw).into(),
            ("bool", Wire::Number(number)) => (number != 0).into(),
            ("int32" | "int64", Wire::Number(number)) => number.cast_signed().into(),
            ("double", Wire::Bytes(raw)) => match raw.try_into() {
                Ok(bytes) => f64::from_le_bytes(bytes).into(),
                Err(_) => return error("proto: wrong wireType"),
            },
            (message, Wire::Bytes(raw)) if message.starts_with("io.") => {
                self.message(message, raw, depth + 1)?
            }
            _ => return error("proto: wrong wireType"),
        })
    }

    /// Types whose JSON is not an object of their fields.
    fn special(&self, message: &str, raw: &[u8]) -> Result<Option<Value>> {
        let name = message.rsplit('.').next().unwrap_or_default();
        Ok(Some(match name {
            "Time" if raw.is_empty() => Value::Null,
            "MicroTime" if raw.is_empty() => Value::Null,
            "Time" => crate::time::format(micros(raw)?).into(),
            "MicroTime" => crate::time::format_micro(micros(raw)?).into(),
            "Quantity" => {
                let text = only_bytes(raw, 1)?;
                if text.is_empty() {
                    "0".into()
                } else {
                    utf8(text)?.into()
                }
            }
            "FieldsV1" | "RawExtension" | "JSON" => {
                let text = only_bytes(raw, 1)?;
                match text.is_empty() {
                    true => Value::Null,
                    false => match hanse_json::parse(text, &Limits::default()) {
                        Ok(parsed) => parsed.value,
                        Err(why) => return error(why.message),
                    },
                }
            }
            "ExtraValue" => {
                let mut items = Vec::new();
                let mut reader = Reader(raw);
                while let Some((_, wire)) = reader.next()? {
                    if let Wire::Bytes(text) = wire {
                        items.push(Value::from(utf8(text)?));
                    }
                }
                items.into()
            }
            "IntOrString" => int_or_string(raw)?,
            _ => return Ok(None),
        }))
    }

    /// Types whose JSON is one of their fields: a schema, or else a truth value or a list.
    fn alternative(&self, message: &str, raw: &[u8], depth: usize) -> Result<Option<Value>> {
        let Some((package, other)) = message.rsplit_once(".JSONSchemaPropsOr") else {
            return Ok(None);
        };
        // Only the one with the truth value has it first and the schema second.
        let (schema, rest) = if other == "Bool" { (2, 1) } else { (1, 2) };
        let of = |wire| self.value(&format!("{package}.JSONSchemaProps"), wire, depth);
        let (mut found, mut allows, mut list) = (None, false, Vec::new());
        let mut reader = Reader(raw);
        while let Some((number, wire)) = reader.next()? {
            match wire {
                wire if number == schema => found = Some(of(wire)?),
                _ if number != rest => {}
                Wire::Number(number) => allows = number != 0,
                Wire::Bytes(text) if other == "StringArray" => list.push(utf8(text)?.into()),
                wire => list.push(of(wire)?),
            }
        }
        let rest = if other == "Bool" {
            allows.into()
        } else {
            list.into()
        };
        Ok(Some(found.unwrap_or(rest)))
    }
}

fn only_bytes(raw: &[u8], wanted: u32) -> Result<&[u8]> {
    let mut found: &[u8] = &[];
    let mut reader = Reader(raw);
    while let Some((number, wire)) = reader.next()? {
        if let (true, Wire::Bytes(bytes)) = (number == wanted, wire) {
            found = bytes;
        }
    }
    Ok(found)
}

fn micros(raw: &[u8]) -> Result<i64> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    let mut reader = Reader(raw);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Number(number)) => seconds = number.cast_signed(),
            (2, Wire::Number(number)) => nanos = number.cast_signed(),
            _ => {}
        }
    }
    Ok(seconds
        .saturating_mul(1_000_000)
        .saturating_add(nanos / 1_000))
}

fn int_or_string(raw: &[u8]) -> Result<Value> {
    let (mut is_text, mut number_value, mut text) = (false, 0i64, String::new());
    let mut reader = Reader(raw);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Number(number)) => is_text = number == 1,
            (2, Wire::Number(number)) => number_value = number.cast_signed(),
            (3, Wire::Bytes(bytes)) => text = utf8(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text {
        text.into()
    } else {
        number_value.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hanse_json::json;

    fn messages() -> Messages {
        Messages::from_json(&json!({
            "io.X": {"1": "meta io.Meta", "2": "data {}string", "3": "items []int64", "4": "yes bool",
                "5": "raw bytes", "6": "at io.Time"},
            "io.Meta": {"1": "name string"},
            "io.JSONSchemaProps": {"1": "type string", "9": "maximum double",
                "24": "items io.JSONSchemaPropsOrArray", "8": "default io.JSON",
                "30": "additionalProperties io.JSONSchemaPropsOrBool",
                "32": "dependencies {}io.JSONSchemaPropsOrStringArray"},
        }))
    }

    #[test]
    fn a_message_becomes_a_tree() {
        let raw = b"\x0a\x03\x0a\x01a\x12\x06\x0a\x01k\x12\x01v\x18\x05\x18\x07\x20\x01\x2a\x01x\
                    \x32\x02\x08\x01\x78\x09";
        let tree = messages().decode("io.X", raw).unwrap();
        let expected = json!({
            "meta": {"name": "a"}, "data": {"k": "v"}, "items": [5, 7], "yes": true, "raw": "eA==",
            "at": "1970-01-01T00:00:01Z",
        });
        assert_eq!(tree, expected);
    }

    #[test]
    fn a_schema_has_alternatives() {
        let check = |raw: &[u8], expected: Value| {
            let tree = messages().decode("io.JSONSchemaProps", raw).unwrap();
            assert_eq!(tree, expected, "{raw:?}");
        };
        let one = json!({"items": {"type": "a"}});
        check(b"\xc2\x01\x05\x0a\x03\x0a\x01a", one);
        let list = json!({"items": [{"type": "a"}, {}]});
        check(b"\xc2\x01\x07\x12\x03\x0a\x01a\x12\x00", list);
        check(
            b"\xf2\x01\x02\x08\x01",
            json!({"additionalProperties": true}),
        );
        check(b"\xf2\x01\x00", json!({"additionalProperties": false}));
        let schema = json!({"additionalProperties": {"type": "a"}});
        check(b"\xf2\x01\x07\x08\x01\x12\x03\x0a\x01a", schema);
        let names = json!({"dependencies": {"k": ["a", "b"]}});
        check(b"\x82\x02\x0b\x0a\x01k\x12\x06\x12\x01a\x12\x01b", names);
        let number = json!({"maximum": 1.5, "default": {"x": 1}});
        check(b"\x49\0\0\0\0\0\0\xf8\x3f\x42\x09\x0a\x07{\"x\":1}", number);
    }

    #[test]
    fn an_envelope_names_its_kind() {
        let body = b"k8s\0\x0a\x07\x0a\x02v1\x12\x01X\x12\x00";
        let envelope = open(body).unwrap();
        assert_eq!(
            (envelope.api_version.as_str(), envelope.kind.as_str()),
            ("v1", "X")
        );
        assert!(open(b"{}").is_err());
    }

    #[test]
    fn damaged_bytes_are_errors() {
        let raw = b"\x0a\x03\x0a\x01a\x12\x06\x0a\x01k\x12\x01v\x18\x05";
        for cut in 1..raw.len() {
            let _ = messages().decode("io.X", &raw[..cut]);
        }
        assert!(
            messages()
                .decode("io.X", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
                .is_err()
        );
        assert!(messages().decode("io.X", b"\x0a\x05a").is_err());
        assert!(messages().decode("io.X", b"\x0b").is_err());
    }
}
