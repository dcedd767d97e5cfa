//! Who owns what after an update or an apply: the algorithm of KEP-555 over sets, without the
//! `managedFields` format around it (see [`crate::managed`]).

use std::collections::BTreeMap;

use hanse_json::Value;

use crate::managed::{ManagerId, Versions};
use crate::path::{PathElement, equal};
use crate::set::Set;
use crate::typed::{self, Comparison};
use crate::types::{TypeRef, TypeSchema};

/// What one manager owns, read under the schema of `api_version`.
#[derive(Clone, Debug, PartialEq)]
pub struct Owned {
    /// The fields.
    pub set: Set,
    /// The version whose schema the set speaks of.
    pub api_version: String,
}

/// All managers of an object.
pub type Owners = BTreeMap<ManagerId, Owned>;

/// A field that another manager owns with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Its owner.
    pub manager: ManagerId,
    /// The field.
    pub path: Vec<PathElement>,
}

/// Ownership after a write that is not an apply: `manager` takes all that changed.
pub fn update(
    live: &Value,
    new: &Value,
    mut owners: Owners,
    manager: &ManagerId,
    step: &Step<'_>,
) -> Owners {
    reconcile(live, &mut owners, step.versions);
    let Ok(change) = settle(live, new, &mut owners, manager, true, step) else {
        return owners;
    };
    let before = owners
        .remove(manager)
        .map(|owned| owned.set)
        .unwrap_or_default();
    let set = before
        .difference(&change.removed)
        .union(&change.modified)
        .union(&change.added);
    let set = set.recursive_difference(step.ignored);
    if !set.is_empty() {
        owners.insert(
            manager.clone(),
            Owned {
                set,
                api_version: step.api_version.to_owned(),
            },
        );
    }
    owners
}

/// What both operations need to know.
pub struct Step<'s> {
    /// The version of the request.
    pub api_version: &'s str,
    /// Schemas and conversions.
    pub versions: &'s dyn Versions,
    /// The schema of `api_version`.
    pub schema: &'s TypeSchema,
    /// Fields that no one owns through this endpoint (KEP-555: reset fields).
    pub ignored: &'s Set,
}

/// The object and its owners after `manager` applied `config`; conflicts unless `force`.
pub fn apply(
    live: &Value,
    config: &Value,
    mut owners: Owners,
    manager: &ManagerId,
    force: bool,
    step: &Step<'_>,
) -> Result<(Value, Owners), Vec<Conflict>> {
    reconcile(live, &mut owners, step.versions);
    let merged = typed::merge(step.schema, live, config);
    let last = owners.get(manager).cloned();
    let set = typed::to_set(step.schema, config).recursive_difference(step.ignored);
    owners.insert(
        manager.clone(),
        Owned {
            set,
            api_version: step.api_version.to_owned(),
        },
    );
    let pruned = prune(merged, &owners, last.as_ref(), step);
    settle(live, &pruned, &mut owners, manager, force, step)?;
    Ok((pruned, owners))
}

/// Takes from the other managers what changed hands. Without `force`, a changed field that someone
/// else owns is a conflict and nothing is touched. Returns the change in the request's version.
fn settle(
    live: &Value,
    new: &Value,
    owners: &mut Owners,
    manager: &ManagerId,
    force: bool,
    step: &Step<'_>,
) -> Result<Comparison, Vec<Conflict>> {
    // By version: the change, and what it touches (made once, however many managers there are).
    let mut changes: BTreeMap<String, Option<(Comparison, Set)>> = BTreeMap::new();
    let with_touched = |change: Comparison| {
        let touched = change.modified.union(&change.added);
        (change, touched)
    };
    let own = typed::compare(step.schema, live, new).without(step.ignored);
    changes.insert(step.api_version.to_owned(), Some(with_touched(own)));
    let mut conflicts = Vec::new();
    let mut left = Owners::new();
    for (other, owned) in owners.iter() {
        if other == manager {
            left.insert(other.clone(), owned.clone());
            continue;
        }
        let change = changes
            .entry(owned.api_version.clone())
            .or_insert_with(|| compare_in(live, new, &owned.api_version, step).map(with_touched));
        // A version that is no longer served cannot be read; its entry goes.
        let Some((change, touched)) = change else {
            continue;
        };
        let taken = owned.set.intersection(touched);
        conflicts.extend(taken.paths().into_iter().map(|path| Conflict {
            manager: other.clone(),
            path,
        }));
        let set = owned.set.difference(&taken).difference(&change.removed);
        left.insert(
            other.clone(),
            Owned {
                set,
                api_version: owned.api_version.clone(),
            },
        );
    }
    if !force && !conflicts.is_empty() {
        return Err(conflicts);
    }
    left.retain(|_, owned| !owned.set.is_empty());
    *owners = left;
    let own = changes.remove(step.api_version).flatten();
    Ok(own.map(|(change, _)| change).unwrap_or_default())
}

fn compare_in(live: &Value, new: &Value, version: &str, step: &Step<'_>) -> Option<Comparison> {
    let schema = step.versions.schema(version)?;
    let live = step.versions.convert(live, version)?;
    let new = step.versions.convert(new, version)?;
    Some(typed::compare(schema, &live, &new).without(step.ignored))
}

fn reconcile(live: &Value, owners: &mut Owners, versions: &dyn Versions) {
    for owned in owners.values_mut() {
        if let Some(schema) = versions.schema(&owned.api_version) {
            owned.set = typed::reconcile(schema, live, &owned.set);
        }
    }
}

/// Removes what the applier owned alone and no longer applies.
fn prune(merged: Value, owners: &Owners, last: Option<&Owned>, step: &Step<'_>) -> Value {
    let Some(last) = last.filter(|l| !l.set.is_empty()) else {
        return merged;
    };
    let Some(schema) = step.versions.schema(&last.api_version) else {
        return merged;
    };
    let Some(object) = step.versions.convert(&merged, &last.api_version) else {
        return merged;
    };
    let named = |set: &Set| named_fields(schema, schema.root(), set);
    let mut pruned = typed::remove(schema, &object, &named(&last.set));
    pruned = add_back_owned(&object, pruned, schema, &last.api_version, owners, step);
    // What hangs below something removed must not come back through its parent.
    let (in_pruned, in_object) = (
        named(&typed::to_set(schema, &pruned)),
        named(&typed::to_set(schema, &object)),
    );
    let dangling = in_object
        .difference(&in_pruned)
        .intersection(&named(&last.set));
    let result = typed::remove(schema, &object, &dangling);
    step.versions
        .convert(&result, step.api_version)
        .unwrap_or(result)
}

/// Puts back what some manager still owns.
fn add_back_owned(
    object: &Value,
    pruned: Value,
    schema: &TypeSchema,
    version: &str,
    owners: &Owners,
    step: &Step<'_>,
) -> Value {
    let mut by_version: BTreeMap<&str, Set> = BTreeMap::new();
    for owned in owners.values() {
        let entry = by_version.entry(owned.api_version.as_str()).or_default();
        entry.extend(&owned.set);
    }
    let mut current = pruned;
    if let Some(managed) = by_version.remove(version) {
        current = add_back_for(object, &current, schema, &managed);
    }
    for (other, managed) in by_version {
        let Some(schema_there) = step.versions.schema(other) else {
            continue;
        };
        let (Some(whole), Some(part)) = (
            step.versions.convert(object, other),
            step.versions.convert(&current, other),
        ) else {
            continue;
        };
        let restored = add_back_for(&whole, &part, schema_there, &managed);
        if let Some(back) = step.versions.convert(&restored, version) {
            current = back;
        }
    }
    current
}

fn add_back_for(object: &Value, pruned: &Value, schema: &TypeSchema, managed: &Set) -> Value {
    let named = |set: &Set| named_fields(schema, schema.root(), set);
    let in_object = named(&typed::to_set(schema, object));
    let stays = named(&typed::to_set(schema, pruned)).union(&named(managed));
    typed::remove(schema, object, &in_object.difference(&stays))
}

/// Adds to a set the struct fields on the way to its members: a struct field has no marker of its
/// own in an applied set, and would otherwise be left behind empty.
fn named_fields(schema: &TypeSchema, ty: TypeRef, set: &Set) -> Set {
    let mut out = Set::new();
    for member in set.members() {
        out.insert_member(member.clone());
    }
    for (step, below) in set.children() {
        if let (PathElement::Field(name), Some(map)) = (step, schema.node(ty).map.as_ref())
            && map.fields.contains_key(name)
        {
            out.insert_member(step.clone());
        }
        let inner = match typed::type_below(schema, ty, step) {
            Some(ty_below) => named_fields(schema, ty_below, below),
            None => below.clone(),
        };
        out.insert_child(step.clone(), inner);
    }
    out
}

/// Are the two objects the same?
pub fn same(a: &Value, b: &Value) -> bool {
    equal(a, b)
}
