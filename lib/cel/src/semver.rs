//! Semantic versions, read as strictly as version 2.0.0 says, or normalised first.

use hanse_json::go::quote;
use std::cmp::Ordering;
use std::fmt;

/// A semantic version. Build metadata is kept for printing and does not count in comparing.
#[derive(Debug, Clone)]
pub struct Semver {
    pub(crate) major: u64,
    pub(crate) minor: u64,
    pub(crate) patch: u64,
    pre: Vec<Part>,
    build: Vec<String>,
}

// Numbers come before words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Word(String),
}

impl fmt::Display for Semver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        for (i, part) in self.pre.iter().enumerate() {
            f.write_str(if i == 0 { "-" } else { "." })?;
            match part {
                Part::Number(n) => write!(f, "{n}")?,
                Part::Word(w) => f.write_str(w)?,
            }
        }
        for (i, part) in self.build.iter().enumerate() {
            write!(f, "{}{part}", if i == 0 { "+" } else { "." })?;
        }
        Ok(())
    }
}

impl Semver {
    pub(crate) fn compare(&self, other: &Semver) -> Ordering {
        let numbers = |v: &Semver| (v.major, v.minor, v.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| {
            // A version with pre-release parts comes before the one without.
            match (self.pre.is_empty(), other.pre.is_empty()) {
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                _ => self.pre.cmp(&other.pre),
            }
        })
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn leading_zero(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0')
}

fn number(text: &str, name: &str) -> Result<u64, String> {
    let shown = quote(text);
    if !is_number(text) {
        return Err(format!(
            "Invalid character(s) found in {} number {shown}",
            name.to_ascii_lowercase()
        ));
    }
    if leading_zero(text) {
        return Err(format!(
            "{name} number must not contain leading zeroes {shown}"
        ));
    }
    parse_u64(text)
}

fn parse_u64(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| {
        let why = if text.is_empty() {
            "invalid syntax"
        } else {
            "value out of range"
        };
        format!("strconv.ParseUint: parsing {}: {why}", quote(text))
    })
}

/// Reads a version; the error is the text that a client sees.
pub(crate) fn parse(text: &str) -> Result<Semver, String> {
    if text.is_empty() {
        return Err("Version string empty".into());
    }
    let mut parts = text.splitn(3, '.');
    let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("No Major.Minor.Patch elements found".into());
    };
    let (major, minor) = (number(major, "Major")?, number(minor, "Minor")?);
    let (rest, build) = match rest.split_once('+') {
        Some((rest, build)) => (rest, Some(build)),
        None => (rest, None),
    };
    let (patch, pre) = match rest.split_once('-') {
        Some((patch, pre)) => (patch, Some(pre)),
        None => (rest, None),
    };
    let patch = number(patch, "Patch")?;
    let mut version = Semver {
        major,
        minor,
        patch,
        pre: Vec::new(),
        build: Vec::new(),
    };
    for part in pre.into_iter().flat_map(|p| p.split('.')) {
        version.pre.push(pre_release(part)?);
    }
    for part in build.into_iter().flat_map(|b| b.split('.')) {
        if part.is_empty() {
            return Err("Build meta data is empty".into());
        }
        if !is_word(part) {
            let shown = quote(part);
            return Err(format!(
                "Invalid character(s) found in build meta data {shown}"
            ));
        }
        version.build.push(part.to_owned());
    }
    Ok(version)
}

fn pre_release(part: &str) -> Result<Part, String> {
    let shown = quote(part);
    if part.is_empty() {
        return Err("Prerelease is empty".into());
    }
    if !is_number(part) {
        if is_word(part) {
            return Ok(Part::Word(part.to_owned()));
        }
        return Err(format!("Invalid character(s) found in prerelease {shown}"));
    }
    if leading_zero(part) {
        return Err(format!(
            "Numeric PreRelease version must not contain leading zeroes {shown}"
        ));
    }
    parse_u64(part).map(Part::Number)
}

/// Reads a version that may begin with `v`, lack its last numbers and have leading zeros.
pub(crate) fn parse_normalized(text: &str) -> Result<Semver, String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let trim = |part: &str| {
        if part.len() < 2 {
            return part.to_owned();
        }
        let trimmed = part.trim_start_matches('0');
        if trimmed.starts_with(|c: char| c.is_ascii_digit()) {
            return trimmed.to_owned();
        }
        format!("0{trimmed}")
    };
    let mut parts: Vec<String> = text.splitn(3, '.').map(trim).collect();
    if parts.len() < 3 {
        if parts.last().is_some_and(|p| p.contains(['+', '-'])) {
            return Err("short version cannot contain PreRelease/Build meta data".into());
        }
        parts.resize(3, "0".into());
    }
    parse(&parts.join("."))
}
