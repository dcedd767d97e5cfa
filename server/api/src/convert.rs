//! Objects between the version in which they rest and the one that a client speaks.
//!
//! Start at [`from_storage`] and [`to_storage`]. The invariant: what comes out of `from_storage` is
//! what a fresh write of it would have stored under the requested schema: decoded, pruned and
//! defaulted. Webhook conversion is not offered: [`check`] refuses such requests before anything
//! is read, so the functions here need not fail.

use hanse_json::Value;
use hanse_kinds::{Conversion, ResourceDef};
use hanse_wire::status::{Result, Status};

/// Whether objects rest in the version that `def` is about.
#[must_use]
pub fn is_stored_version(def: &ResourceDef) -> bool {
    def.version == def.storage_version.version && def.group == def.storage_version.group
}

/// Refuses a version that could only be served by calling a webhook.
///
/// # Errors
/// 500, as for a webhook that cannot be reached.
pub fn check(def: &ResourceDef) -> Result<()> {
    if matches!(def.conversion, Conversion::Webhook) && !is_stored_version(def) {
        let (from, to) = (&def.storage_version, def.gvk());
        return Err(Status::plain(format!(
            "conversion webhook for {from}, Kind={} failed: conversion to {to} by webhook is not \
             offered by this server",
            def.storage_kind
        )));
    }
    Ok(())
}

/// A stored tree as the version of `def` has it.
#[must_use]
pub fn from_storage(def: &ResourceDef, mut tree: Value) -> Value {
    if !is_stored_version(def) {
        let (from, to) = (def.storage_version.to_string(), def.api_version());
        relabel(def, &mut tree, &from, &to, &def.kind);
    }
    // What is stored was decoded once; a schema that has changed since may refuse it now. It is
    // shown as it is then: hiding it would lose it.
    let _ = def.schema.decode(&mut tree);
    default(def, &mut tree);
    tree
}

/// A tree in the version of `def` as it is to be stored.
#[must_use]
pub fn to_storage(def: &ResourceDef, mut tree: Value) -> Value {
    if !is_stored_version(def) {
        let (from, to) = (def.api_version(), def.storage_version.to_string());
        relabel(def, &mut tree, &from, &to, &def.storage_kind);
    }
    tree
}

/// Fills in the defaults of a kind.
pub fn default(def: &ResourceDef, tree: &mut Value) {
    def.schema.default(tree);
    (def.hooks.default)(tree);
}

fn relabel(def: &ResourceDef, tree: &mut Value, from: &str, to: &str, kind: &str) {
    if let Conversion::Native(convert) = def.conversion
        && let Err(why) = convert(tree, from, to)
    {
        tracing::warn!(kind = %def.kind, from, to, why, "an object cannot be converted whole");
    }
    hanse_json::set(tree, &["apiVersion"], to.into());
    hanse_json::set(tree, &["kind"], kind.into());
}
