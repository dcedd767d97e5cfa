//! The syntax tree: what the parser makes, the checker annotates and the planner turns into a
//! program.
//!
//! Every node has an id, an index into the side tables (position here; type and overloads in the
//! checker). Macros are expanded while parsing, so a comprehension is always a [`Fold`].

use std::sync::Arc;

/// Index of a node in the side tables.
pub(crate) type Id = u32;

/// One node.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub(crate) id: Id,
    pub(crate) kind: Kind,
}

/// A constant as written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Stands where an error was reported.
    Unspecified,
    Literal(Literal),
    Ident(Arc<str>),
    Select {
        operand: Box<Expr>,
        field: Arc<str>,
        test_only: bool,
    },
    Call {
        target: Option<Box<Expr>>,
        function: Arc<str>,
        args: Vec<Expr>,
    },
    List {
        elements: Vec<Expr>,
        optional: Vec<bool>,
    },
    Map(Vec<Entry>),
    Struct {
        name: Arc<str>,
        /// The values of the fields.
        fields: Vec<Expr>,
    },
    Fold(Box<Fold>),
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Expr,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// A comprehension: fold `range` into `accu`, then compute `result`.
#[derive(Debug, Clone)]
pub(crate) struct Fold {
    pub(crate) range: Expr,
    pub(crate) iter: Arc<str>,
    pub(crate) iter2: Option<Arc<str>>,
    pub(crate) accu: Arc<str>,
    pub(crate) init: Expr,
    pub(crate) condition: Expr,
    pub(crate) step: Expr,
    pub(crate) result: Expr,
}

impl Fold {
    /// Whether this is only a local variable: an empty range whose loop never runs.
    pub(crate) fn is_bind(&self) -> bool {
        matches!(&self.range.kind, Kind::List { elements, .. } if elements.is_empty())
            && matches!(self.condition.kind, Kind::Literal(Literal::Bool(false)))
            && &*self.accu != ACCUMULATOR
    }
}

/// Name of the accumulator in the comprehensions of the macros; no expression can spell it.
pub(crate) const ACCUMULATOR: &str = "@result";
/// Its name in earlier times, which loop variables still cannot have.
pub(crate) const OLD_ACCUMULATOR: &str = "__result__";

/// Names of operators as functions.
pub(crate) mod op {
    pub(crate) const CONDITIONAL: &str = "_?_:_";
    pub(crate) const AND: &str = "_&&_";
    pub(crate) const OR: &str = "_||_";
    pub(crate) const NOT: &str = "!_";
    pub(crate) const NEGATE: &str = "-_";
    pub(crate) const EQUALS: &str = "_==_";
    pub(crate) const NOT_EQUALS: &str = "_!=_";
    pub(crate) const ADD: &str = "_+_";
    pub(crate) const INDEX: &str = "_[_]";
    pub(crate) const OPT_INDEX: &str = "_[?_]";
    pub(crate) const OPT_SELECT: &str = "_?._";
    pub(crate) const NOT_STRICTLY_FALSE: &str = "@not_strictly_false";
}

impl Expr {
    /// The dotted name that this node spells, if it is a chain of plain selections from a name.
    pub(crate) fn qualified_name(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.to_string()),
            Kind::Select {
                operand,
                field,
                test_only: false,
            } => {
                let mut name = operand.qualified_name()?;
                name.push('.');
                name.push_str(field);
                Some(name)
            }
            _ => None,
        }
    }

    pub(crate) fn as_string_literal(&self) -> Option<&Arc<str>> {
        match &self.kind {
            Kind::Literal(Literal::String(s)) => Some(s),
            _ => None,
        }
    }

    /// Calls `visit` on this node and then on everything below it, in source order.
    pub(crate) fn walk<'e>(&'e self, visit: &mut dyn FnMut(&'e Expr)) {
        visit(self);
        self.children(&mut |child| child.walk(visit));
    }

    pub(crate) fn children<'e>(&'e self, each: &mut dyn FnMut(&'e Expr)) {
        match &self.kind {
            Kind::Unspecified | Kind::Literal(_) | Kind::Ident(_) => {}
            Kind::Select { operand, .. } => each(operand),
            Kind::Call { target, args, .. } => {
                target.iter().for_each(|t| each(t));
                args.iter().for_each(each);
            }
            Kind::List { elements, .. } => elements.iter().for_each(each),
            Kind::Map(entries) => entries.iter().for_each(|e| {
                each(&e.key);
                each(&e.value);
            }),
            Kind::Struct { fields, .. } => fields.iter().for_each(each),
            Kind::Fold(f) => {
                for e in [&f.range, &f.init, &f.condition, &f.step, &f.result] {
                    each(e);
                }
            }
        }
    }
}
