//! Points in time and spans: parsing, printing, fields, arithmetic.
//!
//! The range is that of protobuf timestamps, years 1 to 9999. A timestamp keeps the offset it was
//! written with, because printing shows it; comparing does not look at it. Civil dates are computed
//! here; only names of time zones go to the time zone database that is compiled in.

use crate::value::{CelError, Eval};
use std::fmt;

/// Seconds of 0001-01-01T00:00:00Z.
const SECONDS_MIN: i64 = -62_135_596_800;
/// Seconds of 9999-12-31T23:59:59Z.
const SECONDS_MAX: i64 = 253_402_300_799;
const SECOND: i64 = 1_000_000_000;

/// A point in time with the offset that it is shown with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Nanoseconds within the second.
    pub nanos: u32,
    /// Seconds east of UTC.
    pub offset: i32,
}

/// The calendar fields of a point in time at some offset.
pub(crate) struct Fields {
    pub(crate) year: i64,
    /// From one.
    pub(crate) month: i64,
    /// From one.
    pub(crate) day: i64,
    /// From zero.
    pub(crate) day_of_year: i64,
    /// From zero, Sunday.
    pub(crate) weekday: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    pub(crate) milli: i64,
}

fn overflow() -> CelError {
    CelError::new("timestamp overflow")
}

impl Timestamp {
    /// A point in time in UTC, if it is in range.
    pub(crate) fn from_seconds(seconds: i64) -> Eval<Self> {
        if !(SECONDS_MIN..=SECONDS_MAX).contains(&seconds) {
            return Err(overflow());
        }
        Ok(Self {
            seconds,
            nanos: 0,
            offset: 0,
        })
    }

    /// What comparing compares.
    pub(crate) fn instant(&self) -> (i64, u32) {
        (self.seconds, self.nanos)
    }

    pub(crate) fn plus(&self, nanos: i64) -> Eval<Self> {
        let total = i128::from(self.seconds) * i128::from(SECOND)
            + i128::from(self.nanos)
            + i128::from(nanos);
        let seconds = total.div_euclid(i128::from(SECOND)) as i64;
        if !(SECONDS_MIN..=SECONDS_MAX).contains(&seconds) {
            return Err(overflow());
        }
        let nanos = total.rem_euclid(i128::from(SECOND)) as u32;
        Ok(Self {
            seconds,
            nanos,
            offset: self.offset,
        })
    }

    pub(crate) fn minus(&self, other: &Timestamp) -> Eval<i64> {
        let overflow = crate::number::int_overflow;
        let seconds = self
            .seconds
            .checked_sub(other.seconds)
            .ok_or_else(overflow)?;
        let nanos = i64::from(self.nanos) - i64::from(other.nanos);
        let seconds = seconds.checked_mul(SECOND).ok_or_else(overflow)?;
        seconds.checked_add(nanos).ok_or_else(overflow)
    }

    /// Calendar fields in a time zone: a name, or an offset such as `-02:30`.
    pub(crate) fn fields(&self, zone: &str) -> Eval<Fields> {
        Ok(fields_at(self.seconds + self.offset_in(zone)?, self.nanos))
    }

    fn offset_in(&self, zone: &str) -> Eval<i64> {
        let Some((hours, minutes)) = zone.split_once(':') else {
            return self.offset_of_name(zone);
        };
        let sign = if zone.starts_with('-') { -1 } else { 1 };
        let (hours, minutes) = (go_int(hours)?, go_int(minutes)?);
        let total = hours.saturating_mul(60).saturating_add(sign * minutes);
        Ok(total.clamp(-10_000_000, 10_000_000) * 60)
    }

    fn offset_of_name(&self, zone: &str) -> Eval<i64> {
        if zone.is_empty() || zone == "UTC" {
            return Ok(0);
        }
        let unknown = || CelError::new(format!("unknown time zone {zone}"));
        let database = jiff::tz::db();
        let found = database.get(zone).map_err(|_| unknown())?;
        let at = jiff::Timestamp::new(self.seconds, 0).map_err(|_| unknown())?;
        Ok(i64::from(found.to_offset(at).seconds()))
    }
}

/// An integer as `strconv.Atoi` reads it, with its error text.
fn go_int(text: &str) -> Eval<i64> {
    text.parse().map_err(|_| {
        CelError::new(format!(
            "strconv.Atoi: parsing {}: invalid syntax",
            hanse_json::go::quote(text)
        ))
    })
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let mp = (5 * day_of_year + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * mp + 2) / 5 + 1)
}

fn fields_at(seconds: i64, nanos: u32) -> Fields {
    let days = seconds.div_euclid(86_400);
    let rest = seconds.rem_euclid(86_400);
    let (year, month, day) = civil_from_days(days);
    Fields {
        year,
        month,
        day,
        day_of_year: days - days_from_civil(year, 1, 1),
        weekday: (days + 4).rem_euclid(7),
        hour: rest / 3600,
        minute: rest / 60 % 60,
        second: rest % 60,
        milli: i64::from(nanos) / 1_000_000,
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 with as many decimals as needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = fields_at(self.seconds + i64::from(self.offset), self.nanos);
        write!(f, "{:04}-{:02}-{:02}T", t.year, t.month, t.day)?;
        write!(f, "{:02}:{:02}:{:02}", t.hour, t.minute, t.second)?;
        if self.nanos > 0 {
            let decimals = format!("{:09}", self.nanos);
            write!(f, ".{}", decimals.trim_end_matches('0'))?;
        }
        if self.offset == 0 {
            return f.write_str("Z");
        }
        let (sign, minutes) = (
            if self.offset < 0 { '-' } else { '+' },
            self.offset.abs() / 60,
        );
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

struct Reader<'t>(&'t [u8]);

impl Reader<'_> {
    fn digits(&mut self, count: usize) -> Option<i64> {
        let part = self.0.get(..count)?;
        if !part.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.0 = &self.0[count..];
        Some(part.iter().fold(0, |n, d| n * 10 + i64::from(d - b'0')))
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        let rest = self.0.strip_prefix(&[byte])?;
        self.0 = rest;
        Some(())
    }

    fn date(&mut self) -> Option<i64> {
        let year = self.digits(4)?;
        self.take(b'-')?;
        let month = self.digits(2)?;
        self.take(b'-')?;
        let day = self.digits(2)?;
        let fine = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
        fine.then(|| days_from_civil(year, month, day))
    }

    /// Seconds and nanoseconds since midnight.
    fn time(&mut self) -> Option<(i64, u32)> {
        // Go accepts an hour of one digit.
        let hour = match self.0.get(1) {
            Some(b':') => self.digits(1)?,
            _ => self.digits(2)?,
        };
        self.take(b':')?;
        let minute = self.digits(2)?;
        self.take(b':')?;
        let second = self.digits(2)?;
        let mut nanos = 0;
        if matches!(self.0.first(), Some(b'.' | b',')) && self.0.get(1)?.is_ascii_digit() {
            self.0 = &self.0[1..];
            let count = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
            let digits = self.0.iter().take(count.min(9));
            nanos = digits.fold(0, |n, d| n * 10 + u32::from(d - b'0'));
            nanos *= 10_u32.pow(9 - count.min(9) as u32);
            self.0 = &self.0[count..];
        }
        let fine = hour <= 23 && minute <= 59 && second <= 59;
        fine.then_some((hour * 3600 + minute * 60 + second, nanos))
    }

    fn offset(&mut self) -> Option<i32> {
        if self.take(b'Z').is_some() {
            return Some(0);
        }
        let sign = if self.take(b'-').is_some() {
            -1
        } else {
            self.take(b'+')?;
            1
        };
        let hours = self.digits(2)?;
        self.take(b':')?;
        let minutes = self.digits(2)?;
        let fine = hours <= 24 && minutes < 60;
        fine.then_some((sign * (hours * 3600 + minutes * 60)) as i32)
    }
}

fn parse_with(text: &str, zone_needed: bool) -> Option<Timestamp> {
    let mut r = Reader(text.as_bytes());
    let days = r.date()?;
    r.take(b'T')?;
    let (seconds, nanos) = r.time()?;
    let offset = if r.0.is_empty() && !zone_needed {
        0
    } else {
        r.offset()?
    };
    let seconds = days * 86_400 + seconds - i64::from(offset);
    r.0.is_empty().then_some(Timestamp {
        seconds,
        nanos,
        offset,
    })
}

/// RFC 3339. `Ok(None)` if it is none.
pub(crate) fn parse_timestamp(text: &str) -> Eval<Option<Timestamp>> {
    let Some(t) = parse_with(text, true) else {
        return Ok(None);
    };
    if !(SECONDS_MIN..=SECONDS_MAX).contains(&t.seconds) {
        return Err(overflow());
    }
    Ok(Some(t))
}

/// A date, as the timestamp of its midnight in UTC.
pub(crate) fn parse_date(text: &str) -> Option<Timestamp> {
    let mut r = Reader(text.as_bytes());
    let days = r.date()?;
    r.0.is_empty().then_some(Timestamp {
        seconds: days * 86_400,
        nanos: 0,
        offset: 0,
    })
}

/// A value of format `date-time`: RFC 3339, also without a zone; empty is the epoch.
pub(crate) fn parse_schema_date_time(text: &str) -> Option<Timestamp> {
    if text.is_empty() {
        return Some(Timestamp {
            seconds: 0,
            nanos: 0,
            offset: 0,
        });
    }
    parse_with(text, false)
}

/// Go's duration syntax, such as `1h15m30.918s`, in nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    let mut first = true;
    while first || !rest.is_empty() {
        first = false;
        let whole = rest.bytes().take_while(u8::is_ascii_digit).count();
        let mut value: i128 = if whole > 0 {
            rest[..whole].parse().ok()?
        } else {
            0
        };
        rest = &rest[whole..];
        let mut decimals = "";
        if let Some(tail) = rest.strip_prefix('.') {
            let count = tail.bytes().take_while(u8::is_ascii_digit).count();
            (decimals, rest) = tail.split_at(count);
        }
        if whole == 0 && decimals.is_empty() {
            return None;
        }
        let unit_end = rest
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (unit, tail) = rest.split_at(unit_end);
        rest = tail;
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        value = value.checked_mul(unit)?;
        let digits = &decimals[..decimals.len().min(18)];
        if !digits.is_empty() {
            let scale = 10_i128.pow(digits.len() as u32);
            value += digits.parse::<i128>().ok()? * unit / scale;
        }
        total = total.checked_add(value)?;
        if total > 1 << 63 {
            return None;
        }
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// A value of format `duration`: Go's syntax, or numbers with words (`3 days`).
pub(crate) fn parse_schema_duration(text: &str) -> Result<i64, String> {
    if let Some(d) = parse_duration(text) {
        return Ok(d);
    }
    let mut total: i64 = 0;
    let mut found = false;
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        let count = chars[at..]
            .iter()
            .take_while(|c| c.is_ascii_digit())
            .count();
        let mut unit_at = at + count;
        while chars.get(unit_at).is_some_and(|c| c.is_ascii_whitespace()) {
            unit_at += 1;
        }
        let is_letter = |c: &&char| c.is_ascii_alphabetic() || **c == 'µ';
        let letters = chars[unit_at.min(chars.len())..]
            .iter()
            .take_while(is_letter)
            .count();
        if count == 0 || letters == 0 {
            at += count.max(1);
            continue;
        }
        let factor: String = chars[at..at + count].iter().collect();
        let factor: i64 = factor
            .parse()
            .map_err(|_| format!("unable to parse {text}"))?;
        let unit: String = chars[unit_at..unit_at + letters].iter().collect();
        if let Some(nanos) = unit_nanos(&unit.to_lowercase()) {
            found = true;
            total = total.wrapping_add(factor.wrapping_mul(nanos));
        }
        at = unit_at + letters;
    }
    if found {
        Ok(total)
    } else {
        Err(format!("unable to parse {text} as duration"))
    }
}

fn unit_nanos(unit: &str) -> Option<i64> {
    const UNITS: [(&[&str], &str, i64); 8] = [
        (&["ns"], "nano", 1),
        (&["us", "µs"], "micro", 1_000),
        (&["ms"], "milli", 1_000_000),
        (&["s"], "sec", SECOND),
        (&["m"], "min", 60 * SECOND),
        (&["h", "hr"], "hour", 3_600 * SECOND),
        (&["d"], "day", 86_400 * SECOND),
        (&["w", "wk"], "week", 604_800 * SECOND),
    ];
    let fits =
        |(short, long, _): &&(&[&str], &str, i64)| short.contains(&unit) || unit.starts_with(long);
    UNITS.iter().find(fits).map(|(_, _, nanos)| *nanos)
}

/// Seconds as Go prints its float seconds, with `s` behind.
pub(crate) fn format_duration(nanos: i64) -> String {
    let seconds = (nanos / SECOND) as f64 + (nanos % SECOND) as f64 / 1e9;
    format!("{}s", crate::number::fixed(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_keep_their_offset() {
        for text in [
            "2024-02-29T23:59:59.5+02:00",
            "0001-01-01T00:00:00Z",
            "2020-01-01T00:00:00Z",
        ] {
            let t = parse_timestamp(text).ok().flatten();
            assert_eq!(t.map(|t| t.to_string()).as_deref(), Some(text));
        }
        for text in [
            "2023-02-29T00:00:00Z",
            "2023-01-01",
            "2023-01-01T24:00:00Z",
            "",
        ] {
            assert_eq!(parse_timestamp(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let cases = [
            ("1h15m30.918s", 4_530_918_000_000),
            ("-1.5h", -5_400 * SECOND),
            ("0", 0),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse_duration(text), Some(nanos), "{text}");
        }
        for text in ["", "1", "s", "1x", ".s", "-"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        assert_eq!(parse_schema_duration("3 days"), Ok(3 * 86_400 * SECOND));
        assert!(parse_schema_duration("soon").is_err());
    }

    #[test]
    fn fields_follow_the_zone() {
        let t = parse_timestamp("2024-01-01T01:02:03.456Z")
            .ok()
            .flatten()
            .expect("valid");
        let utc = t.fields("UTC").expect("UTC");
        assert_eq!(
            (utc.year, utc.hour, utc.weekday, utc.milli),
            (2024, 1, 1, 456)
        );
        let before = t.fields("-02:00").expect("offset");
        assert_eq!(
            (before.year, before.day_of_year, before.hour),
            (2023, 364, 23)
        );
        let named = t.fields("Europe/Berlin").expect("name");
        assert_eq!(named.hour, 2);
        assert!(t.fields("Middle/Earth").is_err());
    }
}
