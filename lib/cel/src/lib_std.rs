//! The standard functions: operators, conversions, sizes, fields of times.

use crate::call::Run;
use crate::equal;
use crate::eval::{Fail, Halt, Step};
use crate::limits;
use crate::number::{self, int_overflow, uint_overflow};
use crate::time::{self, Fields, Timestamp};
use crate::value::{CelError, Eval, Text, Value};
use std::cmp::Ordering;

/// Implementations by overload.
pub(crate) fn find(overload: &str) -> Option<Run> {
    Some(match overload {
        "not_strictly_false" => not_strictly_false,
        "bool_to_bool"
        | "bytes_to_bytes"
        | "double_to_double"
        | "duration_to_duration"
        | "int64_to_int64"
        | "string_to_string"
        | "timestamp_to_timestamp"
        | "uint64_to_uint64" => identity,
        "string_to_bool" => |a, _| Ok(to_bool(&a[0])?),
        "string_to_bytes" => |a, _| Ok(to_bytes(&a[0])?),
        "int64_to_double" | "string_to_double" | "uint64_to_double" => |a, _| Ok(to_double(&a[0])?),
        "int64_to_duration" | "string_to_duration" => |a, _| Ok(to_duration(&a[0])?),
        "double_to_int64" | "duration_to_int64" | "string_to_int64" | "timestamp_to_int64"
        | "uint64_to_int64" => |a, _| Ok(to_int(&a[0])?),
        "double_to_uint64" | "int64_to_uint64" | "string_to_uint64" => |a, _| Ok(to_uint(&a[0])?),
        "int64_to_timestamp" | "string_to_timestamp" => |a, _| Ok(to_timestamp(&a[0])?),
        "bool_to_string"
        | "bytes_to_string"
        | "double_to_string"
        | "duration_to_string"
        | "int64_to_string"
        | "timestamp_to_string"
        | "uint64_to_string" => |a, _| Ok(to_string(&a[0])?),
        "duration_to_hours" => |a, _| Ok(span(&a[0], 3_600_000_000_000)?),
        "duration_to_minutes" => |a, _| Ok(span(&a[0], 60_000_000_000)?),
        "duration_to_seconds" => |a, _| Ok(span(&a[0], 1_000_000_000)?),
        "duration_to_milliseconds" => |a, _| Ok(span(&a[0], 1_000_000)?),
        _ => return time_field(overload),
    })
}

fn time_field(overload: &str) -> Option<Run> {
    let field = overload.strip_prefix("timestamp_to_")?;
    let field = field
        .strip_suffix("_with_tz")
        .or(field.strip_suffix("_tz"))
        .unwrap_or(field);
    Some(match field {
        "year" => |a, _| of_time(a, |f| f.year),
        "month" => |a, _| of_time(a, |f| f.month - 1),
        "day_of_year" => |a, _| of_time(a, |f| f.day_of_year),
        "day_of_month" => |a, _| of_time(a, |f| f.day - 1),
        "day_of_month_1_based" => |a, _| of_time(a, |f| f.day),
        "day_of_week" => |a, _| of_time(a, |f| f.weekday),
        "hours" => |a, _| of_time(a, |f| f.hour),
        "minutes" => |a, _| of_time(a, |f| f.minute),
        "seconds" => |a, _| of_time(a, |f| f.second),
        "milliseconds" => |a, _| of_time(a, |f| f.milli),
        _ => return None,
    })
}

fn of_time<'a>(args: &[Value<'a>], field: fn(&Fields) -> i64) -> Step<Value<'a>> {
    let (Value::Timestamp(t), zone) = (&args[0], args.get(1)) else {
        return Err(CelError::no_overload().into());
    };
    let zone = zone.and_then(Value::as_str).unwrap_or("UTC");
    Ok(Value::Int(field(&t.fields(zone)?)))
}

fn span<'a>(v: &Value<'a>, unit: i64) -> Eval<Value<'a>> {
    match v {
        Value::Duration(d) => Ok(Value::Int(d / unit)),
        _ => Err(CelError::no_overload()),
    }
}

fn not_strictly_false<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    Ok(match &args[0] {
        Value::Bool(b) => Value::Bool(*b),
        _ => Value::Bool(true),
    })
}

pub(crate) fn identity<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    Ok(args[0].clone())
}

pub(crate) fn type_of<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    Ok(Value::Type(Text::Borrowed(args[0].type_name())))
}

pub(crate) fn not<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    match &args[0] {
        Value::Bool(b) => Ok(Value::Bool(!b)),
        _ => Err(CelError::no_overload().into()),
    }
}

pub(crate) fn is_in<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    Ok(Value::Bool(match &args[1] {
        Value::List(list) => equal::contains(list, &args[0])?,
        Value::Map(map) => map.find(&args[0])?.is_some(),
        _ => return Err(CelError::no_overload().into()),
    }))
}

pub(crate) fn size<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    match args[0].size() {
        Some(n) => Ok(Value::Int(n as i64)),
        None => Err(CelError::no_overload().into()),
    }
}

// === arithmetic ===

pub(crate) fn add<'a>(args: &[Value<'a>], remaining: u64) -> Step<Value<'a>> {
    let too_large = |a: usize, b: usize| {
        let bytes = a + b;
        bytes > limits::STRING_BYTES || bytes as u64 / 50 > remaining
    };
    Ok(match (&args[0], &args[1]) {
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_add(*b).ok_or_else(int_overflow)?),
        (Value::Uint(a), Value::Uint(b)) => {
            Value::Uint(a.checked_add(*b).ok_or_else(uint_overflow)?)
        }
        (Value::Double(a), Value::Double(b)) => Value::Double(a + b),
        (Value::String(a), Value::String(b)) => {
            if too_large(a.len(), b.len()) {
                return Err(Fail::Halt(Halt::Cost));
            }
            Value::text(format!("{}{}", &**a, &**b))
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            if too_large(a.len(), b.len()) {
                return Err(Fail::Halt(Halt::Cost));
            }
            Value::Bytes([&**a, &**b].concat().into())
        }
        (Value::List(a), Value::List(b)) => match equal::concat(a, b) {
            Some(list) => Value::List(list?),
            None => return Err(Fail::Halt(Halt::Cost)),
        },
        (Value::Duration(a), Value::Duration(b)) => {
            Value::Duration(a.checked_add(*b).ok_or_else(int_overflow)?)
        }
        (Value::Duration(d), Value::Timestamp(t)) | (Value::Timestamp(t), Value::Duration(d)) => {
            Value::Timestamp(t.plus(*d)?)
        }
        _ => return Err(CelError::no_overload().into()),
    })
}

pub(crate) fn subtract<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    Ok(match (&args[0], &args[1]) {
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_sub(*b).ok_or_else(int_overflow)?),
        (Value::Uint(a), Value::Uint(b)) => {
            Value::Uint(a.checked_sub(*b).ok_or_else(uint_overflow)?)
        }
        (Value::Double(a), Value::Double(b)) => Value::Double(a - b),
        (Value::Duration(a), Value::Duration(b)) => {
            Value::Duration(a.checked_sub(*b).ok_or_else(int_overflow)?)
        }
        (Value::Timestamp(t), Value::Duration(d)) => {
            let back = d.checked_neg().ok_or_else(int_overflow)?;
            Value::Timestamp(t.plus(back)?)
        }
        (Value::Timestamp(a), Value::Timestamp(b)) => Value::Duration(a.minus(b)?),
        _ => return Err(CelError::no_overload().into()),
    })
}

pub(crate) fn multiply<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    Ok(match (&args[0], &args[1]) {
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_mul(*b).ok_or_else(int_overflow)?),
        (Value::Uint(a), Value::Uint(b)) => {
            Value::Uint(a.checked_mul(*b).ok_or_else(uint_overflow)?)
        }
        (Value::Double(a), Value::Double(b)) => Value::Double(a * b),
        _ => return Err(CelError::no_overload().into()),
    })
}

pub(crate) fn divide<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    let by_zero = || CelError::new("division by zero");
    Ok(match (&args[0], &args[1]) {
        (Value::Int(_), Value::Int(0)) => return Err(by_zero().into()),
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_div(*b).ok_or_else(int_overflow)?),
        (Value::Uint(a), Value::Uint(b)) => Value::Uint(a.checked_div(*b).ok_or_else(by_zero)?),
        (Value::Double(a), Value::Double(b)) => Value::Double(a / b),
        _ => return Err(CelError::no_overload().into()),
    })
}

pub(crate) fn modulo<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    let by_zero = || CelError::new("modulus by zero");
    Ok(match (&args[0], &args[1]) {
        (Value::Int(_), Value::Int(0)) => return Err(by_zero().into()),
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_rem(*b).ok_or_else(int_overflow)?),
        (Value::Uint(a), Value::Uint(b)) => Value::Uint(a.checked_rem(*b).ok_or_else(by_zero)?),
        _ => return Err(CelError::no_overload().into()),
    })
}

pub(crate) fn negate<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    Ok(match &args[0] {
        Value::Int(a) => Value::Int(a.checked_neg().ok_or_else(int_overflow)?),
        Value::Double(a) => Value::Double(-a),
        Value::Duration(a) => Value::Duration(a.checked_neg().ok_or_else(int_overflow)?),
        _ => return Err(CelError::no_overload().into()),
    })
}

fn ordered<'a>(args: &[Value<'a>], is: fn(Ordering) -> bool) -> Step<Value<'a>> {
    Ok(Value::Bool(is(number::order(&args[0], &args[1])?)))
}

pub(crate) fn less<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    ordered(args, Ordering::is_lt)
}

pub(crate) fn less_equals<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    ordered(args, Ordering::is_le)
}

pub(crate) fn greater<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    ordered(args, Ordering::is_gt)
}

pub(crate) fn greater_equals<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    ordered(args, Ordering::is_ge)
}

// === conversions ===

fn cannot(v: &Value<'_>, to: &str) -> CelError {
    CelError::new(format!(
        "type conversion error from '{}' to '{to}'",
        v.type_name()
    ))
}

fn to_bool<'a>(v: &Value<'a>) -> Eval<Value<'a>> {
    match v.as_str() {
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Value::Bool(true)),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Value::Bool(false)),
        _ => Err(cannot(v, "bool")),
    }
}

fn to_bytes<'a>(v: &Value<'a>) -> Eval<Value<'a>> {
    match v.as_str() {
        Some(s) => Ok(Value::Bytes(s.as_bytes().into())),
        None => Err(cannot(v, "bytes")),
    }
}

/// A float as Go's `ParseFloat` reads it.
pub(crate) fn parse_double(text: &str) -> Option<f64> {
    let digits = text.as_bytes();
    let between = |i: usize| {
        let digit = |i: Option<usize>| {
            i.and_then(|i| digits.get(i))
                .is_some_and(u8::is_ascii_digit)
        };
        digit(i.checked_sub(1)) && digit(Some(i + 1))
    };
    if digits
        .iter()
        .enumerate()
        .any(|(i, b)| *b == b'_' && !between(i))
    {
        return None;
    }
    let text = text.replace('_', "");
    let text = text.as_str();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let word = unsigned.to_ascii_lowercase();
    if matches!(word.as_str(), "inf" | "infinity") {
        return Some(if text.starts_with('-') {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        });
    }
    if word == "nan" {
        return (unsigned.len() == text.len()).then_some(f64::NAN);
    }
    let plain = unsigned
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    let value: f64 = text.parse().ok().filter(|_| plain)?;
    value.is_finite().then_some(value)
}

fn to_double<'a>(v: &Value<'a>) -> Eval<Value<'a>> {
    Ok(Value::Double(match v {
        Value::Int(i) => *i as f64,
        Value::Uint(u) => *u as f64,
        Value::String(s) => parse_double(s).ok_or_else(|| cannot(v, "double"))?,
        _ => return Err(cannot(v, "double")),
    }))
}

fn to_duration<'a>(v: &Value<'a>) -> Eval<Value<'a>> {
    let parsed = v.as_str().and_then(time::parse_duration);
    parsed
        .map(Value::Duration)
        .ok_or_else(|| cannot(v, "google.protobuf.Duration"))
}

fn go_digits(text: &str, signed: bool) -> bool {
    let digits = if signed {
        text.strip_prefix(['+', '-']).unwrap_or(text)
    } else {
        text
    };
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn to_int<'a>(v: &Value<'a>) -> Eval<Value<'a>> {
    Ok(Value::Int(match v {
        Value::Double(d) => number::double_to_int(*d).ok_or_else(int_overflow)?,
        Value::Duration(d) => *d,
        Value::Timestamp(t) => t.seconds,
        Value::Uint(u) => i64::try_from(*u).map_err(|_| int_overflow())?,
        Value::String(s) => {
            let int = s.parse().ok().filter(|_| go_digits(s, true));
            int.ok_or_else(|| cannot(v, "int"))?
        }
        _ => return Err(cannot(v, "int")),
    }))
}

fn to_uint<'a>(v: &Value<'a>) -> Eval<Value<'a>> {
    Ok(Value::Uint(match v {
        Value::Double(d) => number::double_to_uint(*d).ok_or_else(uint_overflow)?,
        Value::Int(i) => u64::try_from(*i).map_err(|_| uint_overflow())?,
        Value::String(s) => {
            let uint = s.parse().ok().filter(|_| go_digits(s, false));
            uint.ok_or_else(|| cannot(v, "uint"))?
        }
        _ => return Err(cannot(v, "uint")),
    }))
}

fn to_timestamp<'a>(v: &Value<'a>) -> Eval<Value<'a>> {
    let t = match v {
        Value::Int(i) => Timestamp::from_seconds(*i)?,
        Value::String(s) => {
            time::parse_timestamp(s)?.ok_or_else(|| cannot(v, "google.protobuf.Timestamp"))?
        }
        _ => return Err(cannot(v, "google.protobuf.Timestamp")),
    };
    Ok(Value::Timestamp(t))
}

fn to_string<'a>(v: &Value<'a>) -> Eval<Value<'a>> {
    Ok(match v {
        Value::Bytes(b) => match std::str::from_utf8(b) {
            Ok(s) => Value::text(s),
            Err(_) => {
                return Err(CelError::new(
                    "invalid UTF-8 in bytes, cannot convert to string",
                ));
            }
        },
        Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Double(_)
        | Value::Duration(_)
        | Value::Timestamp(_) => Value::text(number::plain(v)),
        _ => return Err(cannot(v, "string")),
    })
}
