//! Go's way of writing values, where Kubernetes shows them to people.
//!
//! Clients compare error texts, and those texts are made by Go's `%q`, `%v` and `json.Marshal`.
//! Start at [`quote`] and [`json`]. The invariant: for equal input the bytes are those of Go 1.26
//! (the tables of printable characters may differ by a Unicode version). Encoding of objects for
//! the wire is elsewhere: that one does not escape `<`, `>` and `&`.

use std::fmt::Write as _;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Number, Value};

/// Go's `strconv.Quote`: a double-quoted Go string literal.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if is_print(c) => out.push(c),
            c if (c as u32) < 0x20 || c == '\u{7f}' => push_hex(&mut out, "\\x", c as u32, 2),
            c if (c as u32) < 0x1_0000 => push_hex(&mut out, "\\u", c as u32, 4),
            c => push_hex(&mut out, "\\U", c as u32, 8),
        }
    }
    out.push('"');
    out
}

fn push_hex(out: &mut String, prefix: &str, code: u32, width: usize) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{prefix}{code:0width$x}");
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space.
pub fn is_print(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    #[allow(clippy::expect_used)] // a constant pattern, compiled once at start
    static PRINT: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^[\p{L}\p{M}\p{N}\p{P}\p{S}]$").expect("constant pattern"));
    PRINT.is_match(c.encode_utf8(&mut [0; 4]))
}

/// Go's `json.Marshal` of a decoded value: sorted keys, no blanks, HTML characters escaped.
pub fn json(value: &Value) -> String {
    let mut out = String::new();
    write_json(value, &mut out);
    out
}

/// Go's `json.Marshal` of one string.
pub fn json_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    write_json_string(text, &mut out);
    out
}

fn write_json(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => out.push_str(&json_number(n)),
        Value::String(s) => write_json_string(s, out),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_json(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (i, (key, item)) in map.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_json_string(key, out);
                out.push(':');
                write_json(item, out);
            }
            out.push('}');
        }
    }
}

fn write_json_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => push_hex(out, "\\u", c as u32, 4),
            c if (c as u32) < 0x20 => push_hex(out, "\\u", c as u32, 4),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// `json.Marshal` of a number: integers bare, floats without exponent between 1e-6 and 1e21.
pub fn json_number(number: &Number) -> String {
    match number.as_f64() {
        Some(f) if number.is_f64() => json_float(f),
        _ => number.to_string(),
    }
}

fn json_float(f: f64) -> String {
    let abs = f.abs();
    if abs != 0.0 && !(1e-6..1e21).contains(&abs) {
        // Go drops the leading zero of a negative exponent only.
        let (digits, exponent) = digits_and_exponent(f);
        return if exponent < 0 {
            format!("{digits}e-{}", -exponent)
        } else {
            format!("{digits}e+{exponent:02}")
        };
    }
    plain_float(f)
}

/// Go's `%v` (and `%g`) of a float64: the shortest digits; with an exponent below 1e-4 and from
/// 1e6 on.
pub fn float_v(f: f64) -> String {
    let (digits, exponent) = digits_and_exponent(f);
    if f != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    plain_float(f)
}

fn digits_and_exponent(f: f64) -> (String, i32) {
    let text = format!("{f:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => (digits.to_owned(), exponent.parse().unwrap_or(0)),
        None => (text, 0),
    }
}

fn plain_float(f: f64) -> String {
    if f == 0.0 {
        return if f.is_sign_negative() {
            "-0".into()
        } else {
            "0".into()
        };
    }
    // Rust's Display never uses an exponent and prints the shortest digits that read back.
    format!("{f}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quote_as_go_does() {
        for (input, want) in [
            ("a", r#""a""#),
            ("a\"b\\", r#""a\"b\\""#),
            ("\n\t\u{0}\u{7f}", r#""\n\t\x00\x7f""#),
            ("é世", r#""é世""#),
            ("\u{200b}", r#""\u200b""#),
            ("\u{a0}", r#""\u00a0""#),
            ("\u{e0001}", r#""\U000e0001""#),
        ] {
            assert_eq!(quote(input), want);
        }
    }

    #[test]
    fn json_as_go_does() {
        let value = json!({"b": [1, 1.5, 1e21, 1e-7, true, null], "a": "<x>&"});
        let want = "{\"a\":\"\\u003cx\\u003e\\u0026\",\"b\":[1,1.5,1e+21,1e-7,true,null]}";
        assert_eq!(json(&value), want);
    }

    #[test]
    fn floats_as_go_does() {
        for (f, want) in [
            (1.5, "1.5"),
            (123456.0, "123456"),
            (1e6, "1e+06"),
            (1e21, "1e+21"),
            (0.0001, "0.0001"),
        ] {
            assert_eq!(float_v(f), want);
        }
        assert_eq!(float_v(0.00001), "1e-05");
    }
}
