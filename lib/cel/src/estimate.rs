//! What an expression may cost at least and at most, from the bounds of the declarations.
//!
//! Start at [`estimate`]. The walk follows cel-go's estimator, with Kubernetes' rules for its
//! libraries and its sizes: which CRDs are accepted hangs on these numbers, so they have to be
//! equal, odd corners included (the size of a map key is zero, that of a field of fixed size too).
//! Arithmetic saturates.

use crate::ast::{ACCUMULATOR, Expr, Fold, Kind, Literal};
use crate::check::Checked;
use crate::decl::{DeclKind, DeclType};
use crate::types::Type;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

pub(crate) const TEXT: f64 = 0.1;
pub(crate) const REGEX: f64 = 0.25;
pub(crate) const LIST: u64 = 10;
const MAP: u64 = 30;
pub(crate) const MESSAGE: u64 = 40;

/// A cost between two bounds. The upper one is `u64::MAX` when nothing bounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CostEstimate {
    /// At least this.
    pub min: u64,
    /// At most this.
    pub max: u64,
}

/// A size between two bounds.
pub(crate) type Size = CostEstimate;

impl CostEstimate {
    pub(crate) const fn fixed(n: u64) -> Self {
        Self { min: n, max: n }
    }

    pub(crate) const UNKNOWN: Self = Self {
        min: 0,
        max: u64::MAX,
    };

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            min: self.min.saturating_add(other.min),
            max: self.max.saturating_add(other.max),
        }
    }

    /// Both bounds multiplied: how often times how much.
    pub fn times(self, other: Self) -> Self {
        Self {
            min: self.min.saturating_mul(other.min),
            max: self.max.saturating_mul(other.max),
        }
    }

    pub(crate) fn scaled(self, factor: f64) -> Self {
        // A float to integer conversion saturates.
        let scale = |n: u64| (n as f64 * factor).ceil() as u64;
        Self {
            min: scale(self.min),
            max: scale(self.max),
        }
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }
}

/// Sizes of the keys and values of a list or map that the expression makes.
#[derive(Debug, Clone, Copy)]
struct Entries {
    is_list: bool,
    key: Size,
    value: Size,
}

impl Entries {
    fn union(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        let (a, b) = (a?, b?);
        Some(Self {
            is_list: a.is_list,
            key: a.key.union(b.key),
            value: a.value.union(b.value),
        })
    }
}

/// A path from a variable through the declarations.
///
/// It behaves as a Go slice does: appending writes into room that the copies of a path share. Two
/// paths made from one can therefore end alike, and since cel-go estimates with such paths, so do
/// we.
#[derive(Debug, Clone, Default)]
pub(crate) struct Path {
    room: Rc<RefCell<Vec<Arc<str>>>>,
    length: usize,
}

impl Path {
    fn of(name: Arc<str>) -> Self {
        Self {
            room: Rc::new(RefCell::new(vec![name])),
            length: 1,
        }
    }

    pub(crate) fn with(&self, part: Arc<str>) -> Self {
        let capacity = self.room.borrow().len();
        if self.length < capacity {
            self.room.borrow_mut()[self.length] = part;
            return Self {
                room: self.room.clone(),
                length: self.length + 1,
            };
        }
        let mut room = self.room.borrow().clone();
        room.push(part);
        room.resize((capacity * 2).max(1), "".into());
        Self {
            room: Rc::new(RefCell::new(room)),
            length: self.length + 1,
        }
    }

    fn parts(&self) -> Vec<Arc<str>> {
        self.room.borrow()[..self.length].to_vec()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }
}

#[derive(Debug, Clone, Default)]
struct Local {
    path: Path,
    size: Option<Size>,
    entries: Option<Entries>,
}

/// Estimates a checked expression.
pub(crate) fn estimate(checked: &Checked, decls: &BTreeMap<String, DeclType>) -> CostEstimate {
    let count = checked.positions.len();
    let mut coster = Coster {
        checked,
        decls,
        paths: vec![Path::default(); count],
        sizes: vec![None; count],
        entries: vec![None; count],
        locals: Vec::new(),
    };
    coster.cost(&checked.root)
}

pub(crate) struct Coster<'c> {
    checked: &'c Checked,
    decls: &'c BTreeMap<String, DeclType>,
    paths: Vec<Path>,
    sizes: Vec<Option<Size>>,
    entries: Vec<Option<Entries>>,
    locals: Vec<(Arc<str>, Local)>,
}

/// A node as the rules for calls see it.
pub(crate) struct Node<'c> {
    pub(crate) expr: Option<&'c Expr>,
    pub(crate) path: Path,
    pub(crate) t: Type,
    pub(crate) computed: Option<Size>,
}

impl<'c> Coster<'c> {
    fn cost(&mut self, e: &'c Expr) -> CostEstimate {
        match &e.kind {
            Kind::Unspecified | Kind::Literal(_) => CostEstimate::fixed(0),
            Kind::Ident(name) => {
                let path = match self.local(name) {
                    Some(local) => local.path.clone(),
                    None => Path::of(name.clone()),
                };
                self.paths[e.id as usize] = path;
                CostEstimate::fixed(1)
            }
            Kind::Select {
                operand,
                field,
                test_only,
            } => self.cost_select(e, operand, field, *test_only),
            Kind::Call {
                target,
                function,
                args,
            } => self.cost_call(e, target.as_deref(), function, args),
            Kind::List { elements, .. } => self.cost_list(e, elements),
            Kind::Map(entries) => self.cost_map(e, entries),
            Kind::Struct { fields, .. } => {
                let costs = fields.iter().map(|f| self.cost(f));
                costs.fold(CostEstimate::fixed(MESSAGE), CostEstimate::plus)
            }
            Kind::Fold(fold) if fold.is_bind() => self.cost_bind(e, fold),
            Kind::Fold(fold) => self.cost_fold(e, fold),
        }
    }

    fn cost_select(
        &mut self,
        e: &Expr,
        operand: &'c Expr,
        field: &Arc<str>,
        test_only: bool,
    ) -> CostEstimate {
        let sum = self.cost(operand);
        if test_only {
            return sum;
        }
        self.paths[e.id as usize] = self.path(operand).with(field.clone());
        match self.checked.type_of(operand) {
            Type::Map(_) | Type::Object(_) | Type::Named(_) | Type::Param(_) | Type::Var(_) => {
                sum.plus(CostEstimate::fixed(1))
            }
            _ => sum,
        }
    }

    fn cost_call(
        &mut self,
        e: &'c Expr,
        target: Option<&'c Expr>,
        function: &str,
        args: &'c [Expr],
    ) -> CostEstimate {
        if function == "dyn"
            && let [arg] = args
        {
            let cost = self.cost(arg).plus(CostEstimate::fixed(1));
            self.copy_sizes(e, arg);
            return cost;
        }
        let mut costs = Vec::with_capacity(args.len());
        let mut nodes = Vec::with_capacity(args.len());
        for arg in args {
            costs.push(self.cost(arg));
            nodes.push(self.node(arg));
        }
        let overloads = self.checked.overloads(e.id);
        if overloads.is_empty() {
            return CostEstimate::default();
        }
        let mut sum = CostEstimate::default();
        let mut receiver = None;
        if let Some(target) = target {
            sum = self.cost(target);
            receiver = Some(self.node(target));
        }
        let mut call_cost = CostEstimate {
            min: u64::MAX,
            max: 0,
        };
        let mut size: Option<Size> = None;
        for overload in overloads {
            let (cost, result) =
                self.overload(e, function, overload, receiver.as_ref(), &nodes, &costs);
            call_cost = call_cost.union(cost);
            if let Some(result) = result {
                size = Some(size.map_or(result, |s| s.union(result)));
            }
            let part = match *overload {
                "index_list" => Some("@items"),
                "index_map" => Some("@values"),
                _ => None,
            };
            if let (Some(part), Some(list)) = (part, args.first()) {
                size = self.entry_sizes(list).map(|s| s.value);
                self.paths[e.id as usize] = self.path(list).with(part.into());
            }
            if size.is_none() {
                size = self.size(e);
            }
        }
        self.set_size(e, size);
        sum.plus(call_cost)
    }

    fn cost_list(&mut self, e: &Expr, elements: &'c [Expr]) -> CostEstimate {
        let mut sum = CostEstimate::default();
        let mut item = Size {
            min: if elements.is_empty() { 0 } else { u64::MAX },
            max: 0,
        };
        for element in elements {
            sum = sum.plus(self.cost(element));
            item = item.union(self.size_or_unknown(element));
        }
        self.entries[e.id as usize] = Some(Entries {
            is_list: true,
            key: Size::fixed(1),
            value: item,
        });
        sum.plus(CostEstimate::fixed(LIST))
    }

    fn cost_map(&mut self, e: &Expr, entries: &'c [crate::ast::Entry]) -> CostEstimate {
        let mut sum = CostEstimate::default();
        let start = Size {
            min: if entries.is_empty() { 0 } else { u64::MAX },
            max: 0,
        };
        let (mut key, mut value) = (start, start);
        for entry in entries {
            sum = sum
                .plus(self.cost(&entry.key))
                .plus(self.cost(&entry.value));
            key = key.union(self.size_or_unknown(&entry.key));
            value = value.union(self.size_or_unknown(&entry.value));
        }
        self.entries[e.id as usize] = Some(Entries {
            is_list: false,
            key,
            value,
        });
        sum.plus(CostEstimate::fixed(MAP))
    }

    fn cost_bind(&mut self, e: &Expr, fold: &'c Fold) -> CostEstimate {
        let mut sum = self.cost(&fold.range).plus(self.cost(&fold.init));
        self.push_accu(fold);
        sum = sum.plus(self.cost(&fold.result));
        self.locals.pop();
        self.copy_sizes(e, &fold.result);
        sum
    }

    fn cost_fold(&mut self, e: &Expr, fold: &'c Fold) -> CostEstimate {
        let mut sum = self.cost(&fold.range).plus(self.cost(&fold.init));
        self.push_accu(fold);
        let depth = self.locals.len();
        self.push_iteration(fold);
        let turn = self.cost(&fold.condition);
        let turn = self.cost(&fold.step).plus(turn);
        self.locals.truncate(depth);
        sum = sum.plus(self.cost(&fold.result));
        self.locals.pop();
        let count = self.size_or_unknown(&fold.range);
        match &fold.init.kind {
            Kind::Literal(_) => {
                let size = self.size(&fold.init);
                self.set_size(e, size);
            }
            Kind::List { .. } | Kind::Map(_) => {
                self.set_size(e, Some(count));
                let step = self.entry_sizes(&fold.step);
                self.set_entries(e, step);
            }
            _ => {}
        }
        sum.plus(count.times(turn))
    }

    fn push_accu(&mut self, fold: &Fold) {
        let local = Local {
            path: self.path(&fold.init),
            size: self.size(&fold.init),
            entries: self.entry_sizes(&fold.init),
        };
        self.locals.push((fold.accu.clone(), local));
    }

    fn push_iteration(&mut self, fold: &Fold) {
        let entries = self.entry_sizes(&fold.range);
        let is_list = entries.map_or_else(
            || matches!(self.checked.type_of(&fold.range), Type::List(_)),
            |e| e.is_list,
        );
        let key = entries.map(|e| e.key);
        let value = entries.map(|e| e.value);
        let range = self.path(&fold.range);
        let local = |part: &str, size: Option<Size>| Local {
            path: range.with(part.into()),
            size,
            entries: None,
        };
        match &fold.iter2 {
            Some(second) => {
                let key = local(if is_list { "@indices" } else { "@keys" }, key);
                let value = local(if is_list { "@items" } else { "@values" }, value);
                self.locals.push((fold.iter.clone(), key));
                self.locals.push((second.clone(), value));
            }
            None => {
                let one = if is_list {
                    local("@items", value)
                } else {
                    local("@keys", key)
                };
                self.locals.push((fold.iter.clone(), one));
            }
        }
    }

    // === sizes and paths ===

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals
            .iter()
            .rev()
            .find(|(n, _)| &**n == name)
            .map(|(_, local)| local)
    }

    fn path(&self, e: &Expr) -> Path {
        if let Kind::Ident(name) = &e.kind
            && let Some(local) = self.local(name)
        {
            return local.path.clone();
        }
        self.paths[e.id as usize].clone()
    }

    fn node(&mut self, e: &'c Expr) -> Node<'c> {
        let mut path = self.path(e);
        if path.parts().first().is_some_and(|p| &**p == ACCUMULATOR) {
            path = Path::default();
        }

        let computed = self.size(e);
        Node {
            expr: Some(e),
            path,
            t: self.checked.type_of(e).clone(),
            computed,
        }
    }

    /// The size that declarations give for a path, if they reach that far.
    fn declared(&self, path: &Path) -> Option<Size> {
        let path = path.parts();
        let (root, steps) = path.split_first()?;
        let mut decl = self.decls.get(&**root)?;
        for (i, step) in steps.iter().enumerate() {
            if &**step == "@keys" && decl.has_keys() {
                return (i + 1 == steps.len()).then_some(Size { min: 0, max: 0 });
            }
            decl = decl.step(step)?;
        }
        if matches!(decl.kind, DeclKind::Dyn) {
            return None;
        }
        Some(Size {
            min: 0,
            max: decl.max_elements.max(0) as u64,
        })
    }

    fn size(&mut self, e: &Expr) -> Option<Size> {
        if let Some(size) = self.sizes[e.id as usize] {
            return Some(size);
        }
        if let Some(n) = literal_size(e) {
            return Some(Size::fixed(n));
        }
        if let Some(size) = self.declared(&self.path(e)) {
            self.sizes[e.id as usize] = Some(size);
            return Some(size);
        }
        if self.checked.type_of(e).is_scalar() {
            return Some(Size::fixed(1));
        }
        match &e.kind {
            Kind::Ident(name) => self.local(name)?.size,
            _ => None,
        }
    }

    fn size_or_unknown(&mut self, e: &Expr) -> Size {
        self.size(e).unwrap_or(Size::UNKNOWN)
    }

    fn set_size(&mut self, e: &Expr, size: Option<Size>) {
        if size.is_some() {
            self.sizes[e.id as usize] = size;
        }
    }

    fn entry_sizes(&self, e: &Expr) -> Option<Entries> {
        self.entries[e.id as usize].or_else(|| match &e.kind {
            Kind::Ident(name) => self.local(name)?.entries,
            _ => None,
        })
    }

    fn set_entries(&mut self, e: &Expr, entries: Option<Entries>) {
        if entries.is_some() {
            self.entries[e.id as usize] = entries;
        }
    }

    fn copy_sizes(&mut self, to: &Expr, from: &Expr) {
        let size = self.size(from);
        self.set_size(to, size);
        let entries = self.entry_sizes(from);
        self.set_entries(to, entries);
    }

    /// Size of a node by the rules of Kubernetes' libraries.
    pub(crate) fn node_size(&self, node: &Node<'_>) -> Size {
        node.computed
            .or_else(|| self.declared(&node.path))
            .unwrap_or(Size::UNKNOWN)
    }

    /// The element of a list, as a node of its own.
    pub(crate) fn element(&self, list: &Node<'_>) -> Option<Node<'c>> {
        let t = match &list.t {
            Type::List(element) => Type::clone(element),
            Type::Map(m) => m.0.clone(),
            Type::Opaque(_, params) => params.first()?.clone(),
            _ => return None,
        };
        // Here the original copies, so nothing is shared.
        let mut path = Path::default();
        if !list.path.is_empty() {
            let parts = list.path.parts().into_iter().chain(["@items".into()]);
            path = parts.fold(path, |path, part| path.with(part));
        }
        Some(Node {
            expr: None,
            path,
            t,
            computed: None,
        })
    }

    // === calls ===

    /// Cost of a call and size of its result, for one overload.
    fn overload(
        &mut self,
        e: &Expr,
        function: &str,
        overload: &str,
        target: Option<&Node<'c>>,
        args: &[Node<'c>],
        costs: &[CostEstimate],
    ) -> (CostEstimate, Option<Size>) {
        let sum = costs
            .iter()
            .fold(CostEstimate::default(), |a, b| a.plus(*b));
        if let Some((cost, size)) = self
            .list_extension(overload, target, args)
            .or_else(|| self.kubernetes(function, overload, target, args))
        {
            return (cost.plus(sum), size);
        }
        if let Some((cost, size)) = self.standard(e, overload, target, args, costs) {
            // The logical operators and the conditional weigh their arguments themselves.
            let weighed = matches!(overload, "logical_and" | "logical_or" | "conditional");
            return (if weighed { cost } else { cost.plus(sum) }, size);
        }
        (sum.plus(CostEstimate::fixed(1)), None)
    }

    fn standard(
        &mut self,
        e: &Expr,
        overload: &str,
        target: Option<&Node<'c>>,
        args: &[Node<'c>],
        costs: &[CostEstimate],
    ) -> Option<(CostEstimate, Option<Size>)> {
        let size = |n: &Node<'_>| n.computed.unwrap_or(Size::UNKNOWN);
        Some(match (overload, args) {
            ("string_format", _) => (size(target?).scaled(TEXT), None),
            ("string_to_bytes", [arg]) => {
                let s = size(arg);
                let result = Size {
                    min: s.min,
                    max: s.max.wrapping_mul(4),
                };
                (s.scaled(TEXT), Some(result))
            }
            ("bytes_to_string", [arg]) => {
                let s = size(arg);
                (
                    s.scaled(TEXT),
                    Some(Size {
                        min: s.min / 4,
                        max: s.max,
                    }),
                )
            }
            ("strings_quote", [arg]) => {
                let s = size(arg);
                let max = s.max.wrapping_mul(2).wrapping_add(2);
                (
                    s.scaled(TEXT),
                    Some(Size {
                        min: s.min.wrapping_add(2),
                        max,
                    }),
                )
            }
            ("starts_with_string" | "ends_with_string", [arg]) => (size(arg).scaled(TEXT), None),
            ("in_list", [_, list]) => (size(list).scaled(1.0), None),
            ("matches_string", [pattern]) => {
                let text = size(target?).plus(Size::fixed(1)).scaled(TEXT);
                (text.times(size(pattern).scaled(REGEX)), None)
            }
            ("contains_string", [part]) => (
                size(target?).scaled(TEXT).times(size(part).scaled(TEXT)),
                None,
            ),
            ("logical_and" | "logical_or", _) => {
                let max = costs[0].plus(costs[1]).max;
                (
                    CostEstimate {
                        min: costs[0].min,
                        max,
                    },
                    None,
                )
            }
            ("conditional", [_, yes, no]) => {
                let result = size(yes).union(size(no));
                let entries = match (yes.expr, no.expr) {
                    (Some(yes), Some(no)) => {
                        Entries::union(self.entry_sizes(yes), self.entry_sizes(no))
                    }
                    _ => None,
                };
                self.set_entries(e, entries);
                (costs[0].plus(costs[1].union(costs[2])), Some(result))
            }
            ("add_string" | "add_bytes" | "add_list", [left, right]) => {
                let result = size(left).plus(size(right));
                let entries = match (left.expr, right.expr) {
                    (Some(left), Some(right)) => {
                        Entries::union(self.entry_sizes(left), self.entry_sizes(right))
                    }
                    _ => None,
                };
                self.set_entries(e, entries);
                let cost = match overload {
                    "add_list" => CostEstimate::fixed(1),
                    _ => result.scaled(TEXT),
                };
                (cost, Some(result))
            }
            (_, [left, right]) if compares_sizes(overload) => {
                let max = size(left).max.min(size(right).max);
                let least = CostEstimate {
                    min: u64::from(max > 0),
                    max,
                };
                (least.scaled(TEXT), None)
            }
            _ => return None,
        })
    }
}

fn compares_sizes(overload: &str) -> bool {
    if matches!(overload, "equals" | "not_equals") {
        return true;
    }
    let relation = overload
        .strip_suffix("_string")
        .or_else(|| overload.strip_suffix("_bytes"));
    matches!(
        relation,
        Some("less" | "less_equals" | "greater" | "greater_equals")
    )
}

fn literal_size(e: &Expr) -> Option<u64> {
    Some(match &e.kind {
        Kind::Literal(Literal::String(s)) => s.chars().count() as u64,
        Kind::Literal(Literal::Bytes(b)) => b.len() as u64,
        Kind::Literal(_) => 1,
        Kind::List { elements, .. } => elements.len() as u64,
        Kind::Map(entries) => entries.len() as u64,
        _ => return None,
    })
}
