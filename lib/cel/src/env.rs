//! Environments: which functions and macros expressions may use, by Kubernetes version.
//!
//! Start at [`Env::compile`]. An expression in a new object may only use what the previous minor
//! version knew too (so that a roll-back can read it); one that is already stored may use
//! everything.

use crate::call;
use crate::check;
use crate::decl::DeclType;
use crate::estimate::{self, CostEstimate};
use crate::eval::{self, Binding, Budget, EvalError};
use crate::functions::{self, Function, Overload};
use crate::issue::{CompileError, Issues, Source};
use crate::macros::MacroSet;
use crate::parser;
use crate::plan::{self, Plan};
use crate::types::Type;
use crate::validate;
use crate::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The minor version of Kubernetes that is spoken.
pub const KUBERNETES_MINOR: u8 = 35;

/// What expressions may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Env {
    minor: u8,
    json_patch: bool,
}

/// The variables of an expression.
#[derive(Debug, Clone, Default)]
pub struct Decls {
    variables: BTreeMap<String, DeclType>,
}

impl Decls {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one more variable.
    pub fn variable(mut self, name: impl Into<String>, decl: DeclType) -> Self {
        self.variables.insert(name.into(), decl);
        self
    }
}

impl Env {
    /// For expressions that a client writes now.
    pub fn for_new_expressions() -> Self {
        Self {
            minor: KUBERNETES_MINOR - 1,
            json_patch: false,
        }
    }

    /// For expressions that are stored already.
    pub fn for_stored_expressions() -> Self {
        Self {
            minor: KUBERNETES_MINOR,
            json_patch: false,
        }
    }

    /// As Kubernetes 1.`minor` had it.
    pub fn of_version(minor: u8) -> Self {
        Self {
            minor,
            json_patch: false,
        }
    }

    /// The same with the functions that only mutating policies have.
    pub fn with_json_patch(self) -> Self {
        Self {
            json_patch: true,
            ..self
        }
    }

    fn has(self, overload: &Overload) -> bool {
        match overload.since {
            functions::JSON_PATCH => self.json_patch,
            since => since <= self.minor,
        }
    }

    pub(crate) fn function(self, name: &str) -> Option<&'static Function> {
        let function = functions::all().get(name)?;
        self.overloads(function)
            .next()
            .is_some()
            .then_some(function)
    }

    pub(crate) fn overloads(
        self,
        function: &'static Function,
    ) -> impl Iterator<Item = &'static Overload> {
        let exists = |o: &&Overload| call::exists(function.name, o.id);
        function
            .overloads
            .iter()
            .filter(move |o| self.has(o))
            .filter(exists)
    }

    fn macros(self) -> MacroSet {
        MacroSet {
            optional: self.minor >= 28,
            two_variables: self.minor >= 32,
            lists: self.minor >= 34,
        }
    }

    /// Parses, checks and plans an expression over the variables of `decls`.
    pub fn compile(self, expression: &str, decls: &Decls) -> Result<Program, CompileError> {
        let source = Source::new(expression);
        let parsed = parser::parse(&source, self.macros())?;
        let mut issues = Issues::default();
        let typed = |(name, decl): (&String, &DeclType)| {
            Some((Arc::<str>::from(name.as_str()), decl.cel_type()?))
        };
        let variables: Vec<(Arc<str>, Type)> = decls.variables.iter().filter_map(typed).collect();
        let names: Vec<Arc<str>> = variables.iter().map(|(name, _)| name.clone()).collect();
        let checked = check::check(parsed, &source, &self, variables, &mut issues);
        if issues.is_empty() {
            validate::validate(&checked, &source, &mut issues);
        }
        if !issues.is_empty() {
            return Err(issues.into_error(&source));
        }
        let plan = plan::plan(&checked, &self, &names).map_err(CompileError::Program)?;
        let cost = estimate::estimate(&checked, &decls.variables);
        let decls = names
            .iter()
            .filter_map(|n| decls.variables.get(&**n).cloned())
            .collect();
        let used = names.iter().map(|n| uses(&checked, n)).collect();
        let result = checked.type_of(&checked.root).clone();
        Ok(Program {
            plan,
            names,
            decls,
            used,
            result,
            cost,
        })
    }
}

fn uses(checked: &check::Checked, name: &str) -> bool {
    // Variables of comprehensions shadow: count names outside of their scope only.
    fn below(e: &crate::ast::Expr, name: &str) -> bool {
        use crate::ast::Kind;
        match &e.kind {
            Kind::Ident(n) => &**n == name,
            Kind::Fold(f) => {
                let by_accu = &*f.accu == name;
                let by_iter = &*f.iter == name || f.iter2.as_deref() == Some(name);
                below(&f.range, name)
                    || below(&f.init, name)
                    || (!by_accu && below(&f.result, name))
                    || (!by_accu && !by_iter && (below(&f.condition, name) || below(&f.step, name)))
            }
            _ => {
                let mut found = false;
                e.children(&mut |c| found = found || below(c, name));
                found
            }
        }
    }
    below(&checked.root, name)
}

/// The type that a name stands for, if it is the name of a type.
pub(crate) fn type_named(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "bytes" => Type::Bytes,
        "double" => Type::Double,
        "google.protobuf.Duration" => Type::Duration,
        "google.protobuf.Timestamp" => Type::Timestamp,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "string" => Type::String,
        "null_type" => Type::Null,
        "list" => Type::list(Type::Dyn),
        "map" => Type::map(Type::Dyn, Type::Dyn),
        "type" => return Some(Type::Type(None)),
        "net.IP" => Type::Opaque("net.IP", Arc::from([])),
        "net.CIDR" => Type::Opaque("net.CIDR", Arc::from([])),
        "optional_type" => Type::optional(Type::Dyn),
        _ => return None,
    })
}

/// A compiled expression. Shared freely between threads; evaluating changes nothing in it.
#[derive(Debug)]
pub struct Program {
    plan: Plan,
    names: Vec<Arc<str>>,
    decls: Vec<DeclType>,
    used: Vec<bool>,
    result: Type,
    cost: CostEstimate,
}

impl Program {
    /// What the expression evaluates to.
    pub fn result_type(&self) -> &Type {
        &self.result
    }

    /// Whether the expression names a variable.
    pub fn uses(&self, variable: &str) -> bool {
        self.names
            .iter()
            .zip(&self.used)
            .any(|(n, used)| *used && &**n == variable)
    }

    /// The least and the most that evaluating may cost, by the bounds of the declarations.
    pub fn cost_estimate(&self) -> CostEstimate {
        self.cost
    }

    /// Evaluates. Variables are asked for by name; those that are not declared are never asked for.
    /// The second part of the result is the cost, also of evaluations that failed.
    pub fn eval<'a>(
        &'a self,
        variables: &dyn Fn(&str) -> Binding<'a>,
        budget: Budget<'_>,
    ) -> (Result<Value<'a>, EvalError>, u64) {
        let bind = |((name, decl), used): ((&Arc<str>, &'a DeclType), &bool)| {
            let binding = if *used {
                variables(name)
            } else {
                Binding::Absent
            };
            eval::bind(&binding, name, decl)
        };
        let values = self
            .names
            .iter()
            .zip(&self.decls)
            .zip(&self.used)
            .map(bind)
            .collect();
        eval::run(&self.plan, values, budget)
    }
}
