//! From a tree to the one form in which objects rest and travel.
//!
//! Start at [`write`]. The form is compact, keys in byte order (the tree's own order), strings with
//! the fewest escapes, numbers as Go's encoder prints a `float64` or `int64`. Equal trees give
//! equal bytes, which is what hashes, no-op detection and the store rely on.
//!
//! Deliberately elsewhere: the place of `metadata.resourceVersion`, which the cache splices in.

use serde_json::{Number, Value};

/// Spaces per level of the indented form that people with `curl` get (`?pretty=true`).
const INDENT: usize = 2;

/// The canonical bytes of a tree.
pub fn to_vec(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write(value, &mut out);
    out
}

/// The canonical form as text; it is always UTF-8.
pub fn to_string(value: &Value) -> String {
    String::from_utf8(to_vec(value)).unwrap_or_default()
}

/// Appends the canonical bytes of a tree.
pub fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_str(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(map) => {
            out.push(b'{');
            for (i, (key, item)) in map.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_str(key, out);
                out.push(b':');
                write(item, out);
            }
            out.push(b'}');
        }
    }
}

/// The indented form with a newline at the end, as `?pretty=true` answers.
pub fn to_vec_pretty(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    write_pretty(value, 0, &mut out);
    out.push(b'\n');
    out
}

fn newline(level: usize, out: &mut Vec<u8>) {
    out.push(b'\n');
    out.resize(out.len() + level * INDENT, b' ');
}

fn write_pretty(value: &Value, level: usize, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                newline(level + 1, out);
                write_pretty(item, level + 1, out);
            }
            newline(level, out);
            out.push(b']');
        }
        Value::Object(map) if !map.is_empty() => {
            out.push(b'{');
            for (i, (key, item)) in map.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                newline(level + 1, out);
                write_str(key, out);
                out.extend_from_slice(b": ");
                write_pretty(item, level + 1, out);
            }
            newline(level, out);
            out.push(b'}');
        }
        _ => write(value, out),
    }
}

fn write_number(number: &Number, out: &mut Vec<u8>) {
    if let Some(n) = number.as_i64() {
        out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
    } else if let Some(n) = number.as_u64() {
        out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
    } else if let Some(n) = number.as_f64() {
        out.extend_from_slice(format_float(n).as_bytes());
    }
}

/// A number as Go's JSON encoder prints it.
pub fn number_string(number: &Number) -> String {
    let mut out = Vec::with_capacity(20);
    write_number(number, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// A finite float as Go's JSON encoder prints it: the shortest digits that read back to the same
/// value, without a fraction where there is none, and with an exponent below 1e-6 and from 1e21.
/// Negative zero alone is written `0`: it reads back as an integer, and those have no sign there.
pub fn format_float(n: f64) -> String {
    let magnitude = n.abs();
    if magnitude == 0.0 {
        return "0".to_owned();
    }
    if !(1e-6..1e21).contains(&magnitude) {
        let text = format!("{n:e}");
        // Go writes the sign of a positive exponent, Rust does not.
        return match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => {
                format!("{digits}e+{exponent}")
            }
            _ => text,
        };
    }
    format!("{n}")
}

/// Appends a JSON string with its quotes.
pub fn write_str(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(text.len() + 2);
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (i, &c) in bytes.iter().enumerate() {
        let escape: Option<&[u8]> = match c {
            b'"' => Some(b"\\\""),
            b'\\' => Some(b"\\\\"),
            b'\n' => Some(b"\\n"),
            b'\r' => Some(b"\\r"),
            b'\t' => Some(b"\\t"),
            0x08 => Some(b"\\b"),
            0x0c => Some(b"\\f"),
            0..0x20 => None,
            _ => continue,
        };
        out.extend_from_slice(&bytes[plain..i]);
        plain = i + 1;
        match escape {
            Some(escape) => out.extend_from_slice(escape),
            None => {
                let (high, low) = (HEX[usize::from(c >> 4)], HEX[usize::from(c & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
    }
    out.extend_from_slice(&bytes[plain..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn writes_compact_sorted_json() {
        let value = json!({"b": [1, null, {"z": 1, "a": true}], "a": "\"\\\n\u{1}é"});
        let text = r#"{"a":"\"\\\n\u0001é","b":[1,null,{"a":true,"z":1}]}"#;
        assert_eq!(to_string(&value), text);
    }

    #[test]
    fn prints_numbers_like_go() {
        for (number, text) in [
            (json!(1.0), "1"),
            (json!(-0.0), "0"),
            (json!(0.1), "0.1"),
            (json!(1e20), "100000000000000000000"),
            (json!(1e21), "1e+21"),
            (json!(1.5e300), "1.5e+300"),
            (json!(1e-6), "0.000001"),
            (json!(1e-7), "1e-7"),
            (json!(123456789.125), "123456789.125"),
            (json!(i64::MIN), "-9223372036854775808"),
            (json!(u64::MAX), "18446744073709551615"),
        ] {
            assert_eq!(to_string(&number), text);
        }
    }

    #[test]
    fn indents_like_go() {
        let value = json!({"a": [], "b": {}, "c": [1, {"d": 2}]});
        let text = "{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1,\n    {\n      \"d\": 2\n    \
                    }\n  ]\n}\n";
        assert_eq!(String::from_utf8(to_vec_pretty(&value)).unwrap(), text);
    }
}
