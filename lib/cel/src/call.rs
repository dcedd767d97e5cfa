//! Functions at run time: which implementation an overload has, and what guards it.
//!
//! Start at [`binding`] and [`singleton`]. An implementation takes values of the right number;
//! whether their types are right is asked by its guard ([`Style`]), whose error texts clients see.
//! The implementations are in `lib_*`; this file only connects ids with them.

use crate::eval;
use crate::types::Type;
use crate::value::{CelError, Eval, Key, List, Map, Value};
use regex::Regex;
use std::collections::BTreeMap;

/// An implementation: arguments and the cost that is left, for those that make large results.
pub(crate) type Run = for<'a> fn(&[Value<'a>], u64) -> eval::Step<Value<'a>>;

/// What is asked of the arguments before the implementation is called.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Style {
    /// They have the declared types.
    Guarded,
    /// Nothing; the implementation asks itself.
    Open,
    /// The first can do this.
    Trait(Trait),
}

/// An overload's implementation.
#[derive(Clone, Copy)]
pub(crate) struct Binding {
    pub(crate) style: Style,
    pub(crate) run: Run,
    /// Whether arguments are evaluated only up to the first error even if there are only two.
    pub(crate) sequential: bool,
}

/// An overload that is chosen by the values.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) args: &'static [Type],
    pub(crate) run: Run,
}

/// What a kind of value can do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trait {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Negate,
    Compare,
    Size,
    Match,
    List,
}

impl Trait {
    pub(crate) fn of(self, v: &Value<'_>) -> bool {
        use Value::{Bool, Bytes, Double, Duration, Int, List, Map, String, Timestamp, Uint};
        match self {
            Self::Add => matches!(
                v,
                Bytes(_)
                    | Double(_)
                    | Duration(_)
                    | Int(_)
                    | List(_)
                    | String(_)
                    | Timestamp(_)
                    | Uint(_)
            ),
            Self::Subtract => {
                matches!(v, Double(_) | Duration(_) | Int(_) | Timestamp(_) | Uint(_))
            }
            Self::Multiply | Self::Divide => matches!(v, Double(_) | Int(_) | Uint(_)),
            Self::Modulo => matches!(v, Int(_) | Uint(_)),
            Self::Negate => matches!(v, Bool(_) | Double(_) | Duration(_) | Int(_)),
            Self::Compare => matches!(
                v,
                Bool(_)
                    | Bytes(_)
                    | Double(_)
                    | Duration(_)
                    | Int(_)
                    | String(_)
                    | Timestamp(_)
                    | Uint(_)
            ),
            Self::Size => matches!(v, Bytes(_) | List(_) | Map(_) | String(_)),
            Self::Match => matches!(v, String(_)),
            Self::List => matches!(v, List(_)),
        }
    }
}

/// The implementation that all overloads of a function share, if they do.
pub(crate) fn singleton(function: &str) -> Option<Binding> {
    use crate::{lib_list as list, lib_std as std_};
    let with = |t: Trait, run: Run| {
        Some(Binding {
            style: Style::Trait(t),
            run,
            sequential: false,
        })
    };
    let open = |run: Run| {
        Some(Binding {
            style: Style::Open,
            run,
            sequential: false,
        })
    };
    match function {
        "_+_" => with(Trait::Add, std_::add),
        "_-_" => with(Trait::Subtract, std_::subtract),
        "_*_" => with(Trait::Multiply, std_::multiply),
        "_/_" => with(Trait::Divide, std_::divide),
        "_%_" => with(Trait::Modulo, std_::modulo),
        "-_" => with(Trait::Negate, std_::negate),
        "_<_" => with(Trait::Compare, std_::less),
        "_<=_" => with(Trait::Compare, std_::less_equals),
        "_>_" => with(Trait::Compare, std_::greater),
        "_>=_" => with(Trait::Compare, std_::greater_equals),
        "!_" => open(std_::not),
        "@in" => open(std_::is_in),
        "size" => with(Trait::Size, std_::size),
        "type" => open(std_::type_of),
        "dyn" => open(std_::identity),
        "matches" => with(Trait::Match, crate::lib_text::matches),
        "sort" => with(Trait::List, list::sort),
        "@sortByAssociatedKeys" => with(Trait::List, list::sort_by_keys),
        _ => None,
    }
}

/// The implementation of one overload.
pub(crate) fn binding(overload: &str) -> Option<Binding> {
    let guarded = |run: Run| {
        Some(Binding {
            style: Style::Guarded,
            run,
            sequential: false,
        })
    };
    match overload {
        "contains_string" | "starts_with_string" | "ends_with_string" => {
            return crate::lib_text::standard(overload).map(|run| Binding {
                style: Style::Open,
                run,
                sequential: false,
            });
        }
        "string_format" => {
            let run = crate::lib_format::format;
            return Some(Binding {
                style: Style::Guarded,
                run,
                sequential: true,
            });
        }
        "list_flatten" | "list_flatten_int" => {
            let run = crate::lib_list::flatten;
            return Some(Binding {
                style: Style::Open,
                run,
                sequential: false,
            });
        }
        _ => {}
    }
    let run = crate::lib_std::find(overload)
        .or_else(|| crate::lib_text::find(overload))
        .or_else(|| crate::lib_list::find(overload))
        .or_else(|| crate::lib_kube::find(overload))
        .or_else(|| authorizer(overload))?;
    guarded(run)
}

/// Whether an overload can be called at all: declared ones without implementation do not exist
/// here.
pub(crate) fn exists(function: &str, overload: &str) -> bool {
    use crate::ast::op;
    const OPERATORS: [&str; 11] = [
        op::AND,
        op::OR,
        op::EQUALS,
        op::NOT_EQUALS,
        op::CONDITIONAL,
        op::INDEX,
        op::OPT_INDEX,
        op::OPT_SELECT,
        "or",
        "orValue",
        "cel.@mapInsert",
    ];
    OPERATORS.contains(&function) || singleton(function).is_some() || binding(overload).is_some()
}

/// The functions of the authorizer are declared, so that misusing them is refused with the right
/// text. There are no values of its types here: their guard never lets a call through.
fn authorizer(overload: &str) -> Option<Run> {
    let of = [
        "authorizer_",
        "resourcecheck_",
        "groupcheck_",
        "pathcheck_",
        "decision_",
    ];
    if !of.iter().any(|prefix| overload.starts_with(prefix)) {
        return None;
    }
    Some(|_, _| Err(CelError::no_overload().into()))
}

/// Conversions of constants happen while planning.
pub(crate) fn is_conversion(function: &str) -> bool {
    matches!(
        function,
        "bool"
            | "bytes"
            | "double"
            | "duration"
            | "dyn"
            | "int"
            | "string"
            | "timestamp"
            | "type"
            | "uint"
    )
}

/// Whether the second argument is a regular expression, compiled once if it is a constant.
pub(crate) fn takes_regex(function: &str) -> bool {
    matches!(function, "matches" | "find" | "findAll")
}

pub(crate) fn run_regex<'a>(
    function: &str,
    regex: &Regex,
    args: &[Value<'a>],
) -> eval::Step<Value<'a>> {
    let Some(Value::String(text)) = args.first() else {
        return Err(CelError::no_overload().into());
    };
    Ok(match function {
        "find" => crate::lib_text::found(regex, text),
        "findAll" => crate::lib_text::found_all(regex, text, -1),
        _ => Value::Bool(regex.is_match(text)),
    })
}

/// Whether values may be given for parameters of these types.
pub(crate) fn fits(types: &[Type], args: &[Value<'_>]) -> bool {
    types.len() == args.len() && types.iter().zip(args).all(|(t, v)| fit(t, v))
}

fn fit(t: &Type, v: &Value<'_>) -> bool {
    match (t, v) {
        (Type::Dyn | Type::Param(_), _) => true,
        (Type::List(item), Value::List(list)) => {
            list.is_empty() || list.get(0).is_ok_and(|first| fit(item, &first))
        }
        (Type::Map(types), Value::Map(map)) => {
            let Some(key) = map.keys().into_iter().next() else {
                return true;
            };
            let value = map.find(&key);
            fit(&types.0, &key) && matches!(value, Ok(Some(v)) if fit(&types.1, &v))
        }
        _ => t.runtime_name() == v.type_name(),
    }
}

pub(crate) fn no_such_overload(function: &str, args: &[Value<'_>]) -> CelError {
    let types: Vec<&str> = args.iter().map(Value::type_name).collect();
    CelError::new(format!(
        "no such overload: {function}({})",
        types.join(", ")
    ))
}

/// The first argument cannot do what the function needs. Some kinds answer for themselves.
pub(crate) fn lacks_trait(function: &str, args: &[Value<'_>]) -> CelError {
    match args.first() {
        Some(Value::String(_) | Value::Duration(_) | Value::Timestamp(_)) => {
            CelError::no_overload()
        }
        _ => CelError::new(format!("no such overload: {function}")),
    }
}

/// A number as an index into a list.
pub(crate) fn list_index(key: &Value<'_>) -> Eval<i64> {
    let unsupported = || {
        let key = crate::number::plain(key);
        CelError::new(format!("unsupported index value {key} in list"))
    };
    match key {
        Value::Int(i) => Ok(*i),
        Value::Uint(u) => i64::try_from(*u).map_err(|_| unsupported()),
        Value::Double(d) => {
            let int = crate::number::double_to_int(*d).filter(|i| *i as f64 == *d);
            int.ok_or_else(unsupported)
        }
        other => Err(CelError::new(format!(
            "unsupported index type '{}' in list",
            other.type_name()
        ))),
    }
}

pub(crate) fn has_key<'a>(map: &BTreeMap<Key<'a>, Value<'a>>, key: &Value<'a>) -> bool {
    Map::has_owned(map, key)
}

/// The elements of a list, which has to be one.
pub(crate) fn items<'a>(list: &List<'a>) -> Eval<Vec<Value<'a>>> {
    (0..list.len()).map(|i| list.get(i)).collect()
}
