//! The type checker: gives every node a type and every call its overloads, or says what is wrong.
//!
//! Start at [`check`]. It rewrites the tree where a chain of selections turns out to be one
//! qualified name. Overloads are resolved as in cel-go: all that match are kept, and the result is
//! `dyn` when they disagree. What type-checks but is still refused (bad literals) is in
//! [`crate::validate`].

use crate::ast::{Expr, Fold, Id, Kind, Literal, op};
use crate::env::Env;
use crate::functions::Function;
use crate::issue::{Issues, Source};
use crate::types::{Type, Unifier, most_general};
use std::sync::Arc;

/// What a name or a call refers to.
#[derive(Debug, Clone)]
pub(crate) enum Reference {
    /// A declared variable or one of a comprehension.
    Variable,
    /// A type used as a value; its name.
    TypeName(Arc<str>),
    /// A function; the ids of the overloads that match.
    Overloads(Vec<&'static str>),
}

/// A checked tree.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) root: Expr,
    pub(crate) positions: Vec<u32>,
    pub(crate) types: Vec<Type>,
    pub(crate) references: Vec<Option<Reference>>,
}

impl Checked {
    pub(crate) fn type_of(&self, e: &Expr) -> &Type {
        self.types.get(e.id as usize).unwrap_or(&Type::Dyn)
    }

    pub(crate) fn overloads(&self, id: Id) -> &[&'static str] {
        match self.references.get(id as usize) {
            Some(Some(Reference::Overloads(ids))) => ids,
            _ => &[],
        }
    }
}

/// Checks a parsed tree against an environment and its variables.
pub(crate) fn check(
    parsed: crate::parser::Parsed,
    source: &Source,
    env: &Env,
    variables: Vec<(Arc<str>, Type)>,
    issues: &mut Issues,
) -> Checked {
    let count = parsed.positions.len();
    let mut checker = Checker {
        env,
        source,
        issues,
        positions: parsed.positions,
        types: vec![None; count],
        references: vec![None; count],
        unifier: Unifier::default(),
        scopes: variables,
    };
    let mut root = parsed.root;
    checker.check(&mut root);
    let unifier = &checker.unifier;
    let types = checker.types.iter();
    let types = types.map(|t| t.as_ref().map_or(Type::Dyn, |t| unifier.resolve(t, true)));
    Checked {
        root,
        types: types.collect(),
        references: checker.references,
        positions: checker.positions,
    }
}

struct Checker<'c> {
    env: &'c Env,
    source: &'c Source,
    issues: &'c mut Issues,
    positions: Vec<u32>,
    types: Vec<Option<Type>>,
    references: Vec<Option<Reference>>,
    unifier: Unifier,
    /// Variables, the innermost last.
    scopes: Vec<(Arc<str>, Type)>,
}

impl Checker<'_> {
    fn report(&mut self, id: Id, message: String) {
        let at = self
            .positions
            .get(id as usize)
            .map(|offset| self.source.location(*offset));
        self.issues.report(at, message);
    }

    fn set(&mut self, id: Id, t: Type) {
        self.types[id as usize] = Some(t);
    }

    fn get(&self, e: &Expr) -> Type {
        self.types[e.id as usize].clone().unwrap_or(Type::Error)
    }

    fn undeclared(&mut self, id: Id, name: &str) {
        self.report(
            id,
            format!("undeclared reference to '{name}' (in container '')"),
        );
        self.set(id, Type::Error);
    }

    fn mismatch(&mut self, id: Id, expected: &Type, found: &Type) {
        self.report(
            id,
            format!("expected type '{expected}' but found '{found}'"),
        );
    }

    fn check(&mut self, e: &mut Expr) {
        let id = e.id;
        match &mut e.kind {
            Kind::Unspecified => {}
            Kind::Literal(literal) => self.set(id, literal_type(literal)),
            Kind::Ident(name) => {
                let name = name.clone();
                if !self.resolve_name(e, &name) {
                    self.undeclared(id, &name);
                }
            }
            Kind::Select { .. } => self.check_select(e),
            Kind::Call { .. } => self.check_call(e),
            Kind::List { elements, optional } => {
                let t = self.check_list(elements, optional);
                self.set(id, t);
            }
            Kind::Map(entries) => {
                let t = self.check_map(entries);
                self.set(id, t);
            }
            Kind::Struct { name, .. } => {
                let name = name.clone();
                self.refuse_message(id, &name);
            }
            Kind::Fold(fold) => {
                let t = self.check_fold(fold);
                self.set(id, t);
            }
        }
    }

    /// There are no messages here: whatever the name stands for, it cannot be made.
    fn refuse_message(&mut self, id: Id, name: &str) {
        let bare = name.strip_prefix('.').unwrap_or(name);
        let variable = self.scopes.iter().rev().find(|(n, _)| &**n == bare);
        if let Some((_, t)) = variable {
            let text = format!("'{}' is not a type", t.runtime_name());
            self.report(id, text);
        } else if crate::env::type_named(bare).is_some() {
            self.report(id, format!("'{bare}' is not a message type"));
        } else {
            self.undeclared(id, name);
        }
        self.set(id, Type::Error);
    }

    /// Makes `e` the variable or type of that name, if there is one.
    fn resolve_name(&mut self, e: &mut Expr, name: &str) -> bool {
        let name = name.strip_prefix('.').unwrap_or(name);
        let variable = self.scopes.iter().rev().find(|(n, _)| &**n == name);
        let (reference, t) = match variable {
            Some((_, t)) => (Reference::Variable, t.clone()),
            None => match crate::env::type_named(name) {
                Some(t) => (
                    Reference::TypeName(name.into()),
                    Type::Type(Some(Arc::new(t))),
                ),
                None => return false,
            },
        };
        self.set(e.id, t);
        self.references[e.id as usize] = Some(reference);
        e.kind = Kind::Ident(name.into());
        true
    }

    fn check_select(&mut self, e: &mut Expr) {
        if let Some(name) = e.qualified_name()
            && self.resolve_name(e, &name)
        {
            return;
        }
        let id = e.id;
        let Kind::Select {
            operand,
            field,
            test_only,
        } = &mut e.kind
        else {
            return;
        };
        let (field, test_only) = (field.clone(), *test_only);
        let t = self.check_field(id, operand, &field, false);
        let t = if test_only { Type::Bool } else { t };
        let t = self.unifier.resolve(&t, false);
        self.set(id, t);
    }

    fn check_field(&mut self, id: Id, operand: &mut Expr, field: &str, optional: bool) -> Type {
        self.check(operand);
        let target = self.unifier.resolve(&self.get(operand), false);
        let (target, was_optional) = match target.unwrap_optional() {
            Some(inner) => (inner.clone(), true),
            None => (target, false),
        };
        let result = match &target {
            Type::Map(m) => m.1.clone(),
            Type::Object(o) => match o.field(field).and_then(|f| f.cel_type()) {
                Some(t) => t,
                None => {
                    self.report(id, format!("undefined field '{field}'"));
                    Type::Error
                }
            },
            Type::Named(name) => {
                self.report(id, format!("unexpected failed resolution of '{name}'"));
                Type::Error
            }
            Type::Var(_) => {
                self.unifier.assignable(&Type::Dyn, &target);
                Type::Dyn
            }
            t => {
                if !t.is_dyn_or_error() {
                    self.report(id, format!("type '{t}' does not support field selection"));
                }
                Type::Dyn
            }
        };
        if was_optional || optional {
            Type::optional(result)
        } else {
            result
        }
    }

    fn check_call(&mut self, e: &mut Expr) {
        let id = e.id;
        let Kind::Call {
            target,
            function,
            args,
        } = &mut e.kind
        else {
            return;
        };
        if &**function == op::OPT_SELECT {
            let (operand, rest) = args.split_at_mut(1);
            let Some(field) = rest[0].as_string_literal().cloned() else {
                return;
            };
            let t = self.check_field(id, &mut operand[0], &field, true);
            let t = self.unifier.resolve(&t, false);
            self.set(id, t);
            self.references[id as usize] =
                Some(Reference::Overloads(vec!["select_optional_field"]));
            return;
        }
        for arg in args.iter_mut() {
            self.check(arg);
        }
        let env = self.env;
        let Some(receiver) = target else {
            let name = function.strip_prefix('.').unwrap_or(function);
            match env.function(name) {
                Some(f) => {
                    *function = f.name.into();
                    self.resolve_call(id, f, None, args);
                }
                None => {
                    let name = function.clone();
                    self.undeclared(id, &name);
                }
            }
            return;
        };
        let qualified = receiver
            .qualified_name()
            .map(|prefix| format!("{prefix}.{function}"));
        let qualified = qualified
            .as_deref()
            .map(|q| q.strip_prefix('.').unwrap_or(q));
        if let Some(f) = qualified.and_then(|name| env.function(name)) {
            *target = None;
            *function = f.name.into();
            self.resolve_call(id, f, None, args);
            return;
        }
        self.check(receiver);
        match env.function(function) {
            Some(f) => self.resolve_call(id, f, Some(receiver), args),
            None => {
                let name = function.clone();
                self.undeclared(id, &name);
            }
        }
    }

    fn resolve_call(&mut self, id: Id, f: &'static Function, target: Option<&Expr>, args: &[Expr]) {
        match self.resolve_overload(id, f, target, args) {
            Some((ids, t)) => {
                self.set(id, t);
                self.references[id as usize] = Some(Reference::Overloads(ids));
            }
            None => self.set(id, Type::Error),
        }
    }

    fn resolve_overload(
        &mut self,
        id: Id,
        f: &'static Function,
        target: Option<&Expr>,
        args: &[Expr],
    ) -> Option<(Vec<&'static str>, Type)> {
        let given: Vec<Type> = target
            .into_iter()
            .chain(args)
            .map(|a| self.get(a))
            .collect();
        let mut result: Option<Type> = None;
        let mut ids = Vec::new();
        for overload in self.env.overloads(f) {
            if overload.member != target.is_some() {
                continue;
            }
            if f.name == op::AND || f.name == op::OR {
                return self.check_logical(overload.id, args, &given);
            }
            let instance = (overload.has_params).then(|| {
                let mut fresh: Vec<(&'static str, Type)> = Vec::new();
                let unifier = &mut self.unifier;
                let mut with = |name: &'static str| {
                    let found = fresh.iter().find(|(n, _)| *n == name);
                    if let Some((_, t)) = found {
                        return t.clone();
                    }
                    fresh.push((name, unifier.fresh()));
                    fresh[fresh.len() - 1].1.clone()
                };
                let args = overload.args.iter();
                let args: Vec<Type> = args.map(|a| a.instantiate(&mut with)).collect();
                (args, overload.result.instantiate(&mut with))
            });
            let (wanted, t) = match &instance {
                Some((args, result)) => (args.as_slice(), result),
                None => (overload.args.as_slice(), &overload.result),
            };
            if !self.unifier.assignable_all(&given, wanted) {
                continue;
            }
            ids.push(overload.id);
            let t = self.unifier.resolve(t, false);
            result = Some(match result {
                None => t,
                Some(r) if r.is_dyn() || t.same(&r, false) => r,
                Some(_) => Type::Dyn,
            });
        }
        if result.is_none() {
            self.no_overload(id, f.name, target.is_some(), &given);
        }
        Some((ids, result?))
    }

    fn check_logical(
        &mut self,
        overload: &'static str,
        args: &[Expr],
        given: &[Type],
    ) -> Option<(Vec<&'static str>, Type)> {
        let mut fine = true;
        for (arg, t) in args.iter().zip(given) {
            if !self.unifier.assignable(t, &Type::Bool) {
                self.mismatch(arg.id, &Type::Bool, t);
                fine = false;
            }
        }
        fine.then(|| (vec![overload], Type::Bool))
    }

    fn no_overload(&mut self, id: Id, name: &str, member: bool, given: &[Type]) {
        let given: Vec<String> = given
            .iter()
            .map(|t| self.unifier.resolve(t, true).to_string())
            .collect();
        let signature = match given.split_first().filter(|_| member) {
            Some((target, args)) => format!("{target}.({})", args.join(", ")),
            None => format!("({})", given.join(", ")),
        };
        self.report(
            id,
            format!("found no matching overload for '{name}' applied to '{signature}'"),
        );
    }

    /// The type of elements of which some are of `so_far`. Mixed ones are refused by
    /// [`crate::validate`], except where they may be mixed.
    fn join(&mut self, so_far: Option<Type>, t: Type) -> Type {
        match so_far {
            None => t,
            Some(so_far) if self.unifier.assignable(&so_far, &t) => most_general(&so_far, &t),
            Some(_) => Type::Dyn,
        }
    }

    /// The type inside an optional element or entry.
    fn unwrap(&mut self, e: &Expr, t: Type) -> Type {
        match t.unwrap_optional() {
            Some(inner) => inner.clone(),
            None => {
                if !t.is_dyn() {
                    self.mismatch(e.id, &Type::optional(t.clone()), &t);
                }
                t
            }
        }
    }

    fn check_list(&mut self, elements: &mut [Expr], optional: &[bool]) -> Type {
        let mut element = None;
        for (e, optional) in elements.iter_mut().zip(optional) {
            self.check(e);
            let mut t = self.get(e);
            if *optional {
                t = self.unwrap(e, t);
            }
            element = Some(self.join(element, t));
        }
        Type::list(element.unwrap_or_else(|| self.unifier.fresh()))
    }

    fn check_map(&mut self, entries: &mut [crate::ast::Entry]) -> Type {
        let (mut key, mut value) = (None, None);
        for entry in entries.iter_mut() {
            self.check(&mut entry.key);
            let t = self.get(&entry.key);
            key = Some(self.join(key, t));
            self.check(&mut entry.value);
            let mut t = self.get(&entry.value);
            if entry.optional {
                t = self.unwrap(&entry.value, t);
            }
            value = Some(self.join(value, t));
        }
        let key = key.unwrap_or_else(|| self.unifier.fresh());
        let value = value.unwrap_or_else(|| self.unifier.fresh());
        Type::map(key, value)
    }

    fn check_fold(&mut self, fold: &mut Fold) -> Type {
        self.check(&mut fold.range);
        self.check(&mut fold.init);
        let range = self.unifier.resolve(&self.get(&fold.range), false);
        let accu = self.get(&fold.init);
        let depth = self.scopes.len();
        self.scopes.push((fold.accu.clone(), accu.clone()));
        let two = fold.iter2.is_some();
        let (first, second) = match &range {
            Type::List(e) if two => (Type::Int, Type::clone(e)),
            Type::List(e) => (Type::clone(e), Type::Error),
            Type::Map(m) => m.as_ref().clone(),
            Type::Dyn | Type::Error | Type::Var(_) => {
                self.unifier.assignable(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            t => {
                let text = format!(
                    "expression of type '{t}' cannot be range of a comprehension \
                     (must be list, map, or dynamic)"
                );
                self.report(fold.range.id, text);
                (Type::Error, Type::Error)
            }
        };
        self.scopes.push((fold.iter.clone(), first));
        if let Some(name) = &fold.iter2 {
            self.scopes.push((name.clone(), second));
        }
        self.check(&mut fold.condition);
        self.assert_type(&fold.condition, &Type::Bool);
        self.check(&mut fold.step);
        self.assert_type(&fold.step, &accu);
        self.scopes.truncate(depth + 1);
        self.check(&mut fold.result);
        self.scopes.truncate(depth);
        self.unifier.resolve(&self.get(&fold.result), false)
    }

    fn assert_type(&mut self, e: &Expr, wanted: &Type) {
        let t = self.get(e);
        if !self.unifier.assignable(wanted, &t) {
            self.mismatch(e.id, wanted, &t);
        }
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}
