//! Functions on strings: the standard ones, the strings extension (version 2), regular expressions.
//!
//! Offsets are code points. What Go does at the edges (a separator of nothing splits into code
//! points, a negative count means all) is kept.

use crate::call::Run;
use crate::eval::{Fail, Halt, Step};
use crate::limits;
use crate::value::{CelError, Eval, Value};
use regex::Regex;

/// Implementations that check their arguments themselves.
pub(crate) fn standard(overload: &str) -> Option<Run> {
    Some(match overload {
        "contains_string" => |a, _| Ok(Value::Bool(texts(a)?.0.contains(texts(a)?.1))),
        "starts_with_string" => |a, _| Ok(Value::Bool(texts(a)?.0.starts_with(texts(a)?.1))),
        "ends_with_string" => |a, _| Ok(Value::Bool(texts(a)?.0.ends_with(texts(a)?.1))),
        _ => return None,
    })
}

/// Implementations by overload.
pub(crate) fn find(overload: &str) -> Option<Run> {
    Some(match overload {
        "string_char_at_int" => char_at,
        "string_index_of_string" | "string_index_of_string_int" => index_of,
        "string_last_index_of_string" | "string_last_index_of_string_int" => last_index_of,
        "string_lower_ascii" => |a, _| Ok(Value::text(text(a, 0)?.to_ascii_lowercase())),
        "string_upper_ascii" => |a, _| Ok(Value::text(text(a, 0)?.to_ascii_uppercase())),
        "string_trim" => |a, _| Ok(Value::text(text(a, 0)?.trim_matches(is_go_space))),
        "string_replace_string_string" | "string_replace_string_string_int" => replace,
        "string_split_string" | "string_split_string_int" => split,
        "string_substring_int" | "string_substring_int_int" => substring,
        "list_join" | "list_join_string" => join,
        "strings_quote" => |a, _| Ok(Value::text(quote(text(a, 0)?))),
        "string_find_string" => find_pattern,
        "string_find_all_string" | "string_find_all_string_int" => find_all,
        _ => return None,
    })
}

pub(crate) fn text<'v>(args: &'v [Value<'_>], i: usize) -> Eval<&'v str> {
    args.get(i)
        .and_then(Value::as_str)
        .ok_or_else(CelError::no_overload)
}

fn texts<'v>(args: &'v [Value<'_>]) -> Eval<(&'v str, &'v str)> {
    Ok((text(args, 0)?, text(args, 1)?))
}

fn int(args: &[Value<'_>], i: usize) -> Eval<Option<i64>> {
    match args.get(i) {
        None => Ok(None),
        Some(Value::Int(n)) => Ok(Some(*n)),
        Some(_) => Err(CelError::no_overload()),
    }
}

fn out_of_range(i: i64) -> CelError {
    CelError::new(format!("index out of range: {i}"))
}

fn is_go_space(c: char) -> bool {
    c.is_whitespace() && c != '\u{1c}'
}

/// Byte offset of a code point; the end for the number of code points.
fn offset(text: &str, index: i64) -> Option<usize> {
    let index = usize::try_from(index).ok()?;
    text.char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .nth(index)
}

fn char_at<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    let (text, index) = (text(args, 0)?, int(args, 1)?.unwrap_or(0));
    let at = offset(text, index).ok_or_else(|| out_of_range(index))?;
    Ok(Value::text(text[at..].chars().take(1).collect::<String>()))
}

fn index_of<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    let (text, part) = texts(args)?;
    let start = int(args, 2)?.unwrap_or(0);
    if part.is_empty() {
        return Ok(Value::Int(start));
    }
    if start < 0 {
        return Err(out_of_range(start).into());
    }
    let found = offset(text, start).and_then(|at| Some(at + text[at..].find(part)?));
    Ok(Value::Int(
        found.map_or(-1, |at| text[..at].chars().count() as i64),
    ))
}

fn last_index_of<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    let (text, part) = texts(args)?;
    let length = text.chars().count() as i64;
    let start = int(args, 2)?;
    if part.is_empty() {
        return Ok(Value::Int(start.unwrap_or(length)));
    }
    if start.is_none() && text.len() < part.len() {
        return Ok(Value::Int(-1));
    }
    let start = start.unwrap_or(length - 1);
    if start < 0 {
        return Err(out_of_range(start).into());
    }
    if start >= length {
        return Ok(Value::Int(-1));
    }
    let count = part.chars().count() as i64;
    let last = start.min(length - count);
    let Some(end) = offset(text, last + count).filter(|_| last >= 0) else {
        return Ok(Value::Int(-1));
    };
    let found = text[..end].rfind(part);
    Ok(Value::Int(
        found.map_or(-1, |at| text[..at].chars().count() as i64),
    ))
}

fn replace<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    let ((text, old), new) = (texts(args)?, text(args, 2)?);
    let count = int(args, 3)?.unwrap_or(-1);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let matches = if old.is_empty() {
        text.len() + 1
    } else {
        text.len() / old.len()
    };
    if matches.min(count).saturating_mul(new.len()) > limits::STRING_BYTES {
        return Err(Fail::Halt(Halt::Cost));
    }
    Ok(Value::text(text.replacen(old, new, count)))
}

fn split<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    let (text, separator) = texts(args)?;
    let count = int(args, 2)?.unwrap_or(-1);
    if count == 0 {
        return Ok(Value::list(Vec::new()));
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let parts: Vec<Value<'a>> = if separator.is_empty() {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if parts.len() + 1 >= count {
                parts.push(Value::text(rest));
                break;
            }
            parts.push(Value::text(&rest[..c.len_utf8()]));
            rest = &rest[c.len_utf8()..];
        }
        parts
    } else {
        text.splitn(count, separator).map(Value::text).collect()
    };
    Ok(Value::list(parts))
}

fn substring<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    let (text, start) = (text(args, 0)?, int(args, 1)?.unwrap_or(0));
    let end = int(args, 2)?;
    if let Some(end) = end.filter(|end| start > *end) {
        let text = format!("invalid substring range. start: {start}, end: {end}");
        return Err(CelError::new(text).into());
    }
    let from = offset(text, start).ok_or_else(|| out_of_range(start))?;
    let to = match end {
        Some(end) => offset(text, end).ok_or_else(|| out_of_range(end))?,
        None => text.len(),
    };
    Ok(Value::text(&text[from..to]))
}

fn join<'a>(args: &[Value<'a>], remaining: u64) -> Step<Value<'a>> {
    let Value::List(list) = &args[0] else {
        return Err(CelError::no_overload().into());
    };
    let separator = args.get(1).and_then(Value::as_str).unwrap_or_default();
    let mut out = String::new();
    for i in 0..list.len() {
        if i > 0 {
            out.push_str(separator);
        }
        match list.get(i)? {
            Value::String(s) => out.push_str(&s),
            other => {
                let other = crate::number::plain(&other);
                return Err(CelError::new(format!("join: invalid input: {other}")).into());
            }
        }
        if out.len() > limits::STRING_BYTES || out.len() as u64 / 20 > remaining {
            return Err(Fail::Halt(Halt::Cost));
        }
    }
    Ok(Value::text(out))
}

fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        let escaped = match c {
            '\u{7}' => "\\a",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{b}' => "\\v",
            '\\' => "\\\\",
            '"' => "\\\"",
            _ => {
                out.push(c);
                continue;
            }
        };
        out.push_str(escaped);
    }
    out.push('"');
    out
}

pub(crate) fn matches<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    let (text, pattern) = texts(args)?;
    let regex = crate::pattern::compile(pattern).map_err(CelError::new)?;
    Ok(Value::Bool(regex.is_match(text)))
}

fn compiled(pattern: &str) -> Eval<Regex> {
    let compiled = crate::pattern::compile(pattern);
    compiled.map_err(|e| CelError::new(format!("Illegal regex: {e}")))
}

fn find_pattern<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    let (text, pattern) = texts(args)?;
    Ok(found(&compiled(pattern)?, text))
}

fn find_all<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    let (text, pattern) = texts(args)?;
    Ok(found_all(
        &compiled(pattern)?,
        text,
        int(args, 2)?.unwrap_or(-1),
    ))
}

pub(crate) fn found<'a>(regex: &Regex, text: &str) -> Value<'a> {
    Value::text(regex.find(text).map_or("", |m| m.as_str()))
}

pub(crate) fn found_all<'a>(regex: &Regex, text: &str, count: i64) -> Value<'a> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let mut last_end = None;
    let mut out = Vec::new();
    for m in regex.find_iter(text) {
        // Go leaves out an empty match right behind another match.
        if m.is_empty() && last_end == Some(m.start()) {
            continue;
        }
        if out.len() >= count {
            break;
        }
        last_end = Some(m.end());
        out.push(Value::text(m.as_str()));
    }
    Value::list(out)
}
