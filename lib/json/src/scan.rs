//! Reads single values out of JSON bytes without building a tree.
//!
//! Start at [`find`]. The bytes are our own (written by [`crate::to_vec`]): valid, compact. Bytes
//! that are not are answered with `None` or an early end, never with a panic.
//!
//! Deliberately not here: anything that needs two values of one document at once and is not on a
//! hot path; parse it then.

use std::borrow::Cow;

use crate::limits::Limits;

/// The raw bytes of the value at a path of field names.
pub fn find<'b>(bytes: &'b [u8], path: &[&str]) -> Option<&'b [u8]> {
    // Only what stands before the value is walked over: where its holders end is never asked.
    let mut at = skip_space(bytes, 0);
    for name in path {
        at = enter(bytes, at, name)?;
    }
    match path {
        [] => Some(bytes),
        _ => Some(&bytes[at..skip_value(bytes, at)?]),
    }
}

/// Where the value of a field begins in the object that begins at `at`.
fn enter(raw: &[u8], at: usize, name: &str) -> Option<usize> {
    let mut at = at;
    let mut before = b'{';
    loop {
        if raw.get(at) != Some(&before) {
            return None;
        }
        let key_start = skip_space(raw, at + 1);
        let key_end = skip_string(raw, key_start)?;
        let colon = skip_space(raw, key_end);
        if raw.get(colon) != Some(&b':') {
            return None;
        }
        let value = skip_space(raw, colon + 1);
        if key_is(&raw[key_start..key_end], name) {
            return Some(value);
        }
        at = skip_space(raw, skip_value(raw, value)?);
        before = b',';
    }
}

/// The string at a path; borrowed unless it has escapes.
pub fn find_str<'b>(bytes: &'b [u8], path: &[&str]) -> Option<Cow<'b, str>> {
    decode_str(find(bytes, path)?)
}

/// The integer at a path.
pub fn find_i64(bytes: &[u8], path: &[&str]) -> Option<i64> {
    std::str::from_utf8(find(bytes, path)?).ok()?.parse().ok()
}

/// A raw JSON string decoded; `None` if the bytes are not one.
pub fn decode_str(raw: &[u8]) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if memchr::memchr(b'\\', inner).is_none() {
        return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
    }
    match crate::parse(raw, &Limits::default()).ok()?.value {
        serde_json::Value::String(text) => Some(Cow::Owned(text)),
        _ => None,
    }
}

fn key_is(raw: &[u8], name: &str) -> bool {
    let inner = raw
        .strip_prefix(b"\"")
        .and_then(|raw| raw.strip_suffix(b"\""));
    match inner {
        Some(inner) if inner == name.as_bytes() => !inner.contains(&b'\\'),
        // An escaped key is longer than what it says.
        Some(inner) if inner.len() <= name.len() || !inner.contains(&b'\\') => false,
        _ => decode_str(raw).is_some_and(|key| key == name),
    }
}

/// The fields of an object: raw key (with quotes) and raw value. Empty for anything else.
pub fn entries(raw: &[u8]) -> Entries<'_> {
    let at = skip_space(raw, 0);
    Entries(if raw.get(at) == Some(&b'{') {
        Some((raw, at + 1))
    } else {
        None
    })
}

/// The items of a list, raw. Empty for anything else.
pub fn items(raw: &[u8]) -> Items<'_> {
    let at = skip_space(raw, 0);
    Items(if raw.get(at) == Some(&b'[') {
        Some((raw, at + 1))
    } else {
        None
    })
}

/// See [`entries`].
pub struct Entries<'b>(Option<(&'b [u8], usize)>);

impl<'b> Iterator for Entries<'b> {
    type Item = (&'b [u8], &'b [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (raw, start) = self.0.take()?;
        let key_start = skip_space(raw, start);
        let key_end = skip_string(raw, key_start)?;
        let colon = skip_space(raw, key_end);
        if raw.get(colon) != Some(&b':') {
            return None;
        }
        let value_start = skip_space(raw, colon + 1);
        let value_end = skip_value(raw, value_start)?;
        let after = skip_space(raw, value_end);
        if raw.get(after) == Some(&b',') {
            self.0 = Some((raw, after + 1));
        }
        Some((&raw[key_start..key_end], &raw[value_start..value_end]))
    }
}

/// See [`items`].
pub struct Items<'b>(Option<(&'b [u8], usize)>);

impl<'b> Iterator for Items<'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let (raw, start) = self.0.take()?;
        let value_start = skip_space(raw, start);
        let value_end = skip_value(raw, value_start)?;
        let after = skip_space(raw, value_end);
        if raw.get(after) == Some(&b',') {
            self.0 = Some((raw, after + 1));
        }
        Some(&raw[value_start..value_end])
    }
}

fn skip_space(raw: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = raw.get(at) {
        at += 1;
    }
    at
}

/// Bytes of a string that are looked at one by one.
const NEAR: usize = 16;

/// The index behind a string that starts at `at`.
fn skip_string(raw: &[u8], at: usize) -> Option<usize> {
    if raw.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at + 1;
    // Most strings are short: looking byte by byte is done before a search is set up.
    let near = raw.len().min(at + NEAR);
    while at < near && !matches!(raw[at], b'"' | b'\\') {
        at += 1;
    }
    loop {
        at += match raw.get(at)? {
            b'"' | b'\\' => 0,
            _ => memchr::memchr2(b'"', b'\\', &raw[at..])?,
        };
        if raw[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The index behind a value that starts at `at`. Counts brackets instead of recursing.
fn skip_value(raw: &[u8], at: usize) -> Option<usize> {
    match raw.get(at)? {
        b'"' => skip_string(raw, at),
        b'{' | b'[' => {
            let mut depth = 0usize;
            let mut at = at;
            loop {
                match raw.get(at)? {
                    b'"' => {
                        at = skip_string(raw, at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return Some(at + 1);
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
        }
        _ => {
            let rest = raw.get(at..)?;
            let ends = |c: &u8| matches!(c, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
            let length = rest.iter().position(ends).unwrap_or(rest.len());
            (length > 0).then_some(at + length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn finds_raw_values() {
        let value = json!({"a": {"b\"": [1, "x,]}"], "c": {"d": -7}}, "s": "é\n", "t": "plain"});
        let bytes = crate::to_vec(&value);
        assert_eq!(
            find(&bytes, &["a", "b\""]),
            Some(br#"[1,"x,]}"]"#.as_slice())
        );
        assert_eq!(find_i64(&bytes, &["a", "c", "d"]), Some(-7));
        assert_eq!(find_str(&bytes, &["s"]).as_deref(), Some("é\n"));
        assert!(matches!(
            find_str(&bytes, &["t"]),
            Some(Cow::Borrowed("plain"))
        ));
        assert_eq!(find(&bytes, &["a", "x"]), None);
        assert_eq!(find(&bytes, &["s", "x"]), None);
        assert_eq!(find(&bytes, &[]), Some(bytes.as_slice()));
    }

    #[test]
    fn survives_what_is_not_json() {
        for raw in [
            "",
            "{",
            "{\"a",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":[",
            "{\"a\":\"\\",
            "[",
            "}",
        ] {
            assert_eq!(find(raw.as_bytes(), &["a"]), None, "{raw}");
        }
    }
}
