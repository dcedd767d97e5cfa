//! Declarations of functions and operators: which overloads there are, for the checker.
//!
//! The table is `functions.txt`, one overload a line: name, `.` for a method or `:` for a function,
//! id, parameters, result, and the Kubernetes minor version that introduced it (`@99`: only in
//! environments that ask for it). The order of the overloads of one name matters, it is cel-go's.
//! What the functions do is in [`crate::call`].

use crate::types::{OPTIONAL, Type};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// One overload of a function.
#[derive(Debug)]
pub(crate) struct Overload {
    pub(crate) id: &'static str,
    pub(crate) member: bool,
    pub(crate) args: Vec<Type>,
    pub(crate) result: Type,
    pub(crate) has_params: bool,
    pub(crate) since: u8,
}

/// A function: its overloads in the order in which they are tried.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) overloads: Vec<Overload>,
}

const TABLE: &str = include_str!("functions.txt");
/// Version of rows that only exist where the JSON patch library is asked for.
pub(crate) const JSON_PATCH: u8 = 99;

/// All functions by name.
pub(crate) fn all() -> &'static BTreeMap<&'static str, Function> {
    static ALL: OnceLock<BTreeMap<&'static str, Function>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut functions: BTreeMap<&'static str, Function> = BTreeMap::new();
        for (name, overload) in TABLE.lines().filter_map(row) {
            let function = functions.entry(name);
            let function = function.or_insert_with(|| Function {
                name,
                overloads: Vec::new(),
            });
            function.overloads.push(overload);
        }
        functions
    })
}

fn row(line: &'static str) -> Option<(&'static str, Overload)> {
    let (name, rest) = line.split_once(' ')?;
    let (style, rest) = rest.split_once(' ')?;
    let (id, rest) = rest.split_once(" (")?;
    let (rest, since) = rest.rsplit_once(" @")?;
    let (args, result) = rest
        .split_once(") ")
        .filter(|(a, _)| balanced(a))
        .or_else(|| {
            // A parameter list that itself contains parentheses ends at the last `) ` outside of
            // them.
            let at = closing(rest)?;
            Some((&rest[..at], rest[at + 1..].trim_start()))
        })?;
    let types = args.split("; ").filter(|a| !a.is_empty());
    let overload = Overload {
        id,
        member: style == ".",
        args: types.map(read_type).collect(),
        result: read_type(result),
        has_params: rest
            .chars()
            .zip(rest.chars().skip(1))
            .any(|(c, d)| matches!(c, 'A' | 'B' | 'K' | 'T' | 'V') && !d.is_ascii_alphabetic())
            || rest.ends_with(['A', 'B', 'K', 'T', 'V']),
        since: since.parse().ok()?,
    };
    Some((name, overload))
}

fn balanced(text: &str) -> bool {
    text.matches('(').count() == text.matches(')').count()
}

/// Offset of the `)` that closes a list whose `(` was just read.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return Some(at),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn read_type(text: &'static str) -> Type {
    let (name, inner) = match text.split_once('(') {
        Some((name, inner)) => (name, inner.strip_suffix(')').unwrap_or(inner)),
        None => (text, ""),
    };
    match name {
        "dyn" => Type::Dyn,
        "null" => Type::Null,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "duration" => Type::Duration,
        "timestamp" => Type::Timestamp,
        "list" => Type::list(read_type(inner)),
        "map" => {
            let (key, value) = inner.split_once(", ").unwrap_or((inner, "dyn"));
            Type::map(read_type(key), read_type(value))
        }
        "type" => Type::Type(Some(Arc::new(read_type(inner)))),
        OPTIONAL => Type::optional(read_type(inner)),
        "net.IP" | "net.CIDR" => Type::Opaque(name, Arc::from([])),
        _ if name.len() == 1 => Type::Param(name),
        _ => Type::Named(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_read() {
        let read: usize = all().values().map(|f| f.overloads.len()).sum();
        assert_eq!(read, TABLE.lines().count());
    }

    #[test]
    fn types_are_read_as_they_are_written() {
        for text in [
            "list(optional_type(V))",
            "map(K, list(string))",
            "type(A)",
            "net.IP",
        ] {
            assert_eq!(read_type(text).to_string(), text);
        }
        let index = &all()["_[_]"].overloads[1];
        assert_eq!((index.args.len(), index.has_params), (2, true));
        assert!(!all()["charAt"].overloads[0].has_params);
    }
}
