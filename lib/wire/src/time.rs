//! Times as text: RFC 3339 in the two precisions of Kubernetes, and ages for people.
//!
//! Points in time are microseconds since 1970 (UTC) throughout; clocks are elsewhere.

use jiff::Timestamp;
use jiff::tz::TimeZone;

const MICROS: i64 = 1_000_000;

/// A `metav1.Time`: `2006-01-02T15:04:05Z`. Fractions of a second are cut off.
pub fn format(micros: i64) -> String {
    render(micros, "%Y-%m-%dT%H:%M:%SZ")
}

/// A `metav1.MicroTime`: `2006-01-02T15:04:05.000000Z`.
pub fn format_micro(micros: i64) -> String {
    render(micros, "%Y-%m-%dT%H:%M:%S.%6fZ")
}

fn render(micros: i64, pattern: &str) -> String {
    let Ok(timestamp) = Timestamp::from_microsecond(micros) else {
        return "0001-01-01T00:00:00Z".to_owned();
    };
    timestamp
        .to_zoned(TimeZone::UTC)
        .strftime(pattern)
        .to_string()
}

/// Reads RFC 3339 as Go does: date, `T`, time with optional fraction, `Z` or an offset.
pub fn parse(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    // The reader below is more lenient than Go about separators and missing parts.
    let shape = bytes.len() >= 20
        && bytes[..19]
            .iter()
            .zip(b"0000-00-00T00:00:00")
            .all(|(&c, &model)| match model {
                b'0' => c.is_ascii_digit(),
                _ => c == model,
            });
    if !shape {
        return None;
    }
    let rest = &bytes[19..];
    let zone = match rest.first() {
        Some(b'.') => {
            let digits = rest[1..].iter().take_while(|c| c.is_ascii_digit()).count();
            if digits == 0 {
                return None;
            }
            &rest[1 + digits..]
        }
        _ => rest,
    };
    let zoned = match zone {
        b"Z" => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => [h1, h2, m1, m2].iter().all(|c| c.is_ascii_digit()),
        _ => false,
    };
    if !zoned {
        return None;
    }
    text.parse::<Timestamp>()
        .ok()
        .map(|timestamp| timestamp.as_microsecond())
}

/// An age as `kubectl get` shows it: `59s`, `5m30s`, `3h`, `2d4h`, `400d`, `5y12d`.
pub fn human_duration(micros: i64) -> String {
    let seconds = micros / MICROS;
    // Clocks differ a little between machines: a second in the future is now.
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    if seconds < 0 {
        return "0s".to_owned();
    }
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |a: i64, unit: &str, b: i64, small: &str| match b {
        0 => format!("{a}{unit}"),
        _ => format!("{a}{unit}{b}{small}"),
    };
    match () {
        () if seconds < 60 * 2 => format!("{seconds}s"),
        () if minutes < 10 => pair(minutes, "m", seconds % 60, "s"),
        () if minutes < 60 * 3 => format!("{minutes}m"),
        () if hours < 8 => pair(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 24 * 8 => pair(days, "d", hours % 24, "h"),
        () if days < 365 * 2 => format!("{days}d"),
        () if days < 365 * 8 => pair(days / 365, "y", days % 365, "d"),
        () => format!("{}y", days / 365),
    }
}

/// The age of an object: what stands in an AGE column for a creation timestamp.
pub fn age(timestamp: Option<&str>, now: i64) -> String {
    match timestamp {
        None | Some("") => "<unknown>".to_owned(),
        Some(text) => match parse(text) {
            None => "<invalid>".to_owned(),
            Some(then) => human_duration(now.saturating_sub(then)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_reads_both_precisions() {
        let micros = 1_795_241_224_123_456;
        assert_eq!(format(micros), "2026-11-21T06:07:04Z");
        assert_eq!(format_micro(micros), "2026-11-21T06:07:04.123456Z");
        assert_eq!(parse("2026-11-21T06:07:04.123456Z"), Some(micros));
        assert_eq!(parse("2026-11-21T07:07:04.123456+01:00"), Some(micros));
        for bad in [
            "",
            "2026-11-21",
            "2026-11-21 06:07:04Z",
            "2026-11-21T06:07:04",
            "x",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse("2026-13-21T06:07:04Z"), None);
    }

    #[test]
    fn shows_ages_as_people_know_them() {
        for (seconds, text) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (600, "10m"),
            (179 * 60, "179m"),
            (180 * 60, "3h"),
            (200 * 60, "3h20m"),
            (9 * 3600, "9h"),
            (50 * 3600, "2d2h"),
            (48 * 3600, "2d"),
            (9 * 86_400, "9d"),
            (800 * 86_400, "2y70d"),
            (3000 * 86_400, "8y"),
        ] {
            assert_eq!(human_duration(seconds * MICROS), text, "{seconds}");
        }
        assert_eq!(age(None, 0), "<unknown>");
        assert_eq!(age(Some("soon"), 0), "<invalid>");
        assert_eq!(age(Some("1970-01-01T00:00:00Z"), 90 * MICROS), "90s");
    }
}
