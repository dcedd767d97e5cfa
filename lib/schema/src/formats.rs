//! String formats that schemas may ask for: one row per format in [`Format`].
//!
//! Start at [`Format::parse`] and [`Format::accepts`]. The invariant: a text is accepted when
//! kube-openapi's `strfmt` accepts it. Formats that are not listed are ignored when values are
//! validated; [`Format::is_supported`] tells them for the warning at CRD write.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use hanse_cel::Url;
use regex::Regex;

use crate::names;

/// A format that a schema names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    kind: Option<Kind>,
    /// As written in the schema.
    pub name: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    BsonObjectId,
    Uri,
    Email,
    Hostname,
    Ipv4,
    Ipv6,
    Cidr,
    Mac,
    Uuid(Option<u8>),
    Isbn,
    Isbn10,
    Isbn13,
    CreditCard,
    Ssn,
    HexColor,
    RgbColor,
    Byte,
    Password,
    Date,
    Duration,
    DateTime,
    ShortName,
    LongName,
}

const KINDS: &[(&str, Kind)] = &[
    ("bsonobjectid", Kind::BsonObjectId),
    ("uri", Kind::Uri),
    ("email", Kind::Email),
    ("hostname", Kind::Hostname),
    ("ipv4", Kind::Ipv4),
    ("ipv6", Kind::Ipv6),
    ("cidr", Kind::Cidr),
    ("mac", Kind::Mac),
    ("uuid", Kind::Uuid(None)),
    ("uuid3", Kind::Uuid(Some(3))),
    ("uuid4", Kind::Uuid(Some(4))),
    ("uuid5", Kind::Uuid(Some(5))),
    ("isbn", Kind::Isbn),
    ("isbn10", Kind::Isbn10),
    ("isbn13", Kind::Isbn13),
    ("creditcard", Kind::CreditCard),
    ("ssn", Kind::Ssn),
    ("hexcolor", Kind::HexColor),
    ("rgbcolor", Kind::RgbColor),
    ("byte", Kind::Byte),
    ("password", Kind::Password),
    ("date", Kind::Date),
    ("duration", Kind::Duration),
    ("datetime", Kind::DateTime),
    ("k8sshortname", Kind::ShortName),
    ("k8slongname", Kind::LongName),
];

impl Format {
    /// The format of that name, hyphens ignored; `None` for the empty name.
    pub fn parse(name: &str) -> Option<Format> {
        if name.is_empty() {
            return None;
        }
        let normal = name.replace('-', "");
        let kind = KINDS
            .iter()
            .find(|(known, _)| *known == normal)
            .map(|(_, kind)| *kind);
        Some(Format {
            kind,
            name: name.into(),
        })
    }

    /// Whether values are checked against this format.
    pub fn is_supported(&self) -> bool {
        self.kind.is_some()
    }

    /// Whether a text is of this format; unsupported formats accept all.
    pub fn accepts(&self, text: &str) -> bool {
        let Some(kind) = self.kind else { return true };
        match kind {
            Kind::BsonObjectId => text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit()),
            Kind::Uri => Url::parse_request(text).is_ok(),
            Kind::Email => is_email(text),
            Kind::Hostname => is_hostname(text),
            Kind::Ipv4 => text.contains('.') && is_ip_sloppy(text),
            Kind::Ipv6 => text.contains(':') && text.parse::<Ipv6Addr>().is_ok(),
            Kind::Cidr => is_cidr(text),
            Kind::Mac => is_mac(text),
            Kind::Uuid(version) => is_uuid(text, version),
            Kind::Isbn => is_isbn10(text) || is_isbn13(text),
            Kind::Isbn10 => is_isbn10(text),
            Kind::Isbn13 => is_isbn13(text),
            Kind::CreditCard => is_credit_card(text),
            Kind::Ssn => text.len() == 11 && PATTERNS.ssn.is_match(text),
            Kind::HexColor => is_hex_color(text),
            Kind::RgbColor => PATTERNS.rgb.is_match(text),
            Kind::Byte => is_base64(text),
            Kind::Password => true,
            Kind::Date => is_date(text),
            Kind::Duration => is_duration(text),
            Kind::DateTime => is_date_time(text),
            Kind::ShortName => names::is_dns1123_label(text).is_empty(),
            Kind::LongName => names::is_dns1123_subdomain(text).is_empty(),
        }
    }
}

struct Patterns {
    ssn: Regex,
    rgb: Regex,
    credit_card: Regex,
    time: Regex,
    duration: Regex,
    letter_or_symbol: Regex,
    letter: Regex,
}

#[allow(clippy::expect_used)] // constant patterns, compiled once
static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    let compile = |pattern: &str| Regex::new(pattern).expect("constant pattern");
    let byte = "(0|[1-9][0-9]?|1[0-9][0-9]?|2[0-4][0-9]|25[0-5])";
    let blank = r"[\t\n\f\r ]*";
    Patterns {
        ssn: compile("^[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}$"),
        rgb: compile(&format!(
            r"^rgb\({blank}{byte}{blank},{blank}{byte}{blank},{blank}{byte}{blank}\)$"
        )),
        credit_card: compile(
            "^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|\
             3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35[0-9]{3})[0-9]{11})$",
        ),
        time: compile(r"^([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))$"),
        duration: compile(r"([0-9]+)[\t\n\f\r ]*([A-Za-zµ]+)"),
        letter_or_symbol: compile(r"^[\p{L}\p{S}]$"),
        letter: compile(r"^\p{L}$"),
    }
});

fn is_letter_or_symbol(c: char) -> bool {
    let text = &mut [0; 4];
    c.is_ascii_alphanumeric() || PATTERNS.letter_or_symbol.is_match(c.encode_utf8(text))
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || PATTERNS.letter.is_match(c.encode_utf8(&mut [0; 4]))
}

fn is_hostname(text: &str) -> bool {
    if text.len() > 255 || text.split('.').any(|part| part.len() > 63) {
        return false;
    }
    let mut parts: Vec<&str> = text.split('.').collect();
    if parts.len() == 1 {
        let mut chars = text.chars().peekable();
        if !chars.next().is_some_and(is_letter_or_symbol) {
            return false;
        }
        let _ = chars.next_if_eq(&'-');
        return chars.all(is_letter_or_symbol);
    }
    let top = parts.pop().unwrap_or_default();
    let is_top = top.chars().count() >= 2 && top.chars().all(is_letter);
    is_top
        && parts.iter().all(|part| {
            part.chars().all(|c| c == '-' || is_letter_or_symbol(c))
                && !part.is_empty()
                && !part.starts_with('-')
                && !part.ends_with('-')
        })
}

/// IPv4 with leading zeros allowed, or IPv6, as Kubernetes' sloppy parser reads them.
fn is_ip_sloppy(text: &str) -> bool {
    if text.contains(':') {
        return parse_v6_sloppy(text);
    }
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 4 && parts.iter().all(|p| is_number_below(p, 256))
}

fn is_number_below(text: &str, limit: u32) -> bool {
    let trimmed = text.trim_start_matches('0');
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_digit())
        && trimmed.len() <= 3
        && trimmed.parse::<u32>().unwrap_or(0) < limit
}

fn parse_v6_sloppy(text: &str) -> bool {
    if let Some((head, tail)) = text.rsplit_once(':')
        && tail.contains('.')
    {
        let parts: Vec<&str> = tail.split('.').collect();
        let is_v4 = parts.len() == 4 && parts.iter().all(|p| is_number_below(p, 256));
        return is_v4
            && format!("{head}:{}", Ipv4Addr::UNSPECIFIED)
                .parse::<Ipv6Addr>()
                .is_ok();
    }
    text.parse::<Ipv6Addr>().is_ok()
}

fn is_cidr(text: &str) -> bool {
    let Some((ip, bits)) = text.split_once('/') else {
        return false;
    };
    let limit = if ip.contains(':') { 129 } else { 33 };
    is_ip_sloppy(ip) && is_number_below(bits, limit)
}

fn is_mac(text: &str) -> bool {
    let hex = |part: &str, width: usize| {
        part.len() == width && part.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let separator = [':', '-']
        .into_iter()
        .find(|c| text.chars().nth(2) == Some(*c));
    if let Some(separator) = separator {
        let parts: Vec<&str> = text.split(separator).collect();
        return matches!(parts.len(), 6 | 8 | 20) && parts.iter().all(|p| hex(p, 2));
    }
    let parts: Vec<&str> = text.split('.').collect();
    matches!(parts.len(), 3 | 4 | 10) && parts.iter().all(|p| hex(p, 4))
}

/// 8-4-4-4-12 hexadecimal digits; each dash may be left out.
fn is_uuid(text: &str, version: Option<u8>) -> bool {
    let mut bytes = text.bytes().peekable();
    let mut digits = [0u8; 32];
    for (i, digit) in digits.iter_mut().enumerate() {
        if matches!(i, 8 | 12 | 16 | 20) {
            let _ = bytes.next_if_eq(&b'-');
        }
        match bytes.next() {
            Some(b) if b.is_ascii_hexdigit() => *digit = b.to_ascii_lowercase(),
            _ => return false,
        }
    }
    if bytes.next().is_some() {
        return false;
    }
    match version {
        None => true,
        Some(3) => digits[12] == b'3',
        Some(version) => {
            digits[12] == b'0' + version && matches!(digits[16], b'8' | b'9' | b'a' | b'b')
        }
    }
}

fn without_blanks_and_dashes(text: &str) -> Vec<u8> {
    let keep = |b: &u8| !matches!(b, b'\t' | b'\n' | b'\x0c' | b'\r' | b' ' | b'-');
    text.bytes().filter(keep).collect()
}

fn is_isbn10(text: &str) -> bool {
    let digits = without_blanks_and_dashes(text);
    let [head @ .., last] = digits.as_slice() else {
        return false;
    };
    if head.len() != 9 || !head.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let last = match last {
        b'X' => 10,
        b if b.is_ascii_digit() => u32::from(b - b'0'),
        _ => return false,
    };
    let sum: u32 = (1..).zip(head).map(|(i, b)| i * u32::from(b - b'0')).sum();
    (sum + 10 * last).is_multiple_of(11)
}

fn is_isbn13(text: &str) -> bool {
    let digits = without_blanks_and_dashes(text);
    if digits.len() != 13 || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let weigh = |(i, b): (usize, &u8)| u32::from(b - b'0') * if i % 2 == 0 { 1 } else { 3 };
    digits
        .iter()
        .enumerate()
        .map(weigh)
        .sum::<u32>()
        .is_multiple_of(10)
}

fn is_credit_card(text: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if !PATTERNS.credit_card.is_match(&digits) {
        return false;
    }
    let luhn = |(i, b): (usize, u8)| {
        let n = u32::from(b - b'0') * if i % 2 == 1 { 2 } else { 1 };
        if n >= 10 { n % 10 + 1 } else { n }
    };
    digits
        .bytes()
        .rev()
        .enumerate()
        .map(luhn)
        .sum::<u32>()
        .is_multiple_of(10)
}

fn is_hex_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    matches!(digits.len(), 3 | 6) && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Padded standard base64; the empty text is none.
fn is_base64(text: &str) -> bool {
    let body = text
        .strip_suffix("==")
        .or_else(|| text.strip_suffix('='))
        .unwrap_or(text);
    !body.is_empty()
        && text.len().is_multiple_of(4)
        && body
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let number = |range: std::ops::Range<usize>| -> Option<u32> {
        let part = bytes.get(range)?;
        part.iter()
            .all(u8::is_ascii_digit)
            .then(|| part.iter().fold(0, |n, b| n * 10 + u32::from(b - b'0')))
    };
    if bytes.len() != 10 || bytes.get(4) != Some(&b'-') || bytes.get(7) != Some(&b'-') {
        return false;
    }
    let (Some(year), Some(month), Some(day)) = (number(0..4), number(5..7), number(8..10)) else {
        return false;
    };
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=days).contains(&day)
}

fn is_date_time(text: &str) -> bool {
    let lower = text.to_lowercase();
    let mut parts = lower.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else {
        return false;
    };
    if !is_date(date) {
        return false;
    }
    let Some(found) = PATTERNS.time.captures(time) else {
        return false;
    };
    let part = |i: usize| found.get(i).map_or("", |m| m.as_str());
    part(1) <= "23" && part(2) <= "59" && part(3) <= "59"
}

/// Units of Go's `time.ParseDuration`, in nanoseconds.
const GO_UNITS: &[(&str, f64)] = &[
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 6e10),
    ("h", 3.6e12),
];

/// Go's duration syntax: `1h2m3.5s`.
pub(crate) fn is_go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut total = 0.0;
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let number = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (digits, tail) = rest.split_at(number);
        if !digits.bytes().any(|b| b.is_ascii_digit()) || digits.matches('.').count() > 1 {
            return false;
        }
        let end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let Some((_, nanos)) = GO_UNITS.iter().find(|(name, _)| *name == unit) else {
            return false;
        };
        total += digits.parse::<f64>().unwrap_or(f64::INFINITY) * nanos;
        rest = tail;
    }
    total <= 9_223_372_036_854_775_807.0
}

/// Spellings of units in the looser syntax; the last of each row is a prefix.
const LOOSE_UNITS: &[&[&str]] = &[
    &["ns", "nano"],
    &["us", "µs", "micro"],
    &["ms", "milli"],
    &["s", "sec"],
    &["m", "min"],
    &["h", "hr", "hour"],
    &["d", "day"],
    &["w", "wk", "week"],
];

fn is_duration(text: &str) -> bool {
    if is_go_duration(text) {
        return true;
    }
    let mut good = false;
    for found in PATTERNS.duration.captures_iter(text) {
        let part = |i: usize| found.get(i).map_or("", |m| m.as_str());
        if part(1).parse::<i64>().is_err() {
            return false;
        }
        let unit = part(2).to_lowercase();
        good |= LOOSE_UNITS.iter().any(|row| {
            row.contains(&unit.as_str()) || row.last().is_some_and(|long| unit.starts_with(long))
        });
    }
    good
}

/// An address as Go's `net/mail` reads it: `local@domain`, alone or in angle brackets after a
/// display name.
fn is_email(text: &str) -> bool {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    let spec = match text.strip_suffix('>') {
        Some(open) => match open.rsplit_once('<') {
            Some((name, spec)) if is_display_name(name) => spec,
            _ => return false,
        },
        None => text,
    };
    let Some((local, domain)) = spec.rsplit_once('@') else {
        return false;
    };
    is_local_part(local) && is_mail_domain(domain)
}

fn is_atom_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii()
}

fn is_dot_atom(text: &str) -> bool {
    text.split('.')
        .all(|part| !part.is_empty() && part.chars().all(is_atom_char))
}

fn is_quoted(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
        return false;
    };
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.next().is_none() => return false,
            '"' | '\r' | '\n' => return false,
            _ => {}
        }
    }
    text.len() > 2
}

fn is_local_part(text: &str) -> bool {
    is_dot_atom(text) || is_quoted(text)
}

fn is_mail_domain(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        Some(literal) => {
            let literal = literal.strip_prefix("IPv6:").unwrap_or(literal);
            literal.parse::<std::net::IpAddr>().is_ok()
        }
        None => is_dot_atom(text),
    }
}

fn is_display_name(text: &str) -> bool {
    let text = text.trim();
    text.is_empty()
        || is_quoted(text)
        || text
            .split_whitespace()
            .all(|w| w.chars().all(|c| is_atom_char(c) || c == '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: &str, good: &[&str], bad: &[&str]) {
        let format = Format::parse(format).unwrap();
        assert!(format.is_supported());
        for text in good {
            assert!(format.accepts(text), "{}: {text}", format.name);
        }
        for text in bad {
            assert!(!format.accepts(text), "{}: {text}", format.name);
        }
    }

    #[test]
    fn networks() {
        check(
            "ipv4",
            &["1.2.3.4", "010.0.0.1", "::ffff:1.2.3.4"],
            &["1.2.3", "::1", "1.2.3.256"],
        );
        check(
            "ipv6",
            &["::1", "fe80::1:2"],
            &["1.2.3.4", ":::", "fe80::1%eth0"],
        );
        check(
            "cidr",
            &["10.0.0.0/8", "::/0"],
            &["10.0.0.0", "10.0.0.0/33", "::/129"],
        );
        check(
            "mac",
            &["00:11:22:33:44:55", "0011.2233.4455"],
            &["00:11", "00:11:22:33:44:5g"],
        );
        check(
            "hostname",
            &["a", "a.example", "a-b.com"],
            &["", "-a", "a.b-", "a.c", "a_b.com"],
        );
        check(
            "uri",
            &["http://a/b?c#d", "/a", "a:b", "*"],
            &["", "a", "http://[::1", "%zz", ":a"],
        );
        check(
            "email",
            &["a@b", "A B <a@b.c>", "\"a b\"@c"],
            &["a", "@b", "a@", "a b@c"],
        );
    }

    #[test]
    fn times() {
        check(
            "date",
            &["2024-02-29"],
            &["2023-02-29", "2024-2-1", "2024-13-01"],
        );
        check(
            "date-time",
            &["2024-01-02T03:04:05Z", "2024-01-02t03:04:05.1+01:00"],
            &["2024-01-02", "2024-01-02T24:00:00Z", "2024-01-02T03:04:05"],
        );
        check(
            "duration",
            &["1h2m", "1.5s", "0", "3 days", "-1s"],
            &["", "1", "x", "1y"],
        );
    }

    #[test]
    fn numbers_and_codes() {
        check(
            "uuid",
            &["01234567-89ab-cdef-0123-456789ABCDEF"],
            &["0123", ""],
        );
        check(
            "uuid4",
            &["01234567-89ab-4def-8123-456789abcdef"],
            &[
                "01234567-89ab-4def-7123-456789abcdef",
                "01234567-89ab-3def-8123-456789abcdef",
            ],
        );
        check("isbn", &["0321751043", "978-0321751041"], &["0321751044"]);
        check(
            "creditcard",
            &["4111-1111-1111-1111"],
            &["4111-1111-1111-1112", ""],
        );
        check("ssn", &["111-22-3333"], &["111223333"]);
        check("hexcolor", &["#fff", "A0b1C2"], &["#ffff", "g00"]);
        check(
            "rgbcolor",
            &["rgb(0, 12,255)"],
            &["rgb(0,0,256)", "rgb(1,2)"],
        );
        check("byte", &["YQ==", "YWI=", "YWJj"], &["", "YQ=", "Y Q="]);
        check("bsonobjectid", &["0123456789abcdef01234567"], &["0123"]);
        check("k8s-short-name", &["a-b"], &["a.b"]);
    }

    #[test]
    fn unknown_formats_accept_all() {
        let format = Format::parse("int32").unwrap();
        assert!(!format.is_supported() && format.accepts("x"));
        assert!(Format::parse("").is_none());
    }
}
