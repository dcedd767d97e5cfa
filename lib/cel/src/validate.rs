//! What type-checks and is refused all the same: literals that cannot be what they are given as,
//! and lists and maps of mixed types.

use crate::ast::{Expr, Kind, Literal};
use crate::check::Checked;
use crate::issue::{Issues, Source};
use crate::time;
use crate::types::Type;

/// Reports what is wrong.
pub(crate) fn validate(checked: &Checked, source: &Source, issues: &mut Issues) {
    let mut found: Vec<(u32, String)> = Vec::new();
    checked.root.walk(&mut |e| check_literal(e, &mut found));
    walk_aggregates(&checked.root, false, &mut |e| {
        check_types(checked, e, &mut found)
    });
    checked
        .root
        .walk(&mut |e| crate::lib_format::validate(checked, e, &mut found));
    for (id, message) in found {
        let at = checked
            .positions
            .get(id as usize)
            .map(|offset| source.location(*offset));
        issues.report(at, message);
    }
}

fn check_literal(e: &Expr, found: &mut Vec<(u32, String)>) {
    let Kind::Call { function, args, .. } = &e.kind else {
        return;
    };
    let Some(Expr {
        id,
        kind: Kind::Literal(literal),
    }) = args.first()
    else {
        return;
    };
    let fine = match (&**function, literal) {
        ("duration", Literal::String(s)) => time::parse_duration(s).is_some(),
        ("duration", _) => false,
        ("timestamp", Literal::String(s)) => matches!(time::parse_timestamp(s), Ok(Some(_))),
        ("timestamp", Literal::Int(i)) => time::Timestamp::from_seconds(*i).is_ok(),
        ("matches", Literal::String(s)) => crate::pattern::compile(s).is_ok(),
        _ => true,
    };
    if !fine {
        found.push((*id, format!("invalid {function} argument")));
    }
}

/// Visits lists and maps, except those within the arguments of `format`.
fn walk_aggregates<'e>(e: &'e Expr, exempt: bool, visit: &mut dyn FnMut(&'e Expr)) {
    if !exempt && matches!(e.kind, Kind::List { .. } | Kind::Map(_)) {
        visit(e);
    }
    let exempt =
        exempt || matches!(&e.kind, Kind::Call { function, .. } if &**function == "format");
    e.children(&mut |child| walk_aggregates(child, exempt, visit));
}

fn check_types(checked: &Checked, e: &Expr, found: &mut Vec<(u32, String)>) {
    let inner = |e: &Expr, optional: bool| {
        let t = checked.type_of(e);
        if optional {
            t.unwrap_optional().unwrap_or(t).clone()
        } else {
            t.clone()
        }
    };
    let mismatch = |e: &Expr, expected: &Type, t: &Type| {
        (e.id, format!("expected type '{expected}' but found '{t}'"))
    };
    match &e.kind {
        Kind::List { elements, optional } => {
            let mut expected: Option<Type> = None;
            for (element, optional) in elements.iter().zip(optional) {
                let t = inner(element, *optional);
                match &expected {
                    None => expected = Some(t),
                    Some(x) if x.same(&t, true) => {}
                    Some(x) => {
                        found.push(mismatch(element, x, &t));
                        break;
                    }
                }
            }
        }
        Kind::Map(entries) => {
            let mut expected: Option<(Type, Type)> = None;
            for entry in entries {
                let key = inner(&entry.key, false);
                let value = inner(&entry.value, entry.optional);
                let Some((k, v)) = &expected else {
                    expected = Some((key, value));
                    continue;
                };
                if !k.same(&key, true) {
                    found.push(mismatch(&entry.key, k, &key));
                }
                if !v.same(&value, true) {
                    found.push(mismatch(&entry.value, v, &value));
                }
            }
        }
        _ => {}
    }
}
