//! What a name may look like: one row per kind of name, with Kubernetes' words for what is wrong.
//!
//! Start at [`is_dns1123_subdomain`]; each function answers the list of complaints, empty when the
//! text is good. The invariant: complaints and their order are those of apimachinery. The checks
//! are hand-written scanners, not regular expressions, because names are checked on every write.

/// Longest DNS label in bytes.
pub const DNS_LABEL_LENGTH_MAX: usize = 63;
/// Longest DNS subdomain in bytes.
pub const DNS_SUBDOMAIN_LENGTH_MAX: usize = 253;
/// Longest label value in bytes.
pub const LABEL_VALUE_LENGTH_MAX: usize = 63;

const DNS1123_LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const DNS1123_SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const DNS1035_LABEL: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const LABEL_KEY: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const LABEL_VALUE: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";

const SUBDOMAIN_TEXT: &str = "a lowercase RFC 1123 subdomain must consist of lower case \
    alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const LABEL_TEXT: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric \
    characters or '-', and must start and end with an alphanumeric character";
const DNS1035_TEXT: &str = "a DNS-1035 label must consist of lower case alphanumeric characters \
    or '-', start with an alphabetic character, and end with an alphanumeric character";
const LABEL_KEY_TEXT: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must \
    start and end with an alphanumeric character";
const LABEL_VALUE_TEXT: &str = "a valid label must be an empty string or consist of alphanumeric \
    characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/// The complaint about a text that does not match `pattern`, with examples that do.
pub fn regex_error(text: &str, pattern: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{text} (regex used for validation is '{pattern}')");
    }
    // The comma before each `or` is in the original.
    let list = examples
        .iter()
        .map(|e| format!("'{e}', "))
        .collect::<Vec<_>>()
        .join(" or ");
    format!("{text} (e.g. {list}regex used for validation is '{pattern}')")
}

/// The complaint about a number outside `low..=high`.
pub fn inclusive_range_error(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

fn max_length(unit: &str, max: usize) -> String {
    format!("must be no more than {max} {unit}")
}

/// `first (middle* last)?` over bytes.
fn matches(
    text: &str,
    first: fn(u8) -> bool,
    middle: fn(u8) -> bool,
    last: fn(u8) -> bool,
) -> bool {
    match text.as_bytes() {
        [] => false,
        [one] => first(*one),
        [a, inner @ .., z] => first(*a) && last(*z) && inner.iter().all(|b| middle(*b)),
    }
}

fn lower_alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn lower_alnum_dash(b: u8) -> bool {
    lower_alnum(b) || b == b'-'
}

fn alnum(b: u8) -> bool {
    b.is_ascii_alphanumeric()
}

fn label_inner(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')
}

fn dns1123_label_shape(text: &str) -> bool {
    matches(text, lower_alnum, lower_alnum_dash, lower_alnum)
}

fn subdomain_shape(text: &str) -> bool {
    text.split('.').all(dns1123_label_shape)
}

fn label_key_shape(text: &str) -> bool {
    matches(text, alnum, label_inner, alnum)
}

/// A DNS subdomain (RFC 1123): most object names, API groups.
pub fn is_dns1123_subdomain(text: &str) -> Vec<String> {
    subdomain_complaints(text, "characters")
}

// The length complaint says `bytes` where apimachinery's newer package is asked.
fn subdomain_complaints(text: &str, unit: &str) -> Vec<String> {
    let mut out = Vec::new();
    if text.len() > DNS_SUBDOMAIN_LENGTH_MAX {
        out.push(max_length(unit, DNS_SUBDOMAIN_LENGTH_MAX));
    }
    if !subdomain_shape(text) {
        out.push(regex_error(
            SUBDOMAIN_TEXT,
            DNS1123_SUBDOMAIN,
            &["example.com"],
        ));
    }
    out
}

/// A DNS label (RFC 1123): namespaces.
pub fn is_dns1123_label(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if text.len() > DNS_LABEL_LENGTH_MAX {
        out.push(max_length("characters", DNS_LABEL_LENGTH_MAX));
    }
    if !dns1123_label_shape(text) {
        out.push(if subdomain_shape(text) {
            "must not contain dots".to_owned()
        } else {
            regex_error(LABEL_TEXT, DNS1123_LABEL, &["my-name", "123-abc"])
        });
    }
    out
}

/// A DNS label that starts with a letter (RFC 1035): services, API versions, resource names.
pub fn is_dns1035_label(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if text.len() > DNS_LABEL_LENGTH_MAX {
        out.push(max_length("characters", DNS_LABEL_LENGTH_MAX));
    }
    if !matches(
        text,
        |b| b.is_ascii_lowercase(),
        lower_alnum_dash,
        lower_alnum,
    ) {
        out.push(regex_error(
            DNS1035_TEXT,
            DNS1035_LABEL,
            &["my-name", "abc-123"],
        ));
    }
    out
}

/// A qualified name: a label key, an annotation key in lower case, a finalizer, a condition type.
pub fn is_qualified_name(text: &str) -> Vec<String> {
    let complaint = || regex_error(LABEL_KEY_TEXT, LABEL_KEY, &["MyName", "my.name", "123-abc"]);
    let mut out = Vec::new();
    let name = match text.split('/').collect::<Vec<_>>().as_slice() {
        [name] => *name,
        ["", name] => {
            out.push("prefix part must be non-empty".to_owned());
            *name
        }
        [prefix, name] => {
            let complaints = subdomain_complaints(prefix, "bytes");
            out.extend(complaints.into_iter().map(|c| format!("prefix part {c}")));
            *name
        }
        _ => {
            return vec![format!(
                "a valid label key {} with an optional DNS subdomain prefix and '/' \
                 (e.g. 'example.com/MyName')",
                complaint()
            )];
        }
    };
    if name.is_empty() {
        out.push("name part must be non-empty".to_owned());
    } else if name.len() > DNS_LABEL_LENGTH_MAX {
        out.push(format!(
            "name part {}",
            max_length("bytes", DNS_LABEL_LENGTH_MAX)
        ));
    }
    if !label_key_shape(name) {
        out.push(format!("name part {}", complaint()));
    }
    out
}

/// The value of a label; empty is good.
pub fn is_valid_label_value(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if text.len() > LABEL_VALUE_LENGTH_MAX {
        out.push(max_length("bytes", LABEL_VALUE_LENGTH_MAX));
    }
    if !text.is_empty() && !label_key_shape(text) {
        out.push(regex_error(
            LABEL_VALUE_TEXT,
            LABEL_VALUE,
            &["MyValue", "my_value", "12345"],
        ));
    }
    out
}

/// A name that can stand in a URL path: RBAC objects.
pub fn is_path_segment_name(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    is_path_segment_prefix(text)
}

/// The beginning of a name that can stand in a URL path.
pub fn is_path_segment_prefix(text: &str) -> Vec<String> {
    let bad = ["/", "%"].into_iter().filter(|c| text.contains(c));
    bad.map(|c| format!("may not contain '{c}'")).collect()
}

/// A key of a ConfigMap or Secret.
pub fn is_config_map_key(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if text.len() > DNS_SUBDOMAIN_LENGTH_MAX {
        out.push(max_length("characters", DNS_SUBDOMAIN_LENGTH_MAX));
    }
    if text.is_empty() || !text.bytes().all(label_inner) {
        out.push(regex_error(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match text {
        "." => out.push("must not be '.'".to_owned()),
        ".." => out.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => out.push("must not start with '..'".to_owned()),
        _ => {}
    }
    out
}

/// The name of an environment variable as Kubernetes 1.30 and later accept it.
pub fn is_relaxed_env_var_name(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if text.is_empty() {
        out.push("environment variable name must be non-empty".to_owned());
    }
    if !text
        .bytes()
        .all(|b| (b' '..=b'~').contains(&b) && b != b'=')
    {
        out.push(
            "a valid environment variable name must consist only of printable ASCII characters \
             other than '='"
                .to_owned(),
        );
    }
    out
}

/// A TCP or UDP port.
pub fn is_valid_port_number(port: i64) -> Vec<String> {
    if (1..=65535).contains(&port) {
        Vec::new()
    } else {
        vec![inclusive_range_error(1, 65535)]
    }
}

/// A port's name (RFC 6335 service name).
pub fn is_valid_port_name(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if text.len() > 15 {
        out.push(max_length("characters", 15));
    }
    if text.is_empty() || !text.bytes().all(lower_alnum_dash) {
        out.push(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned(),
        );
    }
    if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        out.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        out.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        out.push("must not begin or end with a hyphen".to_owned());
    }
    out
}

/// Which rule the names of a kind follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// DNS subdomain: most kinds.
    DnsSubdomain,
    /// DNS label: namespaces.
    DnsLabel,
    /// DNS label that starts with a letter: services.
    Dns1035Label,
    /// Anything that can stand in a path: RBAC.
    PathSegment,
    /// Anything at all; the kind checks its names itself.
    Any,
}

impl NameRule {
    /// Complaints about a name, or about the beginning of one (`generateName`).
    pub fn check(self, name: &str, prefix: bool) -> Vec<String> {
        let masked;
        let dns = if prefix && name.len() > 1 && name.ends_with('-') {
            // A trailing dash is fine when something follows. The original shortens by one more.
            masked = format!("{}a", truncate_bytes(name, name.len() - 2));
            masked.as_str()
        } else {
            name
        };
        match self {
            NameRule::DnsSubdomain => is_dns1123_subdomain(dns),
            NameRule::DnsLabel => is_dns1123_label(dns),
            NameRule::Dns1035Label => is_dns1035_label(dns),
            NameRule::PathSegment if prefix => is_path_segment_prefix(name),
            NameRule::PathSegment => is_path_segment_name(name),
            NameRule::Any => Vec::new(),
        }
    }
}

/// The longest prefix of at most `max` bytes that ends between characters. A character that is
/// cut stays in: it is not ASCII, so it fails the check in either case.
fn truncate_bytes(text: &str, max: usize) -> &str {
    let mut end = max;
    while !text.is_char_boundary(end) {
        end += 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subdomains() {
        for good in ["a", "a.b", "a-b.c", "0"] {
            assert!(is_dns1123_subdomain(good).is_empty(), "{good}");
        }
        for bad in ["", "A", "a..b", "-a", "a-", ".a", "a_b", "é"] {
            assert_eq!(is_dns1123_subdomain(bad).len(), 1, "{bad}");
        }
        assert_eq!(
            is_dns1123_subdomain("Foo"),
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
              characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
              'example.com', regex used for validation is \
              '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
        assert_eq!(
            is_dns1123_subdomain(&"a".repeat(254)),
            ["must be no more than 253 characters"]
        );
    }

    #[test]
    fn labels() {
        assert_eq!(is_dns1123_label("a.b"), ["must not contain dots"]);
        assert_eq!(
            is_dns1123_label("Bad_Name"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or \
              '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or \
              '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert!(!is_dns1035_label("1a").is_empty());
        assert!(is_dns1035_label("a1-b").is_empty());
    }

    #[test]
    fn qualified_names() {
        for good in ["a", "example.com/A_b.c", "A"] {
            assert!(is_qualified_name(good).is_empty(), "{good}");
        }
        assert_eq!(is_qualified_name("/a"), ["prefix part must be non-empty"]);
        assert_eq!(is_qualified_name("a/b/c").len(), 1);
        let long = "a".repeat(64);
        assert_eq!(
            is_qualified_name(&long),
            ["name part must be no more than 63 bytes"]
        );
        assert_eq!(is_qualified_name("x/").len(), 2);
    }

    #[test]
    fn values_keys_and_prefixes() {
        assert!(is_valid_label_value("").is_empty());
        assert!(!is_valid_label_value("-a").is_empty());
        assert_eq!(is_path_segment_name(".."), ["may not be '..'"]);
        assert_eq!(
            is_path_segment_name("a/%"),
            ["may not contain '/'", "may not contain '%'"]
        );
        assert_eq!(is_config_map_key("..a"), ["must not start with '..'"]);
        assert!(NameRule::DnsSubdomain.check("abc-", true).is_empty());
        assert!(!NameRule::DnsSubdomain.check("abc-", false).is_empty());
        assert!(!NameRule::DnsSubdomain.check("é-", true).is_empty());
    }
}
