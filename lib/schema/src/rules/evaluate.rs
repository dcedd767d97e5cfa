//! Rules on an object: which are broken, in which words, at what cost.
//!
//! The walk goes with the values present; the budget is one for the whole object, and when it is
//! spent the walk ends.

use std::ops::ControlFlow;

use hanse_cel::{Binding, Budget, EvalError, Halt, Program, limits};
use serde_json::{Map, Value};

use super::{CelOutcome, CompiledRule, MESSAGE_LENGTH_MAX, RuleTree};
use crate::field::{BadValue, Error, ErrorList, ErrorType, Path};
use crate::node::{Node, Type};
use crate::props::Rule;
use crate::ratchet;
use crate::trail::Trail;

const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// Evaluates the rules of a tree. With `ratchet`, broken rules about what did not change become
/// warnings.
pub fn evaluate(
    tree: &RuleTree,
    node: &Node,
    new: &Value,
    old: Option<&Value>,
    ratchet: bool,
    path: &Path,
    budget: i64,
) -> CelOutcome {
    let mut walk = Walk {
        errors: ErrorList::new(),
        warnings: Vec::new(),
        remaining: budget,
    };
    let current = old.filter(|_| ratchet).map(|old| Pair { node, new, old });
    let correlation = Correlation {
        current,
        nearest: None,
    };
    if walk
        .node(tree, node, new, old, correlation, &Trail::Start(path))
        .is_break()
    {
        walk.remaining = -1;
    }
    CelOutcome {
        errors: walk.errors,
        warnings: walk.warnings,
        remaining: walk.remaining,
    }
}

/// A value and what it was.
#[derive(Clone, Copy)]
struct Pair<'v> {
    node: &'v Node,
    new: &'v Value,
    old: &'v Value,
}

impl Pair<'_> {
    fn unchanged(&self) -> bool {
        ratchet::unchanged(self.node, self.new, self.old)
    }
}

/// What a value is compared with to tell whether it changed: its own old value, or that of the
/// nearest value around it that has one.
#[derive(Clone, Copy)]
struct Correlation<'v> {
    current: Option<Pair<'v>>,
    nearest: Option<Pair<'v>>,
}

impl<'v> Correlation<'v> {
    fn unchanged(&self) -> bool {
        self.current
            .or(self.nearest)
            .is_some_and(|pair| pair.unchanged())
    }

    fn field(self, key: &str) -> Correlation<'v> {
        let Some(pair) = self.current else {
            return self;
        };
        if self.nearest.is_none() && matches!(key, "apiVersion" | "kind") {
            return Correlation {
                current: None,
                nearest: None,
            };
        }
        let below = || {
            let map = pair.new.as_object()?;
            let old = ratchet::old_field(pair.node, map, Some(pair.old), key)?;
            Some(Pair {
                node: pair.node.field(key)?,
                new: map.get(key)?,
                old,
            })
        };
        Correlation {
            current: below(),
            nearest: Some(pair),
        }
    }

    fn item(self, index: usize) -> Correlation<'v> {
        let Some(pair) = self.current else {
            return self;
        };
        let below = || {
            let new = pair.new.get(index)?;
            let old = ratchet::old_item(pair.node, Some(pair.old), new)?;
            Some(Pair {
                node: pair.node.items.as_deref()?,
                new,
                old,
            })
        };
        Correlation {
            current: below(),
            nearest: Some(pair),
        }
    }
}

struct Walk {
    errors: ErrorList,
    warnings: Vec<String>,
    remaining: i64,
}

/// Goes on, or ends for want of budget.
type Step = ControlFlow<()>;

impl Walk {
    fn node(
        &mut self,
        tree: &RuleTree,
        node: &Node,
        value: &Value,
        old: Option<&Value>,
        correlation: Correlation<'_>,
        at: &Trail<'_>,
    ) -> Step {
        if value.is_null() {
            return Step::Continue(());
        }
        self.rules(tree, node, value, old, correlation, at)?;
        match value {
            Value::Array(items) => self.list(tree, node, items, old, correlation, at),
            Value::Object(map) => self.object(tree, node, map, old, correlation, at),
            _ => Step::Continue(()),
        }
    }

    fn object(
        &mut self,
        tree: &RuleTree,
        node: &Node,
        map: &Map<String, Value>,
        old: Option<&Value>,
        correlation: Correlation<'_>,
        at: &Trail<'_>,
    ) -> Step {
        let before = |key: &str| old.and_then(|old| old.get(key));
        if let (Some(below), Some(schema)) = (&tree.additional, node.additional_schema()) {
            for (key, value) in map {
                let (at, correlation) = (Trail::Key(at, key), correlation.field(key));
                self.node(below, schema, value, before(key), correlation, &at)?;
            }
        }
        for (key, value) in map {
            if let (Some(below), Some(schema)) = (tree.property(key), node.property(key)) {
                let (at, correlation) = (Trail::Child(at, key), correlation.field(key));
                self.node(below, schema, value, before(key), correlation, &at)?;
            }
        }
        Step::Continue(())
    }

    fn list(
        &mut self,
        tree: &RuleTree,
        node: &Node,
        items: &[Value],
        old: Option<&Value>,
        correlation: Correlation<'_>,
        at: &Trail<'_>,
    ) -> Step {
        let (Some(below), Some(schema)) = (&tree.items, node.items.as_deref()) else {
            return Step::Continue(());
        };
        for (i, item) in items.iter().enumerate() {
            let before = ratchet::old_item(node, old, item);
            let at = Trail::Index(at, i);
            self.node(below, schema, item, before, correlation.item(i), &at)?;
        }
        Step::Continue(())
    }

    fn rules(
        &mut self,
        tree: &RuleTree,
        node: &Node,
        value: &Value,
        old: Option<&Value>,
        correlation: Correlation<'_>,
        at: &Trail<'_>,
    ) -> Step {
        let old = old.filter(|old| !old.is_null());
        let judge = Judge {
            node,
            value,
            old,
            at,
        };
        let Some(compiled) = &tree.rules else {
            let why = "failed to convert to declType for CEL validation rules";
            self.errors
                .push(judge.error(format!("rule compiler initialization error: {why}")));
            return Step::Continue(());
        };
        if !compiled.is_empty() && self.remaining <= 0 {
            self.errors.push(judge.error(OUT_OF_BUDGET));
            return Step::Break(());
        }
        for (rule, compiled) in node.rules.iter().zip(compiled) {
            if let Some(error) = self.rule(&judge, rule, compiled)? {
                if !compiled.uses_old_self && correlation.unchanged() {
                    self.warnings.push(error.to_string());
                } else {
                    self.errors.push(error);
                }
            }
        }
        Step::Continue(())
    }

    /// Takes a cost off the budget.
    fn pay(&mut self, cost: u64) -> bool {
        match i64::try_from(cost) {
            Ok(cost) if cost <= self.remaining => {
                self.remaining -= cost;
                true
            }
            _ => false,
        }
    }

    /// The error of a rule that is broken.
    fn rule(
        &mut self,
        judge: &Judge<'_>,
        rule: &Rule,
        compiled: &CompiledRule,
    ) -> ControlFlow<(), Option<Error>> {
        let program = match &compiled.program {
            Ok(program) => program,
            Err(why) => {
                self.errors
                    .push(judge.error(format!("rule compile error: {why}")));
                return ControlFlow::Continue(None);
            }
        };
        let optional = rule.optional_old_self == Some(true);
        if compiled.uses_old_self && judge.old.is_none() && !optional {
            return ControlFlow::Continue(None);
        }
        let (result, cost) = judge.run(program, optional, |value| value.as_bool());
        if !self.pay(cost) {
            self.errors.push(judge.error(OUT_OF_BUDGET));
            return ControlFlow::Break(());
        }
        match result {
            Ok(Some(true)) => return ControlFlow::Continue(None),
            Ok(_) => {}
            Err(error) => return self.failed(judge, rule, &error),
        }
        let path = match &compiled.field_path {
            Some(below) => judge.at.path().child(below),
            None => judge.at.path(),
        };
        let detail = match compiled.message.as_ref().map(|m| (m, rule)) {
            Some((Ok(program), rule)) => match self.message(judge, rule, program, optional) {
                Ok(text) => text,
                Err(fatal) => {
                    self.errors
                        .push(Error::invalid(&path, judge.type_name(), fatal));
                    return ControlFlow::Break(());
                }
            },
            _ => None,
        };
        let detail = detail.unwrap_or_else(|| default_message(rule));
        ControlFlow::Continue(Some(judge.broken(rule, &path, detail)))
    }

    /// A rule without verdict.
    fn failed(
        &mut self,
        judge: &Judge<'_>,
        rule: &Rule,
        error: &EvalError,
    ) -> ControlFlow<(), Option<Error>> {
        let text = error.to_string();
        let shown = shown_rule(rule);
        if matches!(error, EvalError::Halt(Halt::Cost)) {
            self.errors.push(judge.error(format!(
                "'{text}': no further validation rules will be run due to call cost exceeds limit \
                 for rule: {shown}"
            )));
            return ControlFlow::Break(());
        }
        self.errors
            .push(judge.error(if text.starts_with("no such overload") {
            format!(
                "'{text}': call arguments did not match a supported operator, function or macro \
                 signature for rule: {shown}"
            )
        } else {
            format!("{text} evaluating rule: {shown}")
        }));
        ControlFlow::Continue(None)
    }

    /// The text of a `messageExpression`, if it makes a good one; an error when the budget ends.
    fn message(
        &mut self,
        judge: &Judge<'_>,
        rule: &Rule,
        program: &Program,
        optional: bool,
    ) -> Result<Option<String>, String> {
        let (result, cost) =
            judge.run(program, optional, |value| value.as_str().map(str::to_owned));
        if i64::try_from(cost).is_ok_and(|cost| cost > self.remaining) {
            return Err(
                "messageExpression evaluation failed due to running out of cost budget, \
                        no further validation rules will be run"
                    .to_owned(),
            );
        }
        if matches!(result, Err(EvalError::Halt(Halt::Cost))) {
            return Err(format!(
                "no further validation rules will be run due to call cost exceeds limit for \
                 messageExpression: {}",
                hanse_json::go::quote(&rule.message_expression)
            ));
        }
        self.pay(cost);
        let text = result.ok().flatten();
        let text = text.map(|text| text.trim().to_owned());
        let good = |t: &String| !t.is_empty() && t.len() <= MESSAGE_LENGTH_MAX && !t.contains('\n');
        Ok(text.filter(good))
    }
}

/// One value under one node's rules.
struct Judge<'v> {
    node: &'v Node,
    value: &'v Value,
    old: Option<&'v Value>,
    at: &'v Trail<'v>,
}

impl<'v> Judge<'v> {
    fn run<T>(
        &self,
        program: &Program,
        optional: bool,
        read: impl Fn(&hanse_cel::Value<'_>) -> Option<T>,
    ) -> (Result<Option<T>, EvalError>, u64) {
        let variables = |name: &str| match (name, self.old) {
            ("self", _) => Binding::Json(self.value),
            ("oldSelf", Some(old)) => Binding::Json(old),
            ("oldSelf", None) if optional => Binding::Value(hanse_cel::Value::Optional(None)),
            _ => Binding::Absent,
        };
        let budget = Budget {
            cost: limits::CALL_COST,
            interrupt: None,
        };
        let (result, cost) = program.eval(&variables, budget);
        (result.map(|value| read(&value)), cost)
    }

    fn type_name(&self) -> &'static str {
        self.node.ty.name()
    }

    fn error(&self, detail: impl Into<String>) -> Error {
        Error::invalid(&self.at.path(), self.type_name(), detail)
    }

    /// The error of a false rule, as its reason wants it.
    fn broken(&self, rule: &Rule, path: &Path, detail: String) -> Error {
        let shown = !matches!(self.node.ty, Type::Object | Type::Array);
        let value = shown.then(|| BadValue::from(self.value));
        let field = path.to_string();
        match rule.reason.as_deref() {
            Some("FieldValueForbidden") => Error::forbidden(path, detail),
            Some("FieldValueRequired") => Error::required(path, detail),
            Some("FieldValueDuplicate") => Error {
                ty: ErrorType::Duplicate,
                field,
                value,
                detail: String::new(),
            },
            _ => Error {
                ty: ErrorType::Invalid,
                field,
                value,
                detail,
            },
        }
    }
}

fn shown_rule(rule: &Rule) -> &str {
    if rule.message.is_empty() {
        rule.rule.trim()
    } else {
        rule.message.trim()
    }
}

fn default_message(rule: &Rule) -> String {
    if rule.message.is_empty() {
        format!("failed rule: {}", shown_rule(rule))
    } else {
        rule.message.trim().to_owned()
    }
}
