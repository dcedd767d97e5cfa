//! Patterns of strangers: RE2 syntax, bounded size, time linear in the text.
//!
//! Start at [`compile`]. `re2` reads the syntax of Go's `regexp` and writes that of the `regex`
//! crate, so a pattern that Go refuses is refused in Go's words, and one that it takes means the
//! same. Only whether a text matches is asked, so groups do not capture and greed is dropped.

mod re2;

use regex::{Regex, RegexBuilder};

use crate::limits::{PATTERN_LENGTH_MAX, PATTERN_SIZE_MAX};

/// Compiles a pattern as an unanchored search.
///
/// # Errors
/// Why it is no pattern, as Go says it.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    let fail = |why: String| format!("error parsing regexp: {why}");
    if pattern.len() > PATTERN_LENGTH_MAX {
        return Err(fail(format!("expression too large: `{pattern}`")));
    }
    let translated = re2::translate(pattern).map_err(fail)?;
    let built = RegexBuilder::new(&translated)
        .size_limit(PATTERN_SIZE_MAX)
        .build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => fail(format!("expression too large: `{pattern}`")),
        other => fail(last_line(&other.to_string())),
    })
}

/// The crate's errors draw the pattern over several lines; the reason is in the last.
fn last_line(text: &str) -> String {
    let line = text.lines().last().unwrap_or(text).trim();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
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
        assert!(matches(r"^\p{Greek}\pL\P{L}$", "αβ1"));
    }

    #[test]
    fn classes_and_quotes() {
        assert!(matches(r"^[[a]+$", "[a"));
        assert!(matches(r"^[[:alpha:]]+$", "ab"));
        assert!(!matches(r"^[[:^alpha:]]+$", "ab"));
        assert!(matches(r"^\Qa.b\E$", "a.b"));
        assert!(!matches(r"^\Qa.b\E$", "axb"));
        assert!(matches(r"^[a&&b]+$", "a&b"));
        assert!(matches(r"^[]a]+$", "]a"));
        assert!(matches(r"^[^]a]+$", "b"));
        assert!(matches(r"^{a}{,2}$", "{a}{,2}"));
        assert!(matches(r"a(?i)*B", "b"));
        assert!(matches(r"^(?P<n>a)(?P<n>b)$", "ab"));
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
            ("a**", "invalid nested repetition operator: `**`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("(a{100}){100}", "invalid repeat count: `{100}`"),
            ("a{2,1}", "invalid repeat count: `{2,1}`"),
            ("\\", "trailing backslash at end of expression: ``"),
            (
                r"\p{Nowhere}",
                r"invalid character class range: `\p{Nowhere}`",
            ),
            ("(?P<a b>c)", "invalid named capture: `(?P<a b>`"),
        ] {
            assert_eq!(
                compile(pattern).unwrap_err(),
                format!("error parsing regexp: {why}")
            );
        }
        assert!(compile(&"(a{10})".repeat(10_000)).is_err());
    }
}
