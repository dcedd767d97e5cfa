//! Kubernetes quantities: numbers with a suffix, in one canonical form.
//!
//! Values are kept as billionths, the finest unit that a quantity can have.

use hanse_json::go::quote;

/// Go's text for what is no quantity.
pub const FORMAT_WRONG: &str = "quantities must match the regular expression \
                                '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

const NANO: i128 = 1_000_000_000;
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [(&str, u32); 6] = [
    ("Ki", 10),
    ("Mi", 20),
    ("Gi", 30),
    ("Ti", 40),
    ("Pi", 50),
    ("Ei", 60),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Decimal,
    Exponent,
    Binary,
}

/// An amount, and how it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

impl Quantity {
    /// A whole number.
    pub fn from_integer(n: i64) -> Self {
        Quantity {
            nano: i128::from(n) * NANO,
            format: Format::Decimal,
        }
    }

    /// Reads a quantity. Amounts finer than a billionth are rounded up, as Kubernetes does.
    ///
    /// # Errors
    /// Go's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || FORMAT_WRONG.to_owned();
        if text.is_empty() {
            return Err(wrong());
        }
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, suffix) = unsigned.split_at(end.unwrap_or(unsigned.len()));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(wrong());
        }
        let (exponent, format, shift) = suffix_of(suffix)
            .ok_or_else(|| format!("unable to parse quantity's suffix: {}", quote(suffix)))?;
        let digits: i128 = match format!("{whole}{fraction}").trim_start_matches('0') {
            "" => 0,
            digits => digits.parse().map_err(|_| wrong())?,
        };
        let scale = exponent - i32::try_from(fraction.len()).unwrap_or(i32::MAX) + 9;
        let digits = digits.checked_mul(1i128 << shift).ok_or_else(wrong)?;
        let nano = scaled(digits, scale).ok_or_else(wrong)?;
        let nano = if text.starts_with('-') { -nano } else { nano };
        Ok(Quantity { nano, format })
    }

    /// The amount if it is a whole number.
    pub fn integer(&self) -> Option<i64> {
        (self.nano % NANO == 0)
            .then(|| i64::try_from(self.nano / NANO).ok())
            .flatten()
    }

    /// The amount rounded up to a whole number.
    pub fn ceil(&self) -> i64 {
        let whole = self.nano.div_euclid(NANO) + i128::from(self.nano.rem_euclid(NANO) > 0);
        i64::try_from(whole).unwrap_or(if whole < 0 { i64::MIN } else { i64::MAX })
    }

    /// Whether it is below zero.
    pub fn is_negative(&self) -> bool {
        self.nano < 0
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.nano.cmp(&other.nano))
    }
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (sign, nano) = (if self.nano < 0 { "-" } else { "" }, self.nano.abs());
        if nano == 0 {
            return f.write_str("0");
        }
        // Binary suffixes are only for whole numbers of at least one Ki.
        if self.format == Format::Binary && nano % NANO == 0 && nano / NANO >= 1024 {
            let whole = nano / NANO;
            let steps = (whole.trailing_zeros() / 10).min(6);
            let suffix = if steps == 0 {
                ""
            } else {
                BINARY[steps as usize - 1].0
            };
            return write!(f, "{sign}{}{suffix}", whole >> (10 * steps));
        }
        let (mut mantissa, mut exponent) = (nano, -9);
        while mantissa % 1000 == 0 && exponent < 18 {
            mantissa /= 1000;
            exponent += 3;
        }
        let suffix = DECIMAL
            .iter()
            .find(|(_, e)| *e == exponent)
            .map_or("", |(s, _)| s);
        match self.format {
            Format::Exponent if exponent != 0 => write!(f, "{sign}{mantissa}e{exponent}"),
            _ => write!(f, "{sign}{mantissa}{suffix}"),
        }
    }
}

/// Power of ten, format and binary shift of a suffix.
fn suffix_of(suffix: &str) -> Option<(i32, Format, u32)> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Some((*exponent, Format::Decimal, 0));
    }
    if let Some((_, shift)) = BINARY.iter().find(|(s, _)| *s == suffix) {
        return Some((0, Format::Binary, *shift));
    }
    let digits = suffix.strip_prefix(['e', 'E'])?;
    let exponent: i32 = digits.parse().ok()?;
    Some((exponent, Format::Exponent, 0))
}

fn scaled(digits: i128, power: i32) -> Option<i128> {
    if digits == 0 {
        return Some(0);
    }
    let factor = 10i128.checked_pow(power.unsigned_abs());
    match (power >= 0, factor) {
        (true, Some(factor)) => digits.checked_mul(factor),
        (true, None) => None,
        (false, Some(factor)) => Some(digits / factor + i128::from(digits % factor != 0)),
        (false, None) => Some(1),
    }
}

/// The canonical form of a quantity.
///
/// # Errors
/// Go's text for what is no quantity.
pub fn canonical(text: &str) -> Result<String, String> {
    Quantity::parse(text).map(|quantity| quantity.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_one_form_for_each_amount() {
        for (text, expected) in [
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("0.5", "500m"),
            ("1000", "1k"),
            ("1024Ki", "1Mi"),
            ("1Ki", "1Ki"),
            ("0.5Ki", "512"),
            ("1.5Gi", "1536Mi"),
            ("1e3", "1e3"),
            ("1E", "1E"),
            ("100k", "100k"),
            ("-1", "-1"),
            ("0", "0"),
            ("00.10", "100m"),
            ("1n", "1n"),
            ("0.0000000001", "1n"),
        ] {
            assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
        }
        for bad in [
            "",
            "x",
            "1.2.3",
            "1x",
            ".",
            "-",
            "1e",
            "9999999999999999999999999999999999E",
        ] {
            assert!(canonical(bad).is_err(), "{bad}");
        }
        assert_eq!(Quantity::parse("5").unwrap().integer(), Some(5));
        assert_eq!(Quantity::parse("1500m").unwrap().ceil(), 2);
    }
}
