//! Every crate that is compiled has a licence of the allow-list and is not a banned one.
//!
//! [`allowed`] reads an SPDX expression; both words and the old `/` are understood.

use super::metadata::Metadata;

/// Permissive licences; anything else needs a decision.
const ALLOWED: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that must not be compiled in, and why.
const BANNED: [(&str, &str); 8] = [
    ("ring", "one TLS provider, aws-lc-rs"),
    ("openssl", "one TLS stack, rustls"),
    ("openssl-sys", "one TLS stack, rustls"),
    ("native-tls", "one TLS stack, rustls"),
    (
        "dashmap",
        "its iteration order is random and its locks are held over callbacks",
    ),
    ("sled", "not maintained; the embedded engine is redb"),
    ("chrono", "time is jiff's"),
    ("serde_yaml", "not maintained; YAML is serde-saphyr's"),
];

/// The crates that break a rule.
pub fn check(metadata: &Metadata) -> Vec<String> {
    let mut findings = Vec::new();
    for package in &metadata.packages {
        let (name, version) = (&package.name, &package.version);
        match &package.license {
            None => findings.push(format!("{name} {version} states no licence")),
            Some(licence) if !allowed(licence) => {
                findings.push(format!(
                    "{name} {version}: {licence} is not on the allow-list"
                ));
            }
            Some(_) => {}
        }
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| banned == name) {
            findings.push(format!("{name} {version} is banned: {why}"));
        }
    }
    findings
}

/// Whether the expression can be met with licences of the allow-list alone.
fn allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    either(&mut rest) && rest.is_empty()
}

/// `a OR b`, the weakest binding.
fn either(words: &mut &[&str]) -> bool {
    let mut any = both(words);
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        any |= both(words);
    }
    any
}

fn both(words: &mut &[&str]) -> bool {
    let mut all = one(words);
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        all &= one(words);
    }
    all
}

/// A licence, with an exception or without (an exception only permits more), or a parenthesis.
fn one(words: &mut &[&str]) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let inner = either(words);
            let [")", rest @ ..] = *words else {
                return false;
            };
            *words = rest;
            inner
        }
        [licence, "WITH", _, rest @ ..] => {
            *words = rest;
            ALLOWED.contains(licence)
        }
        [licence, rest @ ..] => {
            *words = rest;
            ALLOWED.contains(licence)
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::metadata::of;
    use super::*;

    #[test]
    fn expressions_are_met_or_not() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "MIT OR Apache-2.0 OR LGPL-2.1-or-later",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        ] {
            assert!(allowed(good), "{good}");
        }
        for bad in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT",
            "",
            "MPL-2.0",
            "MIT MIT",
        ] {
            assert!(!allowed(bad), "{bad}");
        }
    }

    #[test]
    fn a_banned_crate_is_found() {
        assert!(check(&of(&[("ring", &[])]))[0].starts_with("ring 1.0.0 is banned"));
        assert!(check(&of(&[("rustls", &[])])).is_empty());
    }
}
