//! `string.format(list)`: printf for expressions, and the check of constant format strings.

use crate::ast::{Expr, Kind};
use crate::check::Checked;
use crate::eval::{Fail, Halt, Step};
use crate::limits;
use crate::number;
use crate::types::Type;
use crate::value::{CelError, List, Map, Value};
use hanse_json::go::quote;

/// Decimals where none are asked for.
const PRECISION: usize = 6;

/// One clause of a format string.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Clause {
    Text,
    Decimal,
    Fixed(usize),
    Scientific(usize),
    Binary,
    Hex { upper: bool },
    Octal,
}

enum Piece {
    Literal(String),
    Clause(Clause),
}

type Formatted = Result<String, String>;

/// Splits a format string. The pieces before an error count: arguments are asked for in order.
fn pieces(format: &str) -> (Vec<Piece>, Option<String>) {
    let mut out = Vec::new();
    let mut literal = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        literal.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('%') {
            literal.push('%');
            rest = tail;
            continue;
        }
        out.push(Piece::Literal(std::mem::take(&mut literal)));
        match clause(rest) {
            Ok((clause, tail)) => {
                out.push(Piece::Clause(clause));
                rest = tail;
            }
            Err(error) => return (out, Some(error)),
        }
    }
    literal.push_str(rest);
    out.push(Piece::Literal(literal));
    (out, None)
}

fn clause(text: &str) -> Result<(Clause, &str), String> {
    const PARSE: &str = "could not parse formatting clause";
    if text.is_empty() {
        return Err("unexpected end of string".into());
    }
    let (precision, rest) = match text.strip_prefix('.') {
        None => (None, text),
        Some(tail) => {
            let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
            if digits == tail.len() {
                return Err(format!(
                    "{PARSE}: error while parsing precision: could not find end of precision \
                     specifier"
                ));
            }
            let precision = tail[..digits].parse::<usize>().map_err(|_| {
                format!(
                    "{PARSE}: error while parsing precision: error while converting precision to \
                     integer: strconv.Atoi: parsing {}: invalid syntax",
                    quote(&tail[..digits])
                )
            })?;
            (Some(precision), &tail[digits..])
        }
    };
    let c = rest.chars().next().unwrap_or(' ');
    let clause = match c {
        's' => Clause::Text,
        'd' => Clause::Decimal,
        'f' => Clause::Fixed(precision.unwrap_or(PRECISION)),
        'e' => Clause::Scientific(precision.unwrap_or(PRECISION)),
        'b' => Clause::Binary,
        'x' => Clause::Hex { upper: false },
        'X' => Clause::Hex { upper: true },
        'o' => Clause::Octal,
        _ => return Err(format!("{PARSE}: unrecognized formatting clause \"{c}\"")),
    };
    Ok((clause, &rest[c.len_utf8()..]))
}

/// The function.
pub(crate) fn format<'a>(args: &[Value<'a>], remaining: u64) -> Step<Value<'a>> {
    let (Value::String(format), Value::List(list)) = (&args[0], &args[1]) else {
        return Err(CelError::no_overload().into());
    };
    let (pieces, error) = pieces(format);
    let mut out = String::new();
    let mut next = 0;
    for piece in &pieces {
        match piece {
            Piece::Literal(text) => out.push_str(text),
            Piece::Clause(clause) => {
                let arg = argument(list, next)?;
                next += 1;
                let too_precise = |p: usize| p > limits::FORMAT_PRECISION || p as u64 > remaining;
                if let Clause::Fixed(p) | Clause::Scientific(p) = clause
                    && too_precise(*p)
                {
                    return Err(Fail::Halt(Halt::Cost));
                }
                let text = formatted(*clause, &arg)
                    .map_err(|e| CelError::new(format!("error during formatting: {e}")))?;
                out.push_str(&text);
            }
        }
        if out.len() > limits::STRING_BYTES {
            return Err(Fail::Halt(Halt::Cost));
        }
    }
    if let Some(error) = error {
        argument(list, next)?;
        return Err(CelError::new(error).into());
    }
    Ok(Value::text(out))
}

fn argument<'a>(list: &List<'a>, index: usize) -> Step<Value<'a>> {
    if index >= list.len() {
        return Err(CelError::new(format!("index {index} out of range")).into());
    }
    Ok(list.get(index)?)
}

fn formatted(clause: Clause, v: &Value<'_>) -> Formatted {
    match clause {
        Clause::Text => text(v),
        Clause::Decimal => decimal(v),
        Clause::Fixed(p) => Ok(grouped(&special_or(double(clause, v)?, |d| {
            format!("{d:.p$}")
        }))),
        Clause::Scientific(p) => Ok(special_or(double(clause, v)?, |d| scientific(d, p))),
        Clause::Binary => match v {
            Value::Int(i) => Ok(signed(*i, |u| format!("{u:b}"))),
            Value::Uint(u) => Ok(format!("{u:b}")),
            Value::Bool(b) => Ok(if *b { "1" } else { "0" }.into()),
            _ => Err(wrong_type(clause, v.type_name())),
        },
        Clause::Octal => match v {
            Value::Int(i) => Ok(signed(*i, |u| format!("{u:o}"))),
            Value::Uint(u) => Ok(format!("{u:o}")),
            _ => Err(wrong_type(clause, v.type_name())),
        },
        Clause::Hex { upper } => {
            let hex = match v {
                Value::Int(i) => signed(*i, |u| format!("{u:x}")),
                Value::Uint(u) => format!("{u:x}"),
                Value::String(s) => s.bytes().map(|b| format!("{b:02x}")).collect(),
                Value::Bytes(b) => b.iter().map(|b| format!("{b:02x}")).collect(),
                _ => return Err(wrong_type(clause, v.type_name())),
            };
            Ok(if upper { hex.to_uppercase() } else { hex })
        }
    }
}

fn wrong_type(clause: Clause, given: &str) -> String {
    let what = match clause {
        Clause::Text => {
            "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, \
             types, durations, and timestamps"
        }
        Clause::Decimal => "decimal clause can only be used on integers",
        Clause::Fixed(_) => "fixed-point clause can only be used on doubles",
        Clause::Scientific(_) => "scientific clause can only be used on doubles",
        Clause::Binary => "only integers and bools can be formatted as binary",
        Clause::Hex { .. } => "only integers, byte buffers, and strings can be formatted as hex",
        Clause::Octal => "octal clause can only be used on integers",
    };
    format!("{what}, was given {given}")
}

fn signed(i: i64, digits: impl Fn(u64) -> String) -> String {
    let sign = if i < 0 { "-" } else { "" };
    format!("{sign}{}", digits(i.unsigned_abs()))
}

fn double(clause: Clause, v: &Value<'_>) -> Result<f64, String> {
    match v {
        Value::Double(d) => Ok(*d),
        Value::String(s) => match &**s {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            _ => Err(wrong_type(clause, v.type_name())),
        },
        _ => Err(wrong_type(clause, v.type_name())),
    }
}

fn special_or(d: f64, print: impl Fn(f64) -> String) -> String {
    match () {
        () if d.is_nan() => "NaN".into(),
        () if d == f64::INFINITY => "∞".into(),
        () if d == f64::NEG_INFINITY => "-∞".into(),
        () => print(d),
    }
}

/// Thousands are separated as in English.
fn grouped(text: &str) -> String {
    let start = text
        .find(|c: char| c.is_ascii_digit())
        .unwrap_or(text.len());
    let (sign, number) = text.split_at(start);
    let (whole, decimals) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut out = sign.to_owned();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out + decimals
}

/// Powers of ten are written out, as in print: `1.500000×10⁰⁶`. What is asked for as a precision is
/// taken as a width.
fn scientific(d: f64, width: usize) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let text = format!("{d:.PRECISION$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let raised: String = format!("{:02}", exponent.abs())
        .chars()
        .filter_map(|c| DIGITS.get(c.to_digit(10)? as usize))
        .collect();
    let sign = if exponent < 0 { "⁻" } else { "" };
    let text = format!("{mantissa}×10{sign}{raised}");
    let pad = width.saturating_sub(text.chars().count());
    " ".repeat(pad) + &text
}

fn decimal(v: &Value<'_>) -> Formatted {
    match v {
        Value::Int(i) => Ok(i.to_string()),
        Value::Uint(u) => Ok(u.to_string()),
        _ => Err(wrong_type(Clause::Decimal, v.type_name())),
    }
}

fn text(v: &Value<'_>) -> Formatted {
    match v {
        Value::List(list) => list_text(list),
        Value::Map(map) => map_text(map),
        Value::Bytes(b) => match std::str::from_utf8(b) {
            Ok(s) => Ok(s.to_owned()),
            Err(_) => Err(
                "could not convert argument \"invalid UTF-8 in bytes, cannot convert to \
                           string\" to string"
                    .into(),
            ),
        },
        Value::Null => Ok("null".into()),
        Value::Int(_)
        | Value::Uint(_)
        | Value::Double(_)
        | Value::Bool(_)
        | Value::String(_)
        | Value::Timestamp(_)
        | Value::Duration(_)
        | Value::Type(_) => Ok(number::plain(v)),
        _ => Err(wrong_type(Clause::Text, v.type_name())),
    }
}

/// A value within a list or a map.
fn nested(v: &Value<'_>) -> Formatted {
    Ok(match v {
        Value::Int(_) | Value::Uint(_) => decimal(v)?,
        Value::String(s) => quote(s),
        Value::Bytes(_) => format!("b{}", quote(&text(v)?)),
        Value::Bool(_) | Value::Null | Value::Type(_) => text(v)?,
        Value::Timestamp(_) => format!("timestamp({})", quote(&number::plain(v))),
        Value::Duration(_) => format!("duration({})", quote(&number::plain(v))),
        Value::List(list) => list_text(list)?,
        Value::Map(map) => map_text(map)?,
        Value::Double(d) if d.is_finite() => format!("{d:.PRECISION$}"),
        Value::Double(d) => quote(&number::general(*d)),
        other => return Err(format!("no formatting function for {}", other.type_name())),
    })
}

fn list_text(list: &List<'_>) -> Formatted {
    let mut items = Vec::with_capacity(list.len());
    for i in 0..list.len() {
        items.push(nested(&list.get(i).map_err(|e| e.to_string())?)?);
    }
    Ok(format!("[{}]", items.join(", ")))
}

fn map_text(map: &Map<'_>) -> Formatted {
    let mut entries = Vec::with_capacity(map.len());
    for key in map.keys() {
        let shown = match &key {
            Value::String(s) => quote(s),
            Value::Bool(_) | Value::Int(_) | Value::Uint(_) => number::plain(&key),
            other => {
                let name = other.type_name();
                return Err(format!("no formatting function for map key of type {name}"));
            }
        };
        let value = map.find(&key).map_err(|e| e.to_string())?;
        let value = value.ok_or_else(|| format!("could not find key: {shown}"))?;
        entries.push((shown, nested(&value)?));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    let entries: Vec<String> = entries
        .into_iter()
        .map(|(k, v)| format!("{k}:{v}"))
        .collect();
    Ok(format!("{{{}}}", entries.join(", ")))
}

// === constant format strings ===

/// Checks a call of `format` on a constant with a list literal.
pub(crate) fn validate(checked: &Checked, e: &Expr, found: &mut Vec<(u32, String)>) {
    let Kind::Call {
        target: Some(target),
        function,
        args,
    } = &e.kind
    else {
        return;
    };
    let (Some(format), [args]) = (target.as_string_literal(), args.as_slice()) else {
        return;
    };
    let Kind::List { elements, .. } = &args.kind else {
        return;
    };
    if &**function != "format" || !checked.overloads(e.id).contains(&"string_format") {
        return;
    }
    let (pieces, error) = pieces(format);
    let mut next = 0;
    for piece in &pieces {
        let Piece::Clause(clause) = piece else {
            continue;
        };
        // The arguments are only counted here: asking for one too many is noticed by the evaluator.
        let Some(arg) = elements.get(next) else {
            found.push((e.id, format!("index {next} out of range")));
            return;
        };
        next += 1;
        if let Err((id, t)) = check_argument(checked, *clause, arg) {
            let text = wrong_type(*clause, &t);
            found.push((id, format!("error during formatting: {text}")));
            return;
        }
    }
    if let Some(error) = error {
        found.push((e.id, error));
    } else if elements.len() > next {
        let given = elements.len();
        found.push((
            e.id,
            format!("too many arguments supplied to string.format (expected {next}, got {given})"),
        ));
    }
}

fn check_argument(checked: &Checked, clause: Clause, arg: &Expr) -> Result<(), (u32, String)> {
    let t = checked.type_of(arg);
    let fine = match clause {
        _ if t.is_dyn() => true,
        Clause::Text => matches!(
            t,
            Type::List(_)
                | Type::Map(_)
                | Type::Int
                | Type::Uint
                | Type::Double
                | Type::Bool
                | Type::String
                | Type::Timestamp
                | Type::Bytes
                | Type::Duration
                | Type::Type(_)
                | Type::Null
        ),
        Clause::Decimal | Clause::Octal => matches!(t, Type::Int | Type::Uint),
        Clause::Fixed(_) | Clause::Scientific(_) => matches!(t, Type::Double | Type::String),
        Clause::Binary => matches!(t, Type::Int | Type::Uint | Type::Bool),
        Clause::Hex { .. } => matches!(t, Type::Int | Type::Uint | Type::String | Type::Bytes),
    };
    if !fine {
        return Err((arg.id, t.runtime_name().to_owned()));
    }
    if clause == Clause::Text && matches!(arg.kind, Kind::List { .. } | Kind::Map(_)) {
        let mut result = Ok(());
        arg.children(&mut |child| {
            if result.is_ok() {
                result = check_argument(checked, clause, child);
            }
        });
        return result;
    }
    Ok(())
}
