//! Types of expressions, and when one may stand for another.
//!
//! [`Type`] is what the checker computes with; [`Unifier`] holds what is known about its type
//! variables. Variables are numbered; a failed attempt is rolled back through a trail, so resolving
//! an overload costs no copies. Names are printed as cel-go prints them in error messages.

use crate::decl::ObjectType;
use std::fmt;
use std::sync::Arc;

/// The type of an expression.
#[derive(Debug, Clone)]
pub enum Type {
    /// Decided at run time.
    Dyn,
    /// Stands where an error was already reported.
    Error,
    /// `null_type`.
    Null,
    /// `bool`.
    Bool,
    /// `int`, 64 bits.
    Int,
    /// `uint`, 64 bits.
    Uint,
    /// `double`.
    Double,
    /// `string`.
    String,
    /// `bytes`.
    Bytes,
    /// `google.protobuf.Duration`.
    Duration,
    /// `google.protobuf.Timestamp`.
    Timestamp,
    /// `list(T)`.
    List(Arc<Type>),
    /// `map(K, V)`.
    Map(Arc<(Type, Type)>),
    /// An object with declared fields.
    Object(Arc<ObjectType>),
    /// A named type without fields, such as `kubernetes.Quantity`.
    Named(&'static str),
    /// A named type with parameters, such as `optional_type(T)` or `net.IP`.
    Opaque(&'static str, Arc<[Type]>),
    /// The type of a type.
    Type(Option<Arc<Type>>),
    /// A parameter of a function declaration.
    Param(&'static str),
    /// A type variable of the checker.
    Var(u32),
}

pub(crate) const OPTIONAL: &str = "optional_type";

impl Type {
    /// `list(element)`.
    pub fn list(element: Type) -> Self {
        Self::List(Arc::new(element))
    }

    /// `map(key, value)`.
    pub fn map(key: Type, value: Type) -> Self {
        Self::Map(Arc::new((key, value)))
    }

    /// `optional_type(value)`.
    pub fn optional(value: Type) -> Self {
        Self::Opaque(OPTIONAL, Arc::from([value]))
    }

    /// The name that values of this type carry at run time.
    pub(crate) fn runtime_name(&self) -> &str {
        match self {
            Self::Dyn => "dyn",
            Self::Error => "*error*",
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Duration => "google.protobuf.Duration",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Object(o) => &o.name,
            Self::Named(name) | Self::Opaque(name, _) | Self::Param(name) => name,
            Self::Type(_) => "type",
            Self::Var(_) => "dyn",
        }
    }

    pub(crate) fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn)
    }

    pub(crate) fn is_dyn_or_error(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }

    /// The type inside an optional.
    pub(crate) fn unwrap_optional(&self) -> Option<&Type> {
        match self {
            Self::Opaque(OPTIONAL, params) => params.first(),
            _ => None,
        }
    }

    /// Whether values have a fixed size, for cost estimates.
    pub(crate) fn is_scalar(&self) -> bool {
        match self {
            Self::Bool
            | Self::Double
            | Self::Duration
            | Self::Int
            | Self::Timestamp
            | Self::Uint => true,
            _ => self.unwrap_optional().is_some_and(Type::is_scalar),
        }
    }

    fn params(&self) -> Vec<&Type> {
        match self {
            Self::List(e) => vec![e],
            Self::Map(m) => vec![&m.0, &m.1],
            Self::Opaque(_, p) => p.iter().collect(),
            Self::Type(Some(t)) => vec![t],
            _ => Vec::new(),
        }
    }

    fn same_kind(&self, other: &Type) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// The same type, type variables compared by identity (or, if `loose`, all taken as equal).
    pub(crate) fn same(&self, other: &Type, loose: bool) -> bool {
        if !self.same_kind(other) {
            return matches!((self, other), (Self::Named(_), Self::Object(_)))
                && self.runtime_name() == other.runtime_name();
        }
        match (self, other) {
            (Self::Var(a), Self::Var(b)) => loose || a == b,
            (Self::Param(a), Self::Param(b)) => loose || a == b,
            _ => {
                let (a, b) = (self.params(), other.params());
                self.runtime_name() == other.runtime_name()
                    && a.len() == b.len()
                    && a.iter().zip(b).all(|(a, b)| a.same(b, loose))
            }
        }
    }

    /// Replaces the parameters of a declaration.
    pub(crate) fn instantiate(&self, with: &mut dyn FnMut(&'static str) -> Type) -> Type {
        match self {
            Self::Param(name) => with(name),
            Self::List(e) => Self::list(e.instantiate(with)),
            Self::Map(m) => Self::map(m.0.instantiate(with), m.1.instantiate(with)),
            Self::Opaque(name, params) => {
                Self::Opaque(name, params.iter().map(|p| p.instantiate(with)).collect())
            }
            Self::Type(Some(t)) => Self::Type(Some(Arc::new(t.instantiate(with)))),
            other => other.clone(),
        }
    }

    /// Whether `null` may be given where this type is wanted.
    fn takes_null(&self) -> bool {
        matches!(
            self,
            Self::Opaque(..)
                | Self::Object(_)
                | Self::Named(_)
                | Self::Duration
                | Self::Timestamp
                | Self::Null
        )
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error => f.write_str("!error!"),
            Self::Null => f.write_str("null"),
            Self::Duration => f.write_str("duration"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Var(n) => write!(f, "_var{n}"),
            _ => {
                f.write_str(self.runtime_name())?;
                let params = self.params();
                if params.is_empty() {
                    return Ok(());
                }
                f.write_str("(")?;
                for (i, p) in params.iter().enumerate() {
                    write!(f, "{}{p}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str(")")
            }
        }
    }
}

/// What is known about type variables.
#[derive(Debug, Default)]
pub(crate) struct Unifier {
    known: Vec<Option<Type>>,
    trail: Vec<(u32, Option<Type>)>,
}

impl Unifier {
    pub(crate) fn fresh(&mut self) -> Type {
        self.known.push(None);
        Type::Var(self.known.len() as u32 - 1)
    }

    fn find(&self, t: &Type) -> Option<&Type> {
        match t {
            Type::Var(v) => self.known.get(*v as usize)?.as_ref(),
            _ => None,
        }
    }

    fn set(&mut self, var: &Type, t: Type) {
        if let Type::Var(v) = var {
            let old = self.known[*v as usize].replace(t);
            self.trail.push((*v, old));
        }
    }

    /// Whether a value of `from` may be given for `to`; remembers what that means for variables.
    pub(crate) fn assignable(&mut self, a: &Type, b: &Type) -> bool {
        self.attempt(|u| u.assign(a, b))
    }

    pub(crate) fn assignable_all(&mut self, a: &[Type], b: &[Type]) -> bool {
        self.attempt(|u| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| u.assign(a, b)))
    }

    fn attempt(&mut self, try_it: impl FnOnce(&mut Self) -> bool) -> bool {
        let mark = self.trail.len();
        let done = try_it(self);
        while !done && self.trail.len() > mark {
            if let Some((var, old)) = self.trail.pop() {
                self.known[var as usize] = old;
            }
        }
        if done {
            self.trail.truncate(0);
        }
        done
    }

    fn assign(&mut self, a: &Type, b: &Type) -> bool {
        if matches!(b, Type::Var(_)) {
            let (valid, had) = self.substitutes(a, b);
            if valid || had {
                return valid;
            }
        }
        if matches!(a, Type::Var(_)) {
            return self.substitutes(b, a).0;
        }
        if a.is_dyn_or_error() || b.is_dyn_or_error() {
            return true;
        }
        match (a, b) {
            (Type::Null, other) | (other, Type::Null) => other.takes_null(),
            (Type::Type(_), Type::Type(_)) => true,
            _ if a.same_kind(b) && a.runtime_name() == b.runtime_name() => {
                let (pa, pb) = (a.params(), b.params());
                pa.len() == pb.len() && pa.iter().zip(pb).all(|(a, b)| self.assign(a, b))
            }
            _ => a.same(b, false),
        }
    }

    /// Whether `t` may be what variable `var` stands for, and whether `var` already stood for
    /// something.
    fn substitutes(&mut self, t: &Type, var: &Type) -> (bool, bool) {
        if t.same(var, false) {
            return (true, true);
        }
        if let Some(known) = self.find(var).cloned() {
            if t.same(&known, false) {
                return (true, true);
            }
            if self.assign(t, &known) {
                let general = most_general(t, &known);
                if self.absent(var, &general) {
                    self.set(var, general);
                }
                return (true, true);
            }
            return (false, true);
        }
        if self.absent(var, t) {
            self.set(var, t.clone());
            return (true, false);
        }
        (false, false)
    }

    /// The occurs check: `var` is not part of `t`.
    fn absent(&self, var: &Type, t: &Type) -> bool {
        if var.same(t, false) {
            return false;
        }
        if matches!(t, Type::Var(_)) {
            return self.find(t).is_none_or(|known| self.absent(var, known));
        }
        t.params().iter().all(|p| self.absent(var, p))
    }

    /// Replaces variables by what is known of them; unknown ones by `dyn` if `to_dyn`.
    pub(crate) fn resolve(&self, t: &Type, to_dyn: bool) -> Type {
        if let Some(known) = self.find(t) {
            return self.resolve(known, to_dyn);
        }
        match t {
            Type::Var(_) if to_dyn => Type::Dyn,
            Type::List(e) => Type::list(self.resolve(e, to_dyn)),
            Type::Map(m) => Type::map(self.resolve(&m.0, to_dyn), self.resolve(&m.1, to_dyn)),
            Type::Opaque(name, params) => Type::Opaque(
                name,
                params.iter().map(|p| self.resolve(p, to_dyn)).collect(),
            ),
            Type::Type(Some(t)) => Type::Type(Some(Arc::new(self.resolve(t, to_dyn)))),
            other => other.clone(),
        }
    }
}

/// The more general of two types that are known to agree.
pub(crate) fn most_general(a: &Type, b: &Type) -> Type {
    if less_specific(a, b) {
        a.clone()
    } else {
        b.clone()
    }
}

fn less_specific(a: &Type, b: &Type) -> bool {
    if matches!(a, Type::Dyn | Type::Var(_) | Type::Param(_)) {
        return true;
    }
    if matches!(b, Type::Dyn | Type::Var(_) | Type::Param(_)) || !a.same_kind(b) {
        return false;
    }
    match (a, b) {
        (Type::Type(_), _) => true,
        _ => {
            let (pa, pb) = (a.params(), b.params());
            a.runtime_name() == b.runtime_name()
                && pa.len() == pb.len()
                && pa.iter().zip(pb).all(|(a, b)| less_specific(a, b))
        }
    }
}
