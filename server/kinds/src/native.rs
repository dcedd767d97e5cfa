//! The types of built-in kinds: decoding and encoding as Go does it.
//!
//! Kubernetes decodes its own kinds into Go structs and encodes them again, and much of what
//! clients see follows from that: wrong types are decode errors with Go's words, unknown fields
//! disappear, empty fields that are marked `omitempty` disappear too, and those that are not are
//! always there. [`NativeType::decode`] does all of it in one walk over the tree.
//!
//! The types come from `data/components.json` (OpenAPI) and `data/go-fields.json` (struct tags);
//! [`Types::load`] joins them. Invariant: decoding is idempotent. Deliberately elsewhere: defaults
//! that Kubernetes sets in code ([`crate::hooks`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use hanse_json::go::quote;
use hanse_json::{Map, Value, get, get_array, get_object, get_str, json, type_name};
use hanse_wire::{base64, time};

use crate::limits::MAX_UNKNOWN_FIELDS;
use crate::quantity;

const SCHEMA: &str = "#/components/schemas/";

/// All types of all built-in kinds.
#[derive(Debug, Default)]
pub struct Types {
    structs: Vec<Struct>,
    named: BTreeMap<String, usize>,
}

#[derive(Clone, Debug)]
enum Node {
    /// Free-form JSON.
    Any,
    String,
    Bytes,
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    /// Whether it has 64 bits.
    Integer(bool),
    Number,
    Bool,
    List(Box<Node>),
    Map(Box<Node>),
    Struct(usize),
    /// A schema, or a list, a boolean: the fields of JSON Schema that may be several things.
    SchemaOr(usize),
}

#[derive(Debug)]
struct Field {
    node: Node,
    /// As error messages name it.
    go: String,
    /// A pointer, so that an empty value is not the same as none.
    pointer: bool,
    omitempty: bool,
    omitzero: bool,
}

#[derive(Debug, Default)]
struct Struct {
    name: String,
    fields: BTreeMap<String, Field>,
}

/// The type of one built-in kind.
#[derive(Clone, Debug)]
pub struct NativeType {
    types: Arc<Types>,
    root: usize,
}

impl Types {
    /// Joins OpenAPI components with the facts about their Go fields.
    pub fn load(components: &Map<String, Value>, go_fields: &Value) -> Types {
        let mut types = Types::default();
        for (name, schema) in components {
            if get_object(schema, &["properties"]).is_some() {
                types.named.insert(name.clone(), types.structs.len());
                types.structs.push(Struct::default());
            }
        }
        for (name, index) in types.named.clone() {
            let properties = components
                .get(&name)
                .and_then(|c| get_object(c, &["properties"]));
            let mut fields = BTreeMap::new();
            for (field, schema) in properties.into_iter().flatten() {
                let fact = get_str(go_fields, &[&name, field]).unwrap_or("o string");
                fields.insert(field.clone(), types.field(schema, fact));
            }
            let name = name.rsplit('.').next().unwrap_or_default().to_owned();
            types.structs[index] = Struct { name, fields };
        }
        types
    }

    fn field(&self, schema: &Value, fact: &str) -> Field {
        let (flags, go) = fact.split_once(' ').unwrap_or(("", fact));
        Field {
            node: self.node(schema),
            go: go_name(go),
            pointer: go.starts_with('*'),
            omitempty: flags.contains('o'),
            omitzero: flags.contains('z'),
        }
    }

    fn node(&self, schema: &Value) -> Node {
        let inner = get_array(schema, &["allOf"]).first().unwrap_or(schema);
        if let Some(name) = get_str(inner, &["$ref"]).and_then(|r| r.strip_prefix(SCHEMA)) {
            return match name.rsplit('.').next().unwrap_or_default() {
                "Time" => Node::Time,
                "MicroTime" => Node::MicroTime,
                "Quantity" => Node::Quantity,
                "IntOrString" => Node::IntOrString,
                alternative if alternative.starts_with("JSONSchemaPropsOr") => {
                    let schema = name.split_at(name.len() - alternative.len()).0.to_owned();
                    let schema = self.named.get(&format!("{schema}JSONSchemaProps"));
                    schema.map_or(Node::Any, |index| Node::SchemaOr(*index))
                }
                _ => self
                    .named
                    .get(name)
                    .map_or(Node::Any, |index| Node::Struct(*index)),
            };
        }
        match get_str(schema, &["type"]) {
            Some("string") if get_str(schema, &["format"]) == Some("byte") => Node::Bytes,
            Some("string") => Node::String,
            Some("integer") => Node::Integer(get_str(schema, &["format"]) != Some("int32")),
            Some("number") => Node::Number,
            Some("boolean") => Node::Bool,
            Some("array") => {
                let item = get(schema, &["items"]).map(|item| self.node(item));
                Node::List(Box::new(item.unwrap_or(Node::Any)))
            }
            Some("object") => match get(schema, &["additionalProperties"]) {
                Some(value) => Node::Map(Box::new(self.node(value))),
                None => Node::Any,
            },
            _ => Node::Any,
        }
    }

    /// The type of a component; `None` if there is none of this name.
    pub fn native(self: &Arc<Self>, component: &str) -> Option<NativeType> {
        let root = *self.named.get(component)?;
        Some(NativeType {
            types: Arc::clone(self),
            root,
        })
    }
}

/// A Go type as reflection prints it: `*corev1.EventSource` is `v1.EventSource`.
fn go_name(go: &str) -> String {
    let bare = go.trim_start_matches('*');
    let cut = bare.rfind([']', '*']).map_or(0, |at| at + 1);
    let (prefix, name) = bare.split_at(cut);
    let name = match name.split_once('.') {
        Some(("metav1" | "corev1" | "v1" | "rbacv1" | "authenticationv1", name)) => {
            format!("v1.{name}")
        }
        None if name.starts_with(|c: char| c.is_ascii_uppercase()) => format!("v1.{name}"),
        _ => name.to_owned(),
    };
    format!("{prefix}{name}")
}

/// Without one level of list or map.
fn element_name(go: &str) -> &str {
    go.find(']')
        .map_or(go, |at| &go[at + 1..])
        .trim_start_matches('*')
}

impl NativeType {
    /// Decodes and encodes again, in place; answers the paths of unknown fields, which are gone.
    ///
    /// # Errors
    /// The text of Go's decoder for the first value of a wrong type.
    pub fn decode(&self, value: &mut Value) -> Result<Vec<String>, String> {
        self.walk(value, Words::Decoder)
    }

    /// The same with the words of Kubernetes' converter from maps to Go types.
    ///
    /// # Errors
    /// The text of the converter for the first value of a wrong type.
    pub fn convert(&self, value: &mut Value) -> Result<Vec<String>, String> {
        self.walk(value, Words::Converter)
    }

    fn walk(&self, value: &mut Value, words: Words) -> Result<Vec<String>, String> {
        let mut walk = Walk {
            types: &self.types,
            unknown: Vec::new(),
            path: String::new(),
            fields: Vec::new(),
            owner: None,
            words,
        };
        let go = format!("v1.{}", self.types.structs[self.root].name);
        walk.value(&Node::Struct(self.root), &go, value)?;
        Ok(walk.unknown)
    }
}

/// Whose words an error is told in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    /// `encoding/json`'s.
    Decoder,
    /// Those of the converter from maps.
    Converter,
}

struct Walk<'t> {
    types: &'t Types,
    unknown: Vec<String>,
    /// With indexes and keys, for unknown fields.
    path: String,
    /// Field names only, for errors.
    fields: Vec<String>,
    /// The innermost struct, for errors.
    owner: Option<usize>,
    words: Words,
}

impl Walk<'_> {
    fn refuse(&self, found: &str, go: &str) -> String {
        match self.owner {
            None => format!("json: cannot unmarshal {found} into Go value of type {go}"),
            Some(owner) => format!(
                "json: cannot unmarshal {found} into Go struct field {}.{} of type {go}",
                self.types.structs[owner].name,
                self.fields.join(".")
            ),
        }
    }

    /// The converter names Go's types on both sides, and no field.
    fn inconvertible(node: &Node, go: &str, value: &Value) -> Option<String> {
        let from = match value {
            Value::Number(number) if number.is_f64() => "float64",
            Value::Number(_) => "int64",
            Value::Bool(_) => "bool",
            Value::String(_) => "string",
            Value::Array(_) => "slice",
            Value::Object(_) => "map",
            Value::Null => return None,
        };
        Some(match (node, from) {
            (Node::Map(_), _) => format!("cannot restore map from {from}"),
            (Node::List(_) | Node::Bytes, _) => format!("cannot restore slice from {from}"),
            (Node::Struct(_), _) => format!("cannot restore struct from: {from}"),
            (Node::String, "int64") | (Node::Integer(_), "float64") => {
                format!("cannot convert {from} to {go}")
            }
            (Node::String, _) => "unrecognized type: string".to_owned(),
            (Node::Integer(true), _) => "unrecognized type: int64".to_owned(),
            (Node::Integer(false), _) => "unrecognized type: int32".to_owned(),
            (Node::Bool, _) => "unrecognized type: bool".to_owned(),
            (Node::Number, _) => "unrecognized type: float64".to_owned(),
            _ => return None,
        })
    }

    fn value(&mut self, node: &Node, go: &str, value: &mut Value) -> Result<(), String> {
        let found = match &*value {
            Value::Null => {
                *value = self.zero(node);
                return Ok(());
            }
            Value::Bool(_) => "bool".to_owned(),
            Value::Number(number) if matches!(node, Node::Integer(_)) && number.is_f64() => {
                format!("number {}", hanse_json::number_string(number))
            }
            Value::Number(_) => "number".to_owned(),
            other => type_name(other).to_owned(),
        };
        let converter = match self.words {
            Words::Converter => Self::inconvertible(node, go, value),
            Words::Decoder => None,
        };
        match (node, value) {
            (Node::Any, _) | (Node::String, Value::String(_)) | (Node::Bool, Value::Bool(_)) => {
                Ok(())
            }
            (Node::Number, Value::Number(_)) => Ok(()),
            (Node::IntOrString, Value::String(_) | Value::Number(_)) => Ok(()),
            (Node::Integer(wide), Value::Number(number)) => {
                let integer = hanse_json::get_i64(&Value::Number(number.clone()), &[]);
                match integer.filter(|n| *wide || i32::try_from(*n).is_ok()) {
                    Some(integer) => {
                        *number = integer.into();
                        Ok(())
                    }
                    None => {
                        let text = hanse_json::number_string(number);
                        Err(self.refuse(&format!("number {text}"), go))
                    }
                }
            }
            (Node::Bytes, Value::String(text)) => {
                let bytes = base64::decode(text).map_err(|err| err.to_string())?;
                *text = base64::encode(&bytes);
                Ok(())
            }
            (Node::Time, Value::String(text)) => {
                *text = time::format(parse_time(text)?);
                Ok(())
            }
            (Node::MicroTime, Value::String(text)) => {
                *text = time::format_micro(parse_micro_time(text)?);
                Ok(())
            }
            (Node::Quantity, value @ (Value::String(_) | Value::Number(_))) => {
                let text = match &*value {
                    Value::String(text) => text.clone(),
                    other => hanse_json::to_string(other),
                };
                *value = json!(quantity::canonical(&text)?);
                Ok(())
            }
            (Node::List(item), Value::Array(items)) => {
                let length = self.path.len();
                for (i, value) in items.iter_mut().enumerate() {
                    self.path.push_str(&format!("[{i}]"));
                    self.value(item, element_name(go), value)?;
                    self.path.truncate(length);
                }
                Ok(())
            }
            (Node::Map(item), Value::Object(map)) => {
                let length = self.path.len();
                for (key, value) in map.iter_mut() {
                    self.path.push_str(&format!(".{key}"));
                    self.value(item, element_name(go), value)?;
                    self.path.truncate(length);
                }
                Ok(())
            }
            (Node::Struct(index) | Node::SchemaOr(index), Value::Object(map)) => {
                self.object(*index, map)
            }
            (Node::SchemaOr(_), _) => Ok(()),
            (Node::Quantity, _) => Err(quantity::FORMAT_WRONG.to_owned()),
            _ => Err(converter.unwrap_or_else(|| self.refuse(&found, go))),
        }
    }

    fn object(&mut self, index: usize, map: &mut Map<String, Value>) -> Result<(), String> {
        let types = self.types;
        let declared = &types.structs[index];
        let outer = self.owner.replace(index);
        let length = self.path.len();
        let mut unknown: Vec<String> = Vec::new();
        for (name, value) in map.iter_mut() {
            let Some(field) = declared.fields.get(name) else {
                unknown.push(name.clone());
                continue;
            };
            if length > 0 {
                self.path.push('.');
            }
            self.path.push_str(name);
            self.fields.push(name.clone());
            if !value.is_null() {
                self.value(&field.node, &field.go, value)?;
            }
            self.fields.pop();
            self.path.truncate(length);
        }
        for name in unknown {
            map.remove(&name);
            if self.unknown.len() < MAX_UNKNOWN_FIELDS {
                let dot = if length > 0 { "." } else { "" };
                self.unknown.push(format!("{}{dot}{name}", self.path));
            }
        }
        for (name, field) in &declared.fields {
            self.settle(name, field, map);
        }
        self.owner = outer;
        Ok(())
    }

    /// Drops an empty field or fills in an absent one, as Go's encoder would.
    fn settle(&self, name: &str, field: &Field, map: &mut Map<String, Value>) {
        if let Some(value) = map.get(name) {
            let empty = value.is_null() || (!field.pointer && is_empty(&field.node, value));
            if !empty {
                return;
            }
            map.remove(name);
        }
        let is_struct = matches!(field.node, Node::Struct(_) | Node::Time | Node::MicroTime);
        let omitted = field.omitzero || (field.omitempty && (field.pointer || !is_struct));
        if !omitted {
            let zero = if field.pointer {
                Value::Null
            } else {
                self.zero(&field.node)
            };
            map.insert(name.to_owned(), zero);
        }
    }

    fn zero(&self, node: &Node) -> Value {
        match node {
            Node::String => json!(""),
            Node::Integer(_) | Node::Number | Node::IntOrString => json!(0),
            Node::Quantity => json!("0"),
            Node::Bool => json!(false),
            Node::Struct(index) => {
                let mut map = Map::new();
                for (name, field) in &self.types.structs[*index].fields {
                    self.settle(name, field, &mut map);
                }
                Value::Object(map)
            }
            _ => Value::Null,
        }
    }
}

fn is_empty(node: &Node, value: &Value) -> bool {
    match (node, value) {
        (Node::Any | Node::Struct(_) | Node::SchemaOr(_) | Node::IntOrString, _) => false,
        (_, Value::String(text)) => text.is_empty(),
        (_, Value::Array(items)) => items.is_empty(),
        (_, Value::Object(map)) => map.is_empty(),
        (_, Value::Bool(value)) => !value,
        (_, Value::Number(number)) => number.as_f64() == Some(0.0),
        (_, Value::Null) => true,
    }
}

/// Times with microseconds have exactly six digits of them.
fn parse_micro_time(text: &str) -> Result<i64, String> {
    let refuse = |rest: &str, part: &str| {
        let (text, rest) = (quote(text), quote(rest));
        Err(format!(
            "parsing time {text} as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse {rest} as \
             {part:?}"
        ))
    };
    let Some(time) = time::parse(text) else {
        return refuse(text, "2006");
    };
    // What follows the seconds.
    let rest = text.get(19..).unwrap_or_default();
    let digits = rest.strip_prefix('.').map_or(0, |fraction| {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit);
        digits.count()
    });
    match digits {
        6 => Ok(time),
        0..6 => refuse(rest, ".000000"),
        _ => refuse(rest.get(7..).unwrap_or_default(), "Z07:00"),
    }
}

fn parse_time(text: &str) -> Result<i64, String> {
    time::parse(text).ok_or_else(|| {
        let quoted = quote(text);
        format!(
            "parsing time {quoted} as \"2006-01-02T15:04:05Z07:00\": cannot parse {quoted} as \
             \"2006\""
        )
    })
}
