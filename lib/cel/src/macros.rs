//! The macros: calls that the parser replaces by comprehensions, presence tests or conditionals.
//!
//! Start at [`find`]. Expansions have to be node for node those of cel-go, because static and
//! runtime cost count the nodes. Which macros exist in which Kubernetes version is decided by
//! [`MacroSet`].

use crate::ast::{ACCUMULATOR, Expr, Fold, Id, Kind, Literal, OLD_ACCUMULATOR, op};
use crate::parser::{Parser, call};
use std::sync::Arc;

/// Which groups of macros an environment has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MacroSet {
    pub(crate) optional: bool,
    pub(crate) two_variables: bool,
    pub(crate) lists: bool,
}

/// The arguments of a macro are not what it needs.
pub(crate) struct MacroError {
    pub(crate) at: Id,
    pub(crate) message: String,
}

type Expanded = Result<Expr, MacroError>;
type Expand = fn(&mut Parser<'_>, Id, Option<Expr>, Vec<Expr>) -> Expanded;

/// The macro for a call of this shape, if there is one.
pub(crate) fn find(set: MacroSet, name: &str, args: usize, member: bool) -> Option<Expand> {
    let standard: Option<Expand> = match (name, args, member) {
        ("has", 1, false) => Some(has),
        ("all", 2, true) => Some(all),
        ("exists", 2, true) => Some(exists),
        ("exists_one", 2, true) => Some(exists_one),
        ("map", 2 | 3, true) => Some(map),
        ("filter", 2, true) => Some(filter),
        _ => None,
    };
    let optional: Option<Expand> = match (name, args, member) {
        ("optMap", 2, true) => Some(opt_map),
        ("optFlatMap", 2, true) => Some(opt_flat_map),
        _ => None,
    };
    let two: Option<Expand> = match (name, args, member) {
        ("all", 3, true) => Some(all),
        ("exists", 3, true) => Some(exists),
        ("existsOne" | "exists_one", 3, true) => Some(exists_one),
        ("transformList", 3 | 4, true) => Some(transform_list),
        ("transformMap", 3 | 4, true) => Some(transform_map),
        ("transformMapEntry", 3 | 4, true) => Some(transform_map_entry),
        _ => None,
    };
    let sort: Option<Expand> = if (name, args, member) == ("sortBy", 2, true) {
        Some(sort_by)
    } else {
        None
    };
    standard
        .or(optional.filter(|_| set.optional))
        .or(two.filter(|_| set.two_variables))
        .or(sort.filter(|_| set.lists))
}

/// Makes nodes at the place of the macro call.
struct Maker<'p, 's> {
    parser: &'p mut Parser<'s>,
    at: Id,
}

impl Maker<'_, '_> {
    fn make(&mut self, kind: Kind) -> Expr {
        Expr {
            id: self.parser.id_like(self.at),
            kind,
        }
    }

    fn ident(&mut self, name: &str) -> Expr {
        self.make(Kind::Ident(name.into()))
    }

    fn accu(&mut self) -> Expr {
        self.ident(ACCUMULATOR)
    }

    fn literal(&mut self, literal: Literal) -> Expr {
        self.make(Kind::Literal(literal))
    }

    fn call(&mut self, function: &str, args: Vec<Expr>) -> Expr {
        self.make(call(function, args))
    }

    fn member(&mut self, function: &str, target: Expr, args: Vec<Expr>) -> Expr {
        self.make(Kind::Call {
            target: Some(Box::new(target)),
            function: function.into(),
            args,
        })
    }

    fn list(&mut self, elements: Vec<Expr>) -> Expr {
        let optional = vec![false; elements.len()];
        self.make(Kind::List { elements, optional })
    }

    fn condition(&mut self, test: Expr, yes: Expr) -> Expr {
        let no = self.accu();
        self.call(op::CONDITIONAL, vec![test, yes, no])
    }

    fn copy(&mut self, expr: &Expr) -> Expr {
        let id = self.parser.id_like(expr.id);
        let mut copy = Expr {
            id,
            kind: Kind::Unspecified,
        };
        if self.parser.too_large() {
            return copy;
        }
        copy.kind = match &expr.kind {
            Kind::Select {
                operand,
                field,
                test_only,
            } => Kind::Select {
                operand: Box::new(self.copy(operand)),
                field: field.clone(),
                test_only: *test_only,
            },
            Kind::Call {
                target,
                function,
                args,
            } => Kind::Call {
                target: target.as_ref().map(|t| Box::new(self.copy(t))),
                function: function.clone(),
                args: args.iter().map(|a| self.copy(a)).collect(),
            },
            Kind::List { elements, optional } => Kind::List {
                elements: elements.iter().map(|e| self.copy(e)).collect(),
                optional: optional.clone(),
            },
            Kind::Map(entries) => Kind::Map(
                entries
                    .iter()
                    .map(|e| crate::ast::Entry {
                        key: self.copy(&e.key),
                        value: self.copy(&e.value),
                        optional: e.optional,
                    })
                    .collect(),
            ),
            Kind::Fold(f) => Kind::Fold(Box::new(Fold {
                range: self.copy(&f.range),
                iter: f.iter.clone(),
                iter2: f.iter2.clone(),
                accu: f.accu.clone(),
                init: self.copy(&f.init),
                condition: self.copy(&f.condition),
                step: self.copy(&f.step),
                result: self.copy(&f.result),
            })),
            other => other.clone(),
        };
        copy
    }
}

fn has(parser: &mut Parser<'_>, at: Id, _: Option<Expr>, mut args: Vec<Expr>) -> Expanded {
    let arg = args.remove(0);
    match arg.kind {
        Kind::Select { operand, field, .. } => {
            let mut maker = Maker { parser, at };
            Ok(maker.make(Kind::Select {
                operand,
                field,
                test_only: true,
            }))
        }
        _ => Err(MacroError {
            at: arg.id,
            message: "invalid argument to has() macro".into(),
        }),
    }
}

/// What a comprehension macro was called with.
struct Loop {
    target: Expr,
    iter: Arc<str>,
    iter2: Option<Arc<str>>,
    /// The arguments behind the variables, in reverse order.
    rest: Vec<Expr>,
    first: Expr,
}

/// Takes the range and the loop variables apart: one variable, or two if there are `two` of them.
fn loop_of(
    target: Option<Expr>,
    args: Vec<Expr>,
    two: bool,
    text: &str,
) -> Result<Loop, MacroError> {
    let mut args = args.into_iter();
    let (Some(target), Some(first)) = (target, args.next()) else {
        return Err(MacroError {
            at: 0,
            message: text.into(),
        });
    };
    let name = |e: &Expr| match &e.kind {
        Kind::Ident(name) => Ok(name.clone()),
        _ => Err(MacroError {
            at: e.id,
            message: text.into(),
        }),
    };
    let iter = name(&first)?;
    let mut iter2 = None;
    let hidden = |at: Id| MacroError {
        at,
        message: "iteration variable overwrites accumulator variable".into(),
    };
    if two && let Some(second) = args.next() {
        let other = name(&second)?;
        if other == iter {
            let message = format!("duplicate variable name: {iter}");
            return Err(MacroError {
                at: second.id,
                message,
            });
        }
        if &*iter != OLD_ACCUMULATOR && &*other == OLD_ACCUMULATOR {
            return Err(hidden(second.id));
        }
        iter2 = Some(other);
    }
    if &*iter == OLD_ACCUMULATOR {
        return Err(hidden(first.id));
    }
    let mut rest: Vec<Expr> = args.collect();
    rest.reverse();
    Ok(Loop {
        target,
        iter,
        iter2,
        rest,
        first,
    })
}

impl Loop {
    fn next(&mut self) -> Expr {
        // The number of arguments was matched by `find`.
        self.rest.pop().unwrap_or(Expr {
            id: self.first.id,
            kind: Kind::Unspecified,
        })
    }

    fn fold(
        self,
        m: &mut Maker<'_, '_>,
        init: Expr,
        condition: Expr,
        step: Expr,
        result: Expr,
    ) -> Expr {
        m.make(Kind::Fold(Box::new(Fold {
            range: self.target,
            iter: self.iter,
            iter2: self.iter2,
            accu: ACCUMULATOR.into(),
            init,
            condition,
            step,
            result,
        })))
    }
}

const SIMPLE_NAME: &str = "argument must be a simple name";
const IDENTIFIER: &str = "argument is not an identifier";

fn all(parser: &mut Parser<'_>, at: Id, target: Option<Expr>, args: Vec<Expr>) -> Expanded {
    let two = args.len() == 3;
    let mut l = loop_of(target, args, two, SIMPLE_NAME)?;
    let mut m = Maker { parser, at };
    let init = m.literal(Literal::Bool(true));
    let accu = m.accu();
    let condition = m.call(op::NOT_STRICTLY_FALSE, vec![accu]);
    let accu = m.accu();
    let step = m.call(op::AND, vec![accu, l.next()]);
    let result = m.accu();
    Ok(l.fold(&mut m, init, condition, step, result))
}

fn exists(parser: &mut Parser<'_>, at: Id, target: Option<Expr>, args: Vec<Expr>) -> Expanded {
    let two = args.len() == 3;
    let mut l = loop_of(target, args, two, SIMPLE_NAME)?;
    let mut m = Maker { parser, at };
    let init = m.literal(Literal::Bool(false));
    let accu = m.accu();
    let not = m.call(op::NOT, vec![accu]);
    let condition = m.call(op::NOT_STRICTLY_FALSE, vec![not]);
    let accu = m.accu();
    let step = m.call(op::OR, vec![accu, l.next()]);
    let result = m.accu();
    Ok(l.fold(&mut m, init, condition, step, result))
}

fn exists_one(parser: &mut Parser<'_>, at: Id, target: Option<Expr>, args: Vec<Expr>) -> Expanded {
    let two = args.len() == 3;
    let mut l = loop_of(target, args, two, SIMPLE_NAME)?;
    let mut m = Maker { parser, at };
    let init = m.literal(Literal::Int(0));
    let condition = m.literal(Literal::Bool(true));
    let (accu, one) = (m.accu(), m.literal(Literal::Int(1)));
    let more = m.call(op::ADD, vec![accu, one]);
    let step = m.condition(l.next(), more);
    let (accu, one) = (m.accu(), m.literal(Literal::Int(1)));
    let result = m.call(op::EQUALS, vec![accu, one]);
    Ok(l.fold(&mut m, init, condition, step, result))
}

/// Folds into a list: `[element]` is appended where `filter` holds.
fn append(mut l: Loop, m: &mut Maker<'_, '_>, filter: Option<Expr>, element: Option<Expr>) -> Expr {
    let element = element.unwrap_or_else(|| l.next());
    let init = m.list(Vec::new());
    let condition = m.literal(Literal::Bool(true));
    let accu = m.accu();
    let item = m.list(vec![element]);
    let mut step = m.call(op::ADD, vec![accu, item]);
    if let Some(filter) = filter {
        step = m.condition(filter, step);
    }
    let result = m.accu();
    l.fold(m, init, condition, step, result)
}

fn map(parser: &mut Parser<'_>, at: Id, target: Option<Expr>, args: Vec<Expr>) -> Expanded {
    let mut l = loop_of(target, args, false, IDENTIFIER)?;
    let filter = if l.rest.len() == 2 {
        Some(l.next())
    } else {
        None
    };
    Ok(append(l, &mut Maker { parser, at }, filter, None))
}

fn filter(parser: &mut Parser<'_>, at: Id, target: Option<Expr>, args: Vec<Expr>) -> Expanded {
    let mut l = loop_of(target, args, false, IDENTIFIER)?;
    let filter = l.next();
    let element = l.first.clone();
    Ok(append(
        l,
        &mut Maker { parser, at },
        Some(filter),
        Some(element),
    ))
}

fn transform_list(p: &mut Parser<'_>, at: Id, target: Option<Expr>, args: Vec<Expr>) -> Expanded {
    let mut l = loop_of(target, args, true, SIMPLE_NAME)?;
    let filter = if l.rest.len() == 2 {
        Some(l.next())
    } else {
        None
    };
    Ok(append(l, &mut Maker { parser: p, at }, filter, None))
}

fn insert(mut l: Loop, m: &mut Maker<'_, '_>, with_key: bool) -> Expr {
    let filter = if l.rest.len() == 2 {
        Some(l.next())
    } else {
        None
    };
    let transform = l.next();
    let mut args = vec![m.accu()];
    if with_key {
        args.push(m.ident(&l.iter));
    }
    args.push(transform);
    let mut step = m.call("cel.@mapInsert", args);
    if let Some(filter) = filter {
        step = m.condition(filter, step);
    }
    let init = m.make(Kind::Map(Vec::new()));
    let condition = m.literal(Literal::Bool(true));
    let result = m.accu();
    l.fold(m, init, condition, step, result)
}

fn transform_map(p: &mut Parser<'_>, at: Id, target: Option<Expr>, args: Vec<Expr>) -> Expanded {
    let l = loop_of(target, args, true, SIMPLE_NAME)?;
    Ok(insert(l, &mut Maker { parser: p, at }, true))
}

fn transform_map_entry(
    parser: &mut Parser<'_>,
    at: Id,
    target: Option<Expr>,
    args: Vec<Expr>,
) -> Expanded {
    let l = loop_of(target, args, true, SIMPLE_NAME)?;
    Ok(insert(l, &mut Maker { parser, at }, false))
}

/// A local variable: `init` as `name` within `result`.
fn bind(m: &mut Maker<'_, '_>, name: &Arc<str>, init: Expr, result: Expr) -> Expr {
    let range = m.list(Vec::new());
    let condition = m.literal(Literal::Bool(false));
    let step = m.ident(name);
    m.make(Kind::Fold(Box::new(Fold {
        range,
        iter: "#unused".into(),
        iter2: None,
        accu: name.clone(),
        init,
        condition,
        step,
        result,
    })))
}

/// `target.hasValue() ? present(value) : optional.none()`.
fn if_present(
    m: &mut Maker<'_, '_>,
    target: Option<Expr>,
    mut args: Vec<Expr>,
    wrap: bool,
) -> Expanded {
    let name = match (&args[0].kind, wrap) {
        (Kind::Ident(name), _) => name.clone(),
        (_, true) => return not_simple(&args[0], "optMap"),
        (_, false) => return not_simple(&args[0], "optFlatMap"),
    };
    let (Some(target), Some(result)) = (target, args.pop()) else {
        return not_simple(&args[0], "optMap");
    };
    let copy = m.copy(&target);
    let value = m.member("value", copy, Vec::new());
    let mut present = bind(m, &name, value, result);
    if wrap {
        present = m.call("optional.of", vec![present]);
    }
    let test = m.member("hasValue", target, Vec::new());
    let none = m.call("optional.none", Vec::new());
    Ok(m.call(op::CONDITIONAL, vec![test, present, none]))
}

fn not_simple(arg: &Expr, name: &str) -> Expanded {
    let message = format!("{name}() variable name must be a simple identifier");
    Err(MacroError {
        at: arg.id,
        message,
    })
}

fn opt_map(parser: &mut Parser<'_>, at: Id, target: Option<Expr>, args: Vec<Expr>) -> Expanded {
    if_present(&mut Maker { parser, at }, target, args, true)
}

fn opt_flat_map(p: &mut Parser<'_>, at: Id, target: Option<Expr>, args: Vec<Expr>) -> Expanded {
    if_present(&mut Maker { parser: p, at }, target, args, false)
}

fn sort_by(parser: &mut Parser<'_>, at: Id, target: Option<Expr>, args: Vec<Expr>) -> Expanded {
    const INPUT: &str = "@__sortBy_input__";
    let Some(target) = target else {
        return Err(MacroError {
            at,
            message: "sortBy needs a list".into(),
        });
    };
    if matches!(
        target.kind,
        Kind::Unspecified | Kind::Literal(_) | Kind::Map(_) | Kind::Struct { .. }
    ) {
        let message = "sortBy can only be applied to a list, identifier, comprehension, call or \
                       select expression";
        return Err(MacroError {
            at: target.id,
            message: message.into(),
        });
    }
    let mut m = Maker { parser, at };
    let input = m.ident(INPUT);
    let keys = map(m.parser, at, Some(input), args)?;
    let input = m.ident(INPUT);
    let sorted = m.member("@sortByAssociatedKeys", input, vec![keys]);
    Ok(bind(&mut m, &INPUT.into(), target, sorted))
}
