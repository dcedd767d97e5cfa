//! Property names as CEL identifiers, and back.
//!
//! The rules are Kubernetes': `__` becomes `__underscores__`, `.` `__dot__`, `-` `__dash__`, `/`
//! `__slash__`, and a name that is a reserved word gets `__` on both sides. What cannot be written
//! that way has no identifier and cannot be reached by expressions.

const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

const ESCAPES: [(&str, &str); 4] = [
    ("__", "underscores"),
    (".", "dot"),
    ("-", "dash"),
    ("/", "slash"),
];

/// Whether CEL keeps a word for itself.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

/// The identifier for a property, or `None` if there is none.
pub fn escape(property: &str) -> Option<String> {
    let first = property.bytes().next()?;
    if first.is_ascii_digit() {
        return None;
    }
    if RESERVED.contains(&property) {
        return Some(format!("__{property}__"));
    }
    let mut out = String::with_capacity(property.len());
    let mut rest = property;
    while let Some(c) = rest.chars().next() {
        if let Some((raw, word)) = ESCAPES.iter().find(|(raw, _)| rest.starts_with(raw)) {
            out.push_str("__");
            out.push_str(word);
            out.push_str("__");
            rest = &rest[raw.len()..];
            continue;
        }
        if !c.is_ascii_alphanumeric() && c != '_' {
            return None;
        }
        out.push(c);
        rest = &rest[1..];
    }
    Some(out)
}

/// The property that an identifier stands for, or `None` if its escapes make no sense.
pub fn unescape(identifier: &str) -> Option<std::borrow::Cow<'_, str>> {
    if !identifier.contains("__") {
        return Some(identifier.into());
    }
    let bytes = identifier.as_bytes();
    let mut out = String::with_capacity(identifier.len());
    let mut at = 0;
    while at < bytes.len() {
        let Some(end) = sequence_end(bytes, at) else {
            let c = identifier[at..].chars().next()?;
            out.push(c);
            at += c.len_utf8();
            continue;
        };
        let word = &identifier[at + 2..end - 2];
        if let Some((raw, _)) = ESCAPES.iter().find(|(_, w)| *w == word) {
            out.push_str(raw);
        } else if RESERVED.contains(&word) && end - at == identifier.len() {
            out.push_str(word);
        } else {
            return None;
        }
        at = end;
    }
    Some(out.into())
}

/// Where `__word__` at `at` ends, if it starts there.
fn sequence_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at..at + 2)? != b"__" {
        return None;
    }
    let word = bytes[at + 2..].iter().position(|b| *b == b'_')?;
    let end = at + 2 + word + 2;
    (word > 0 && bytes.get(end - 2..end)? == b"__").then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_way_there_and_back() {
        let cases = [
            ("replicas", "replicas"),
            ("namespace", "__namespace__"),
            ("a-b", "a__dash__b"),
            ("a.b/c", "a__dot__b__slash__c"),
            ("my__x", "my__underscores__x"),
            ("_a_", "_a_"),
            ("___", "__underscores___"),
        ];
        for (property, identifier) in cases {
            assert_eq!(escape(property).as_deref(), Some(identifier));
            assert_eq!(
                unescape(identifier).as_deref(),
                Some(property),
                "{identifier}"
            );
        }
    }

    #[test]
    fn what_has_no_identifier_is_refused() {
        for property in ["", "1a", "a b", "é", "$x"] {
            assert_eq!(escape(property), None, "{property}");
        }
        for identifier in ["__nope__", "x__namespace__"] {
            assert_eq!(unescape(identifier), None, "{identifier}");
        }
    }
}
