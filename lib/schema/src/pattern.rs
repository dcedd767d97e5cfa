//! Patterns of strangers: RE2 syntax, bounded size, time linear in the text.
//!
//! Go's `regexp` and the `regex` crate agree on nearly all of RE2; where the syntax differs the
//! pattern is translated here ([`translate`]). A pattern that Go accepts and we cannot compile is
//! refused when the schema is written, never at run time.

use regex::{Regex, RegexBuilder};

use crate::limits::{PATTERN_LENGTH_MAX, PATTERN_SIZE_MAX};

/// Compiles a pattern as an unanchored search.
///
/// # Errors
/// Why it is no pattern; the text begins as Go's does.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > PATTERN_LENGTH_MAX {
        return Err(format!(
            "expression is longer than {PATTERN_LENGTH_MAX} bytes"
        ));
    }
    let translated = translate(pattern);
    let built = RegexBuilder::new(&translated)
        .size_limit(PATTERN_SIZE_MAX)
        .build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "expression too large".to_owned(),
        other => format!(
            "error parsing regexp: {}",
            go_reason(&other.to_string(), pattern)
        ),
    })
}

/// Go's words for the common mistakes; the crate's own for the others.
fn go_reason(text: &str, pattern: &str) -> String {
    // The crate draws the pattern, marks the place below it, and says why in the last line.
    let lines: Vec<&str> = text.lines().collect();
    let why = lines
        .last()
        .map_or(text, |line| line.strip_prefix("error: ").unwrap_or(line));
    let marked = lines
        .iter()
        .rev()
        .find(|line| line.contains('^') && !line.contains("error"));
    let span = marked.map_or((0, 0), |line| {
        let start = line.find('^').unwrap_or(4).saturating_sub(4);
        (start, line.matches('^').count())
    });
    let shown: String = pattern.chars().skip(span.0).take(span.1).collect();
    let rest: String = pattern.chars().skip(span.0).collect();
    let known: &[(&str, &str, &str)] = &[
        ("unclosed group", "missing closing )", pattern),
        ("unopened group", "unexpected )", pattern),
        ("unclosed character class", "missing closing ]", &rest),
        (
            "look-around",
            "invalid or unsupported Perl syntax",
            shown.get(..3).unwrap_or(&shown),
        ),
        (
            "missing expression",
            "missing argument to repetition operator",
            &shown,
        ),
        ("backreferences", "invalid escape sequence", &shown),
        ("unrecognized escape", "invalid escape sequence", &shown),
        (
            "invalid character class range",
            "invalid character class range",
            &shown,
        ),
    ];
    match known.iter().find(|(theirs, ..)| why.contains(theirs)) {
        Some((_, reason, what)) => format!("{reason}: `{what}`"),
        None => why.to_owned(),
    }
}

/// RE2 means ASCII by `\d`, `\s`, `\w` and `\b`, and has `\Q...\E` and `\C`; a `[` inside a class
/// and the pairs `&&`, `--`, `~~` are plain characters there.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars().peekable();
    let mut in_class = false;
    let mut class_start = false;
    while let Some(c) = chars.next() {
        let at_class_start = std::mem::take(&mut class_start);
        match c {
            '\\' => match chars.next() {
                Some('Q') if !in_class => quoted(&mut chars, &mut out),
                Some(escaped) => push_escape(escaped, in_class, &mut out),
                None => out.push('\\'),
            },
            '[' if in_class => {
                if chars.peek() == Some(&':') {
                    out.push('[');
                    push_named_class(&mut chars, &mut out);
                } else {
                    out.push_str("\\[");
                }
            }
            '[' => {
                in_class = true;
                class_start = true;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    chars.next();
                    out.push('^');
                }
            }
            ']' if in_class && at_class_start => out.push_str("\\]"),
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            '-' if in_class && chars.peek() == Some(&'-') => out.push_str("\\-"),
            c => out.push(c),
        }
    }
    out
}

fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    let mut text = String::new();
    while let Some(c) = chars.next() {
        if c == '\\' && chars.peek() == Some(&'E') {
            chars.next();
            break;
        }
        text.push(c);
    }
    out.push_str(&regex::escape(&text));
}

fn push_named_class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    for c in chars.by_ref() {
        out.push(c);
        if c == ']' {
            return;
        }
    }
}

fn push_escape(escaped: char, in_class: bool, out: &mut String) {
    let ascii = match (escaped, in_class) {
        ('d', false) => "[0-9]",
        ('D', false) => "[^0-9]",
        ('s', false) => r"[\t\n\f\r ]",
        ('S', false) => r"[^\t\n\f\r ]",
        ('w', false) => "[0-9A-Za-z_]",
        ('W', false) => "[^0-9A-Za-z_]",
        ('d', true) => "0-9",
        ('s', true) => r"\t\n\f\r ",
        ('w', true) => "0-9A-Za-z_",
        ('D', true) => "[^0-9]",
        ('S', true) => r"[^\t\n\f\r ]",
        ('W', true) => "[^0-9A-Za-z_]",
        ('b', false) => r"(?-u:\b)",
        ('B', false) => r"(?-u:\B)",
        ('z', false) => r"\z",
        _ => {
            out.push('\\');
            out.push(escaped);
            return;
        }
    };
    out.push_str(ascii);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        compile(pattern).unwrap().is_match(text)
    }

    #[test]
    fn re2_means_ascii() {
        assert!(matches(r"^\d+$", "12"));
        assert!(!matches(r"^\d$", "٣"));
        assert!(matches(r"^[\w-]+$", "a-b_c"));
        assert!(!matches(r"^\w$", "é"));
    }

    #[test]
    fn classes_and_quotes() {
        assert!(matches(r"^[[a]+$", "[a"));
        assert!(matches(r"^[[:alpha:]]+$", "ab"));
        assert!(matches(r"^\Qa.b\E$", "a.b"));
        assert!(!matches(r"^\Qa.b\E$", "axb"));
        assert!(matches(r"^[a&&b]+$", "a&b"));
        assert!(matches(r"^[]a]+$", "]a"));
    }

    #[test]
    fn refusals() {
        for (pattern, why) in [
            ("(", "missing closing ): `(`"),
            ("a)", "unexpected ): `a)`"),
            ("b[a", "missing closing ]: `[a`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            (r"a\1", r"invalid escape sequence: `\1`"),
            ("*", "missing argument to repetition operator: `*`"),
            ("[z-a]", "invalid character class range: `z-a`"),
        ] {
            assert_eq!(
                compile(pattern).unwrap_err(),
                format!("error parsing regexp: {why}")
            );
        }
        assert!(compile("((a{1000}){1000}){1000}").is_err());
    }
}
