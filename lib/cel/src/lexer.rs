//! From characters to tokens, with the positions that error messages need.
//!
//! Strings keep their quotes and escapes here; [`unescape`] undoes them, so that a bad escape is
//! reported at the literal like any other error.

use crate::issue::{Issues, Source};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tok {
    Ident,
    EscapedIdent,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    True,
    False,
    Null,
    In,
    /// An operator or punctuation; compare the text.
    Punct(&'static str),
    Eof,
}

/// A token: its kind and the code points that it covers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) kind: Tok,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

// Longer ones first.
const PUNCTUATION: [&str; 24] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!",
    "?", ":", "+", "*", "/", "%",
];

/// Splits the source. Characters that start no token are reported and skipped.
pub(crate) fn tokens(source: &Source, issues: &mut Issues) -> Vec<Token> {
    let mut lexer = Lexer {
        chars: &source.chars,
        at: 0,
    };
    let mut out = Vec::new();
    loop {
        lexer.skip_blanks();
        let start = lexer.at;
        if start >= lexer.chars.len() {
            break;
        }
        match lexer.token() {
            Ok(kind) => out.push(Token {
                kind,
                start: start as u32,
                end: lexer.at as u32,
            }),
            Err(at) => {
                // The character that did not fit is part of what is complained about.
                lexer.at = (at + 1).min(lexer.chars.len());
                let text: String = lexer.chars[start..lexer.at].iter().collect();
                issues.report(
                    Some(source.location(start as u32)),
                    format!(
                        "Syntax error: token recognition error at: '{}'",
                        shown(&text)
                    ),
                );
            }
        }
    }
    let end = lexer.chars.len() as u32;
    out.push(Token {
        kind: Tok::Eof,
        start: end,
        end,
    });
    out
}

/// White space inside quoted tokens is shown escaped.
pub(crate) fn shown(text: &str) -> String {
    text.replace('\n', "\\n")
        .replace('\r', "\\r")
        .replace('\t', "\\t")
}

struct Lexer<'s> {
    chars: &'s [char],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn skip_blanks(&mut self) {
        loop {
            match self.peek(0) {
                '\t' | ' ' | '\r' | '\n' | '\u{c}' => self.at += 1,
                '/' if self.peek(1) == '/' => {
                    while self.at < self.chars.len() && self.peek(0) != '\n' {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    /// The kind of the next token, or the offset of the character that does not fit.
    fn token(&mut self) -> Result<Tok, usize> {
        let c = self.peek(0);
        if c.is_ascii_digit() || (c == '.' && self.peek(1).is_ascii_digit()) {
            return Ok(self.number());
        }
        if let Some(kind) = self.string()? {
            return Ok(kind);
        }
        if c.is_ascii_alphabetic() || c == '_' {
            return Ok(self.word());
        }
        if c == '`' {
            return self.escaped();
        }
        for p in PUNCTUATION {
            let mut chars = p.chars();
            if chars.next() == Some(c) && chars.next().is_none_or(|d| d == self.peek(1)) {
                self.at += p.len();
                return Ok(Tok::Punct(p));
            }
        }
        // `=`, `&` and `|` are the beginning of something longer.
        Err(self.at + usize::from(matches!(c, '=' | '&' | '|')))
    }

    fn word(&mut self) -> Tok {
        let start = self.at;
        while self.peek(0).is_ascii_alphanumeric() || self.peek(0) == '_' {
            self.at += 1;
        }
        let text: String = self.chars[start..self.at].iter().collect();
        match text.as_str() {
            "true" => Tok::True,
            "false" => Tok::False,
            "null" => Tok::Null,
            "in" => Tok::In,
            _ => Tok::Ident,
        }
    }

    fn escaped(&mut self) -> Result<Tok, usize> {
        let mut end = self.at + 1;
        let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ' ');
        while self.chars.get(end).copied().is_some_and(ok) {
            end += 1;
        }
        if end == self.at + 1 || self.chars.get(end) != Some(&'`') {
            return Err(end);
        }
        self.at = end + 1;
        Ok(Tok::EscapedIdent)
    }

    fn digits(&mut self, hex: bool) -> usize {
        let start = self.at;
        while if hex {
            self.peek(0).is_ascii_hexdigit()
        } else {
            self.peek(0).is_ascii_digit()
        } {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Tok {
        if self.peek(0) == '0' && self.peek(1) == 'x' && self.peek(2).is_ascii_hexdigit() {
            self.at += 2;
            self.digits(true);
            return self.unsigned_suffix();
        }
        self.digits(false);
        let mut double = false;
        if self.peek(0) == '.' && self.peek(1).is_ascii_digit() {
            self.at += 1;
            self.digits(false);
            double = true;
        }
        if matches!(self.peek(0), 'e' | 'E') {
            let sign = usize::from(matches!(self.peek(1), '+' | '-'));
            if self.peek(1 + sign).is_ascii_digit() {
                self.at += 1 + sign;
                self.digits(false);
                double = true;
            }
        }
        if double {
            Tok::Double
        } else {
            self.unsigned_suffix()
        }
    }

    fn unsigned_suffix(&mut self) -> Tok {
        if matches!(self.peek(0), 'u' | 'U') {
            self.at += 1;
            return Tok::Uint;
        }
        Tok::Int
    }

    fn string(&mut self) -> Result<Option<Tok>, usize> {
        let get = |i: usize| self.chars.get(i).copied().unwrap_or('\0');
        let mut at = self.at;
        let bytes = matches!(get(at), 'b' | 'B');
        at += usize::from(bytes);
        let raw = matches!(get(at), 'r' | 'R');
        at += usize::from(raw);
        let quote = get(at);
        if quote != '"' && quote != '\'' {
            return Ok(None);
        }
        let kind = if bytes { Tok::Bytes } else { Tok::String };
        let triple = get(at + 1) == quote && get(at + 2) == quote;
        match self.string_end(at, triple, raw) {
            Ok(end) => {
                self.at = end;
                Ok(Some(kind))
            }
            // What does not end is read as the longest thing that does: an empty string, a name.
            Err(_) if triple => {
                self.at = at + 2;
                Ok(Some(kind))
            }
            Err(_) if bytes || raw => Ok(None),
            Err(at) => Err(at),
        }
    }

    /// Where the string whose quotes begin at `open` ends, or the character that does not fit.
    fn string_end(&self, open: usize, triple: bool, raw: bool) -> Result<usize, usize> {
        let get = |i: usize| self.chars.get(i).copied().unwrap_or('\0');
        let quote = get(open);
        let width = if triple { 3 } else { 1 };
        let mut at = open + width;
        while at < self.chars.len() {
            let c = get(at);
            if (0..width).all(|i| get(at + i) == quote) {
                return Ok(at + width);
            }
            match c {
                '\n' | '\r' if !triple => return Err(at),
                '\\' if !raw => match escape_length(&self.chars[at..]) {
                    Some(length) => at += 1 + length,
                    None => return Err(at + escape_mismatch(&self.chars[at..])),
                },
                _ => at += 1,
            }
        }
        Err(at)
    }
}

/// Which character of something that begins like an escape keeps it from being one.
fn escape_mismatch(chars: &[char]) -> usize {
    let fits: fn(&char) -> bool = match chars.get(1) {
        Some('x' | 'X' | 'u' | 'U') => char::is_ascii_hexdigit,
        Some('0'..='3') => |c| ('0'..='7').contains(c),
        _ => return 1,
    };
    2 + chars[2..].iter().take_while(|c| fits(c)).count()
}

/// Number of characters behind the backslash that belong to the escape, if it is one.
fn escape_length(chars: &[char]) -> Option<usize> {
    let hex = |n: usize| (2..2 + n).all(|i| chars.get(i).is_some_and(char::is_ascii_hexdigit));
    let octal = |i: usize| chars.get(i).is_some_and(|c| ('0'..='7').contains(c));
    match chars.get(1)? {
        'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '\\' | '?' | '`' => Some(1),
        'x' | 'X' => hex(2).then_some(3),
        'u' => hex(4).then_some(5),
        'U' => hex(8).then_some(9),
        '0'..='3' => (octal(2) && octal(3)).then_some(3),
        _ => None,
    }
}

/// Undoes quotes and escapes of a string or bytes literal (its `b` prefix already removed).
pub(crate) fn unescape(text: &str, is_bytes: bool) -> Result<Vec<u8>, &'static str> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (raw, body) = match text.strip_prefix(['r', 'R']) {
        Some(rest) => (true, rest),
        None => (false, text.as_str()),
    };
    let width = if body.len() >= 6 && (body.starts_with("'''") || body.starts_with("\"\"\"")) {
        3
    } else {
        1
    };
    let body = body.get(width..body.len().saturating_sub(width));
    let body = body.ok_or("unable to unescape string")?;
    if raw || !body.contains('\\') {
        return Ok(body.as_bytes().to_vec());
    }
    let chars: Vec<char> = body.chars().collect();
    let mut out = Vec::with_capacity(body.len());
    let mut at = 0;
    while at < chars.len() {
        if chars[at] != '\\' {
            push(&mut out, chars[at]);
            at += 1;
            continue;
        }
        at += unescape_one(&chars[at..], is_bytes, &mut out)?;
    }
    Ok(out)
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn unescape_one(chars: &[char], is_bytes: bool, out: &mut Vec<u8>) -> Result<usize, &'static str> {
    const BAD: &str = "unable to unescape string";
    let length = escape_length(chars).ok_or(BAD)?;
    let simple = match chars.get(1).ok_or(BAD)? {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        c if length == 1 => Some(*c as u8),
        _ => None,
    };
    if let Some(byte) = simple {
        out.push(byte);
        return Ok(2);
    }
    let octal = chars[1].is_ascii_digit();
    let digits: String = chars[if octal { 1 } else { 2 }..=length].iter().collect();
    let code = u32::from_str_radix(&digits, if octal { 8 } else { 16 }).map_err(|_| BAD)?;
    if is_bytes {
        out.push(u8::try_from(code).map_err(|_| BAD)?);
    } else {
        push(
            out,
            char::from_u32(code).ok_or("invalid unicode code point")?,
        );
    }
    Ok(1 + length)
}
