//! Durations as Go writes them: `1h30m`, `1.5s`, `100ms`; and how long a request may take.

use std::time::Duration;

use hanse_wire::query::Query;
use hanse_wire::status::{Result, Status};
use http::request::Parts as Head;

use crate::limits::{REQUEST_TIME_MAX, WRITE_TIME_MAX};

/// Reads a duration; `None` for what Go would refuse, and for negative ones.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        seconds += number
            * match &rest[..unit] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3_600.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    Duration::try_from_secs_f64(seconds).ok()
}

/// How long the request may take; a client may ask for less (HLT-11).
///
/// # Errors
/// 400 for a duration that Go would refuse.
pub fn time_limit(head: &Head, query: &Query) -> Result<Duration> {
    let most = if head.method.is_safe() {
        REQUEST_TIME_MAX
    } else {
        WRITE_TIME_MAX
    };
    let Some(text) = query.get("timeout").filter(|text| !text.is_empty()) else {
        return Ok(most);
    };
    match parse(text) {
        Some(asked) if asked.is_zero() => Ok(most),
        Some(asked) => Ok(asked.min(most)),
        None => Err(Status::bad_request(format!(
            "invalid timeout specified in the request URL - time: invalid duration {text:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_go() {
        for (text, millis) in [
            ("0", 0),
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("1.5s", 1_500),
            ("100ms", 100),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1x", "1.2.3s"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
