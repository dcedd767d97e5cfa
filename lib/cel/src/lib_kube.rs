//! Kubernetes' own functions: URLs, addresses, quantities, versions, named formats, JSON patch
//! keys.

use crate::call::Run;
use crate::eval::Step;
use crate::lib_text::text;
use crate::named;
use crate::net::{self, Cidr};
use crate::opaque::Opaque;
use crate::quantity::{self, Quantity};
use crate::semver::{self, Semver};
use crate::url::{self, Url};
use crate::value::{CelError, Eval, Key, Map, Text, Value};
use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

/// Implementations by overload.
pub(crate) fn find(overload: &str) -> Option<Run> {
    if let Some(name) = overload.strip_prefix("format.") {
        return named_format(name);
    }
    urls(overload)
        .or_else(|| addresses(overload))
        .or_else(|| quantities(overload))
        .or_else(|| versions(overload))
        .or(match overload {
            "format-named" => Some(|a, _| {
                let format = named::find(text(a, 0)?);
                Ok(Value::Optional(
                    format.map(|f| Arc::new(Value::opaque(Opaque::Format(f)))),
                ))
            }),
            "format-validate" => Some(validate),
            "string_jsonpatch_escapeKey_string" => Some(|a, _| {
                Ok(Value::text(
                    text(a, 0)?.replace('~', "~0").replace('/', "~1"),
                ))
            }),
            _ => None,
        })
}

fn named_format(name: &str) -> Option<Run> {
    macro_rules! formats {
        ($($i:literal)*) => {
            [$((|_, _| Ok(Value::opaque(Opaque::Format(&named::FORMATS[$i])))) as Run),*]
        };
    }
    let runs: [Run; 13] = formats!(0 1 2 3 4 5 6 7 8 9 10 11 12);
    runs.get(named::FORMATS.iter().position(|f| f.function == name)?)
        .copied()
}

fn validate<'a>(args: &[Value<'a>], _: u64) -> Step<Value<'a>> {
    let Value::Opaque(format) = &args[0] else {
        return Err(CelError::no_overload().into());
    };
    let Opaque::Format(format) = &**format else {
        return Err(CelError::no_overload().into());
    };
    let wrong = format.check(text(args, 1)?);
    if wrong.is_empty() {
        return Ok(Value::Optional(None));
    }
    Ok(Value::some(Value::list(
        wrong.into_iter().map(Value::text).collect(),
    )))
}

// === URLs ===

fn of_url<'v>(args: &'v [Value<'_>]) -> Eval<&'v Url> {
    match args.first() {
        Some(Value::Opaque(o)) => match &**o {
            Opaque::Url(u) => Ok(u),
            _ => Err(CelError::no_overload()),
        },
        _ => Err(CelError::no_overload()),
    }
}

fn urls(overload: &str) -> Option<Run> {
    Some(match overload {
        "string_to_url" => |a, _| match url::parse(text(a, 0)?) {
            Ok(u) => Ok(Value::opaque(Opaque::Url(u))),
            Err(why) => {
                let text = format!("URL parse error during conversion from string: {why}");
                Err(CelError::new(text).into())
            }
        },
        "is_url_string" => |a, _| Ok(Value::Bool(url::parse(text(a, 0)?).is_ok())),
        "url_get_scheme" => |a, _| Ok(Value::text(of_url(a)?.scheme.as_str())),
        "url_get_host" => |a, _| Ok(Value::text(of_url(a)?.host.as_str())),
        "url_get_hostname" => |a, _| Ok(Value::text(of_url(a)?.hostname())),
        "url_get_port" => |a, _| Ok(Value::text(of_url(a)?.port())),
        "url_get_escaped_path" => |a, _| Ok(Value::text(of_url(a)?.escaped_path())),
        "url_get_query" => |a, _| {
            let entry = |(key, values): (String, Vec<String>)| {
                let values = values.into_iter().map(Value::text).collect();
                (Key::String(Text::Owned(key.into())), Value::list(values))
            };
            let query = of_url(a)?.parameters().into_iter().map(entry).collect();
            Ok(Value::Map(Map::Owned(Arc::new(query))))
        },
        _ => return None,
    })
}

// === addresses ===

fn of_ip(args: &[Value<'_>], i: usize) -> Eval<IpAddr> {
    match args.get(i) {
        Some(Value::Opaque(o)) => match &**o {
            Opaque::Ip(a) => Ok(*a),
            _ => Err(CelError::no_overload()),
        },
        _ => Err(CelError::no_overload()),
    }
}

fn of_cidr(args: &[Value<'_>], i: usize) -> Eval<Cidr> {
    match args.get(i) {
        Some(Value::Opaque(o)) => match &**o {
            Opaque::Cidr(c) => Ok(*c),
            _ => Err(CelError::no_overload()),
        },
        _ => Err(CelError::no_overload()),
    }
}

fn parsed_ip(text: &str) -> Eval<IpAddr> {
    net::parse_ip(text).map_err(CelError::new)
}

fn parsed_cidr(text: &str) -> Eval<Cidr> {
    net::parse_cidr(text).map_err(|why| {
        CelError::new(format!(
            "network address parse error during conversion from string: {why}"
        ))
    })
}

fn addresses(overload: &str) -> Option<Run> {
    Some(match overload {
        "string_to_ip" => |a, _| Ok(Value::opaque(Opaque::Ip(parsed_ip(text(a, 0)?)?))),
        "is_ip" => |a, _| Ok(Value::Bool(net::parse_ip(text(a, 0)?).is_ok())),
        "ip_to_string" => |a, _| Ok(Value::text(of_ip(a, 0)?.to_string())),
        "ip_is_canonical" => |a, _| {
            let text = text(a, 0)?;
            Ok(Value::Bool(parsed_ip(text)?.to_string() == text))
        },
        "ip_family" => |a, _| Ok(Value::Int(if of_ip(a, 0)?.is_ipv4() { 4 } else { 6 })),
        "ip_is_unspecified" => |a, _| Ok(Value::Bool(of_ip(a, 0)?.is_unspecified())),
        "ip_is_loopback" => |a, _| Ok(Value::Bool(of_ip(a, 0)?.is_loopback())),
        "ip_is_link_local_multicast" => {
            |a, _| Ok(Value::Bool(net::is_link_local_multicast(of_ip(a, 0)?)))
        }
        "ip_is_link_local_unicast" => {
            |a, _| Ok(Value::Bool(net::is_link_local_unicast(of_ip(a, 0)?)))
        }
        "ip_is_global_unicast" => |a, _| Ok(Value::Bool(net::is_global_unicast(of_ip(a, 0)?))),
        "string_to_cidr" => |a, _| Ok(Value::opaque(Opaque::Cidr(parsed_cidr(text(a, 0)?)?))),
        "is_cidr" => |a, _| Ok(Value::Bool(net::parse_cidr(text(a, 0)?).is_ok())),
        "cidr_to_string" => |a, _| Ok(Value::text(of_cidr(a, 0)?.to_string())),
        "cidr_ip" => |a, _| Ok(Value::opaque(Opaque::Ip(of_cidr(a, 0)?.address))),
        "cidr_prefix_length" => |a, _| Ok(Value::Int(i64::from(of_cidr(a, 0)?.bits))),
        "cidr_masked" => |a, _| Ok(Value::opaque(Opaque::Cidr(of_cidr(a, 0)?.masked()))),
        "cidr_contains_ip_ip" => |a, _| Ok(Value::Bool(of_cidr(a, 0)?.contains(of_ip(a, 1)?))),
        // What cannot be read is no address, and that is all that is said about it.
        "cidr_contains_ip_string" => |a, _| {
            let address = parsed_ip(text(a, 1)?).map_err(|_| CelError::no_overload())?;
            Ok(Value::Bool(of_cidr(a, 0)?.contains(address)))
        },
        "cidr_contains_cidr" => |a, _| {
            Ok(Value::Bool(
                of_cidr(a, 0)?.contains_network(&of_cidr(a, 1)?),
            ))
        },
        "cidr_contains_cidr_string" => |a, _| {
            let other = parsed_cidr(text(a, 1)?)?;
            Ok(Value::Bool(of_cidr(a, 0)?.contains_network(&other)))
        },
        _ => return None,
    })
}

// === quantities ===

fn of_quantity<'v>(args: &'v [Value<'_>], i: usize) -> Eval<&'v Quantity> {
    match args.get(i) {
        Some(Value::Opaque(o)) => match &**o {
            Opaque::Quantity(q) => Ok(q),
            _ => Err(CelError::no_overload()),
        },
        _ => Err(CelError::no_overload()),
    }
}

fn compared_quantities(args: &[Value<'_>]) -> Eval<Ordering> {
    Ok(of_quantity(args, 0)?.compare(of_quantity(args, 1)?))
}

fn added<'a>(args: &[Value<'a>], negate: bool) -> Step<Value<'a>> {
    let other = match args.get(1) {
        Some(Value::Int(n)) => Quantity::from_int(*n),
        _ => of_quantity(args, 1)?.clone(),
    };
    let other = if negate { other.negated() } else { other };
    match of_quantity(args, 0)?.plus(&other) {
        Some(sum) => Ok(Value::opaque(Opaque::Quantity(sum))),
        None => Err(CelError::new("quantities are too far apart to be added").into()),
    }
}

fn quantities(overload: &str) -> Option<Run> {
    Some(match overload {
        "string_to_quantity" => |a, _| {
            let quantity = quantity::parse(text(a, 0)?).map_err(CelError::new)?;
            Ok(Value::opaque(Opaque::Quantity(quantity)))
        },
        "is_quantity_string" => |a, _| Ok(Value::Bool(quantity::parse(text(a, 0)?).is_ok())),
        "quantity_sign" => |a, _| Ok(Value::Int(of_quantity(a, 0)?.sign())),
        "quantity_is_greater_than" => |a, _| Ok(Value::Bool(compared_quantities(a)?.is_gt())),
        "quantity_is_less_than" => |a, _| Ok(Value::Bool(compared_quantities(a)?.is_lt())),
        "quantity_compare_to" => |a, _| Ok(Value::Int(compared_quantities(a)? as i64)),
        "quantity_get_float" => |a, _| Ok(Value::Double(of_quantity(a, 0)?.as_double())),
        "quantity_get_int" => |a, _| match of_quantity(a, 0)?.as_int() {
            Some(n) => Ok(Value::Int(n)),
            None => Err(CelError::new("cannot convert value to integer").into()),
        },
        "quantity_is_integer" => |a, _| Ok(Value::Bool(of_quantity(a, 0)?.as_int().is_some())),
        "quantity_add" | "quantity_add_int" => |a, _| added(a, false),
        "quantity_sub" | "quantity_sub_int" => |a, _| added(a, true),
        _ => return None,
    })
}

// === versions ===

fn of_semver<'v>(args: &'v [Value<'_>], i: usize) -> Eval<&'v Semver> {
    match args.get(i) {
        Some(Value::Opaque(o)) => match &**o {
            Opaque::Semver(v) => Ok(v),
            _ => Err(CelError::no_overload()),
        },
        _ => Err(CelError::no_overload()),
    }
}

fn parsed_semver(args: &[Value<'_>]) -> Eval<Result<Semver, String>> {
    let text = text(args, 0)?;
    Ok(match args.get(1) {
        Some(Value::Bool(true)) => semver::parse_normalized(text),
        _ => semver::parse(text),
    })
}

fn compared_versions(args: &[Value<'_>]) -> Eval<Ordering> {
    Ok(of_semver(args, 0)?.compare(of_semver(args, 1)?))
}

fn versions(overload: &str) -> Option<Run> {
    Some(match overload {
        "string_to_semver" | "string_bool_to_semver" => |a, _| {
            let version = parsed_semver(a)?.map_err(CelError::new)?;
            Ok(Value::opaque(Opaque::Semver(version)))
        },
        "is_semver_string" | "is_semver_string_bool" => {
            |a, _| Ok(Value::Bool(parsed_semver(a)?.is_ok()))
        }
        "semver_is_greater_than" => |a, _| Ok(Value::Bool(compared_versions(a)?.is_gt())),
        "semver_is_less_than" => |a, _| Ok(Value::Bool(compared_versions(a)?.is_lt())),
        "semver_compare_to" => |a, _| Ok(Value::Int(compared_versions(a)? as i64)),
        "semver_major" => |a, _| Ok(Value::Int(of_semver(a, 0)?.major as i64)),
        "semver_minor" => |a, _| Ok(Value::Int(of_semver(a, 0)?.minor as i64)),
        "semver_patch" => |a, _| Ok(Value::Int(of_semver(a, 0)?.patch as i64)),
        _ => return None,
    })
}
