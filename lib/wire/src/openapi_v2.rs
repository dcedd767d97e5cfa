//! An OpenAPI 2.0 document in the protobuf form that older kubectls and Argo CD ask for.
//!
//! Start at [`encode`]. The messages are those of gnostic's `openapi.v2`; their field numbers
//! stand where they are written. Only what such clients read is written: definitions with their
//! shape and extensions, and of paths the operations with parameters, media types and extensions.

use hanse_json::{Map, Value, get_object, get_str, to_string};

/// The media type in answers; clients ask for it with `@` instead of the second dot, too.
pub const MEDIA_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// As it stands in `Accept`.
pub const MEDIA_TYPE_ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The document's message.
pub fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, get_str(document, &["swagger"]));
    let mut info = Message::default();
    info.text(1, get_str(document, &["info", "title"]));
    info.text(2, get_str(document, &["info", "version"]));
    out.message(2, &info);
    let mut paths = Message::default();
    for (name, item) in get_object(document, &["paths"]).into_iter().flatten() {
        paths.message(2, &named(name, &path_item(item)));
    }
    out.message(8, &paths);
    let mut definitions = Message::default();
    for (name, definition) in get_object(document, &["definitions"]).into_iter().flatten() {
        definitions.message(1, &named(name, &schema(definition)));
    }
    out.message(9, &definitions);
    out.0
}

/// A message being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number as u8) | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u64, text: Option<&str>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn texts(&mut self, field: u64, list: Option<&Value>) {
        for item in list.and_then(Value::as_array).into_iter().flatten() {
            self.bytes(field, item.as_str().unwrap_or_default().as_bytes());
        }
    }

    fn message(&mut self, field: u64, message: &Message) {
        self.bytes(field, &message.0);
    }

    fn flag(&mut self, field: u64, value: Option<&Value>) {
        if value.and_then(Value::as_bool) == Some(true) {
            self.varint(field << 3);
            self.varint(1);
        }
    }

    fn integer(&mut self, field: u64, value: Option<&Value>) {
        if let Some(number) = value.and_then(Value::as_i64) {
            self.varint(field << 3);
            self.varint(number.cast_unsigned());
        }
    }

    fn double(&mut self, field: u64, value: Option<&Value>) {
        if let Some(number) = value.and_then(Value::as_f64) {
            self.varint(field << 3 | 1);
            self.0.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// `x-...` members, each as its JSON, which is YAML too.
    fn extensions(&mut self, field: u64, fields: &Map<String, Value>) {
        for (name, value) in fields.iter().filter(|(name, _)| name.starts_with("x-")) {
            self.message(field, &named(name, &any(value)));
        }
    }
}

fn named(name: &str, value: &Message) -> Message {
    let mut out = Message::default();
    out.text(1, Some(name));
    out.message(2, value);
    out
}

fn any(value: &Value) -> Message {
    let mut out = Message::default();
    out.text(2, Some(&to_string(value)));
    out
}

fn path_item(item: &Value) -> Message {
    let mut out = Message::default();
    for (method, field) in [
        ("get", 2),
        ("put", 3),
        ("post", 4),
        ("delete", 5),
        ("patch", 8),
    ] {
        if let Some(fields) = get_object(item, &[method]) {
            out.message(field, &operation(fields));
        }
    }
    out
}

fn operation(fields: &Map<String, Value>) -> Message {
    let mut out = Message::default();
    out.texts(1, fields.get("tags"));
    out.text(5, fields.get("operationId").and_then(Value::as_str));
    out.texts(6, fields.get("produces"));
    out.texts(7, fields.get("consumes"));
    let parameters = fields.get("parameters").and_then(Value::as_array);
    for parameter in parameters.into_iter().flatten() {
        let (kind, inner) = match get_str(parameter, &["in"]) {
            Some("query") => (2, query_parameter(parameter)),
            Some("body") => (1, body_parameter(parameter)),
            _ => continue,
        };
        let mut which = Message::default();
        which.message(kind, &inner);
        let mut item = Message::default();
        item.message(1, &which);
        out.message(8, &item);
    }
    out.message(9, &Message::default());
    out.extensions(13, fields);
    out
}

fn query_parameter(parameter: &Value) -> Message {
    let mut query = Message::default();
    query.text(2, Some("query"));
    query.text(3, get_str(parameter, &["description"]));
    query.text(4, get_str(parameter, &["name"]));
    query.text(6, get_str(parameter, &["type"]));
    query.flag(20, parameter.get("uniqueItems"));
    let mut out = Message::default();
    out.message(3, &query);
    out
}

fn body_parameter(parameter: &Value) -> Message {
    let mut out = Message::default();
    out.text(2, get_str(parameter, &["name"]));
    out.text(3, Some("body"));
    out.flag(4, parameter.get("required"));
    if let Some(of) = parameter.get("schema") {
        out.message(5, &schema(of));
    }
    out
}

fn properties(fields: &Map<String, Value>) -> Message {
    let mut out = Message::default();
    for (name, property) in fields {
        out.message(1, &named(name, &schema(property)));
    }
    out
}

fn schema(value: &Value) -> Message {
    let mut out = Message::default();
    let Some(fields) = value.as_object() else {
        return out;
    };
    let of = |name: &str| fields.get(name);
    for (field, name) in [
        (1, "$ref"),
        (2, "format"),
        (3, "title"),
        (4, "description"),
        (13, "pattern"),
    ] {
        out.text(field, of(name).and_then(Value::as_str));
    }
    if let Some(default) = of("default") {
        out.message(5, &any(default));
    }
    for (field, name) in [(6, "multipleOf"), (7, "maximum"), (9, "minimum")] {
        out.double(field, of(name));
    }
    for (field, name) in [
        (8, "exclusiveMaximum"),
        (10, "exclusiveMinimum"),
        (16, "uniqueItems"),
        (27, "readOnly"),
    ] {
        out.flag(field, of(name));
    }
    for (field, name) in [
        (11, "maxLength"),
        (12, "minLength"),
        (14, "maxItems"),
        (15, "minItems"),
        (17, "maxProperties"),
        (18, "minProperties"),
    ] {
        out.integer(field, of(name));
    }
    out.texts(19, of("required"));
    for value in of("enum").and_then(Value::as_array).into_iter().flatten() {
        out.message(20, &any(value));
    }
    match of("additionalProperties") {
        Some(Value::Bool(true)) => out.bytes(21, &[2 << 3, 1]),
        Some(Value::Bool(false)) => out.bytes(21, &[2 << 3, 0]),
        Some(inner) => {
            let mut item = Message::default();
            item.message(1, &schema(inner));
            out.message(21, &item);
        }
        None => {}
    }
    if let Some(text) = of("type").and_then(Value::as_str) {
        let mut item = Message::default();
        item.text(1, Some(text));
        out.message(22, &item);
    }
    if let Some(items) = of("items") {
        let mut item = Message::default();
        item.message(1, &schema(items));
        out.message(23, &item);
    }
    for inner in of("allOf").and_then(Value::as_array).into_iter().flatten() {
        out.message(24, &schema(inner));
    }
    if let Some(fields) = of("properties").and_then(Value::as_object) {
        out.message(25, &properties(fields));
    }
    out.extensions(31, fields);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use hanse_json::json;

    #[test]
    fn a_document_has_the_numbers_of_gnostic() {
        let document = json!({
            "swagger": "2.0", "info": {"title": "t", "version": "v"}, "paths": {},
            "definitions": {"a": {"type": "object", "x-k": [1]}},
        });
        let expected = [
            &b"\x0a\x032.0"[..],
            b"\x12\x06\x0a\x01t\x12\x01v",
            b"\x42\x00",
            b"\x4a\x21\x0a\x1f\x0a\x01a\x12\x1a\xb2\x01\x08\x0a\x06object",
            b"\xfa\x01\x0c\x0a\x03x-k\x12\x05\x12\x03[1]",
        ];
        assert_eq!(encode(&document), expected.concat());
    }
}
