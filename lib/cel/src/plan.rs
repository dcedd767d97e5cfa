//! From a checked tree to a program: names become slots, chains of selections one attribute,
//! constants are folded, regular expressions compiled.
//!
//! Start at [`plan`]. The shape of the nodes follows cel-go's planner, because what is folded and
//! what is part of an attribute decides the runtime cost. Variables of comprehensions are slots
//! numbered over the whole program, so evaluating needs no names and no scopes.

use crate::ast::{Expr, Fold, Id, Kind, Literal, op};
use crate::call::{self, Binding, Candidate, Run, Style};
use crate::check::{Checked, Reference};
use crate::env::Env;
use crate::eval;
use crate::spend::Spend;
use crate::types::Type;
use crate::value::{Key, Text, Value};
use regex::Regex;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A step of a program.
#[derive(Debug)]
pub(crate) enum Node {
    Const(Value<'static>),
    Attribute(Box<Attribute>),
    /// `has()`: an attribute whose last qualifier only tests.
    Present(Box<Attribute>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Equal(Box<[Node; 2]>),
    NotEqual(Box<[Node; 2]>),
    Call(Box<Call>),
    /// Membership in a list of constants.
    InSet(Box<(Node, BTreeSet<Key<'static>>)>),
    OptionalOr(Box<[Node; 2]>),
    OptionalOrValue(Box<[Node; 2]>),
    List(Box<(Vec<Node>, Vec<bool>)>),
    Map(Vec<MapEntry>),
    Fold(Box<FoldNode>),
    /// Appends to the accumulator of a comprehension: `accu + [element]`.
    Append(Box<(usize, Node)>),
    /// Inserts into the accumulator of a comprehension.
    Insert(Box<(usize, Vec<Node>)>),
}

#[derive(Debug)]
pub(crate) struct MapEntry {
    pub(crate) key: Node,
    pub(crate) value: Node,
    pub(crate) optional: bool,
}

/// A variable or the result of a step, and what is selected from it.
#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) base: Base,
    pub(crate) qualifiers: Vec<Arc<Qualifier>>,
}

#[derive(Debug)]
pub(crate) enum Base {
    /// A variable of the program, by its place.
    Global(usize),
    /// A variable of a comprehension.
    Slot(usize),
    /// Anything else.
    Node(Node),
    /// `test ? a : b`; qualifiers go to both sides.
    Conditional(Box<(Node, Attribute, Attribute)>),
}

#[derive(Debug)]
pub(crate) struct Qualifier {
    pub(crate) by: By,
    pub(crate) optional: bool,
    /// Only asks whether it is there.
    pub(crate) test: bool,
}

#[derive(Debug)]
pub(crate) enum By {
    Const(Value<'static>),
    Attribute(Attribute),
    Node(Node),
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) function: &'static str,
    pub(crate) args: Vec<Node>,
    /// Whether the first failing argument ends the call (otherwise all are evaluated).
    pub(crate) sequential: bool,
    pub(crate) target: Target,
    pub(crate) spend: Spend,
}

#[derive(Debug)]
pub(crate) enum Target {
    /// One implementation, behind its guard.
    One {
        style: Style,
        args: &'static [Type],
        run: Run,
    },
    /// Whichever overload fits the values.
    Any(Vec<Candidate>),
    /// A constant regular expression.
    Regex(Regex),
}

#[derive(Debug)]
pub(crate) struct FoldNode {
    pub(crate) range: Node,
    pub(crate) iter: usize,
    pub(crate) iter2: Option<usize>,
    pub(crate) accu: usize,
    pub(crate) condition: Node,
    pub(crate) step: Node,
    pub(crate) result: Node,
}

/// What the evaluator runs.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) root: Node,
    /// Initial values of the slots that are accumulators.
    pub(crate) inits: Vec<Option<Node>>,
}

/// Plans a checked tree. `variables` are the names of the program's variables in order. The error
/// is that of a constant that cannot be computed.
pub(crate) fn plan(checked: &Checked, env: &Env, variables: &[Arc<str>]) -> Result<Plan, String> {
    let mut planner = Planner {
        checked,
        env,
        variables,
        scopes: Vec::new(),
        inits: Vec::new(),
        steps: Vec::new(),
    };
    let root = planner.node(&checked.root)?;
    Ok(Plan {
        root,
        inits: planner.inits,
    })
}

struct Planner<'c> {
    checked: &'c Checked,
    env: &'c Env,
    variables: &'c [Arc<str>],
    scopes: Vec<(Arc<str>, usize)>,
    inits: Vec<Option<Node>>,
    /// The calls that make the next accumulator of a comprehension.
    steps: Vec<Id>,
}

type Planned<T> = Result<T, String>;

impl Planner<'_> {
    fn node(&mut self, e: &Expr) -> Planned<Node> {
        match &e.kind {
            Kind::Unspecified => Err("unsupported expression".into()),
            Kind::Literal(literal) => Ok(Node::Const(literal_value(literal))),
            Kind::Ident(name) => self.name(e, name),
            Kind::Select {
                operand,
                field,
                test_only,
            } => {
                let by = By::Const(Value::String(Text::Owned(field.clone())));
                self.select(operand, by, false, *test_only)
            }
            Kind::Call {
                target,
                function,
                args,
            } => self.call(e, target.as_deref(), function, args),
            Kind::List { elements, optional } => self.list(elements, optional),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct { name, .. } => Err(format!("unknown type: {name}")),
            Kind::Fold(fold) => self.fold(fold),
        }
    }

    fn nodes(&mut self, exprs: &[Expr]) -> Planned<Vec<Node>> {
        exprs.iter().map(|e| self.node(e)).collect()
    }

    fn name(&mut self, e: &Expr, name: &Arc<str>) -> Planned<Node> {
        if let Some(Some(Reference::TypeName(name))) = self.checked.references.get(e.id as usize) {
            return Ok(Node::Const(Value::Type(Text::Owned(name.clone()))));
        }
        let local = self
            .scopes
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .map(|(_, slot)| *slot);
        let global = || {
            self.variables
                .iter()
                .rposition(|n| n == name)
                .map(Base::Global)
        };
        let base = local.map(Base::Slot).or_else(global);
        let base = base.ok_or_else(|| format!("no such attribute(s): {name}"))?;
        Ok(Node::Attribute(Box::new(Attribute {
            base,
            qualifiers: Vec::new(),
        })))
    }

    fn select(&mut self, operand: &Expr, by: By, optional: bool, test: bool) -> Planned<Node> {
        let mut attribute = into_attribute(self.node(operand)?);
        attribute.qualify(&Arc::new(Qualifier { by, optional, test }));
        let attribute = Box::new(attribute);
        Ok(if test {
            Node::Present(attribute)
        } else {
            Node::Attribute(attribute)
        })
    }

    fn call(
        &mut self,
        e: &Expr,
        target: Option<&Expr>,
        function: &Arc<str>,
        args: &[Expr],
    ) -> Planned<Node> {
        if matches!(&**function, op::INDEX | op::OPT_INDEX | op::OPT_SELECT) {
            return self.index(&args[0], &args[1], &**function != op::INDEX);
        }
        let mut nodes = Vec::with_capacity(args.len() + 1);
        for e in target.into_iter().chain(args) {
            nodes.push(self.node(e)?);
        }
        let mut nodes = match <[Node; 2]>::try_from(nodes) {
            Ok(pair) => match &**function {
                op::AND => return Ok(Node::And(Box::new(pair))),
                op::OR => return Ok(Node::Or(Box::new(pair))),
                op::EQUALS => return Ok(Node::Equal(Box::new(pair))),
                op::NOT_EQUALS => return Ok(Node::NotEqual(Box::new(pair))),
                "or" => return Ok(Node::OptionalOr(Box::new(pair))),
                "orValue" => return Ok(Node::OptionalOrValue(Box::new(pair))),
                _ => Vec::from(pair),
            },
            Err(nodes) => nodes,
        };
        if &**function == op::CONDITIONAL {
            return conditional(nodes);
        }
        let overload = match self.checked.overloads(e.id) {
            [one] => *one,
            _ => "",
        };
        if overload == "in_list"
            && let Some(Node::Const(Value::List(list))) = nodes.get(1)
        {
            if list.is_empty() {
                return Ok(Node::Const(Value::Bool(false)));
            }
            if let Some(set) = constant_set(list) {
                return Ok(Node::InSet(Box::new((nodes.swap_remove(0), set))));
            }
        }
        if self.steps.contains(&e.id)
            && let Some(node) = self.accumulate(overload, &mut nodes)
        {
            return Ok(node);
        }
        let call = self.resolve(function, overload, nodes)?;
        if call::is_conversion(call.function)
            && let [Node::Const(arg)] = &call.args[..]
        {
            let folded = eval::constant_call(&call, arg).map_err(|e| e.to_string())?;
            return Ok(Node::Const(folded));
        }
        Ok(Node::Call(Box::new(call)))
    }

    fn resolve(&self, function: &str, overload: &'static str, args: Vec<Node>) -> Planned<Call> {
        let function = self.env.function(function).ok_or("unknown function")?;
        let name = function.name;
        let spend = Spend::of(name, overload);
        let mut sequential = args.len() > 2;
        if call::takes_regex(name)
            && let Some(Node::Const(Value::String(pattern))) = args.get(1)
            && args.len() == 2
        {
            let regex = crate::pattern::compile(pattern)?;
            let target = Target::Regex(regex);
            return Ok(Call {
                function: name,
                args,
                sequential: true,
                target,
                spend,
            });
        }
        let overloads: Vec<_> = self.env.overloads(function).collect();
        let chosen = overloads
            .iter()
            .find(|o| o.id == overload)
            .or(match overloads.as_slice() {
                [one] => Some(one),
                _ => None,
            });
        let singleton = call::singleton(name);
        let target = match (singleton, chosen) {
            (Some(Binding { style, run, .. }), _) => Target::One {
                style,
                args: &[],
                run,
            },
            (None, Some(chosen)) => {
                let binding = call::binding(chosen.id).ok_or("no such overload")?;
                sequential |= binding.sequential;
                Target::One {
                    style: binding.style,
                    args: &chosen.args,
                    run: binding.run,
                }
            }
            (None, None) => {
                sequential = true;
                let candidates = overloads.iter().filter(|o| o.args.len() == args.len());
                let candidates = candidates.filter_map(|o| {
                    Some(Candidate {
                        args: &o.args,
                        run: call::binding(o.id)?.run,
                    })
                });
                Target::Any(candidates.collect())
            }
        };
        Ok(Call {
            function: name,
            args,
            sequential,
            target,
            spend,
        })
    }

    /// `accu + [x]` and insertions into `accu`: done in place.
    fn accumulate(&self, overload: &str, nodes: &mut Vec<Node>) -> Option<Node> {
        let slot = match nodes.first()? {
            Node::Attribute(a) if a.qualifiers.is_empty() => match a.base {
                Base::Slot(slot) if self.inits.get(slot).is_some_and(Option::is_some) => slot,
                _ => return None,
            },
            _ => return None,
        };
        let empty = |want_map: bool| match &self.inits[slot] {
            Some(Node::Const(Value::List(l))) => !want_map && l.is_empty(),
            Some(Node::Const(Value::Map(m))) => want_map && m.is_empty(),
            _ => false,
        };
        if overload == "add_list" && empty(false) {
            let Node::List(list) = &mut nodes[1] else {
                return None;
            };
            if list.0.len() == 1 && !list.1[0] {
                return Some(Node::Append(Box::new((slot, list.0.pop()?))));
            }
        }
        if overload.starts_with("@mapInsert") && empty(true) {
            return Some(Node::Insert(Box::new((slot, nodes.drain(1..).collect()))));
        }
        None
    }

    fn index(&mut self, operand: &Expr, index: &Expr, optional: bool) -> Planned<Node> {
        let attribute = self.node(operand)?;
        let by = match self.node(index)? {
            Node::Const(
                v @ (Value::String(_)
                | Value::Int(_)
                | Value::Uint(_)
                | Value::Bool(_)
                | Value::Double(_)),
            ) => By::Const(v),
            Node::Const(v) => {
                return Err(format!("invalid qualifier type: {}", go_value_type(&v)));
            }
            Node::Attribute(a) => By::Attribute(*a),
            other => By::Node(other),
        };
        let mut attribute = into_attribute(attribute);
        attribute.qualify(&Arc::new(Qualifier {
            by,
            optional,
            test: false,
        }));
        Ok(Node::Attribute(Box::new(attribute)))
    }

    fn list(&mut self, elements: &[Expr], optional: &[bool]) -> Planned<Node> {
        let nodes = self.nodes(elements)?;
        let constant = |n: &Node| match n {
            Node::Const(v) => Some(v.clone()),
            _ => None,
        };
        if !optional.contains(&true)
            && let Some(values) = nodes.iter().map(constant).collect::<Option<Vec<_>>>()
        {
            return Ok(Node::Const(Value::list(values)));
        }
        Ok(Node::List(Box::new((nodes, optional.to_vec()))))
    }

    fn map(&mut self, entries: &[crate::ast::Entry]) -> Planned<Node> {
        let mut nodes = Vec::with_capacity(entries.len());
        for e in entries {
            let (key, value) = (self.node(&e.key)?, self.node(&e.value)?);
            nodes.push(MapEntry {
                key,
                value,
                optional: e.optional,
            });
        }
        let constant = |e: &MapEntry| match (&e.key, &e.value) {
            (Node::Const(k), Node::Const(v)) if !e.optional => {
                Some((Key::from_value(k)?, v.clone()))
            }
            _ => None,
        };
        match nodes.iter().map(constant).collect::<Option<_>>() {
            Some(map) => Ok(Node::Const(Value::Map(crate::value::Map::Owned(Arc::new(
                map,
            ))))),
            None => Ok(Node::Map(nodes)),
        }
    }

    fn slot(&mut self, init: Option<Node>) -> usize {
        self.inits.push(init);
        self.inits.len() - 1
    }

    fn fold(&mut self, fold: &Fold) -> Planned<Node> {
        let init = self.node(&fold.init)?;
        let range = self.node(&fold.range)?;
        let accu = self.slot(Some(init));
        let iter = self.slot(None);
        let depth = self.scopes.len();
        self.scopes.push((fold.accu.clone(), accu));
        self.scopes.push((fold.iter.clone(), iter));
        let iter2 = fold.iter2.as_ref().map(|name| {
            let slot = self.slot(None);
            self.scopes.push((name.clone(), slot));
            slot
        });
        let condition = self.node(&fold.condition)?;
        self.steps.push(match &fold.step.kind {
            Kind::Call { function, args, .. } if &**function == op::CONDITIONAL => args[1].id,
            _ => fold.step.id,
        });
        let step = self.node(&fold.step)?;
        self.steps.pop();
        self.scopes.truncate(depth + 1);
        let result = self.node(&fold.result)?;
        self.scopes.truncate(depth);
        Ok(Node::Fold(Box::new(FoldNode {
            range,
            iter,
            iter2,
            accu,
            condition,
            step,
            result,
        })))
    }
}

impl Attribute {
    fn qualify(&mut self, qualifier: &Arc<Qualifier>) {
        match &mut self.base {
            Base::Conditional(c) => {
                c.1.qualify(qualifier);
                c.2.qualify(qualifier);
            }
            _ => self.qualifiers.push(qualifier.clone()),
        }
    }
}

fn into_attribute(node: Node) -> Attribute {
    match node {
        Node::Attribute(a) => *a,
        other => Attribute {
            base: Base::Node(other),
            qualifiers: Vec::new(),
        },
    }
}

/// A branch of a conditional: what is an attribute is resolved without the cost of naming it.
fn branch(node: Node) -> Attribute {
    match node {
        Node::Attribute(a) | Node::Present(a) => *a,
        other => Attribute {
            base: Base::Node(other),
            qualifiers: Vec::new(),
        },
    }
}

fn conditional(nodes: Vec<Node>) -> Planned<Node> {
    let Ok([test, yes, no]) = <[Node; 3]>::try_from(nodes) else {
        return Err("no such overload".into());
    };
    let base = Base::Conditional(Box::new((test, branch(yes), branch(no))));
    Ok(Node::Attribute(Box::new(Attribute {
        base,
        qualifiers: Vec::new(),
    })))
}

fn literal_value(literal: &Literal) -> Value<'static> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(b) => Value::Bool(*b),
        Literal::Int(i) => Value::Int(*i),
        Literal::Uint(u) => Value::Uint(*u),
        Literal::Double(d) => Value::Double(*d),
        Literal::String(s) => Value::String(Text::Owned(s.clone())),
        Literal::Bytes(b) => Value::Bytes(b.clone()),
    }
}

/// A set of the elements, each also as the other numeric types; `None` if some are no simple
/// values.
fn constant_set(list: &crate::value::List<'static>) -> Option<BTreeSet<Key<'static>>> {
    let mut set = BTreeSet::new();
    for i in 0..list.len() {
        let key = Key::from_value(&list.get(i).ok()?)?;
        match &key {
            Key::Null => return None,
            Key::Int(i) => {
                set.insert(Key::Double((*i as f64).to_bits()));
                set.extend(u64::try_from(*i).ok().map(Key::Uint));
            }
            Key::Uint(u) => {
                set.insert(Key::Double((*u as f64).to_bits()));
                set.extend(i64::try_from(*u).ok().map(Key::Int));
            }
            Key::Double(bits) => {
                let d = f64::from_bits(*bits);
                let int = crate::number::double_to_int(d).filter(|i| *i as f64 == d);
                let uint = crate::number::double_to_uint(d).filter(|u| *u as f64 == d);
                set.extend(int.map(Key::Int));
                set.extend(uint.map(Key::Uint));
            }
            _ => {}
        }
        set.insert(key);
    }
    Some(set)
}

fn go_value_type(v: &Value<'_>) -> &'static str {
    match v {
        Value::Bytes(_) => "types.Bytes",
        Value::Null => "types.Null",
        Value::Type(_) => "*types.Type",
        Value::Duration(_) => "types.Duration",
        Value::Timestamp(_) => "types.Timestamp",
        Value::List(_) => "*types.baseList",
        _ => "*types.baseMap",
    }
}
