//! `Warning` headers: collected during a request, each once, bounded in total.

use crate::limits::{MAX_SHORT_WARNING_RUNES, MAX_WARNING_RUNES};

/// The warnings of one request, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings(Vec<String>);

impl Warnings {
    /// Adds a warning unless it is empty, there already, or cannot stand in a header.
    pub fn add(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() && !text.chars().any(char::is_control) && !self.0.contains(&text) {
            self.0.push(text);
        }
    }

    /// Whether there is nothing to warn of.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The texts, uncut.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The values of the `Warning` headers. If all together are too long, each is cut short and
    /// those that still do not fit are left out.
    pub fn headers(&self) -> Vec<String> {
        let runes = |text: &str| text.chars().count();
        let total: usize = self.0.iter().map(|text| runes(text)).sum();
        if total <= MAX_WARNING_RUNES {
            return self.0.iter().map(|text| header(text)).collect();
        }
        let mut written = 0;
        let mut out = Vec::new();
        for text in &self.0 {
            if written >= MAX_WARNING_RUNES {
                break;
            }
            let short: String = text.chars().take(MAX_SHORT_WARNING_RUNES).collect();
            written += runes(&short);
            out.push(header(&short));
        }
        out
    }
}

impl Extend<String> for Warnings {
    fn extend<I: IntoIterator<Item = String>>(&mut self, texts: I) {
        for text in texts {
            self.add(text);
        }
    }
}

/// One header value: `299 - "text"`.
pub fn header(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 10);
    out.push_str("299 - \"");
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_deduplicates() {
        let mut warnings = Warnings::default();
        warnings.extend(["unknown field \"a\"", "", "unknown field \"a\"", "x\ny"].map(Into::into));
        assert_eq!(warnings.headers(), [r#"299 - "unknown field \"a\"""#]);
    }

    #[test]
    fn is_bounded() {
        let mut warnings = Warnings::default();
        for n in 0..100 {
            warnings.add(format!("{n}{}", "x".repeat(500)));
        }
        let headers = warnings.headers();
        assert_eq!(headers.len(), MAX_WARNING_RUNES / MAX_SHORT_WARNING_RUNES);
        assert!(
            headers
                .iter()
                .all(|h| h.len() <= MAX_SHORT_WARNING_RUNES + 10)
        );
    }
}
