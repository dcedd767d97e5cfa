//! Which rules hold for a write: on update, what the old definition already broke is let be.

use std::collections::BTreeSet;

use super::types::{Definition, Spec};
use super::{conversion, defaults, schema};
use crate::field::Path;
use crate::props::Props;
use crate::rules::Environments;
use crate::structural;

/// Rules that may be off on update.
#[derive(Clone, Debug)]
pub struct Options {
    pub recognized_review_version: bool,
    /// `scope` and `names.kind` cannot change any more.
    pub immutable_names: bool,
    pub require_schema: bool,
    pub valid_types: bool,
    pub structural: bool,
    pub pruned_defaults: bool,
    pub atomic_sets: bool,
    pub map_list_keys: bool,
    pub allow_bad_ca_bundle: bool,
    /// Versions whose many selectable fields were there before; "" for shared ones.
    pub too_many_selectable: BTreeSet<String>,
    /// Versions whose schema did not change: the cost of single rules is not looked at again.
    pub unchanged_schemas: BTreeSet<String>,
    /// What rules in CEL may use.
    pub environments: Environments,
}

/// Most selectable fields of a version.
pub const SELECTABLE_FIELDS_MAX: usize = 8;

impl Options {
    /// All rules.
    pub fn create() -> Self {
        Options {
            recognized_review_version: true,
            immutable_names: false,
            require_schema: true,
            valid_types: true,
            structural: true,
            pruned_defaults: true,
            atomic_sets: true,
            map_list_keys: true,
            // The definition is not established yet.
            allow_bad_ca_bundle: true,
            too_many_selectable: BTreeSet::new(),
            unchanged_schemas: BTreeSet::new(),
            environments: Environments::default(),
        }
    }

    /// The rules that the old definition kept.
    pub fn update(new: &Definition, old: &Definition) -> Self {
        let none = |found: &dyn Fn(&Props) -> bool| !old.spec.schemas().any(|s| s.any(found));
        Options {
            recognized_review_version: old.spec.conversion.as_ref().is_none_or(|c| {
                c.review_versions.is_empty() || conversion::has_accepted(&c.review_versions)
            }),
            immutable_names: old.established,
            require_schema: all_versions_have_schemas(&old.spec),
            valid_types: none(&|s| !s.ty.is_empty() && !schema::TYPES.contains(&s.ty.as_str())),
            structural: !old.spec.schemas().any(is_not_structural),
            pruned_defaults: !old.spec.schemas().any(defaults::has_unpruned),
            atomic_sets: none(&schema::has_non_atomic_set),
            map_list_keys: none(&|s| !schema::map_list_keys(s, &Path::nil()).is_empty()),
            allow_bad_ca_bundle: conversion::allows_bad_ca_bundle(old),
            too_many_selectable: too_many_selectable(&new.spec, &old.spec),
            unchanged_schemas: unchanged_schemas(&new.spec, &old.spec),
            environments: Environments::written(old.spec.schemas()),
        }
    }
}

fn all_versions_have_schemas(spec: &Spec) -> bool {
    spec.validation.as_ref().is_some_and(|v| v.schema.is_some())
        || spec
            .versions
            .iter()
            .all(|v| v.schema.as_ref().is_some_and(|v| v.schema.is_some()))
}

fn is_not_structural(schema: &Props) -> bool {
    structural::convert_error(schema).is_some()
        || !structural::validate(schema, &Path::nil()).is_empty()
}

fn too_many_selectable(new: &Spec, old: &Spec) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let kept = |new: &[String], old: &[String]| old.len() > SELECTABLE_FIELDS_MAX && new == old;
    if kept(&new.selectable_fields, &old.selectable_fields) {
        out.insert(String::new());
    }
    for version in &new.versions {
        let before = old.versions.iter().find(|v| v.name == version.name);
        if before.is_some_and(|v| kept(&version.selectable_fields, &v.selectable_fields)) {
            out.insert(version.name.clone());
        }
    }
    out
}

fn unchanged_schemas(new: &Spec, old: &Spec) -> BTreeSet<String> {
    let unchanged = |name: &&String| {
        old.schema_of(name).is_some() && new.schema_of(name) == old.schema_of(name)
    };
    new.versions
        .iter()
        .map(|v| &v.name)
        .filter(unchanged)
        .cloned()
        .collect()
}
