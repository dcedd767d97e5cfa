//! A set of fields: a sorted trie of steps. A step may be a member (the field itself is in the
//! set), have children (fields below it are), or both. `fieldsV1` is its JSON form.

use std::collections::{BTreeMap, BTreeSet};

use hanse_json::{Map, Value};

use crate::limits::DEPTH_MAX;
use crate::path::PathElement;

/// A set of field paths. Empty children are never kept, so equal sets compare equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    members: BTreeSet<PathElement>,
    children: BTreeMap<PathElement, Set>,
}

impl Set {
    /// The empty set.
    pub fn new() -> Self {
        Set::default()
    }

    /// A set of paths made of field names, for tables like "what a status write never owns".
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Set::new();
        for path in paths {
            let steps: Vec<PathElement> = path.iter().map(|s| PathElement::field(*s)).collect();
            set.insert(&steps);
        }
        set
    }

    /// True when nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.is_empty()
    }

    /// Adds a path; the empty path (the object itself) is not representable and is ignored.
    pub fn insert(&mut self, path: &[PathElement]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.child_mut(first).insert(rest),
        }
    }

    /// Adds one step at this level.
    pub fn insert_member(&mut self, step: PathElement) {
        self.members.insert(step);
    }

    /// The set below `step`, made when missing. Callers must leave it non-empty.
    pub fn child_mut(&mut self, step: &PathElement) -> &mut Set {
        self.children.entry(step.clone()).or_default()
    }

    /// Puts `child` below `step`, unless it is empty.
    pub fn insert_child(&mut self, step: PathElement, child: Set) {
        if !child.is_empty() {
            self.children.insert(step, child);
        }
    }

    /// Is the step itself in the set?
    pub fn has_member(&self, step: &PathElement) -> bool {
        self.members.contains(step)
    }

    /// What the set holds below `step`.
    pub fn child(&self, step: &PathElement) -> Option<&Set> {
        self.children.get(step)
    }

    /// The steps that are in the set at this level, in order.
    pub fn members(&self) -> impl Iterator<Item = &PathElement> {
        self.members.iter()
    }

    /// The steps that lead further, with what lies below, in order.
    pub fn children(&self) -> impl Iterator<Item = (&PathElement, &Set)> {
        self.children.iter()
    }

    /// Is the path in the set?
    pub fn has(&self, path: &[PathElement]) -> bool {
        match path {
            [] => false,
            [last] => self.members.contains(last),
            [first, rest @ ..] => self
                .children
                .get(first)
                .is_some_and(|child| child.has(rest)),
        }
    }

    /// All that is in either set.
    pub fn union(&self, other: &Set) -> Set {
        let mut out = self.clone();
        out.extend(other);
        out
    }

    /// Adds all that is in the other set; what is there already is not copied.
    pub fn extend(&mut self, other: &Set) {
        self.members.extend(other.members.iter().cloned());
        for (step, theirs) in &other.children {
            match self.children.get_mut(step) {
                Some(ours) => ours.extend(theirs),
                None => {
                    self.children.insert(step.clone(), theirs.clone());
                }
            }
        }
    }

    /// All that is in both sets.
    pub fn intersection(&self, other: &Set) -> Set {
        let mut out = Set {
            members: self.members.intersection(&other.members).cloned().collect(),
            ..Set::new()
        };
        for (step, ours) in &self.children {
            if let Some(theirs) = other.children.get(step) {
                out.insert_child(step.clone(), ours.intersection(theirs));
            }
        }
        out
    }

    /// All that is in this set and not in the other; a member of the other removes only itself.
    pub fn difference(&self, other: &Set) -> Set {
        let mut out = Set {
            members: self.members.difference(&other.members).cloned().collect(),
            ..Set::new()
        };
        for (step, ours) in &self.children {
            let left = match other.children.get(step) {
                Some(theirs) => ours.difference(theirs),
                None => ours.clone(),
            };
            out.insert_child(step.clone(), left);
        }
        out
    }

    /// As [`Set::difference`], but a member of the other removes everything below it as well.
    pub fn recursive_difference(&self, other: &Set) -> Set {
        let mut out = Set {
            members: self.members.difference(&other.members).cloned().collect(),
            ..Set::new()
        };
        for (step, ours) in &self.children {
            if other.members.contains(step) {
                continue;
            }
            let left = match other.children.get(step) {
                Some(theirs) => ours.recursive_difference(theirs),
                None => ours.clone(),
            };
            out.insert_child(step.clone(), left);
        }
        out
    }

    /// Every path of the set, in order.
    pub fn paths(&self) -> Vec<Vec<PathElement>> {
        let mut out = Vec::new();
        self.collect_paths(&mut Vec::new(), &mut out);
        out
    }

    fn collect_paths(&self, prefix: &mut Vec<PathElement>, out: &mut Vec<Vec<PathElement>>) {
        for member in &self.members {
            let mut path = prefix.clone();
            path.push(member.clone());
            out.push(path);
        }
        for (step, child) in &self.children {
            prefix.push(step.clone());
            child.collect_paths(prefix, out);
            prefix.pop();
        }
    }

    /// Reads `fieldsV1`. Unknown key forms (of a later version of the format) are skipped, as
    /// KEP-555 asks; anything that is not an object is an error.
    pub fn from_fields_v1(value: &Value) -> Result<Set, String> {
        let (_, set) = read(value, 0)?;
        Ok(set)
    }

    /// Writes `fieldsV1`.
    pub fn to_fields_v1(&self) -> Value {
        let mut map = Map::new();
        for member in &self.members {
            map.insert(member.serialize(), Value::Object(Map::new()));
        }
        for (step, child) in &self.children {
            let mut below = child.to_fields_v1();
            if let (true, Value::Object(fields)) = (self.members.contains(step), &mut below) {
                fields.insert(".".to_owned(), Value::Object(Map::new()));
            }
            map.insert(step.serialize(), below);
        }
        Value::Object(map)
    }
}

/// Returns whether the object says `.` (the parent is a member) and what lies below.
fn read(value: &Value, depth: usize) -> Result<(bool, Set), String> {
    let Value::Object(map) = value else {
        return Err("fieldsV1 must be an object".to_owned());
    };
    if depth > DEPTH_MAX {
        return Err("fieldsV1 is nested too deeply".to_owned());
    }
    let mut set = Set::new();
    let mut own = map.is_empty();
    for (key, below) in map {
        if key == "." {
            own = true;
            continue;
        }
        let Some(step) = PathElement::parse(key) else {
            continue;
        };
        let (member, child) = read(below, depth + 1)?;
        if member {
            set.members.insert(step.clone());
        }
        set.insert_child(step, child);
    }
    Ok((own, set))
}
