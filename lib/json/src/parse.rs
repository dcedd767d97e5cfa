//! From bytes to a tree, strictly, and with the words of Go's decoder when it fails.
//!
//! Start at [`parse`]. Clients match on the messages that Kubernetes gives, and those come from
//! Go's scanner, so errors here name the offending character and what was being read in the same
//! words. A field that stands twice in one object is no error: the last value wins, and the path
//! of the field is reported so that the caller can warn or refuse.
//!
//! Invariant: never panics, never recurses deeper than [`Limits::depth`], and every tree that it
//! returns can be written again by this crate. YAML is deliberately elsewhere (`hanse-wire`).

use std::fmt;

use serde_json::{Map, Number, Value};

use crate::limits::Limits;

/// A document, and what strict decoding would have objected to.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The tree. Where a field stood twice, the last value.
    pub value: Value,
    /// Paths of fields that stood more than once in one object, like `spec.a` or `spec.x[0].y`,
    /// each once, in the order of the document.
    pub duplicates: Vec<String>,
}

/// Why bytes are not JSON, in the words of Go's `encoding/json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// For example ``invalid character 'x' looking for beginning of value``.
    pub message: String,
    /// Number of bytes that were read before the error was certain.
    pub offset: usize,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ParseError {}

/// Reads one JSON document.
///
/// Integers that fit `i64` stay integers, all other numbers become floats; bytes that are not
/// UTF-8 and lone surrogates become U+FFFD: all three as Kubernetes' decoder does.
///
/// # Errors
/// When the bytes are not exactly one JSON document, or nest deeper than `limits.depth`.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Parsed, ParseError> {
    let mut parser = Parser {
        bytes,
        at: 0,
        limits: *limits,
        duplicates: Vec::new(),
    };
    let value = parser.value(&Place::Root, 0)?;
    parser.skip_space();
    if parser.at < bytes.len() {
        return Err(parser.unexpected("after top-level value"));
    }
    Ok(Parsed {
        value,
        duplicates: parser.duplicates,
    })
}

/// Where the parser stands, as a list on the stack: costs nothing until a duplicate is found.
enum Place<'p> {
    Root,
    Field(&'p Place<'p>, &'p str),
    Item(&'p Place<'p>, usize),
}

impl Place<'_> {
    fn render(&self, out: &mut String) {
        match self {
            Place::Root => {}
            Place::Field(parent, name) => {
                parent.render(out);
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            Place::Item(parent, index) => {
                parent.render(out);
                out.push_str(&format!("[{index}]"));
            }
        }
    }
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    limits: Limits,
    duplicates: Vec<String>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn error(&self, message: String) -> ParseError {
        ParseError {
            message,
            offset: self.at,
        }
    }

    /// The error for the character at the cursor, or for the end of input if there is none.
    fn unexpected(&self, context: &str) -> ParseError {
        match self.peek() {
            None => self.error("unexpected end of JSON input".to_owned()),
            Some(c) => self.error(format!("invalid character {} {context}", quote_char(c))),
        }
    }

    fn value(&mut self, place: &Place<'_>, depth: usize) -> Result<Value, ParseError> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.object(place, depth),
            Some(b'[') => self.array(place, depth),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.unexpected("looking for beginning of value")),
        }
    }

    fn enter(&mut self, depth: usize) -> Result<(), ParseError> {
        if depth >= self.limits.depth {
            return Err(self.error("exceeded max depth".to_owned()));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    fn object(&mut self, place: &Place<'_>, depth: usize) -> Result<Value, ParseError> {
        self.enter(depth)?;
        let mut map = Map::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(map));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("looking for beginning of object key string"));
            }
            let key = self.string()?;
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("after object key"));
            }
            self.at += 1;
            let value = self.value(&Place::Field(place, &key), depth + 1)?;
            self.insert(&mut map, key, value, place);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Object(map));
                }
                _ => return Err(self.unexpected("after object key:value pair")),
            }
        }
    }

    fn insert(
        &mut self,
        map: &mut Map<String, Value>,
        key: String,
        value: Value,
        place: &Place<'_>,
    ) {
        use serde_json::map::Entry;
        match map.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(value);
            }
            Entry::Occupied(mut entry) => {
                if self.duplicates.len() < self.limits.duplicates {
                    let mut path = String::new();
                    Place::Field(place, entry.key()).render(&mut path);
                    if !self.duplicates.contains(&path) {
                        self.duplicates.push(path);
                    }
                }
                entry.insert(value);
            }
        }
    }

    fn array(&mut self, place: &Place<'_>, depth: usize) -> Result<Value, ParseError> {
        self.enter(depth)?;
        let mut items = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            let item = self.value(&Place::Item(place, items.len()), depth + 1)?;
            items.push(item);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::Array(items));
                }
                _ => return Err(self.unexpected("after array element")),
            }
        }
    }

    fn literal(&mut self, word: &str, value: Value) -> Result<Value, ParseError> {
        for expected in word.bytes() {
            if self.peek() != Some(expected) {
                let context = format!("in literal {word} (expecting {})", quote_char(expected));
                return Err(self.unexpected(&context));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Value, ParseError> {
        let start = self.at;
        let mut integer = true;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else if self.digits() == 0 {
            return Err(self.unexpected("in numeric literal"));
        }
        if self.peek() == Some(b'.') {
            integer = false;
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.unexpected("after decimal point in numeric literal"));
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            integer = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.unexpected("in exponent of numeric literal"));
            }
        }
        // Only ASCII digits and signs were accepted above.
        let text = std::str::from_utf8(&self.bytes[start..self.at]).unwrap_or("0");
        if integer && let Ok(number) = text.parse::<i64>() {
            return Ok(Value::Number(number.into()));
        }
        text.parse::<f64>()
            .ok()
            .and_then(Number::from_f64)
            .map(Value::Number)
            .ok_or_else(|| {
                self.error(format!(
                    "json: cannot unmarshal number {text} into Go value of type float64"
                ))
            })
    }

    fn string(&mut self) -> Result<String, ParseError> {
        self.at += 1;
        let start = self.at;
        let rest = &self.bytes[start..];
        if let Some(length) = memchr::memchr2(b'"', b'\\', rest)
            && rest[length] == b'"'
            && let Ok(text) = std::str::from_utf8(&rest[..length])
            && !text.bytes().any(|c| c < 0x20)
        {
            self.at = start + length + 1;
            return Ok(text.to_owned());
        }
        self.string_slowly()
    }

    /// Strings with escapes, control characters or broken UTF-8.
    fn string_slowly(&mut self) -> Result<String, ParseError> {
        let mut out = String::new();
        let mut plain = self.at;
        loop {
            match self.peek() {
                None => return Err(self.unexpected("in string literal")),
                Some(b'"') => {
                    out.push_str(&String::from_utf8_lossy(&self.bytes[plain..self.at]));
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    out.push_str(&String::from_utf8_lossy(&self.bytes[plain..self.at]));
                    self.at += 1;
                    self.escape(&mut out)?;
                    plain = self.at;
                }
                Some(c) if c < 0x20 => return Err(self.unexpected("in string literal")),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), ParseError> {
        let decoded = match self.peek() {
            Some(c @ (b'"' | b'\\' | b'/')) => c as char,
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                out.push(self.unicode()?);
                return Ok(());
            }
            _ => return Err(self.unexpected("in string escape code")),
        };
        self.at += 1;
        out.push(decoded);
        Ok(())
    }

    fn unicode(&mut self) -> Result<char, ParseError> {
        let high = self.hex4()?;
        if !(0xD800..0xDC00).contains(&high) {
            return Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        if self.bytes[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let low = self.hex4()?;
            if (0xDC00..0xE000).contains(&low) {
                let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            // Not a pair: the second escape speaks for itself.
            self.at = back;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32, ParseError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|c| (c as char).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.unexpected("in \\u hexadecimal character escape"));
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}

/// A byte as Go's scanner names it. Like Go, one that is not ASCII is shown as the Latin-1
/// character of the same number.
fn quote_char(c: u8) -> String {
    match c {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        0x07 => r"'\a'".to_owned(),
        0x08 => r"'\b'".to_owned(),
        0x0c => r"'\f'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        0x0b => r"'\v'".to_owned(),
        0x00..0x20 | 0x7f => format!("'\\x{c:02x}'"),
        0x80..0xa0 | 0xad => format!("'\\u00{c:02x}'"),
        _ => format!("'{}'", c as char),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ok(text: &str) -> Parsed {
        parse(text.as_bytes(), &Limits::default()).unwrap()
    }

    fn err(text: &str) -> String {
        parse(text.as_bytes(), &Limits::default())
            .unwrap_err()
            .message
    }

    #[test]
    fn reads_what_json_allows() {
        let parsed = ok(" {\"a\":[1,-2,3.5,1e3,true,false,null,\"x\\u00e9\\ud83d\\ude00\\n\"]}\n");
        assert_eq!(
            parsed.value,
            json!({"a": [1, -2, 3.5, 1000.0, true, false, null, "xé😀\n"]})
        );
        assert!(parsed.duplicates.is_empty());
    }

    #[test]
    fn keeps_integers_and_floats_apart() {
        assert!(ok("9223372036854775807").value.is_i64());
        assert!(ok("9223372036854775808").value.is_f64());
        assert!(ok("1.0").value.is_f64());
    }

    #[test]
    fn reports_each_duplicate_once_with_its_path() {
        let parsed = ok(r#"{"a":1,"spec":{"b":1,"b":2,"b":3,"x":[{},{"y":1,"y":2}]},"a":2}"#);
        assert_eq!(parsed.duplicates, ["spec.b", "spec.x[1].y", "a"]);
        assert_eq!(parsed.value["spec"]["b"], 3);
    }

    #[test]
    fn fails_in_the_words_of_go() {
        for (text, message) in [
            ("", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            ("x", "invalid character 'x' looking for beginning of value"),
            (
                "{]",
                "invalid character ']' looking for beginning of object key string",
            ),
            (
                "{\"a\":1,}",
                "invalid character '}' looking for beginning of object key string",
            ),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            (
                "{\"a\":1 2}",
                "invalid character '2' after object key:value pair",
            ),
            ("[1 2]", "invalid character '2' after array element"),
            (
                "[1,]",
                "invalid character ']' looking for beginning of value",
            ),
            ("{}x", "invalid character 'x' after top-level value"),
            (
                "tru,",
                "invalid character ',' in literal true (expecting 'e')",
            ),
            ("01", "invalid character '1' after top-level value"),
            ("-x", "invalid character 'x' in numeric literal"),
            (
                "1.x",
                "invalid character 'x' after decimal point in numeric literal",
            ),
            (
                "1ex",
                "invalid character 'x' in exponent of numeric literal",
            ),
            ("\"\n\"", "invalid character '\\n' in string literal"),
            ("\"\\q\"", "invalid character 'q' in string escape code"),
            (
                "\"\\u12g4\"",
                "invalid character 'g' in \\u hexadecimal character escape",
            ),
        ] {
            assert_eq!(err(text), message, "{text}");
        }
    }

    #[test]
    fn bounds_the_depth() {
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(parse(deep(512).as_bytes(), &Limits::default()).is_ok());
        assert_eq!(err(&deep(513)), "exceeded max depth");
        assert_eq!(err(&"{\"a\":".repeat(100_000)), "exceeded max depth");
    }

    #[test]
    fn replaces_what_is_not_unicode() {
        let parsed = parse(b"\"a\xffb\\ud800c\\ud800\\u0041\"", &Limits::default()).unwrap();
        assert_eq!(parsed.value, json!("a\u{fffd}b\u{fffd}c\u{fffd}A"));
    }
}
