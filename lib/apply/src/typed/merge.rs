//! Lays an applied configuration over the live object: what the configuration says wins, what it
//! does not mention stays, lists keep an order that both sides can live with.

use std::collections::{BTreeMap, BTreeSet};

use hanse_json::{Map, Value};

use super::{fields, is_hollow, items, step_of};
use crate::path::PathElement;
use crate::types::{ListKind, ListType, MapType, Shape, TypeRef, TypeSchema};

/// The merged object. Both sides must be of the schema's type.
pub fn merge(schema: &TypeSchema, live: &Value, applied: &Value) -> Value {
    pair(schema, schema.root(), Some(live), Some(applied)).unwrap_or(Value::Null)
}

fn pair(
    schema: &TypeSchema,
    ty: TypeRef,
    live: Option<&Value>,
    applied: Option<&Value>,
) -> Option<Value> {
    let atom = schema.node(ty);
    // Null takes whatever form the other side has.
    let shape = atom.deduce(applied.filter(|a| !a.is_null()).or(live));
    let changes_kind = matches!((live, applied), (Some(l), Some(a)) if differ(l, a));
    if is_hollow(live) && is_hollow(applied) || changes_kind {
        return leaf(live, applied);
    }
    match shape {
        Shape::List(list) if list.kind != ListKind::Atomic => Some(Value::Array(merge_list(
            schema,
            list,
            items(live),
            items(applied),
        ))),
        Shape::Map(map) if !schema.is_atomic(ty, map) => Some(Value::Object(merge_map(
            schema,
            map,
            fields(live),
            fields(applied),
        ))),
        _ => leaf(live, applied),
    }
}

fn differ(live: &Value, applied: &Value) -> bool {
    let kind = |value: &Value| match value {
        Value::Object(_) => 0,
        Value::Array(_) => 1,
        _ => 2,
    };
    !live.is_null() && !applied.is_null() && kind(live) != kind(applied)
}

fn leaf(live: Option<&Value>, applied: Option<&Value>) -> Option<Value> {
    applied.or(live).cloned()
}

fn merge_map(
    schema: &TypeSchema,
    map: &MapType,
    live: Option<&Map<String, Value>>,
    applied: Option<&Map<String, Value>>,
) -> Map<String, Value> {
    let mut out = Map::new();
    for (name, value) in live.into_iter().flatten() {
        let other = applied.and_then(|a| a.get(name));
        let merged = match map.type_of(name) {
            Some(ty) => pair(schema, ty, Some(value), other),
            None => leaf(Some(value), other),
        };
        if let Some(merged) = merged {
            out.insert(name.clone(), merged);
        }
    }
    for (name, value) in applied.into_iter().flatten() {
        if !out.contains_key(name) {
            out.insert(name.clone(), value.clone());
        }
    }
    out
}

/// One side of an associative list: its steps in order, and the item of each step. A step that
/// occurs twice (live objects only) has no item: such items are taken as they are.
struct Side<'v> {
    steps: Vec<PathElement>,
    values: Vec<&'v Value>,
    by_step: BTreeMap<PathElement, Option<&'v Value>>,
}

impl<'v> Side<'v> {
    fn new(schema: &TypeSchema, list: &ListType, items: &'v [Value]) -> Self {
        let mut side = Side {
            steps: vec![],
            values: vec![],
            by_step: BTreeMap::new(),
        };
        for item in items {
            if let Ok(step) = step_of(schema, list, item) {
                let doubled = side.by_step.contains_key(&step);
                side.by_step
                    .insert(step.clone(), (!doubled).then_some(item));
                side.steps.push(step);
                side.values.push(item);
            }
        }
        side
    }

    fn get(&self, step: &PathElement) -> Option<&'v Value> {
        self.by_step.get(step).copied().flatten()
    }

    fn has(&self, step: &PathElement) -> bool {
        self.by_step.contains_key(step)
    }
}

/// Items of both sides appear in the applied order; live items that are not applied keep their
/// place relative to their live neighbours.
fn merge_list(
    schema: &TypeSchema,
    list: &ListType,
    live: &[Value],
    applied: &[Value],
) -> Vec<Value> {
    let live = Side::new(schema, list, live);
    let applied = Side::new(schema, list, applied);
    let mut shared: std::collections::VecDeque<&PathElement> =
        applied.steps.iter().filter(|step| live.has(step)).collect();
    let mut next_shared = shared.pop_front();
    let mut done: BTreeSet<&PathElement> = BTreeSet::new();
    let mut out = Vec::with_capacity(live.steps.len() + applied.steps.len());
    let (mut l, mut r) = (0, 0);
    let mut push = |a: Option<&Value>, b: Option<&Value>| {
        out.extend(pair(schema, list.element, a, b));
    };
    while l < live.steps.len() || r < applied.steps.len() {
        if let (Some(ours), Some(theirs)) = (live.steps.get(l), applied.steps.get(r)) {
            if ours == theirs {
                push(live.get(ours), applied.get(ours));
                done.insert(theirs);
                l += 1;
                r += 1;
                if next_shared == Some(ours) {
                    next_shared = shared.pop_front();
                }
                continue;
            }
            if applied.has(ours) && next_shared.is_some_and(|next| next != ours) {
                // Shared, but its turn in the applied order comes elsewhere.
                l += 1;
                continue;
            }
        }
        if let Some(ours) = live.steps.get(l) {
            if !applied.has(ours) {
                push(live.values.get(l).copied(), None);
                l += 1;
                continue;
            }
            if done.contains(ours) {
                l += 1;
                continue;
            }
        }
        if let Some(theirs) = applied.steps.get(r) {
            push(live.get(theirs), applied.get(theirs));
            done.insert(theirs);
            r += 1;
            if next_shared == Some(theirs) {
                next_shared = shared.pop_front();
            }
        } else {
            l += 1;
        }
    }
    out
}
