//! Numbers as Go and CEL treat them: checked arithmetic, comparison across types, printing.

use crate::value::{CelError, Eval, Value};
use std::cmp::Ordering;

pub(crate) fn int_overflow() -> CelError {
    CelError::new("integer overflow")
}

pub(crate) fn uint_overflow() -> CelError {
    CelError::new("unsigned integer overflow")
}

pub(crate) fn double_to_int(d: f64) -> Option<i64> {
    let fits = d.is_finite() && d > i64::MIN as f64 && d < i64::MAX as f64;
    fits.then_some(d as i64)
}

pub(crate) fn double_to_uint(d: f64) -> Option<u64> {
    let fits = (0.0..18_446_744_073_709_551_616.0).contains(&d);
    fits.then_some(d as u64)
}

fn double_int(d: f64, i: i64) -> Ordering {
    if d < i64::MIN as f64 {
        return Ordering::Less;
    }
    if d > i64::MAX as f64 {
        return Ordering::Greater;
    }
    d.partial_cmp(&(i as f64)).unwrap_or(Ordering::Equal)
}

fn double_uint(d: f64, u: u64) -> Ordering {
    if d < 0.0 {
        return Ordering::Less;
    }
    if d > u64::MAX as f64 {
        return Ordering::Greater;
    }
    d.partial_cmp(&(u as f64)).unwrap_or(Ordering::Equal)
}

fn int_uint(i: i64, u: u64) -> Ordering {
    match u64::try_from(i) {
        Ok(i) => i.cmp(&u),
        Err(_) => Ordering::Less,
    }
}

/// Order of two numbers of any types; `None` if one is no number or not a number.
pub(crate) fn compare(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Double(d), _) | (_, Value::Double(d)) if d.is_nan() => None,
        (Value::Double(d), Value::Int(i)) => Some(double_int(*d, *i)),
        (Value::Int(i), Value::Double(d)) => Some(double_int(*d, *i).reverse()),
        (Value::Double(d), Value::Uint(u)) => Some(double_uint(*d, *u)),
        (Value::Uint(u), Value::Double(d)) => Some(double_uint(*d, *u).reverse()),
        (Value::Int(i), Value::Uint(u)) => Some(int_uint(*i, *u)),
        (Value::Uint(u), Value::Int(i)) => Some(int_uint(*i, *u).reverse()),
        _ => None,
    }
}

pub(crate) fn is_number(v: &Value<'_>) -> bool {
    matches!(v, Value::Int(_) | Value::Uint(_) | Value::Double(_))
}

/// Order by `<` and its kin.
pub(crate) fn order(a: &Value<'_>, b: &Value<'_>) -> Eval<Ordering> {
    if is_number(a) && is_number(b) {
        return compare(a, b).ok_or_else(|| CelError::new("NaN values cannot be ordered"));
    }
    match (a, b) {
        (Value::Double(d), _) if d.is_nan() => Err(CelError::new("NaN values cannot be ordered")),
        (Value::Bool(a), Value::Bool(b)) => Ok(a.cmp(b)),
        (Value::String(a), Value::String(b)) => Ok(a.as_bytes().cmp(b.as_bytes())),
        (Value::Bytes(a), Value::Bytes(b)) => Ok(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Ok(a.cmp(b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => Ok(a.instant().cmp(&b.instant())),
        _ => Err(CelError::no_overload()),
    }
}

/// As Go prints it with `%g`: shortest, with an exponent when that is below -4 or at least six.
pub(crate) fn general(d: f64) -> String {
    if !d.is_finite() {
        return special(d, "NaN", "+Inf", "-Inf").into();
    }
    let text = format!("{d:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    fixed(d)
}

fn special<'t>(d: f64, nan: &'t str, plus: &'t str, minus: &'t str) -> &'t str {
    match () {
        () if d.is_nan() => nan,
        () if d > 0.0 => plus,
        () => minus,
    }
}

/// As Go prints it with the shortest number of decimals and no exponent.
pub(crate) fn fixed(d: f64) -> String {
    if !d.is_finite() {
        return special(d, "NaN", "+Inf", "-Inf").into();
    }
    format!("{d}")
}

/// As Go prints a value inside an error message.
pub(crate) fn plain(v: &Value<'_>) -> String {
    match v {
        Value::Null => "0".into(),
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Uint(u) => u.to_string(),
        Value::Double(d) => general(*d),
        Value::String(s) => s.to_string(),
        Value::Bytes(b) => String::from_utf8_lossy(b).into_owned(),
        Value::Duration(d) => crate::time::format_duration(*d),
        Value::Timestamp(t) => t.to_string(),
        Value::Type(name) => name.to_string(),
        Value::List(l) => {
            let items = (0..l.len()).map(|i| l.get(i).map(|v| plain(&v)).unwrap_or_default());
            format!("[{}]", items.collect::<Vec<_>>().join(", "))
        }
        Value::Map(_) => "map".into(),
        Value::Optional(Some(v)) => format!("optional({})", plain(v)),
        Value::Optional(None) => "optional.none()".into(),
        Value::Preserved(json) => json.to_string(),
        Value::Opaque(o) => o.to_string(),
        Value::Broken(error) => error.to_string(),
    }
}
