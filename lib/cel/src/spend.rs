//! What a call costs at run time, to the unit as cel-go and Kubernetes count it.
//!
//! A call's rule depends only on its function and overload, so the planner picks a [`Spend`] once
//! and the evaluator applies it to the arguments. Costs of everything that is no call (names,
//! selections, lists, maps) are constants of the evaluator.

use crate::opaque::Opaque;
use crate::value::{Eval, Value};

/// Cost of one code point or byte that is looked at.
const TEXT: f64 = 0.1;
/// Cost of one code point of a regular expression, for each unit of text.
const REGEX: f64 = 0.25;
/// Cost of making a list.
pub(crate) const LIST: u64 = 10;
/// Cost of making a map.
pub(crate) const MAP: u64 = 30;

/// How the cost of a call follows from its arguments and its result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Spend {
    Fixed(u64),
    /// Walk over the first argument and everything in it.
    Traverse,
    /// Size of an argument times a factor.
    Text {
        arg: usize,
        passes: f64,
    },
    /// Size of the result, twice.
    Join,
    /// Text of the first argument against the expression of the second.
    Regex,
    ContainsIp {
        text: bool,
    },
    ContainsCidr {
        text: bool,
    },
    Validate,
    Equals,
    /// The smaller of two sizes.
    Smaller,
    InList,
    Add,
    ContainsText,
    /// One for each element of the result.
    ListOutput,
    Flatten,
    /// Each element of an argument against each.
    SelfCompare(usize),
    /// Each element of one list against each of the other, so many times.
    Sets(f64),
}

impl Spend {
    /// The rule for a call; `overload` is empty if it is only known at run time.
    pub(crate) fn of(function: &str, overload: &str) -> Self {
        if let Some(spend) = Self::of_list(overload) {
            return spend;
        }
        match function {
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
                return Self::Traverse;
            }
            "url"
            | "lowerAscii"
            | "upperAscii"
            | "substring"
            | "trim"
            | "jsonpatch.escapeKey"
            | "cidr"
            | "isIP"
            | "isCIDR"
            | "quantity"
            | "isQuantity"
            | "semver"
            | "isSemver" => {
                return Self::Text {
                    arg: 0,
                    passes: 1.0,
                };
            }
            "replace" | "split" | "ip.isCanonical" => {
                return Self::Text {
                    arg: 0,
                    passes: 2.0,
                };
            }
            "join" => return Self::Join,
            "find" | "findAll" => return Self::Regex,
            "ip" if overload != "cidr_ip" => {
                return Self::Text {
                    arg: 0,
                    passes: 1.0,
                };
            }
            "containsIP" => {
                return Self::ContainsIp {
                    text: overload == "cidr_contains_ip_string",
                };
            }
            "containsCIDR" => {
                return Self::ContainsCidr {
                    text: overload == "cidr_contains_cidr_string",
                };
            }
            "validate" => return Self::Validate,
            "check" => return Self::Fixed(350_000),
            _ => {}
        }
        match overload {
            "starts_with_string" | "ends_with_string" | "string_to_bytes" | "bytes_to_string"
            | "strings_quote" | "string_format" => Self::Text {
                arg: 0,
                passes: 1.0,
            },
            "in_list" => Self::InList,
            "equals" => Self::Equals,
            "not_equals" => Self::Smaller,
            "add_string" | "add_bytes" => Self::Add,
            "matches_string" => Self::Regex,
            "contains_string" => Self::ContainsText,
            _ if is_text_order(overload) => Self::Smaller,
            _ => Self::Fixed(1),
        }
    }

    fn of_list(overload: &str) -> Option<Self> {
        Some(match overload {
            "list_slice" | "lists_range" | "list_reverse" => Self::ListOutput,
            "list_flatten" | "list_flatten_int" => Self::Flatten,
            "list_distinct" => Self::SelfCompare(0),
            "list_sets_contains_list" | "list_sets_intersects_list" => Self::Sets(1.0),
            "list_sets_equivalent_list" => Self::Sets(2.0),
            _ if overload.starts_with("list_") && overload.ends_with("_sort") => {
                Self::SelfCompare(0)
            }
            _ if overload.ends_with("_sortByAssociatedKeys") => Self::SelfCompare(1),
            _ => return None,
        })
    }

    /// The cost of a call that was made with `args` and came to `result`; an argument that failed
    /// is `None`.
    pub(crate) fn cost(self, args: &[Option<&Value<'_>>], result: &Eval<Value<'_>>) -> u64 {
        let sized = |i: usize| plain_size(args.get(i).copied().flatten());
        let text = |i: usize| ceil(sized(i) as f64 * TEXT);
        match self {
            Self::Fixed(n) => n,
            Self::Traverse => args.first().map_or(0, |a| traversal(*a)),
            Self::Text { arg, passes } => ceil(sized(arg) as f64 * passes * TEXT),
            Self::Join => ceil(plain_size(result.as_ref().ok()) as f64 * 2.0 * TEXT),
            Self::Regex => {
                let text = ceil((1.0 + sized(0) as f64) * TEXT);
                text.saturating_mul(ceil(sized(1) as f64 * REGEX))
            }
            Self::ContainsIp { text: is_text } => {
                ceil((sized(0) * 2) as f64 * TEXT) + if is_text { text(1) } else { 0 }
            }
            Self::ContainsCidr { text: is_text } => {
                let masked = text(0) + 1;
                ceil((sized(0) * 2) as f64 * TEXT) + masked + if is_text { text(1) } else { 0 }
            }
            Self::Validate => validate(args),
            Self::Equals => match args.first() {
                Some(Some(Value::Opaque(_))) => 1,
                _ => smaller(args),
            },
            Self::Smaller => smaller(args),
            Self::InList => size(args.get(1).copied().flatten()),
            Self::Add => {
                let total: u64 = args.iter().map(|a| size(*a)).sum();
                ceil(total as f64 * TEXT)
            }
            Self::ContainsText => text(0).saturating_mul(text(1)),
            Self::ListOutput => list_call(1.0, plain_size(result.as_ref().ok())),
            Self::Flatten => {
                let depth = match args.get(1) {
                    Some(Some(Value::Int(depth))) => *depth as f64,
                    _ => 1.0,
                };
                list_call(depth, sized(0))
            }
            Self::SelfCompare(arg) => self_compare(args.get(arg).copied().flatten()),
            Self::Sets(passes) => {
                let product = sized(0).saturating_mul(sized(1));
                1_u64.saturating_add((product as f64 * passes) as u64)
            }
        }
    }
}

fn is_text_order(overload: &str) -> bool {
    let relation = overload
        .strip_suffix("_string")
        .or_else(|| overload.strip_suffix("_bytes"));
    matches!(
        relation,
        Some("less" | "less_equals" | "greater" | "greater_equals")
    )
}

fn ceil(x: f64) -> u64 {
    x.ceil() as u64
}

/// Size of a value, or one if it has none.
fn plain_size(value: Option<&Value<'_>>) -> u64 {
    match value {
        Some(Value::Opaque(o)) => o.size(),
        Some(v) => v.size().map_or(1, |n| n as u64),
        None => 1,
    }
}

/// The same, looking into optionals.
fn size(value: Option<&Value<'_>>) -> u64 {
    let mut value = value;
    while let Some(Value::Optional(Some(inner))) = value {
        value = Some(inner);
    }
    plain_size(value)
}

fn smaller(args: &[Option<&Value<'_>>]) -> u64 {
    let least = args.iter().map(|a| size(*a)).min().unwrap_or(1);
    ceil(least as f64 * TEXT)
}

fn list_call(factor: f64, size: u64) -> u64 {
    let scaled = size as f64 * factor;
    // A negative factor wraps around, as Go's conversion does on the machines that matter.
    let scaled = if scaled < 0.0 {
        scaled as i64 as u64
    } else {
        scaled as u64
    };
    scaled.wrapping_add(1 + LIST)
}

fn self_compare(list: Option<&Value<'_>>) -> u64 {
    let Some(Value::List(list)) = list else {
        return 1 + LIST;
    };
    let factor = match list.get(0) {
        Ok(Value::String(_) | Value::Bytes(_)) => 2.0 + TEXT,
        _ => 2.0,
    };
    let n = list.len() as u64;
    list_call(factor, n.saturating_mul(n))
}

fn validate(args: &[Option<&Value<'_>>]) -> u64 {
    let (Some(Some(Value::Opaque(format))), Some(text)) = (args.first(), args.get(1)) else {
        return 1;
    };
    let Opaque::Format(format) = &**format else {
        return 1;
    };
    let text = ceil((1.0 + plain_size(*text) as f64) * TEXT);
    text.saturating_mul(ceil(format.regex_size() as f64 * REGEX))
}

/// Cost of walking over a value and everything in it.
fn traversal(value: Option<&Value<'_>>) -> u64 {
    match value {
        Some(Value::String(s)) => (s.len() as f64 * TEXT) as u64,
        Some(Value::Bytes(b)) => (b.len() as f64 * TEXT) as u64,
        Some(Value::List(l)) => (0..l.len())
            .map(|i| traversal(l.get(i).as_ref().ok()))
            .sum(),
        Some(Value::Map(m)) => {
            let entry = |k: Value<'_>| traversal(m.at(&k).as_ref().ok()) + traversal(Some(&k));
            m.keys().into_iter().map(entry).sum()
        }
        _ => 1,
    }
}
