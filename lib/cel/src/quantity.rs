//! Kubernetes quantities (`1.5Gi`, `100m`, `1e3`): reading, comparing, adding.
//!
//! Small ones are an integer with a decimal exponent, as long as that fits; all others are decimals
//! of any length, rounded up to nano. Which of the two a quantity is can be observed: only small
//! ones are integers.

use std::cmp::Ordering;
use std::fmt;

/// A quantity.
#[derive(Debug, Clone)]
pub struct Quantity {
    amount: Amount,
}

#[derive(Debug, Clone)]
enum Amount {
    /// `value * 10^scale`.
    Small {
        value: i64,
        scale: i32,
    },
    Decimal(Decimal),
}

/// `digits * 10^scale`, with a sign. No leading zeros; zero has no digits.
#[derive(Debug, Clone, Default)]
struct Decimal {
    negative: bool,
    /// Most significant first.
    digits: Vec<u8>,
    scale: i64,
}

const NANO: i64 = -9;
/// How far two decimals may lie apart and still be added.
const ALIGN_MAX: i64 = 4096;

const FORMAT: &str = "quantities must match the regular expression \
                      '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const NUMERIC: &str = "unable to parse numeric part of quantity";
const SUFFIX: &str = "unable to parse quantity's suffix";

struct Parts<'t> {
    positive: bool,
    number: &'t str,
    decimals: &'t str,
    suffix: &'t str,
    has_digits: bool,
}

fn split(text: &str) -> Result<Parts<'_>, &'static str> {
    let digits = |t: &str| t.bytes().take_while(u8::is_ascii_digit).count();
    let positive = !text.starts_with('-');
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let trimmed = body.trim_start_matches('0');
    let mut has_digits = trimmed.len() < body.len();
    if trimmed.is_empty() {
        let parts = Parts {
            positive,
            number: "0",
            decimals: "",
            suffix: "",
            has_digits,
        };
        return Ok(parts);
    }
    let count = digits(trimmed);
    has_digits |= count > 0;
    let (number, mut rest) = trimmed.split_at(count);
    let number = if number.is_empty() { "0" } else { number };
    let mut decimals = "";
    if let Some(tail) = rest.strip_prefix('.') {
        (decimals, rest) = tail.split_at(digits(tail));
        has_digits |= !decimals.is_empty();
    }
    let letters = rest
        .bytes()
        .take_while(|b| b"eEinumkKMGTP".contains(b))
        .count();
    let mut end = letters;
    if letters < rest.len() {
        end += usize::from(rest[letters..].starts_with(['-', '+']));
        end += digits(&rest[end..]);
        if end < rest.len() {
            return Err(FORMAT);
        }
    }
    Ok(Parts {
        positive,
        number,
        decimals,
        suffix: &rest[..end],
        has_digits,
    })
}

/// Base and exponent of a suffix.
fn suffix(text: &str) -> Option<(u8, i64)> {
    let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    if let Some(i) = decimal.iter().position(|s| *s == text) {
        return Some((10, (i as i64 - 3) * 3));
    }
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if let Some(i) = binary.iter().position(|s| *s == text) {
        return Some((2, (i as i64 + 1) * 10));
    }
    let exponent = text.strip_prefix(['e', 'E'])?;
    exponent
        .parse::<i64>()
        .ok()
        .map(|e| (10, i64::from(e as i32)))
}

/// Reads a quantity; the error is the text that a client sees.
pub(crate) fn parse(text: &str) -> Result<Quantity, &'static str> {
    if text.is_empty() {
        return Err(FORMAT);
    }
    let parts = split(text)?;
    let (base, exponent) = suffix(parts.suffix).ok_or(SUFFIX)?;
    if let Some(amount) = small(&parts, base, exponent)? {
        return Ok(Quantity { amount });
    }
    if !parts.has_digits {
        return Err(NUMERIC);
    }
    let mut d = Decimal {
        negative: !parts.positive,
        digits: parts
            .number
            .bytes()
            .chain(parts.decimals.bytes())
            .map(|b| b - b'0')
            .collect(),
        scale: -(parts.decimals.len() as i64),
    };
    d.trim();
    if base == 10 {
        d.scale += exponent;
    } else {
        d.multiply(1_u64 << exponent);
    }
    d.round_up();
    if base == 2 {
        let cap = Decimal::from_int(i64::MAX);
        let negative = std::mem::take(&mut d.negative);
        if d.compare(&cap).is_gt() {
            d = cap;
        }
        d.negative = negative;
    }
    Ok(Quantity {
        amount: Amount::Decimal(d),
    })
}

fn small(parts: &Parts<'_>, base: u8, exponent: i64) -> Result<Option<Amount>, &'static str> {
    let length = (parts.number.len() + parts.decimals.len()) as i64;
    let (mantissa, precision, scale) = match base {
        10 => (1_i64, 18 - length, exponent),
        _ if parts.decimals.is_empty() => {
            let digits = (exponent as f32 * 3.0 / 10.0) as i64;
            (
                1_i64 << exponent,
                15 - parts.number.len() as i64 - digits - 1,
                0,
            )
        }
        _ => return Ok(None),
    };
    let scale = scale - parts.decimals.len() as i64;
    if precision < 0 || scale < NANO {
        return Ok(None);
    }
    let digits = format!("{}{}", parts.number, parts.decimals);
    let value: i64 = digits.parse().map_err(|_| NUMERIC)?;
    let Some(value) = value.checked_mul(mantissa) else {
        return Ok(None);
    };
    let value = if parts.positive { value } else { -value };
    Ok(i32::try_from(scale)
        .ok()
        .map(|scale| Amount::Small { value, scale }))
}

fn scaled(value: i64, by: i32) -> Option<i64> {
    if value == 0 {
        return Some(0);
    }
    value.checked_mul(10_i64.checked_pow(u32::try_from(by).ok()?)?)
}

impl Quantity {
    pub(crate) fn from_int(value: i64) -> Self {
        Self {
            amount: Amount::Small { value, scale: 0 },
        }
    }

    fn decimal(&self) -> Decimal {
        match &self.amount {
            Amount::Decimal(d) => d.clone(),
            Amount::Small { value, scale } => {
                let mut d = Decimal::from_int(*value);
                if !d.digits.is_empty() {
                    d.scale = i64::from(*scale);
                }
                d
            }
        }
    }

    pub(crate) fn compare(&self, other: &Quantity) -> Ordering {
        self.decimal().compare(&other.decimal())
    }

    pub(crate) fn sign(&self) -> i64 {
        let d = self.decimal();
        match (d.digits.is_empty(), d.negative) {
            (true, _) => 0,
            (_, true) => -1,
            _ => 1,
        }
    }

    pub(crate) fn as_int(&self) -> Option<i64> {
        match self.amount {
            Amount::Small { value, scale } if scale >= 0 => scaled(value, scale),
            _ => None,
        }
    }

    pub(crate) fn as_double(&self) -> f64 {
        let (base, exponent) = match &self.amount {
            Amount::Small { value, scale } => (*value as f64, i64::from(*scale)),
            Amount::Decimal(d) => {
                let digits: String = d.digits.iter().map(|d| char::from(b'0' + d)).collect();
                let base: f64 = digits.parse().unwrap_or(0.0);
                (if d.negative { -base } else { base }, d.scale)
            }
        };
        if exponent == 0 {
            return base;
        }
        base * 10_f64.powi(exponent.clamp(-400, 400) as i32)
    }

    /// The sum, or `None` if the two are too far apart to be added exactly.
    pub(crate) fn plus(&self, other: &Quantity) -> Option<Quantity> {
        if let Some(amount) = self.plus_small(other) {
            return Some(Quantity { amount });
        }
        let sum = self.decimal().plus(&other.decimal())?;
        Some(Quantity {
            amount: Amount::Decimal(sum),
        })
    }

    fn plus_small(&self, other: &Quantity) -> Option<Amount> {
        let (Amount::Small { value: a, scale: s }, Amount::Small { value: b, scale: t }) =
            (&self.amount, &other.amount)
        else {
            return None;
        };
        if *b == 0 {
            return Some(self.amount.clone());
        }
        if *a == 0 {
            return Some(other.amount.clone());
        }
        let scale = (*s).min(*t);
        let value = scaled(*a, s - scale)?.checked_add(scaled(*b, t - scale)?)?;
        Some(Amount::Small { value, scale })
    }

    pub(crate) fn negated(&self) -> Quantity {
        let amount = match &self.amount {
            Amount::Small { value, scale } if *value != i64::MIN => Amount::Small {
                value: -value,
                scale: *scale,
            },
            _ => {
                let mut d = self.decimal();
                d.negative = !d.negative;
                Amount::Decimal(d)
            }
        };
        Quantity { amount }
    }
}

impl Decimal {
    fn from_int(value: i64) -> Self {
        let digits = value.unsigned_abs().to_string();
        let digits = digits.bytes().map(|b| b - b'0').collect();
        let mut d = Self {
            negative: value < 0,
            digits,
            scale: 0,
        };
        d.trim();
        d
    }

    fn trim(&mut self) {
        let zeros = self.digits.iter().take_while(|d| **d == 0).count();
        self.digits.drain(..zeros);
        if self.digits.is_empty() {
            (self.negative, self.scale) = (false, 0);
        }
    }

    fn multiply(&mut self, by: u64) {
        let mut carry: u128 = 0;
        for digit in self.digits.iter_mut().rev() {
            let product = u128::from(*digit) * u128::from(by) + carry;
            *digit = (product % 10) as u8;
            carry = product / 10;
        }
        while carry > 0 {
            self.digits.insert(0, (carry % 10) as u8);
            carry /= 10;
        }
        self.trim();
    }

    /// To nano, away from zero.
    fn round_up(&mut self) {
        let cut = NANO - self.scale;
        if cut <= 0 || self.digits.is_empty() {
            return;
        }
        let keep = self
            .digits
            .len()
            .saturating_sub(usize::try_from(cut).unwrap_or(usize::MAX));
        let rest = self.digits.split_off(keep);
        self.scale = NANO;
        if rest.iter().any(|d| *d != 0) {
            let one = Decimal {
                negative: false,
                digits: vec![1],
                scale: NANO,
            };
            let negative = std::mem::take(&mut self.negative);
            if let Some(sum) = self.clone().plus(&one) {
                *self = sum;
            }
            self.negative = negative;
        }
        self.trim();
    }

    /// Place of the most significant digit.
    fn magnitude(&self) -> i64 {
        self.digits.len() as i64 + self.scale
    }

    fn compare(&self, other: &Decimal) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (true, true) => return Ordering::Equal,
            (true, false) => {
                return if other.negative {
                    Ordering::Greater
                } else {
                    Ordering::Less
                };
            }
            (false, true) => {
                return if self.negative {
                    Ordering::Less
                } else {
                    Ordering::Greater
                };
            }
            _ => {}
        }
        if self.negative != other.negative {
            return other.negative.cmp(&self.negative);
        }
        let absolute = self.magnitude().cmp(&other.magnitude()).then_with(|| {
            let padded = |d: &Decimal, i: usize| d.digits.get(i).copied().unwrap_or(0);
            let length = self.digits.len().max(other.digits.len());
            (0..length)
                .map(|i| padded(self, i).cmp(&padded(other, i)))
                .find(|o| o.is_ne())
                .unwrap_or(Ordering::Equal)
        });
        if self.negative {
            absolute.reverse()
        } else {
            absolute
        }
    }

    fn aligned(&self, scale: i64) -> Option<Vec<u8>> {
        let zeros = usize::try_from(self.scale - scale)
            .ok()
            .filter(|z| *z as i64 <= ALIGN_MAX)?;
        let mut digits = self.digits.clone();
        digits.resize(digits.len() + zeros, 0);
        Some(digits)
    }

    fn plus(&self, other: &Decimal) -> Option<Decimal> {
        if self.digits.is_empty() {
            return Some(other.clone());
        }
        if other.digits.is_empty() {
            return Some(self.clone());
        }
        let scale = self.scale.min(other.scale);
        let (mut a, mut b) = (self.aligned(scale)?, other.aligned(scale)?);
        let width = a.len().max(b.len()) + 1;
        for digits in [&mut a, &mut b] {
            let pad = width - digits.len();
            digits.splice(0..0, std::iter::repeat_n(0, pad));
        }
        let (big, little, negative) = if a >= b {
            (a, b, self.negative)
        } else {
            (b, a, other.negative)
        };
        let sign = if self.negative == other.negative {
            1_i8
        } else {
            -1
        };
        let mut digits = vec![0; width];
        let mut carry = 0_i8;
        for i in (0..width).rev() {
            let sum = big[i] as i8 + sign * little[i] as i8 + carry;
            digits[i] = sum.rem_euclid(10) as u8;
            carry = sum.div_euclid(10);
        }
        let mut d = Decimal {
            negative,
            digits,
            scale,
        };
        d.trim();
        Some(d)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = self.decimal();
        if d.digits.is_empty() {
            return f.write_str("0");
        }
        f.write_str(if d.negative { "-" } else { "" })?;
        for digit in &d.digits {
            write!(f, "{digit}")?;
        }
        if d.scale == 0 {
            Ok(())
        } else {
            write!(f, "e{}", d.scale)
        }
    }
}
