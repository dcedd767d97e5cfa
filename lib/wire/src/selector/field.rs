//! Field selectors: comma-joined terms with escapes, matched against text.

use std::borrow::Cow;
use std::fmt;

use crate::limits::MAX_REQUIREMENTS;
use crate::status::{Result, Status};

/// One term of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTerm {
    /// Such as `metadata.name`.
    pub field: String,
    /// Unescaped.
    pub value: String,
    /// Whether the field must differ.
    pub negated: bool,
}

/// A conjunction of terms on fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<FieldTerm>,
}

impl FieldSelector {
    /// Matches every object.
    pub fn everything() -> Self {
        FieldSelector::default()
    }

    /// One field with one value.
    pub fn equals(field: &str, value: &str) -> Self {
        let term = FieldTerm {
            field: field.to_owned(),
            value: value.to_owned(),
            negated: false,
        };
        FieldSelector { terms: vec![term] }
    }

    /// Reads the text form, such as `metadata.name=x,type!=Opaque`.
    ///
    /// # Errors
    /// 400 with the parser's text.
    pub fn parse(text: &str) -> Result<Self> {
        let mut parts = split_terms(text);
        parts.sort_unstable();
        let mut terms = Vec::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            if terms.len() >= MAX_REQUIREMENTS {
                let why = format!("invalid selector: more than {MAX_REQUIREMENTS} terms");
                return Err(Status::bad_request(why));
            }
            let (field, negated, value) = split_term(part).ok_or_else(|| {
                let why = format!("invalid selector: '{text}'; can't understand '{part}'");
                Status::bad_request(why)
            })?;
            let value = unescape(value).map_err(Status::bad_request)?;
            terms.push(FieldTerm {
                field: field.to_owned(),
                value: value.into_owned(),
                negated,
            });
        }
        Ok(FieldSelector { terms })
    }

    /// Whether every object matches.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The terms, sorted by their text.
    pub fn terms(&self) -> &[FieldTerm] {
        &self.terms
    }

    /// The value that a field must have, if the selector says so.
    pub fn exact(&self, field: &str) -> Option<&str> {
        let mut terms = self.terms.iter().filter(|t| !t.negated && t.field == field);
        terms.next().map(|term| term.value.as_str())
    }

    /// Whether an object matches; `get` gives a field's text, `""` where there is none.
    pub fn matches<'o>(&self, get: impl Fn(&str) -> Cow<'o, str>) -> bool {
        self.terms
            .iter()
            .all(|term| (get(&term.field) == term.value) != term.negated)
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.terms.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            let operator = if term.negated { "!=" } else { "=" };
            let value = term
                .value
                .replace('\\', r"\\")
                .replace(',', r"\,")
                .replace('=', r"\=");
            write!(f, "{}{operator}{value}", term.field)?;
        }
        Ok(())
    }
}

/// Splits at commas that no backslash precedes.
fn split_terms(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (i, c) in text.bytes().enumerate() {
        match c {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    (0..term.len())
        .filter(|&i| term.is_char_boundary(i))
        .find_map(|i| {
            let (field, rest) = term.split_at(i);
            let operator = ["!=", "==", "="]
                .into_iter()
                .find(|op| rest.starts_with(op))?;
            Some((field, operator == "!=", &rest[operator.len()..]))
        })
}

fn unescape(text: &str) -> std::result::Result<Cow<'_, str>, String> {
    if !text.contains(['\\', ',', '=']) {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                other => {
                    let sequence: String = std::iter::once('\\').chain(other).collect();
                    let why = "invalid field selector: invalid escape sequence";
                    return Err(format!("{why}: {sequence}"));
                }
            },
            ',' | '=' => {
                let why = "invalid field selector: unescaped character in value";
                return Err(format!("{why}: {}", c as u32));
            }
            c => out.push(c),
        }
    }
    Ok(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_field_selectors() {
        let selector = FieldSelector::parse(r"type!=b\,c,metadata.name==x,").unwrap();
        assert_eq!(selector.to_string(), r"metadata.name=x,type!=b\,c");
        assert_eq!(selector.exact("metadata.name"), Some("x"));
        assert_eq!(selector.exact("type"), None);
        assert!(selector.matches(|field| match field {
            "metadata.name" => "x".into(),
            _ => "".into(),
        }));
        let message = |text: &str| FieldSelector::parse(text).unwrap_err().message;
        assert_eq!(
            message("a=b,c"),
            "invalid selector: 'a=b,c'; can't understand 'c'"
        );
        assert_eq!(
            message(r"a=b\x"),
            r"invalid field selector: invalid escape sequence: \x"
        );
        assert_eq!(
            message("a=b=c"),
            "invalid field selector: unescaped character in value: 61"
        );
    }
}
