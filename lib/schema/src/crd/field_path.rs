//! Paths into a schema, as `fieldPath` and `selectableFields` write them.
//!
//! Start at [`resolve`]. `.a.b` and `['x-y']`; no list indexes.

use crate::field::Path;
use crate::props::Props;

/// Follows a path through a schema: the path as field errors show it, and the schema it leads to
/// (none below `additionalProperties: true`).
///
/// # Errors
/// Why it leads nowhere.
pub fn resolve<'p>(
    text: &str,
    schema: &'p Props,
    brackets: bool,
) -> Result<(Path, Option<&'p Props>), String> {
    let mut path = Path::nil();
    let mut schema = Some(schema);
    let mut tokens = tokens(text).into_iter();
    while let Some(token) = tokens.next() {
        let end = || "unexpected end of JSON path".to_owned();
        let name = match token {
            "[" => {
                if !brackets {
                    return Err("array notation is not allowed".to_owned());
                }
                let quoted = tokens.next().ok_or_else(end)?;
                if quoted.len() < 2 || !quoted.starts_with('\'') || !quoted.ends_with('\'') {
                    return Err(format!("expected single quoted string but got {quoted}"));
                }
                unescape(&quoted[1..quoted.len() - 1])
                    .map_err(|why| format!("invalid string literal: {why}"))?
            }
            "." => tokens.next().ok_or_else(end)?.to_owned(),
            other => return Err(format!("expected [ or . but got: {other}")),
        };
        let nowhere = || "does not refer to a valid field".to_owned();
        let node = schema.ok_or_else(nowhere)?;
        if !node.properties.is_empty() {
            path = path.child(&name);
            schema = Some(node.properties.get(&name).ok_or_else(nowhere)?);
        } else if let Some(additional) = &node.additional_properties {
            path = path.key(&name);
            schema = additional.schema();
        } else {
            return Err(nowhere());
        }
        if token == "[" {
            match tokens.next() {
                Some("]") => {}
                Some(other) => return Err(format!("expected ] but got {other}")),
                None => return Err(end()),
            }
        }
    }
    Ok((path, schema))
}

/// Splits at `.`, `[` and `]`, which are tokens themselves; a quoted text is one token.
fn tokens(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '.' | '[' | ']' => 1,
            '\'' => end_of_quoted(rest),
            _ => rest.find(['.', '[', ']']).unwrap_or(rest.len()),
        };
        let (token, tail) = rest.split_at(end);
        out.push(token);
        rest = tail;
    }
    out
}

fn end_of_quoted(text: &str) -> usize {
    let bytes = text.as_bytes();
    let closes = |i: &usize| bytes[*i] == b'\'' && bytes[i - 1] != b'\\';
    (1..bytes.len()).find(closes).map_or(text.len(), |i| i + 1)
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next() {
            Some('a') => '\u{7}',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\u{b}',
            Some('\'') => '\'',
            Some('\\') | None => '\\',
            Some(other) => return Err(format!("invalid escape char \\{other}")),
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths() {
        let source = json!({"properties": {"spec": {"properties": {"a": {"type": "string"},
            "x-y": {"additionalProperties": {"type": "integer"}}}}}});
        let schema = Props::decode(&source, &Path::nil()).unwrap();
        let (path, found) = resolve(".spec['x-y'].k", &schema, true).unwrap();
        assert_eq!(path.to_string(), "spec.x-y[k]");
        assert_eq!(found.unwrap().ty, "integer");
        for (text, why) in [
            ("spec", "expected [ or . but got: spec"),
            (".spec.b", "does not refer to a valid field"),
            (".spec.", "unexpected end of JSON path"),
            (".spec[0]", "expected single quoted string but got 0"),
            (".spec['a'", "unexpected end of JSON path"),
        ] {
            assert_eq!(resolve(text, &schema, true).unwrap_err(), why);
        }
        assert_eq!(
            resolve("['a']", &schema, false).unwrap_err(),
            "array notation is not allowed"
        );
    }
}
