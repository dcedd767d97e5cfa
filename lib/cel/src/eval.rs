//! Runs a program over values, metered.
//!
//! Start at [`run`]. Every step adds its cost and stops when the budget is spent; comprehensions
//! also ask whether they are to stop. Errors are values here as in cel-go: `&&` and `||` absorb
//! them, a comprehension goes on with a failed accumulator, and what is evaluated after an error
//! costs. Only [`Fail::Halt`] unwinds.

use crate::call::{self, Style};
use crate::equal;
use crate::limits;
use crate::plan::{Attribute, Base, By, Call, FoldNode, MapEntry, Node, Plan, Qualifier, Target};
use crate::spend::{self, Spend};
use crate::value::{CelError, Eval, Key, List, Map, Value, raw, read};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why an evaluation was stopped from outside of the expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// The budget is spent.
    Cost,
    /// The caller asked for it.
    Interrupted,
}

/// An evaluation without a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvalError {
    /// The expression failed.
    Error(CelError),
    /// It was stopped.
    Halt(Halt),
}

impl std::fmt::Display for EvalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Error(e) => e.fmt(f),
            Self::Halt(Halt::Cost) => {
                f.write_str("operation cancelled: actual cost limit exceeded")
            }
            Self::Halt(Halt::Interrupted) => f.write_str("operation interrupted"),
        }
    }
}

impl std::error::Error for EvalError {}

pub(crate) type Fail = EvalError;
pub(crate) type Step<T> = Result<T, Fail>;

impl From<CelError> for Fail {
    fn from(e: CelError) -> Self {
        Self::Error(e)
    }
}

/// What an evaluation may spend.
#[derive(Debug, Clone, Copy)]
pub struct Budget<'b> {
    /// Cost after which it is stopped.
    pub cost: u64,
    /// Set by the caller to stop it, looked at in every turn of a comprehension.
    pub interrupt: Option<&'b AtomicBool>,
}

impl Default for Budget<'_> {
    fn default() -> Self {
        Self {
            cost: limits::CALL_COST,
            interrupt: None,
        }
    }
}

/// A variable's value as the caller gives it.
#[derive(Debug, Clone)]
pub enum Binding<'a> {
    /// JSON, read by the variable's declaration.
    Json(&'a serde_json::Value),
    /// Any value.
    Value(Value<'a>),
    /// Not there: naming it is an error.
    Absent,
}

/// Runs `plan`; the second part of the result is what it cost.
pub(crate) fn run<'a>(
    plan: &'a Plan,
    variables: Vec<Eval<Value<'a>>>,
    budget: Budget<'_>,
) -> (Result<Value<'a>, EvalError>, u64) {
    let slots = plan.inits.iter().map(|_| None).collect();
    let mut machine = Machine {
        plan,
        variables,
        slots,
        cost: 0,
        budget,
    };
    let result = machine.eval(&plan.root);
    (result, machine.cost)
}

/// Calls a function on a constant while planning.
pub(crate) fn constant_call(call: &Call, arg: &Value<'static>) -> Eval<Value<'static>> {
    match invoke(call, std::slice::from_ref(arg), limits::CALL_COST) {
        Ok(v) => Ok(v),
        Err(Fail::Error(e)) => Err(e),
        Err(Fail::Halt(_)) => Err(CelError::new("constant is too large")),
    }
}

struct Machine<'a, 'b> {
    plan: &'a Plan,
    variables: Vec<Eval<Value<'a>>>,
    slots: Vec<Option<Eval<Value<'a>>>>,
    cost: u64,
    budget: Budget<'b>,
}

/// Errors of an expression as values; only a halt is left as an error.
fn settle<T>(result: Step<T>) -> Result<Eval<T>, Fail> {
    match result {
        Ok(v) => Ok(Ok(v)),
        Err(Fail::Error(e)) => Ok(Err(e)),
        Err(halt) => Err(halt),
    }
}

impl<'a> Machine<'a, '_> {
    fn charge(&mut self, cost: u64) -> Step<()> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.budget.cost {
            return Err(Fail::Halt(Halt::Cost));
        }
        Ok(())
    }

    fn eval(&mut self, node: &'a Node) -> Step<Value<'a>> {
        match node {
            Node::Const(v) => Ok(v.clone()),
            Node::Attribute(a) => self.eval_attribute(a),
            Node::Present(a) => self.eval_present(a),
            Node::And(terms) => self.eval_logical(terms, false),
            Node::Or(terms) => self.eval_logical(terms, true),
            Node::Equal(terms) => self.eval_equal(terms, true),
            Node::NotEqual(terms) => self.eval_equal(terms, false),
            Node::Call(call) => self.eval_call(call),
            Node::InSet(b) => {
                let value = self.eval(&b.0)?;
                Ok(Value::Bool(
                    Key::from_value(&value).is_some_and(|k| in_set(&b.1, &k)),
                ))
            }
            Node::OptionalOr(terms) => match self.eval(&terms[0])? {
                Value::Optional(None) => self.eval(&terms[1]),
                other => Ok(other),
            },
            Node::OptionalOrValue(terms) => match self.eval(&terms[0])? {
                Value::Optional(None) => self.eval(&terms[1]),
                Value::Optional(Some(v)) => Ok(v.taken_out()?),
                other => Ok(other),
            },
            Node::List(list) => self.eval_list(&list.0, &list.1),
            Node::Map(entries) => self.eval_map(entries),
            Node::Fold(fold) => self.eval_fold(fold),
            Node::Append(b) => self.eval_append(b.0, &b.1),
            Node::Insert(b) => self.eval_insert(b.0, &b.1),
        }
    }

    // === attributes ===

    fn eval_attribute(&mut self, a: &'a Attribute) -> Step<Value<'a>> {
        let value = settle(self.resolve(a))?;
        if !matches!(a.base, Base::Conditional(_)) {
            self.charge(1)?;
        }
        Ok(value?)
    }

    /// `has()` costs only what leads to it.
    fn eval_present(&mut self, a: &'a Attribute) -> Step<Value<'a>> {
        let value = settle(self.resolve(a))?;
        if matches!(a.base, Base::Conditional(_)) {
            // A conditional costs nothing itself, and yet the test is taken off.
            self.cost = self.cost.saturating_sub(1);
        }
        Ok(match value? {
            Value::Optional(o) => Value::Bool(o.is_some()),
            other => other,
        })
    }

    fn resolve(&mut self, a: &'a Attribute) -> Step<Value<'a>> {
        let base = match &a.base {
            Base::Global(i) => match self.variables.get(*i) {
                Some(v) => v.clone()?,
                None => return Err(CelError::new("no such attribute(s)").into()),
            },
            Base::Slot(slot) => self.read_slot(*slot)?,
            Base::Node(node) => self.eval(node)?,
            Base::Conditional(c) => {
                return match self.eval(&c.0)? {
                    Value::Bool(true) => self.resolve(&c.1),
                    Value::Bool(false) => self.resolve(&c.2),
                    _ => Err(CelError::no_overload().into()),
                };
            }
        };
        match base {
            Value::Optional(_) => self.qualify(base, &a.qualifiers),
            base if a.qualifiers.is_empty() => Ok(base),
            base => self.qualify(base, &a.qualifiers),
        }
    }

    fn read_slot(&mut self, slot: usize) -> Step<Value<'a>> {
        if self.slots[slot].is_none() {
            let plan = self.plan;
            let Some(Some(init)) = plan.inits.get(slot) else {
                return Err(CelError::new("no such attribute(s)").into());
            };
            let value = settle(self.eval(init))?;
            self.slots[slot] = Some(value);
        }
        match &self.slots[slot] {
            Some(value) => Ok(value.clone()?),
            None => Err(CelError::new("no such attribute(s)").into()),
        }
    }

    fn qualify(&mut self, base: Value<'a>, qualifiers: &'a [Arc<Qualifier>]) -> Step<Value<'a>> {
        let (mut value, mut optional) = match base {
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(v)) => (v.undeclared(), true),
            other => (other, false),
        };
        for q in qualifiers {
            optional |= q.optional;
            value = match (optional, q.test) {
                (true, test) => match self.qualify_if_present(&value, q)? {
                    None => return Ok(Value::Optional(None)),
                    Some(_) if test => Value::Null,
                    Some(v) => v,
                },
                (false, true) => {
                    let found = settle(self.select(&value, q, true))?;
                    self.charge(1)?;
                    Value::Bool(found?.is_some())
                }
                (false, false) => {
                    let found = settle(self.select(&value, q, false))?;
                    self.charge(1)?;
                    match found? {
                        Some(v) => v,
                        None => return Err(CelError::new("no such key").into()),
                    }
                }
            };
        }
        Ok(if optional { Value::some(value) } else { value })
    }

    fn qualify_if_present(
        &mut self,
        value: &Value<'a>,
        q: &'a Qualifier,
    ) -> Step<Option<Value<'a>>> {
        let found = self.select(value, q, true)?;
        if found.is_some() {
            self.charge(1)?;
        }
        Ok(found)
    }

    /// One selection. If `test`, what is not there is `None` instead of an error.
    fn select(
        &mut self,
        value: &Value<'a>,
        q: &'a Qualifier,
        test: bool,
    ) -> Step<Option<Value<'a>>> {
        match &q.by {
            By::Const(key) => Ok(select(value, key, test)?),
            By::Attribute(a) => {
                let key = self.resolve(a)?;
                Ok(select(value, &computed_key(key)?, test)?)
            }
            By::Node(node) => {
                let key = self.eval(node)?;
                Ok(select(value, &computed_key(key)?, test)?)
            }
        }
    }

    // === operators ===

    fn eval_logical(&mut self, terms: &'a [Node; 2], decides: bool) -> Step<Value<'a>> {
        let mut failed: Option<CelError> = None;
        for term in terms {
            match settle(self.eval(term))? {
                Ok(Value::Bool(b)) if b == decides => return Ok(Value::Bool(decides)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => failed = failed.or_else(|| Some(CelError::no_overload())),
                Err(e) => failed = failed.or(Some(e)),
            }
        }
        failed.map_or(Ok(Value::Bool(!decides)), |e| Err(e.into()))
    }

    fn eval_equal(&mut self, terms: &'a [Node; 2], wanted: bool) -> Step<Value<'a>> {
        let args = [settle(self.eval(&terms[0]))?, settle(self.eval(&terms[1]))?];
        let result = match &args {
            [Ok(a), Ok(b)] => match (equal::equal(a, b), wanted) {
                (equal, true) => equal.map(Value::Bool),
                (equal, false) => Ok(Value::Bool(equal != Ok(true))),
            },
            [Err(e), _] | [_, Err(e)] => Err(e.clone()),
        };
        let spend = if wanted {
            Spend::Equals
        } else {
            Spend::Smaller
        };
        let [a, b] = &args;
        let cost = spend.cost(&[a.as_ref().ok(), b.as_ref().ok()], &result);
        self.charge(cost)?;
        Ok(result?)
    }

    fn eval_call(&mut self, call: &'a Call) -> Step<Value<'a>> {
        // One and two arguments are by far the most frequent, and need no allocation.
        match call.args.as_slice() {
            [a] => match settle(self.eval(a))? {
                Ok(a) => self.call_values(call, &[a]),
                Err(e) => self.call_failed(call, &[Err(e)]),
            },
            [a, b] => {
                let a = settle(self.eval(a))?;
                if call.sequential && a.is_err() {
                    return Ok(a?);
                }
                match (a, settle(self.eval(b))?) {
                    (Ok(a), Ok(b)) => self.call_values(call, &[a, b]),
                    (a, b) => self.call_failed(call, &[a, b]),
                }
            }
            nodes => {
                let mut args = Vec::with_capacity(nodes.len());
                for (i, node) in nodes.iter().enumerate() {
                    match settle(self.eval(node))? {
                        Ok(v) => args.push(v),
                        Err(e) if i + 1 < nodes.len() => return Err(e.into()),
                        Err(e) => {
                            let failed: Vec<_> = args.into_iter().map(Ok).chain([Err(e)]).collect();
                            return self.call_failed(call, &failed);
                        }
                    }
                }
                self.call_values(call, &args)
            }
        }
    }

    fn call_values(&mut self, call: &'a Call, args: &[Value<'a>]) -> Step<Value<'a>> {
        let remaining = self.budget.cost.saturating_sub(self.cost);
        let result = match invoke(call, args, remaining) {
            Err(Fail::Halt(halt)) => {
                self.cost = self.cost.max(self.budget.cost.saturating_add(1));
                return Err(Fail::Halt(halt));
            }
            other => settle(other)?,
        };
        let cost = match (call.spend, args) {
            (Spend::Fixed(n), _) => n,
            (spend, [a]) => spend.cost(&[Some(a)], &result),
            (spend, [a, b]) => spend.cost(&[Some(a), Some(b)], &result),
            (spend, args) => spend.cost(&args.iter().map(Some).collect::<Vec<_>>(), &result),
        };
        self.charge(cost)?;
        Ok(result?)
    }

    /// A call with an argument that failed: charged all the same, and as failed as its first one.
    fn call_failed(&mut self, call: &'a Call, args: &[Eval<Value<'a>>]) -> Step<Value<'a>> {
        let result = match args.iter().find_map(|a| a.as_ref().err()) {
            Some(_) if call.function == crate::ast::op::NOT_STRICTLY_FALSE => Ok(Value::Bool(true)),
            error => Err(error.cloned().unwrap_or_else(CelError::no_overload)),
        };
        let args: Vec<Option<&Value<'a>>> = args.iter().map(|a| a.as_ref().ok()).collect();
        self.charge(call.spend.cost(&args, &result))?;
        Ok(result?)
    }

    // === lists, maps ===

    fn eval_list(&mut self, nodes: &'a [Node], optional: &'a [bool]) -> Step<Value<'a>> {
        let mut items = Vec::with_capacity(nodes.len());
        let mut failed = None;
        for (node, optional) in nodes.iter().zip(optional) {
            match settle(self.eval(node))? {
                Ok(Value::Optional(o)) if *optional => items.extend(o.as_deref().cloned()),
                Ok(v) if *optional => {
                    let v = crate::number::plain(&v);
                    failed = Some(CelError::new(format!(
                        "cannot initialize optional list element from non-optional value {v}"
                    )));
                }
                Ok(v) => items.push(v),
                Err(e) => failed = Some(e),
            }
            if failed.is_some() {
                break;
            }
        }
        self.charge(spend::LIST)?;
        failed.map_or(Ok(Value::list(items)), |e| Err(e.into()))
    }

    fn eval_map(&mut self, entries: &'a [MapEntry]) -> Step<Value<'a>> {
        let mut map = BTreeMap::new();
        let built = settle(self.fill_map(entries, &mut map))?;
        self.charge(spend::MAP)?;
        built?;
        Ok(Value::Map(Map::Owned(Arc::new(map))))
    }

    fn fill_map(
        &mut self,
        entries: &'a [MapEntry],
        map: &mut BTreeMap<Key<'a>, Value<'a>>,
    ) -> Step<()> {
        for entry in entries {
            let key = self.eval(&entry.key)?;
            let value = self.eval(&entry.value)?;
            let unusable = || CelError::new(format!("unsupported key type: {}", key.type_name()));
            let map_key = Key::from_value(&key).ok_or_else(unusable)?;
            match (value, entry.optional) {
                (Value::Optional(None), true) => {
                    map.remove(&map_key);
                }
                (Value::Optional(Some(v)), true) => {
                    map.insert(map_key, v.taken_out()?);
                }
                (v, true) => {
                    let (key, v) = (crate::number::plain(&key), crate::number::plain(&v));
                    let text = format!(
                        "cannot initialize optional entry '{key}' from non-optional value {v}"
                    );
                    return Err(CelError::new(text).into());
                }
                (v, false) => {
                    map.insert(map_key, v);
                }
            }
        }
        Ok(())
    }

    // === comprehensions ===

    fn eval_fold(&mut self, fold: &'a FoldNode) -> Step<Value<'a>> {
        // A comprehension inside another starts anew each time; its slots may hold old values.
        self.slots[fold.accu] = None;
        let range = self.eval(&fold.range)?;
        match range {
            Value::List(list) => {
                for i in 0..list.len() {
                    let item = list.get(i);
                    let item = match fold.iter2 {
                        Some(slot) => {
                            self.slots[slot] = Some(item);
                            Ok(Value::Int(i as i64))
                        }
                        None => item,
                    };
                    if !self.turn(fold, item)? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for key in map.keys() {
                    if let Some(slot) = fold.iter2 {
                        self.slots[slot] = Some(map.at(&key));
                    }
                    if !self.turn(fold, Ok(key))? {
                        break;
                    }
                }
            }
            other => return Err(not_a_range(&other, fold.iter2.is_some()).into()),
        }
        let result = self.eval(&fold.result);
        self.slots[fold.accu] = None;
        result
    }

    /// One turn; whether to go on.
    fn turn(&mut self, fold: &'a FoldNode, item: Eval<Value<'a>>) -> Step<bool> {
        if self
            .budget
            .interrupt
            .is_some_and(|i| i.load(Ordering::Relaxed))
        {
            return Err(Fail::Halt(Halt::Interrupted));
        }
        self.slots[fold.iter] = Some(item);
        if let Ok(Value::Bool(false)) = settle(self.eval(&fold.condition))? {
            return Ok(false);
        }
        let value = settle(self.eval(&fold.step))?;
        self.slots[fold.accu] = Some(value);
        Ok(true)
    }

    /// `accu + [element]` without copying `accu`: the name, the list and the addition are charged.
    fn eval_append(&mut self, slot: usize, element: &'a Node) -> Step<Value<'a>> {
        let before = settle(self.read_slot(slot).map(|_| ()))?;
        self.charge(1)?;
        let element = settle(self.eval(element))?;
        self.charge(spend::LIST)?;
        self.charge(1)?;
        before?;
        let element = element?;
        let list = match self.slots[slot].take() {
            Some(Ok(Value::List(List::Owned(list)))) => list,
            Some(Ok(Value::List(list))) if list.is_empty() => Arc::new(Vec::new()),
            _ => return Err(CelError::no_overload().into()),
        };
        let mut list = list;
        Arc::make_mut(&mut list).push(element);
        Ok(Value::List(List::Owned(list)))
    }

    /// Adds an entry, or all entries of a map, to `accu`.
    fn eval_insert(&mut self, slot: usize, nodes: &'a [Node]) -> Step<Value<'a>> {
        let before = settle(self.read_slot(slot).map(|_| ()))?;
        self.charge(1)?;
        let mut args = Vec::with_capacity(2);
        let mut failed = before.err();
        // Three arguments are evaluated up to the first error, two are both evaluated.
        let stops = nodes.len() == 2;
        for (i, node) in nodes.iter().enumerate() {
            if failed.is_some() && stops {
                return Err(failed.unwrap_or_else(CelError::no_overload).into());
            }
            match settle(self.eval(node))? {
                Ok(v) => args.push(v),
                Err(e) if stops && i + 1 < nodes.len() => return Err(e.into()),
                Err(e) => failed = failed.or(Some(e)),
            }
        }
        self.charge(1)?;
        if let Some(e) = failed {
            return Err(e.into());
        }
        let Some(Ok(Value::Map(Map::Owned(mut map)))) = self.slots[slot].take() else {
            return Err(CelError::no_overload().into());
        };
        insert_all(Arc::make_mut(&mut map), args)?;
        Ok(Value::Map(Map::Owned(map)))
    }
}

fn insert_all<'a>(map: &mut BTreeMap<Key<'a>, Value<'a>>, args: Vec<Value<'a>>) -> Eval<()> {
    let mut args = args.into_iter();
    let entries = match (args.next(), args.next()) {
        (Some(key), Some(value)) => vec![(key, value)],
        (Some(Value::Map(m)), None) => {
            let entry = |k: Value<'a>| {
                let value = m.find(&k)?.unwrap_or(Value::Null);
                Ok((k, value))
            };
            m.keys().into_iter().map(entry).collect::<Eval<_>>()?
        }
        _ => return Err(CelError::no_overload()),
    };
    for (key, value) in entries {
        let map_key = Key::from_value(&key)
            .ok_or_else(|| CelError::new(format!("unsupported key type: {}", key.type_name())))?;
        if call::has_key(map, &key) {
            let key = crate::number::plain(&key);
            return Err(CelError::new(format!(
                "insert failed: key {key} already exists"
            )));
        }
        map.insert(map_key, value);
    }
    Ok(())
}

fn not_a_range(value: &Value<'_>, two: bool) -> CelError {
    let go = go_type(value);
    CelError::new(if two {
        format!("unsupported comprehension range type: {go}")
    } else {
        format!("got '{go}', expected iterable type")
    })
}

fn go_type(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "types.Null",
        Value::Bool(_) => "types.Bool",
        Value::Int(_) => "types.Int",
        Value::Uint(_) => "types.Uint",
        Value::Double(_) => "types.Double",
        Value::String(_) => "types.String",
        Value::Bytes(_) => "types.Bytes",
        Value::Duration(_) => "types.Duration",
        Value::Timestamp(_) => "types.Timestamp",
        Value::Type(_) => "*types.Type",
        Value::Optional(_) => "*types.Optional",
        Value::List(List::Raw(_) | List::Owned(_)) => "*types.baseList",
        Value::List(_) => "*common.unstructuredList",
        Value::Map(Map::Raw(_) | Map::Owned(_)) => "*types.baseMap",
        Value::Map(_) => "*common.unstructuredMap",
        Value::Preserved(_) => "*common.unknownPreserved",
        Value::Opaque(_) => "cel.Opaque",
        Value::Broken(_) => "*types.Err",
    }
}

fn in_set<'x>(set: &std::collections::BTreeSet<Key<'x>>, key: &Key<'x>) -> bool {
    set.contains(key)
}

/// A key that was computed has to be of a type that can be one.
fn computed_key(key: Value<'_>) -> Eval<Value<'_>> {
    match key {
        Value::String(_) | Value::Int(_) | Value::Uint(_) | Value::Bool(_) | Value::Double(_) => {
            Ok(key)
        }
        other => Err(CelError::new(format!(
            "invalid qualifier type: {}",
            go_type(&other)
        ))),
    }
}

/// Selects from a value by a key or an index.
fn select<'a>(value: &Value<'a>, key: &Value<'a>, test: bool) -> Eval<Option<Value<'a>>> {
    let missing = |what: &str| CelError::new(format!("{what}: {}", crate::number::plain(key)));
    match value {
        Value::Map(map) => match map.find(key)? {
            None if !test => Err(missing("no such key")),
            found => Ok(found),
        },
        Value::List(list) => {
            let index = call::list_index(key)?;
            match usize::try_from(index).ok().filter(|i| *i < list.len()) {
                Some(i) => list.get(i).map(Some),
                None if test => Ok(None),
                None => Err(missing("index out of bounds")),
            }
        }
        _ if test => Ok(None),
        _ => Err(missing("no such key")),
    }
}

/// Calls the implementation of a call on values.
pub(crate) fn invoke<'a>(call: &Call, args: &[Value<'a>], remaining: u64) -> Step<Value<'a>> {
    match &call.target {
        Target::Regex(regex) => call::run_regex(call.function, regex, args),
        Target::One {
            style,
            args: types,
            run,
        } => {
            match style {
                Style::Guarded if !call::fits(types, args) => {
                    return Err(call::no_such_overload(call.function, args).into());
                }
                Style::Trait(t) if !args.first().is_some_and(|a| t.of(a)) => {
                    return Err(call::lacks_trait(call.function, args).into());
                }
                _ => {}
            }
            run(args, remaining)
        }
        Target::Any(candidates) => {
            let found = candidates.iter().find(|c| call::fits(c.args, args));
            match found {
                Some(c) => (c.run)(args, remaining),
                None => Err(call::no_such_overload(call.function, args).into()),
            }
        }
    }
}

/// Reads a variable.
pub(crate) fn bind<'a>(
    binding: &Binding<'a>,
    name: &str,
    decl: &'a crate::decl::DeclType,
) -> Eval<Value<'a>> {
    match binding {
        Binding::Json(json) if matches!(decl.kind, crate::decl::DeclKind::Dyn) => Ok(raw(json)),
        Binding::Json(json) => read(json, decl),
        Binding::Value(v) => Ok(v.clone()),
        Binding::Absent => Err(CelError::new(format!("no such attribute(s): {name}"))),
    }
}
