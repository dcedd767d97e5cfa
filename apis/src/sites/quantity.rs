//! Quantities of capacity (`1500m`, `4`, `8Gi`, `1e3`) as whole thousandths, to compare and add.
//!
//! Placement weighs with them, so they are numbers of a fixed kind here: beyond 18 million
//! billions they stop growing, below a thousandth they round up as Kubernetes does. The library of
//! expressions has its own, exact ones.

const SUFFIXES: &[(&str, u128)] = &[
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
];
/// Digits that are read; more say nothing at this precision.
const DIGITS_MAX: usize = 24;

/// A quantity in thousandths; `None` when it is none, or negative.
#[must_use]
pub fn thousandths(text: &str) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || whole.len() + fraction.len() > DIGITS_MAX {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    // What one unit of the number is, in thousandths, as a fraction.
    let (times, by) = match suffix {
        "" => (1_000, 1),
        "m" => (1, 1),
        "u" => (1, 1_000),
        "n" => (1, 1_000_000),
        _ => match SUFFIXES.iter().find(|(s, _)| *s == suffix) {
            Some((_, size)) => (size * 1_000, 1),
            None => exponent(suffix)?,
        },
    };
    let out = digits.saturating_mul(times).div_ceil(scale * by);
    Some(u64::try_from(out).unwrap_or(u64::MAX))
}

fn exponent(suffix: &str) -> Option<(u128, u128)> {
    let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let size = 10u128.checked_pow(power.unsigned_abs().min(18))?;
    Some(match power {
        0.. => (size * 1_000, 1),
        _ => (1_000, size),
    })
}

/// A number of thousandths as a quantity.
#[must_use]
pub fn text(thousandths: u64) -> String {
    match thousandths % 1_000 {
        0 => (thousandths / 1_000).to_string(),
        _ => format!("{thousandths}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::{text, thousandths};

    #[test]
    fn quantities_are_read() {
        for (from, to) in [
            ("0", Some(0)),
            ("4", Some(4_000)),
            ("1500m", Some(1_500)),
            ("0.5", Some(500)),
            ("1.5Ki", Some(1_536_000)),
            ("8Gi", Some(8 * (1 << 30) * 1_000)),
            ("1e3", Some(1_000_000)),
            ("1e-3", Some(1)),
            ("100u", Some(1)),
            ("1n", Some(1)),
            ("99Ei", Some(u64::MAX)),
            ("", None),
            (".", None),
            ("-1", None),
            ("1x", None),
            ("1e", None),
            ("1.2.3", None),
        ] {
            assert_eq!(thousandths(from), to, "{from}");
        }
        assert_eq!(text(1_500), "1500m");
        assert_eq!(text(4_000), "4");
    }
}
