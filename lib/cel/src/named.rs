//! Named formats: what `format.dns1123Label()` and its kin check, with Kubernetes' texts.

use crate::time;
use crate::url;

/// A format with a name.
#[derive(Debug)]
pub struct NamedFormat {
    /// The function that returns it, without `format.`.
    pub(crate) function: &'static str,
    /// Its own name; formats of one name are equal.
    pub(crate) name: &'static str,
    regex_size: u64,
    check: fn(&str) -> Vec<String>,
}

impl NamedFormat {
    /// Length of the regular expression that costs are computed with.
    pub(crate) fn regex_size(&self) -> u64 {
        self.regex_size
    }

    /// What is wrong with a text.
    pub(crate) fn check(&self, text: &str) -> Vec<String> {
        (self.check)(text)
    }
}

const fn format(
    function: &'static str,
    name: &'static str,
    regex_size: u64,
    check: fn(&str) -> Vec<String>,
) -> NamedFormat {
    NamedFormat {
        function,
        name,
        regex_size,
        check,
    }
}

/// All of them.
pub(crate) static FORMATS: [NamedFormat; 13] = [
    format("dns1123Label", "DNS1123Label", 30, dns1123_label),
    format(
        "dns1123Subdomain",
        "DNS1123Subdomain",
        60,
        dns1123_subdomain,
    ),
    format("dns1035Label", "DNS1035Label", 30, dns1035_label),
    format("qualifiedName", "QualifiedName", 60, qualified_name),
    format("dns1123LabelPrefix", "DNS1123LabelPrefix", 30, |s| {
        dns1123_label(&masked(s))
    }),
    format(
        "dns1123SubdomainPrefix",
        "DNS1123SubdomainPrefix",
        60,
        |s| dns1123_subdomain(&masked(s)),
    ),
    format("dns1035LabelPrefix", "DNS1035LabelPrefix", 30, |s| {
        dns1035_label(&masked(s))
    }),
    format("labelValue", "LabelValue", 40, label_value),
    format("uri", "URI", 1103, |s| {
        url::parse(s).err().into_iter().collect()
    }),
    format("uuid", "uuid", 70, |s| {
        unless(is_uuid(s), "does not match the UUID format")
    }),
    format("byte", "byte", 84, |s| {
        unless(is_base64(s), "invalid base64")
    }),
    format("date", "date", 71, |s| {
        unless(time::parse_date(s).is_some(), "invalid date")
    }),
    format("datetime", "datetime", 71, |s| {
        unless(is_date_time(s), "invalid datetime")
    }),
];

/// The format that a function or `format.named` asks for.
pub(crate) fn find(function: &str) -> Option<&'static NamedFormat> {
    FORMATS.iter().find(|f| f.function == function)
}

fn unless(fine: bool, text: &str) -> Vec<String> {
    if fine {
        Vec::new()
    } else {
        vec![text.to_owned()]
    }
}

/// A trailing dash is fine in a prefix.
fn masked(text: &str) -> String {
    match text.strip_suffix('-').filter(|rest| !rest.is_empty()) {
        Some(rest) => {
            let mut chars = rest.chars();
            chars.next_back();
            format!("{}a", chars.as_str())
        }
        None => text.to_owned(),
    }
}

fn too_long(max: usize) -> String {
    format!("must be no more than {max} characters")
}

fn regex_error(what: &str, regex: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    let examples = examples.join(" or ");
    format!("{what} (e.g. {examples}regex used for validation is '{regex}')")
}

fn lower(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

/// Ends with `edge`s, `inner` between.
fn bounded(text: &str, edge: fn(u8) -> bool, inner: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => edge(*first) && edge(*last) && bytes.iter().all(|b| inner(*b)),
        _ => false,
    }
}

fn is_label(text: &str) -> bool {
    bounded(text, lower, |b| lower(b) || b == b'-')
}

fn dns1123_label(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 63 {
        errors.push(too_long(63));
    }
    if !is_label(text) {
        if text.split('.').all(is_label) {
            errors.push("must not contain dots".into());
        } else {
            errors.push(regex_error(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters \
                 or '-', and must start and end with an alphanumeric character",
                "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
                &["my-name", "123-abc"],
            ));
        }
    }
    errors
}

fn dns1123_subdomain(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 253 {
        errors.push(too_long(253));
    }
    if !text.split('.').all(is_label) {
        errors.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
             '-' or '.', and must start and end with an alphanumeric character",
            "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["example.com"],
        ));
    }
    errors
}

fn dns1035_label(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 63 {
        errors.push(too_long(63));
    }
    if !is_label(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        errors.push(regex_error(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start \
             with an alphabetic character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    errors
}

fn name_inner(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')
}

const NAME_PART: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

fn qualified_name(text: &str) -> Vec<String> {
    const WHAT: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start \
                        and end with an alphanumeric character";
    let mut errors = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".into());
            } else {
                let wrong = dns1123_subdomain(prefix);
                errors.extend(wrong.iter().map(|e| format!("prefix part {e}")));
            }
            name
        }
        _ => {
            let examples = ["MyName", "my.name", "123-abc"];
            let text = regex_error(&format!("a valid label key {WHAT}"), NAME_PART, &examples);
            return vec![format!(
                "{text} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".into());
    } else if name.len() > 63 {
        errors.push(format!("name part {}", too_long(63)));
    }
    if !bounded(name, |b| b.is_ascii_alphanumeric(), name_inner) {
        let examples = ["MyName", "my.name", "123-abc"];
        errors.push(format!(
            "name part {}",
            regex_error(WHAT, NAME_PART, &examples)
        ));
    }
    errors
}

fn label_value(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 63 {
        errors.push(too_long(63));
    }
    if !text.is_empty() && !bounded(text, |b| b.is_ascii_alphanumeric(), name_inner) {
        errors.push(regex_error(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', \
             '_' or '.', and must start and end with an alphanumeric character",
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
            &["MyValue", "my_value", "12345"],
        ));
    }
    errors
}

fn is_uuid(text: &str) -> bool {
    let mut rest = text;
    for (i, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if i > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        match rest.split_at_checked(length) {
            Some((group, tail)) if group.bytes().all(|b| b.is_ascii_hexdigit()) => rest = tail,
            _ => return false,
        }
    }
    rest.is_empty()
}

fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    let alphabet = body
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
    text.len().is_multiple_of(4) && padding <= 2 && alphabet && !text.is_empty()
}

fn is_date_time(text: &str) -> bool {
    let lower = text.to_lowercase();
    let Some((date, time)) = lower.split_once('t') else {
        return false;
    };
    let time = time.split('t').next().unwrap_or_default();
    if time::parse_date(date).is_none() {
        return false;
    }
    let two = |s: &str| s.len() == 2 && s.bytes().all(|b| b.is_ascii_digit());
    let Some(clock) = time.get(..8) else {
        return false;
    };
    let parts: Vec<&str> = clock.split(':').collect();
    let fine = matches!(parts.as_slice(), [h, m, s]
        if two(h) && two(m) && two(s) && *h <= "23" && *m <= "59" && *s <= "59");
    let mut zone = &time[8..];
    let decimals = zone
        .chars()
        .skip(1)
        .take_while(char::is_ascii_digit)
        .count();
    if decimals > 0 && !zone.starts_with(['+', '-', 'z']) {
        zone = zone
            .char_indices()
            .nth(1 + decimals)
            .map_or("", |(at, _)| &zone[at..]);
    }
    let offset = |z: &str| z.split_once(':').is_some_and(|(h, m)| two(h) && two(m));
    fine && (zone == "z" || zone.strip_prefix(['+', '-']).is_some_and(offset))
}
