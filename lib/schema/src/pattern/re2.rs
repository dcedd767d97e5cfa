//! From the syntax of Go's `regexp` to that of the `regex` crate, one character after the other.
//!
//! The reader keeps what Go's keeps on its stack: whether there is something to repeat, and how
//! large nested repetitions get.

use std::fmt::Write as _;

use regex::Regex;

/// Largest repetition, nested ones multiplied.
const REPEAT_MAX: u32 = 1000;
/// Deepest nesting of groups.
const DEPTH_MAX: usize = 200;

const DIGIT: &str = "0-9";
const SPACE: &str = r"\t\n\f\r ";
const WORD: &str = "0-9A-Za-z_";

/// Named classes, in ASCII.
const POSIX: &[(&str, &str)] = &[
    ("alnum", "0-9A-Za-z"),
    ("alpha", "A-Za-z"),
    ("ascii", r"\x00-\x7F"),
    ("blank", r"\t "),
    ("cntrl", r"\x00-\x1F\x7F"),
    ("digit", DIGIT),
    ("graph", "!-~"),
    ("lower", "a-z"),
    ("print", " -~"),
    ("punct", r"!-/:-@\[-`{-~"),
    ("space", r"\t\n\x0B\f\r "),
    ("upper", "A-Z"),
    ("word", WORD),
    ("xdigit", "0-9A-Fa-f"),
];

/// Translates a pattern.
///
/// # Errors
/// Go's complaint.
pub fn translate(pattern: &str) -> Result<String, String> {
    let mut reader = Reader {
        whole: pattern,
        rest: pattern,
        out: String::with_capacity(pattern.len() + 8),
        groups: Vec::new(),
        atom: None,
        weight: 1,
        last_repeat: None,
    };
    while !reader.rest.is_empty() {
        let repeated = reader.step()?;
        reader.last_repeat = repeated;
    }
    if !reader.groups.is_empty() {
        return Err(complaint("missing closing )", pattern));
    }
    Ok(reader.out)
}

fn complaint(why: &str, what: &str) -> String {
    format!("{why}: `{what}`")
}

/// What can be repeated: where it is in the output, and how often it repeats inside already.
#[derive(Clone, Copy)]
struct Atom {
    start: usize,
    end: usize,
    weight: u32,
    /// Whether it is a repetition itself.
    repeats: bool,
}

struct Reader<'p> {
    whole: &'p str,
    rest: &'p str,
    out: String,
    /// Where each open group starts, and the largest repetition before it.
    groups: Vec<(usize, u32)>,
    atom: Option<Atom>,
    /// The largest repetition in the group so far.
    weight: u32,
    /// From the last repetition on, if it was the last step.
    last_repeat: Option<&'p str>,
}

/// The part of `from` before `rest`, which is its end.
fn before<'p>(from: &'p str, rest: &str) -> &'p str {
    from.get(..from.len().saturating_sub(rest.len()))
        .unwrap_or(from)
}

impl<'p> Reader<'p> {
    /// One element; answers where a repetition began, if it was one.
    fn step(&mut self) -> Result<Option<&'p str>, String> {
        let from = self.rest;
        let Some(c) = from.chars().next() else {
            return Ok(None);
        };
        self.rest = from.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '(' if self.rest.starts_with('?') => self.flags(from)?,
            '(' => self.open()?,
            ')' => self.close()?,
            '|' => {
                self.out.push('|');
                self.atom = None;
            }
            '^' | '$' | '.' => self.element(|out| out.push(c)),
            '[' => self.class(from)?,
            '*' | '+' | '?' => {
                self.repeat(from, 0, None, |out| out.push(c))?;
                return Ok(Some(from));
            }
            '{' => return self.count(from),
            '\\' => self.escaped(from)?,
            c => self.literal(c),
        }
        Ok(None)
    }

    /// Writes something that can be repeated.
    fn element(&mut self, write: impl FnOnce(&mut String)) {
        let start = self.out.len();
        write(&mut self.out);
        self.atom = Some(Atom {
            start,
            end: self.out.len(),
            weight: 1,
            repeats: false,
        });
    }

    fn literal(&mut self, c: char) {
        self.element(|out| push_char(out, c));
    }

    fn open(&mut self) -> Result<(), String> {
        if self.groups.len() >= DEPTH_MAX {
            return Err(complaint("expression nests too deeply", self.whole));
        }
        self.groups.push((self.out.len(), self.weight));
        self.out.push_str("(?:");
        self.weight = 1;
        self.atom = None;
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        let Some((start, outer)) = self.groups.pop() else {
            return Err(complaint("unexpected )", self.whole));
        };
        self.out.push(')');
        let weight = self.weight;
        self.atom = Some(Atom {
            start,
            end: self.out.len(),
            weight,
            repeats: false,
        });
        self.weight = outer.max(weight);
        Ok(())
    }

    fn repeat(
        &mut self,
        from: &'p str,
        min: u32,
        count: Option<u32>,
        write: impl FnOnce(&mut String),
    ) -> Result<(), String> {
        if let Some(after) = self.rest.strip_prefix('?') {
            self.rest = after;
        }
        if let Some(last) = self.last_repeat {
            let what = before(last, self.rest);
            return Err(complaint("invalid nested repetition operator", what));
        }
        let what = before(from, self.rest);
        let Some(atom) = self.atom else {
            return Err(complaint("missing argument to repetition operator", what));
        };
        let weight = match count {
            None => atom.weight,
            Some(0) => 1,
            Some(times) => atom.weight.saturating_mul(times),
        };
        if count.is_some_and(|times| times >= 2 || min >= 2) && weight > REPEAT_MAX {
            return Err(complaint("invalid repeat count", what));
        }
        // Flags may stand between the atom and its repetition.
        let flags = self.out.split_off(atom.end);
        if atom.repeats {
            // Two operators in a row would mean something else.
            self.out.insert_str(atom.start, "(?:");
            self.out.push(')');
        }
        write(&mut self.out);
        let (start, end) = (atom.start, self.out.len());
        self.atom = Some(Atom {
            start,
            end,
            weight,
            repeats: true,
        });
        self.out.push_str(&flags);
        self.weight = self.weight.max(weight);
        Ok(())
    }

    /// `{n}`, `{n,}`, `{n,m}`, or just a brace.
    fn count(&mut self, from: &'p str) -> Result<Option<&'p str>, String> {
        let Some((min, max, rest)) = read_count(from) else {
            self.literal('{');
            return Ok(None);
        };
        self.rest = rest;
        if min > REPEAT_MAX || max.is_some_and(|max| max > REPEAT_MAX || min > max) {
            return Err(complaint("invalid repeat count", before(from, rest)));
        }
        let count = max.unwrap_or(min);
        self.repeat(from, min, Some(count), |out| {
            // Writing to a String cannot fail.
            let _ = match max {
                Some(max) => write!(out, "{{{min},{max}}}"),
                None => write!(out, "{{{min},}}"),
            };
        })?;
        Ok(Some(from))
    }

    /// `(?flags)`, `(?flags:`, `(?P<name>`, `(?<name>`.
    fn flags(&mut self, from: &'p str) -> Result<(), String> {
        let named = from
            .strip_prefix("(?P<")
            .or_else(|| from.strip_prefix("(?<"));
        // Go looks for at least one character more.
        if let Some(name) = named.filter(|name| !name.is_empty()) {
            let Some((name, rest)) = name.split_once('>') else {
                return Err(complaint("invalid named capture", from));
            };
            let good = |c: char| c == '_' || c.is_ascii_alphanumeric();
            if name.is_empty() || !name.chars().all(good) {
                return Err(complaint("invalid named capture", before(from, rest)));
            }
            self.rest = rest;
            return self.open();
        }
        let (mut on, mut off) = (String::new(), String::new());
        let (mut negated, mut saw) = (false, false);
        self.rest = from.get(2..).unwrap_or_default();
        while let Some(c) = self.rest.chars().next() {
            self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
            match c {
                'i' | 'm' | 's' | 'U' => {
                    saw = true;
                    if c != 'U' {
                        if negated { off.push(c) } else { on.push(c) }
                    }
                }
                '-' if !negated => {
                    negated = true;
                    saw = false;
                }
                ':' | ')' if !negated || saw => {
                    return self.set_flags(&on, &off, c == ':');
                }
                _ => break,
            }
        }
        let what = before(from, self.rest);
        Err(complaint("invalid or unsupported Perl syntax", what))
    }

    fn set_flags(&mut self, on: &str, off: &str, opens: bool) -> Result<(), String> {
        // A later flag wins over an earlier one; the crate refuses repeated ones.
        let once = |flags: &str, without: &str| -> String {
            let keep = |c: &char| flags.contains(*c) && !without.contains(*c);
            ['i', 'm', 's'].iter().filter(|c| keep(c)).collect()
        };
        let (on, off) = (once(on, off), once(off, ""));
        let dash = if off.is_empty() { "" } else { "-" };
        if opens {
            self.open()?;
            if !on.is_empty() || !off.is_empty() {
                self.out.truncate(self.out.len() - 3);
                let _ = write!(self.out, "(?{on}{dash}{off}:");
            }
        } else if !on.is_empty() || !off.is_empty() {
            let _ = write!(self.out, "(?{on}{dash}{off})");
        }
        Ok(())
    }

    fn escaped(&mut self, from: &'p str) -> Result<(), String> {
        let Some(c) = self.rest.chars().next() else {
            return Err(complaint("trailing backslash at end of expression", ""));
        };
        let after = self.rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            'A' | 'z' => {
                self.rest = after;
                self.element(|out| out.extend(['\\', c]));
            }
            'b' | 'B' => {
                self.rest = after;
                self.element(|out| {
                    let _ = write!(out, r"(?-u:\{c})");
                });
            }
            'C' => return Err(complaint("invalid escape sequence", before(from, after))),
            'Q' => {
                let (text, rest) = after.split_once(r"\E").unwrap_or((after, ""));
                self.rest = rest;
                text.chars().for_each(|c| self.literal(c));
            }
            'p' | 'P' => {
                let mut class = String::new();
                self.rest = unicode_class(from, &mut class)?;
                self.element(|out| out.push_str(&class));
            }
            _ => match perl_class(c) {
                Some((negated, ranges)) => {
                    self.rest = after;
                    let caret = if negated { "^" } else { "" };
                    self.element(|out| {
                        let _ = write!(out, "[{caret}{ranges}]");
                    });
                }
                None => {
                    let (c, rest) = escape(from)?;
                    self.rest = rest;
                    self.code(c);
                }
            },
        }
        Ok(())
    }

    /// A character by its code; codes that are no characters match nothing.
    fn code(&mut self, code: u32) {
        match char::from_u32(code) {
            Some(c) => self.literal(c),
            None => self.element(|out| out.push_str(r"[^\x00-\x{10FFFF}]")),
        }
    }

    fn class(&mut self, from: &'p str) -> Result<(), String> {
        let mut class = String::from("[");
        let mut t = self.rest;
        if let Some(after) = t.strip_prefix('^') {
            class.push('^');
            t = after;
        }
        let mut first = true;
        while first || !t.starts_with(']') {
            first = false;
            if t.starts_with("[:")
                && let Some((name, rest)) = t.get(2..).and_then(|t| t.split_once(":]"))
            {
                let (negated, word) = name
                    .strip_prefix('^')
                    .map_or((false, name), |word| (true, word));
                let known = POSIX.iter().find(|(known, _)| *known == word);
                let Some((_, ranges)) = known else {
                    return Err(complaint("invalid character class range", before(t, rest)));
                };
                push_set(&mut class, negated, ranges);
                t = rest;
                continue;
            }
            if t.starts_with(r"\p") || t.starts_with(r"\P") {
                t = unicode_class(t, &mut class)?;
                continue;
            }
            let perl = t
                .strip_prefix('\\')
                .and_then(|t| t.chars().next())
                .and_then(perl_class);
            if let Some((negated, ranges)) = perl {
                push_set(&mut class, negated, ranges);
                t = t.get(2..).unwrap_or_default();
                continue;
            }
            t = class_range(t, from, &mut class)?;
        }
        class.push(']');
        self.rest = t.get(1..).unwrap_or_default();
        self.element(|out| out.push_str(&class));
        Ok(())
    }
}

fn push_set(class: &mut String, negated: bool, ranges: &str) {
    if negated {
        let _ = write!(class, "[^{ranges}]");
    } else {
        class.push_str(ranges);
    }
}

fn class_range<'p>(t: &'p str, whole: &str, class: &mut String) -> Result<&'p str, String> {
    let (low, mut rest) = class_char(t, whole)?;
    let mut high = low;
    if let Some(after) = rest.strip_prefix('-')
        && !after.is_empty()
        && !after.starts_with(']')
    {
        (high, rest) = class_char(after, whole)?;
        if high < low {
            return Err(complaint("invalid character class range", before(t, rest)));
        }
    }
    push_range(class, low, high);
    Ok(rest)
}

/// Codes from D800 to DFFF are no characters: a range ends before them or begins behind.
fn push_range(class: &mut String, low: u32, high: u32) {
    let parts = [(low, high.min(0xd7ff)), (low.max(0xe000), high)];
    for (low, high) in parts.into_iter().filter(|(low, high)| low <= high) {
        let _ = write!(class, r"\x{{{low:x}}}-\x{{{high:x}}}");
    }
    if (0xd800..0xe000).contains(&low) && (0xd800..0xe000).contains(&high) {
        class.push_str(r"[^\x00-\x{10FFFF}]");
    }
}

fn class_char<'p>(t: &'p str, whole: &str) -> Result<(u32, &'p str), String> {
    match t.chars().next() {
        None => Err(complaint("missing closing ]", whole)),
        Some('\\') => escape(t),
        Some(c) => Ok((u32::from(c), t.get(c.len_utf8()..).unwrap_or_default())),
    }
}

fn push_char(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || !c.is_ascii() {
        out.push(c);
    } else {
        let _ = write!(out, r"\x{:02X}", u32::from(c));
    }
}

/// `\d` and its kind: whether negated, and the ranges.
fn perl_class(c: char) -> Option<(bool, &'static str)> {
    let ranges = match c.to_ascii_lowercase() {
        'd' => DIGIT,
        's' => SPACE,
        'w' => WORD,
        _ => return None,
    };
    Some((c.is_ascii_uppercase(), ranges))
}

/// `\pL`, `\p{Greek}`, `\p{^Greek}`: writes it, answers the rest.
fn unicode_class<'p>(from: &'p str, out: &mut String) -> Result<&'p str, String> {
    let bad = |what: &str| Err(complaint("invalid character class range", what));
    let negated = from.starts_with(r"\P");
    let t = from.get(2..).unwrap_or_default();
    let (name, rest) = match t.chars().next() {
        None => return Err(complaint("invalid UTF-8", "")),
        Some('{') => match t.get(1..).and_then(|t| t.split_once('}')) {
            Some(split) => split,
            None => return bad(from),
        },
        Some(c) => t.split_at(c.len_utf8()),
    };
    let (caret, name) = name
        .strip_prefix('^')
        .map_or((false, name), |name| (true, name));
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let written = format!(r"\{}{{{name}}}", if negated != caret { 'P' } else { 'p' });
    if name.is_empty() || !name.chars().all(plain) || Regex::new(&written).is_err() {
        return bad(before(from, rest));
    }
    out.push_str(&written);
    Ok(rest)
}

/// A character behind a backslash, by itself or by its code.
fn escape(from: &str) -> Result<(u32, &str), String> {
    let mut chars = from.get(1..).unwrap_or_default().chars();
    let Some(c) = chars.next() else {
        return Err(complaint("trailing backslash at end of expression", ""));
    };
    let octal = |rest: &str| {
        rest.chars()
            .next()
            .is_some_and(|c| ('0'..='7').contains(&c))
    };
    let found = match c {
        '0'..='7' if c == '0' || octal(chars.as_str()) => {
            let mut code = c.to_digit(8);
            for _ in 0..2 {
                if octal(chars.as_str()) {
                    let digit = chars.next().and_then(|c| c.to_digit(8));
                    code = code.zip(digit).map(|(code, digit)| code * 8 + digit);
                }
            }
            code
        }
        'x' => hex(&mut chars),
        'a' => Some(7),
        'f' => Some(12),
        'n' => Some(10),
        'r' => Some(13),
        't' => Some(9),
        'v' => Some(11),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(u32::from(c)),
        _ => None,
    };
    match found {
        Some(code) => Ok((code, chars.as_str())),
        None => Err(complaint(
            "invalid escape sequence",
            before(from, chars.as_str()),
        )),
    }
}

/// `\x41` or `\x{e9}`; takes from `chars` what Go has read when it gives up.
fn hex(chars: &mut std::str::Chars<'_>) -> Option<u32> {
    let first = chars.next()?;
    if first != '{' {
        let second = chars.next();
        return Some(first.to_digit(16)? * 16 + second?.to_digit(16)?);
    }
    let mut code = None;
    loop {
        match chars.next()? {
            '}' => return code,
            c => {
                let next = code.unwrap_or(0) * 16 + c.to_digit(16)?;
                if next > u32::from(char::MAX) {
                    return None;
                }
                code = Some(next);
            }
        }
    }
}

/// The bounds of a counted repetition and what follows it; none if it is not one.
fn read_count(from: &str) -> Option<(u32, Option<u32>, &str)> {
    let (min, rest) = read_number(from.strip_prefix('{')?)?;
    let (max, rest) = match rest.strip_prefix(',') {
        None => (Some(min), rest),
        Some(rest) if rest.starts_with('}') => (None, rest),
        Some(rest) => read_number(rest).map(|(max, rest)| (Some(max), rest))?,
    };
    Some((min, max, rest.strip_prefix('}')?))
}

/// A number without leading zeros; too large ones are just large.
fn read_number(text: &str) -> Option<(u32, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() || digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    Some((digits.parse().unwrap_or(u32::MAX), rest))
}
