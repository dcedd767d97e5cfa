//! Functions on lists (Kubernetes' and the extension's, version 3), sets and optional values.

use crate::call::{Run, items};
use crate::equal;
use crate::eval::{Fail, Halt, Step};
use crate::limits;
use crate::number::order;
use crate::value::{CelError, Eval, List, Map, Value};
use std::cmp::Ordering;

/// Implementations by overload.
pub(crate) fn find(overload: &str) -> Option<Run> {
    if let Some(run) = kubernetes(overload) {
        return Some(run);
    }
    Some(match overload {
        "list_a_index_of_int" => |a, _| index_of(a, false),
        "list_a_last_index_of_int" => |a, _| index_of(a, true),
        "list_distinct" => distinct,
        "list_reverse" => reverse,
        "list_slice" => slice,
        "lists_range" => range,
        "list_first" => |a, _| Ok(end(a, false)?),
        "list_last" => |a, _| Ok(end(a, true)?),
        "list_sets_contains_list" => |a, _| Ok(Value::Bool(set_contains(a, 0, 1)?)),
        "list_sets_equivalent_list" => |a, _| {
            Ok(Value::Bool(
                set_contains(a, 0, 1)? && set_contains(a, 1, 0)?,
            ))
        },
        "list_sets_intersects_list" => intersects,
        "optional_of" => |a, _| Ok(Value::some(a[0].clone())),
        "optional_ofNonZeroValue" => of_non_zero,
        "optional_none" => |_, _| Ok(Value::Optional(None)),
        "optional_value" => optional_value,
        "optional_hasValue" => |a, _| Ok(Value::Bool(matches!(&a[0], Value::Optional(Some(_))))),
        "optional_unwrap" | "optional_unwrapOpt" => unwrap,
        _ => return None,
    })
}

/// Those declared once for each type of element.
fn kubernetes(overload: &str) -> Option<Run> {
    let rest = overload.strip_prefix("list_")?;
    let (element, rest) = rest.split_once('_')?;
    let comparable = [
        "int",
        "uint",
        "double",
        "bool",
        "duration",
        "timestamp",
        "string",
        "bytes",
    ];
    if !comparable.contains(&element) {
        return None;
    }
    Some(match rest.trim_end_matches(element) {
        "is_sorted_bool" | "is_sorted_" => is_sorted,
        "sum_" => match element {
            "int" => |a, r| sum(a, Value::Int(0), r),
            "uint" => |a, r| sum(a, Value::Uint(0), r),
            "double" => |a, r| sum(a, Value::Double(0.0), r),
            "duration" => |a, r| sum(a, Value::Duration(0), r),
            _ => return None,
        },
        "max_" => |a, _| Ok(extreme(a, "max", Ordering::Less)?),
        "min_" => |a, _| Ok(extreme(a, "min", Ordering::Greater)?),
        _ => return None,
    })
}

fn list<'v, 'a>(args: &'v [Value<'a>], i: usize) -> Eval<&'v List<'a>> {
    match args.get(i) {
        Some(Value::List(list)) => Ok(list),
        _ => Err(CelError::no_overload()),
    }
}

/// What can be ordered at all.
fn comparable(v: &Value<'_>) -> Eval<()> {
    if crate::call::Trait::Compare.of(v) {
        Ok(())
    } else {
        Err(CelError::no_overload())
    }
}

fn is_sorted<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    let mut previous: Option<Value<'a>> = None;
    for item in items(list(args, 0)?)? {
        comparable(&item)?;
        // Kinds that cannot be compared with each other do not count as out of order.
        if let Some(p) = &previous
            && matches!(order(p, &item), Ok(Ordering::Greater))
        {
            return Ok(Value::Bool(false));
        }
        previous = Some(item);
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(args: &[Value<'a>], zero: Value<'a>, remaining: u64) -> Step<Value<'a>> {
    let mut total = zero;
    for item in items(list(args, 0)?)? {
        total = match crate::lib_std::add(&[total, item], remaining) {
            // The error of the addition is hidden behind that of adding to an error.
            Err(Fail::Error(e)) => return Err(e.into()),
            other => other?,
        };
    }
    Ok(total)
}

fn extreme<'a>(args: &[Value<'a>], name: &str, replace: Ordering) -> Eval<Value<'a>> {
    let mut best: Option<Value<'a>> = None;
    for item in items(list(args, 0)?)? {
        comparable(&item)?;
        let better = best.as_ref().is_none_or(|b| order(b, &item) == Ok(replace));
        if better {
            best = Some(item);
        }
    }
    best.ok_or_else(|| CelError::new(format!("{name} called on empty list")))
}

fn index_of<'a>(args: &[Value<'a>], from_end: bool) -> Step<Value<'a>> {
    let items = items(list(args, 0)?)?;
    let is = |item: &Value<'a>| matches!(equal::same(item, &args[1]), Ok(true));
    let found = if from_end {
        items.iter().rposition(is)
    } else {
        items.iter().position(is)
    };
    Ok(Value::Int(found.map_or(-1, |i| i as i64)))
}

fn distinct<'a>(args: &[Value<'a>], remaining: u64) -> Step<Value<'a>> {
    let list = list(args, 0)?;
    quadratic(list.len(), remaining)?;
    let mut seen: Vec<Value<'a>> = Vec::new();
    for item in items(list)? {
        if !seen
            .iter()
            .any(|s| matches!(equal::same(&item, s), Ok(true)))
        {
            seen.push(item);
        }
    }
    Ok(Value::list(seen))
}

/// What is charged by the square of the length is not begun when that cannot be paid.
fn quadratic(length: usize, remaining: u64) -> Step<()> {
    let cost = (length as u64)
        .saturating_mul(length as u64)
        .saturating_mul(2);
    if cost > remaining {
        Err(Fail::Halt(Halt::Cost))
    } else {
        Ok(())
    }
}

fn reverse<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    let mut items = items(list(args, 0)?)?;
    items.reverse();
    Ok(Value::list(items))
}

fn slice<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    let list = list(args, 0)?;
    let (Value::Int(start), Value::Int(end)) = (&args[1], &args[2]) else {
        return Err(CelError::no_overload().into());
    };
    let wrong = match () {
        () if *start < 0 || *end < 0 => "negative indexes not supported".to_owned(),
        () if start > end => "start index must be less than or equal to end index".to_owned(),
        () if *end > list.len() as i64 => format!("list is length {}", list.len()),
        () => {
            let items = (*start as usize..*end as usize).map(|i| list.get(i));
            return Ok(Value::list(items.collect::<Eval<_>>()?));
        }
    };
    Err(CelError::new(format!("cannot slice({start}, {end}), {wrong}")).into())
}

fn range<'a>(args: &[Value<'a>], remaining: u64) -> Step<Value<'a>> {
    let Value::Int(n) = &args[0] else {
        return Err(CelError::no_overload().into());
    };
    if *n > 0 && (*n as u64 > remaining || *n as usize > limits::LIST_ITEMS) {
        return Err(Fail::Halt(Halt::Cost));
    }
    Ok(Value::list((0..*n).map(Value::Int).collect()))
}

/// Flattens; checks its arguments itself.
pub(crate) fn flatten<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    let depth = match args.get(1) {
        None => 1,
        Some(Value::Int(depth)) => *depth,
        Some(_) => return Err(CelError::no_overload().into()),
    };
    if depth < 0 {
        return Err(CelError::new("level must be non-negative").into());
    }
    let mut out = Vec::new();
    flatten_into(list(args, 0)?, depth, &mut out)?;
    Ok(Value::list(out))
}

fn flatten_into<'a>(from: &List<'a>, depth: i64, out: &mut Vec<Value<'a>>) -> Step<()> {
    for item in items(from)? {
        match item {
            Value::List(inner) if depth > 0 => flatten_into(&inner, depth - 1, out)?,
            other => out.push(other),
        }
        if out.len() > limits::LIST_ITEMS {
            return Err(Fail::Halt(Halt::Cost));
        }
    }
    Ok(())
}

pub(crate) fn sort<'a>(args: &[Value<'a>], remaining: u64) -> Step<Value<'a>> {
    sorted(list(args, 0)?, list(args, 0)?, remaining)
}

pub(crate) fn sort_by_keys<'a>(args: &[Value<'a>], remaining: u64) -> Step<Value<'a>> {
    sorted(list(args, 0)?, list(args, 1)?, remaining)
}

fn sorted<'a>(list: &List<'a>, keys: &List<'a>, remaining: u64) -> Step<Value<'a>> {
    if list.len() != keys.len() {
        let text = format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, \
             but got {} and {} elements respectively",
            list.len(),
            keys.len()
        );
        return Err(CelError::new(text).into());
    }
    quadratic(list.len(), remaining)?;
    let keys = items(keys)?;
    let Some(first) = keys.first() else {
        return Ok(Value::List(list.clone()));
    };
    if !crate::call::Trait::Compare.of(first) {
        return Err(CelError::new("list elements must be comparable").into());
    }
    if keys.len() > 1 && keys.iter().any(|k| k.type_name() != first.type_name()) {
        return Err(CelError::new("list elements must have the same type").into());
    }
    let mut pairs: Vec<(Value<'a>, Value<'a>)> = keys.into_iter().zip(items(list)?).collect();
    pairs.sort_by(|a, b| order(&a.0, &b.0).unwrap_or(Ordering::Equal));
    Ok(Value::list(
        pairs.into_iter().map(|(_, item)| item).collect(),
    ))
}

fn end<'a>(args: &[Value<'a>], last: bool) -> Eval<Value<'a>> {
    let list = list(args, 0)?;
    if list.is_empty() {
        return Ok(Value::Optional(None));
    }
    Ok(Value::some(list.get(if last {
        list.len() - 1
    } else {
        0
    })?))
}

fn set_contains<'a>(args: &[Value<'a>], outer: usize, inner: usize) -> Eval<bool> {
    for item in items(list(args, inner)?)? {
        if !equal::contains(list(args, outer)?, &item)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn intersects<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    for item in items(list(args, 0)?)? {
        if equal::contains(list(args, 1)?, &item) == Ok(true) {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn of_non_zero<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    let zero = match &args[0] {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Int(i) => *i == 0,
        Value::Uint(u) => *u == 0,
        Value::Double(d) => *d == 0.0,
        Value::String(s) => s.is_empty(),
        Value::Bytes(b) => b.is_empty(),
        Value::Duration(d) => *d == 0,
        Value::Timestamp(t) => t.instant() == (-62_135_596_800, 0),
        // Views of declared JSON do not know about being zero.
        Value::List(list) => list.declaration().is_none() && list.is_empty(),
        Value::Map(map @ (Map::Raw(_) | Map::Owned(_))) => map.is_empty(),
        _ => false,
    };
    Ok(if zero {
        Value::Optional(None)
    } else {
        Value::some(args[0].clone())
    })
}

fn optional_value<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    match &args[0] {
        Value::Optional(Some(v)) => Ok(v.taken_out()?),
        _ => Err(CelError::new("optional.none() dereference").into()),
    }
}

fn unwrap<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    let mut out = Vec::new();
    for item in items(list(args, 0)?)? {
        match item {
            Value::Optional(o) => out.extend(o.as_deref().cloned()),
            other => {
                let other = crate::number::plain(&other);
                return Err(CelError::new(format!("value {other} is not optional")).into());
            }
        }
    }
    Ok(Value::list(out))
}
