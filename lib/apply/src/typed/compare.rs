//! What changed from one object to another: the input of every ownership decision.

use std::collections::BTreeMap;

use hanse_json::Value;

use super::{fields, is_hollow, items, step_of};
use crate::path::{PathElement, equal};
use crate::set::Set;
use crate::types::{ListKind, ListType, MapType, Shape, TypeRef, TypeSchema};

/// The difference of two objects, as three sets without overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// In the old object only.
    pub removed: Set,
    /// In both, with another value.
    pub modified: Set,
    /// In the new object only.
    pub added: Set,
}

impl Comparison {
    /// Without what `ignored` covers.
    pub fn without(&self, ignored: &Set) -> Comparison {
        Comparison {
            removed: self.removed.recursive_difference(ignored),
            modified: self.modified.recursive_difference(ignored),
            added: self.added.recursive_difference(ignored),
        }
    }

    /// True when nothing changed.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.modified.is_empty() && self.added.is_empty()
    }
}

/// Compares two objects of one type.
pub fn compare(schema: &TypeSchema, old: &Value, new: &Value) -> Comparison {
    let mut walk = Walk {
        schema,
        path: vec![],
        out: Comparison::default(),
    };
    walk.pair(schema.root(), Some(old), Some(new));
    walk.out
}

struct Walk<'w> {
    schema: &'w TypeSchema,
    path: Vec<PathElement>,
    out: Comparison,
}

impl Walk<'_> {
    fn pair(&mut self, ty: TypeRef, old: Option<&Value>, new: Option<&Value>) {
        let schema = self.schema;
        let atom = schema.node(ty);
        let (for_old, for_new) = (atom.deduce(old), atom.deduce(new));
        let leaf = match (old, new) {
            (_, None) => self.one(ty, for_old, old, new),
            (None, _) => self.one(ty, for_new, old, new),
            _ if same_kind(&for_old, &for_new) => self.one(ty, for_new, old, new),
            _ => {
                // The value changed its kind: both shapes have their say.
                let first = self.one(ty, for_old, old, new);
                let second = self.one(ty, for_new, old, new);
                first || second
            }
        };
        if !leaf {
            match (old, new) {
                (None, _) => self.out.added.insert(&self.path),
                (_, None) => self.out.removed.insert(&self.path),
                _ => {}
            }
        }
    }

    /// Walks one shape; true when the place was settled as a leaf.
    fn one(
        &mut self,
        ty: TypeRef,
        shape: Shape<'_>,
        old: Option<&Value>,
        new: Option<&Value>,
    ) -> bool {
        let hollow = is_hollow(old) && is_hollow(new);
        match shape {
            Shape::List(list) if list.kind != ListKind::Atomic && !hollow => {
                self.list(list, old, new);
                false
            }
            Shape::Map(map) if !self.schema.is_atomic(ty, map) && !hollow => {
                self.map(map, old, new);
                false
            }
            _ => {
                self.leaf(old, new);
                true
            }
        }
    }

    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (None, _) => self.out.added.insert(&self.path),
            (_, None) => self.out.removed.insert(&self.path),
            (Some(old), Some(new)) if !equal(old, new) => self.out.modified.insert(&self.path),
            _ => {}
        }
    }

    fn map(&mut self, map: &MapType, old: Option<&Value>, new: Option<&Value>) {
        let (old, new) = (fields(old), fields(new));
        let mut names: Vec<&String> = old
            .into_iter()
            .chain(new)
            .flat_map(|fields| fields.keys())
            .collect();
        names.sort();
        names.dedup();
        for name in names {
            let Some(ty) = map.type_of(name) else {
                continue;
            };
            let (old, new) = (old.and_then(|f| f.get(name)), new.and_then(|f| f.get(name)));
            self.path.push(PathElement::field(name.as_str()));
            self.pair(ty, old, new);
            self.path.pop();
        }
    }

    fn list(&mut self, list: &ListType, old: Option<&Value>, new: Option<&Value>) {
        let mut sides: BTreeMap<PathElement, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
        for item in items(old) {
            if let Ok(step) = step_of(self.schema, list, item) {
                sides.entry(step).or_default().0.push(item);
            }
        }
        for item in items(new) {
            if let Ok(step) = step_of(self.schema, list, item) {
                sides.entry(step).or_default().1.push(item);
            }
        }
        for (step, (old, new)) in sides {
            self.path.push(step);
            match (old.as_slice(), new.as_slice()) {
                ([], [_]) | ([_], []) | ([_], [_]) => {
                    self.pair(list.element, old.first().copied(), new.first().copied());
                }
                // Doubled items are one unit, which one item replaces or is replaced by.
                ([], _) => self.out.added.insert(&self.path),
                (_, []) => self.out.removed.insert(&self.path),
                ([one], _) => {
                    self.pair(list.element, Some(one), None);
                    self.out.added.insert(&self.path);
                }
                (_, [one]) => {
                    self.out.removed.insert(&self.path);
                    self.pair(list.element, None, Some(one));
                }
                (old, new) => {
                    if old.len() != new.len() || old.iter().zip(new).any(|(a, b)| !equal(a, b)) {
                        self.out.modified.insert(&self.path);
                    }
                }
            }
            self.path.pop();
        }
    }
}

fn same_kind(a: &Shape<'_>, b: &Shape<'_>) -> bool {
    matches!(
        (a, b),
        (Shape::Map(_), Shape::Map(_))
            | (Shape::List(_), Shape::List(_))
            | (Shape::Scalar(_), Shape::Scalar(_))
            | (Shape::Nothing, Shape::Nothing)
    )
}
