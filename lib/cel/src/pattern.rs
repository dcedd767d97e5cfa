//! Regular expressions in Go's syntax (RE2), translated for the `regex` crate.
//!
//! The two engines match alike; their syntaxes differ where rules use them: `\d`, `\w`, `\s` and
//! `\b` are ASCII in Go, brackets and ampersands are plain characters within a class, a brace that
//! repeats nothing is a brace. What Go refuses is refused here, with its text for the usual
//! mistakes.

use crate::limits;
use regex::{Regex, RegexBuilder};

/// Largest count of a repetition.
const REPEAT_MAX: u32 = 1000;

/// Compiles a regular expression; the error is Go's, as far as that is known.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    let translated = Translator::new(pattern)
        .translate()
        .map_err(|(what, part)| format!("error parsing regexp: {what}: `{part}`"))?;
    RegexBuilder::new(&translated)
        .size_limit(limits::REGEX_BYTES)
        .build()
        .map_err(|_| format!("error parsing regexp: invalid expression: `{pattern}`"))
}

type Refused = (&'static str, String);

struct Translator<'p> {
    pattern: &'p str,
    rest: &'p str,
    out: String,
    groups: usize,
    /// Whether something stands before that can be repeated, and whether it already is.
    repeatable: bool,
    repetition: Option<&'p str>,
    /// Where the flags begin that were set behind it: a repetition has to be written before them.
    flags_at: Option<usize>,
}

impl<'p> Translator<'p> {
    fn new(pattern: &'p str) -> Self {
        Self {
            pattern,
            rest: pattern,
            out: String::with_capacity(pattern.len() + 16),
            groups: 0,
            repeatable: false,
            repetition: None,
            flags_at: None,
        }
    }

    fn take(&mut self, length: usize) -> &'p str {
        let (part, rest) = self.rest.split_at(length);
        self.rest = rest;
        part
    }

    fn translate(mut self) -> Result<String, Refused> {
        while let Some(c) = self.rest.chars().next() {
            if !matches!(c, '*' | '+' | '?' | '{' | '(') {
                self.flags_at = None;
            }
            match c {
                '*' | '+' | '?' => self.repeat(1)?,
                '{' => match count_length(self.rest)? {
                    Some(length) => self.repeat(length)?,
                    None => {
                        self.take(1);
                        self.atom("\\{");
                    }
                },
                '(' => self.open()?,
                ')' => {
                    if self.groups == 0 {
                        return Err(("unexpected )", self.pattern.to_owned()));
                    }
                    self.groups -= 1;
                    self.take(1);
                    self.atom(")");
                }
                '[' => self.class()?,
                '\\' => self.escape()?,
                '|' => {
                    self.take(1);
                    self.out.push('|');
                    (self.repeatable, self.repetition) = (false, None);
                }
                _ => {
                    let part = self.take(c.len_utf8());
                    self.atom(part);
                }
            }
        }
        if self.groups > 0 {
            return Err(("missing closing )", self.pattern.to_owned()));
        }
        Ok(self.out)
    }

    fn atom(&mut self, text: &str) {
        self.out.push_str(text);
        (self.repeatable, self.repetition, self.flags_at) = (true, None, None);
    }

    fn repeat(&mut self, length: usize) -> Result<(), Refused> {
        let start = self.rest;
        let operator = self.take(length);
        if !self.repeatable {
            return Err((
                "missing argument to repetition operator",
                operator.to_owned(),
            ));
        }
        let lazy = usize::from(self.rest.starts_with('?'));
        self.take(lazy);
        let whole = length + lazy;
        let at = self.flags_at.unwrap_or(self.out.len());
        self.out.insert_str(at, &start[..whole]);
        self.flags_at = None;
        if let Some(before) = self.repetition {
            let both = before.len() - start.len() + whole;
            return Err((
                "invalid nested repetition operator",
                before[..both].to_owned(),
            ));
        }
        self.repetition = Some(start);
        Ok(())
    }

    fn open(&mut self) -> Result<(), Refused> {
        let repeatable = std::mem::take(&mut self.repeatable);
        let flags_at = self.flags_at.take();
        self.repetition = None;
        let Some(flags) = self.rest.strip_prefix("(?") else {
            self.take(1);
            self.out.push('(');
            self.groups += 1;
            return Ok(());
        };
        if flags.starts_with("P<") || flags.starts_with('<') {
            let start = if flags.starts_with('P') { 4 } else { 3 };
            let Some(end) = self.rest.find('>') else {
                return Err(("invalid named capture", self.rest.to_owned()));
            };
            let name = self.rest.get(start..end).unwrap_or_default();
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(word) {
                return Err(("invalid named capture", self.rest[..=end].to_owned()));
            }
            self.take(end + 1);
            // The name itself plays no part; Go also takes names that the crate would not.
            self.out.push('(');
            self.groups += 1;
            return Ok(());
        }
        let end = flags.find([':', ')']).unwrap_or(flags.len());
        let letters = &flags[..end];
        let (on, off) = letters.split_once('-').unwrap_or((letters, ""));
        let known = |t: &str| t.chars().all(|c| matches!(c, 'i' | 'm' | 's' | 'U'));
        let dangling = letters.contains('-') && off.is_empty();
        if end == flags.len() || !known(on) || !known(off) || dangling {
            let bad = flags
                .find(|c: char| !matches!(c, 'i' | 'm' | 's' | 'U' | '-'))
                .unwrap_or(0);
            let bad = flags[bad..]
                .chars()
                .next()
                .map_or(0, |c| bad + c.len_utf8());
            let shown = self.rest.get(..2 + bad).unwrap_or(self.rest);
            return Err(("invalid or unsupported Perl syntax", shown.to_owned()));
        }
        let part = self.take(2 + end + 1);
        if part.ends_with(':') {
            self.groups += 1;
        } else {
            self.repeatable = repeatable;
            self.flags_at = repeatable.then(|| flags_at.unwrap_or(self.out.len()));
        }
        self.out.push_str(part);
        Ok(())
    }

    fn escape(&mut self) -> Result<(), Refused> {
        let Some(c) = self.rest[1..].chars().next() else {
            return Err(("trailing backslash at end of expression", String::new()));
        };
        let whole = &self.rest[..1 + c.len_utf8()];
        match c {
            'A' | 'z' => self.out.push_str(whole),
            'b' => self.out.push_str("(?-u:\\b)"),
            'B' => self.out.push_str("(?-u:\\B)"),
            'Q' => {
                let body = &self.rest[2..];
                let end = body.find("\\E").unwrap_or(body.len());
                let literal = regex::escape(&body[..end]);
                self.out.push_str(&literal);
                let skip = 2 + end + if end < body.len() { 2 } else { 0 };
                self.take(skip);
                (self.repeatable, self.repetition) = (!literal.is_empty(), None);
                return Ok(());
            }
            'C' => return Err(("invalid escape sequence", whole.to_owned())),
            _ => {
                let (text, length) = self.simple_escape(false)?;
                self.take(length);
                self.atom(&text);
                return Ok(());
            }
        }
        self.take(whole.len());
        (self.repeatable, self.repetition) = (true, None);
        Ok(())
    }

    /// An escape that stands for characters: what to write, and how long it was.
    fn simple_escape(&self, in_class: bool) -> Result<(String, usize), Refused> {
        let c = self.rest[1..].chars().next().unwrap_or('\\');
        let whole = || self.rest[..(1 + c.len_utf8()).min(self.rest.len())].to_owned();
        let set = |inner: &str, negated: bool| match (in_class, negated) {
            (true, false) => inner.to_owned(),
            (_, true) => format!("[^{inner}]"),
            (false, false) => format!("[{inner}]"),
        };
        let simple = |text: &str| Ok((text.to_owned(), 2));
        match c {
            'd' | 'D' => Ok((set("0-9", c == 'D'), 2)),
            'w' | 'W' => Ok((set("0-9A-Za-z_", c == 'W'), 2)),
            's' | 'S' => Ok((set("\\t\\n\\f\\r\\x20", c == 'S'), 2)),
            'a' => simple("\\x07"),
            'f' => simple("\\x0C"),
            't' => simple("\\t"),
            'n' => simple("\\n"),
            'r' => simple("\\r"),
            'v' => simple("\\x0B"),
            'x' => self.hex(),
            'p' | 'P' => self.property(),
            '0'..='7' => self.octal(c),
            _ if c.is_ascii() && !c.is_ascii_alphanumeric() => {
                Ok((regex_literal(c), 1 + c.len_utf8()))
            }
            _ => Err(("invalid escape sequence", whole())),
        }
    }

    /// Two digits, or any number of them in braces; what was read by then is shown with a refusal.
    fn hex(&self) -> Result<(String, usize), Refused> {
        let braced = self.rest[2..].starts_with('{');
        let mut code = 0;
        let mut digits = 0;
        let mut length = if braced { 3 } else { 2 };
        let mut bad = false;
        for c in self.rest[length..].chars() {
            length += c.len_utf8();
            if braced && c == '}' {
                break;
            }
            match c.to_digit(16) {
                Some(digit) => code = code * 16 + digit,
                None => bad = true,
            }
            digits += 1;
            let full = if braced {
                bad || code > u32::from(char::MAX)
            } else {
                digits == 2
            };
            if full {
                break;
            }
        }
        let whole = if braced {
            digits > 0 && self.rest[..length].ends_with('}')
        } else {
            digits == 2
        };
        match char::from_u32(code).filter(|_| whole && !bad) {
            Some(c) => Ok((format!("\\x{{{:x}}}", c as u32), length)),
            None => Err(("invalid escape sequence", self.rest[..length].to_owned())),
        }
    }

    fn octal(&self, first: char) -> Result<(String, usize), Refused> {
        let digits: String = self.rest[1..]
            .chars()
            .take(3)
            .take_while(|c| ('0'..='7').contains(c))
            .collect();
        if first != '0' && digits.len() < 2 {
            return Err(("invalid escape sequence", self.rest[..2].to_owned()));
        }
        let code = u32::from_str_radix(&digits, 8).unwrap_or(0);
        Ok((format!("\\x{{{code:x}}}"), 1 + digits.len()))
    }

    fn property(&self) -> Result<(String, usize), Refused> {
        let body = &self.rest[2..];
        let length = match body.chars().next() {
            Some('{') => body.find('}').map(|end| end + 1),
            Some(c) => Some(c.len_utf8()),
            None => None,
        };
        match length {
            Some(length) => {
                let class = &self.rest[..2 + length];
                let text = match class.split_once("{^") {
                    Some(("\\p", name)) => format!("\\P{{{name}"),
                    Some((_, name)) => format!("\\p{{{name}"),
                    None => class.to_owned(),
                };
                Ok((text, class.len()))
            }
            None => Err(("invalid character class range", self.rest.to_owned())),
        }
    }

    fn class(&mut self) -> Result<(), Refused> {
        let start = self.rest;
        self.take(1);
        self.out.push('[');
        if self.rest.starts_with('^') {
            let part = self.take(1);
            self.out.push_str(part);
        }
        let mut first = true;
        loop {
            let Some(c) = self.rest.chars().next() else {
                return Err(("missing closing ]", start.to_owned()));
            };
            if c == ']' && !first {
                break;
            }
            first = false;
            if let Some(end) = self
                .rest
                .strip_prefix("[:")
                .and_then(|body| body.find(":]"))
            {
                let part = self.take(end + 4);
                self.out.push_str(part);
                continue;
            }
            let low_start = self.rest;
            let (low, low_char) = self.class_item(c)?;
            self.out.push_str(&low);
            let is_range = self.rest.starts_with('-') && !self.rest.starts_with("-]");
            let Some(low_char) = low_char.filter(|_| is_range && self.rest.len() > 1) else {
                if is_range {
                    // A dash behind a set is itself.
                    self.take(1);
                    self.out.push_str("\\-");
                }
                continue;
            };
            self.take(1);
            let Some(c) = self.rest.chars().next() else {
                return Err(("missing closing ]", start.to_owned()));
            };
            let (high, high_char) = self.class_item(c)?;
            let shown = &low_start[..low_start.len() - self.rest.len()];
            if high_char.is_none_or(|high| high < low_char) {
                return Err(("invalid character class range", shown.to_owned()));
            }
            self.out.push('-');
            self.out.push_str(&high);
        }
        self.take(1);
        self.atom("]");
        Ok(())
    }

    /// One character or set within a class, and the character if it is one.
    fn class_item(&mut self, c: char) -> Result<(String, Option<char>), Refused> {
        if c != '\\' {
            self.take(c.len_utf8());
            return Ok((regex_literal(c), Some(c)));
        }
        if self.rest.len() == 1 {
            return Err(("missing closing ]", self.rest.to_owned()));
        }
        let (text, length) = self.simple_escape(true)?;
        let escaped = self.take(length);
        let is_set = escaped[1..].starts_with(['d', 'D', 'w', 'W', 's', 'S', 'p', 'P']);
        let c = character(&text).filter(|_| !is_set);
        Ok((text, c))
    }
}

/// The character that a translated escape stands for.
fn character(text: &str) -> Option<char> {
    match text {
        "\\t" => return Some('\t'),
        "\\n" => return Some('\n'),
        "\\r" => return Some('\r'),
        _ => {}
    }
    if let Some(hex) = text.strip_prefix("\\x") {
        let hex = hex.trim_start_matches('{').trim_end_matches('}');
        return u32::from_str_radix(hex, 16).ok().and_then(char::from_u32);
    }
    text.chars().last()
}

fn regex_literal(c: char) -> String {
    if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
        return format!("\\{c}");
    }
    c.to_string()
}

/// Length of `{n}`, `{n,}` or `{n,m}`; `None` if the brace is only a brace.
fn count_length(text: &str) -> Result<Option<usize>, Refused> {
    let Some(end) = text.find('}') else {
        return Ok(None);
    };
    let (low, high) = match text[1..end].split_once(',') {
        Some((low, high)) => (low, Some(high)),
        None => (&text[1..end], None),
    };
    let number = |t: &str| {
        let plain = t.bytes().all(|b| b.is_ascii_digit()) && !(t.len() > 1 && t.starts_with('0'));
        plain.then(|| t.parse::<u32>().unwrap_or(u32::MAX))
    };
    let Some(least) = number(low).filter(|_| !low.is_empty()) else {
        return Ok(None);
    };
    let most = match high {
        None => Some(least),
        Some("") => None,
        Some(high) => match number(high) {
            Some(most) => Some(most),
            None => return Ok(None),
        },
    };
    let too_many = least > REPEAT_MAX || most.is_some_and(|m| m > REPEAT_MAX || m < least);
    if too_many {
        return Err(("invalid repeat count", text[..=end].to_owned()));
    }
    Ok(Some(end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_ascii() {
        let matches = |p: &str, t: &str| compile(p).map(|r| r.is_match(t));
        assert_eq!(matches(r"^\d+$", "12"), Ok(true));
        assert_eq!(matches(r"^\d+$", "١٢"), Ok(false));
        assert_eq!(matches(r"^[\w.-]+$", "a_b.c-d"), Ok(true));
        assert_eq!(matches(r"^[^\s]+$", "ab"), Ok(true));
        assert_eq!(matches(r"^[[]&&]+$", "[&&]"), Ok(true));
        assert_eq!(matches(r"^[[&]+$", "[&&"), Ok(true));
        assert_eq!(matches(r"^a{,2}$", "a{,2}"), Ok(true));
        assert_eq!(matches(r"^\Qa.b\E$", "a.b"), Ok(true));
        assert_eq!(matches(r"^(?P<x>a)(?i:B)$", "ab"), Ok(true));
        assert_eq!(matches(r"^[\-a-c\]]+$", "-b]"), Ok(true));
    }

    #[test]
    fn what_go_refuses_is_refused() {
        let cases = [
            ("(", "missing closing ): `(`"),
            ("a)", "unexpected ): `a)`"),
            ("[a", "missing closing ]: `[a`"),
            ("*", "missing argument to repetition operator: `*`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            (r"\8", r"invalid escape sequence: `\8`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            ("a\\", "trailing backslash at end of expression: ``"),
        ];
        for (pattern, text) in cases {
            let error = compile(pattern).err();
            assert_eq!(
                error,
                Some(format!("error parsing regexp: {text}")),
                "{pattern}"
            );
        }
    }
}
