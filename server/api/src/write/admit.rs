//! Asks admission about a write, in its three operations and two rounds.
//!
//! The mutating round comes before preparation and validation, the validating round right before
//! the commit. After a mutation the object is decoded and defaulted again: what a plugin left in
//! it must be as clean as what a client sends (ADM-04).

use hanse_admission::{Operation, Request};
use hanse_json::Value;
use hanse_wire::status::{Result, Status};

use super::{Writing, name_of};
use crate::convert;

/// The mutating round of a creation.
///
/// # Errors
/// The first refusal.
pub fn create(w: &Writing<'_>, object: &mut Value) -> Result<()> {
    mutate(w, Operation::Create, object, None)
}

/// The mutating round of an update.
///
/// # Errors
/// The first refusal.
pub fn update(w: &Writing<'_>, new: &mut Value, old: &Value) -> Result<()> {
    mutate(w, Operation::Update, new, Some(old))
}

/// The validating round of a creation.
///
/// # Errors
/// The first refusal.
pub fn validate_create(w: &Writing<'_>, object: &mut Value) -> Result<()> {
    let name = name_of(object).to_owned();
    let mut request = request(w, Operation::Create, &name, Some(object), None);
    w.service.admission.admit_validating(&mut request)
}

/// The validating round of an update.
///
/// # Errors
/// The first refusal.
pub fn validate_update(w: &Writing<'_>, new: &mut Value, old: &Value) -> Result<()> {
    let mut request = request(w, Operation::Update, name_of(old), Some(new), Some(old));
    w.service.admission.admit_validating(&mut request)
}

/// Both rounds of a deletion.
///
/// # Errors
/// The first refusal.
pub fn delete(w: &Writing<'_>, old: &Value) -> Result<()> {
    let mut request = request(w, Operation::Delete, name_of(old), None, Some(old));
    let warnings = w.service.admission.admit_mutating(&mut request)?;
    warnings.into_iter().for_each(|text| w.call.warn(text));
    w.service.admission.admit_validating(&mut request)
}

fn mutate(
    w: &Writing<'_>,
    operation: Operation,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<()> {
    let name = name_of(old.unwrap_or(object)).to_owned();
    let mut request = request(w, operation, &name, Some(object), old);
    let warnings = w.service.admission.admit_mutating(&mut request)?;
    warnings.into_iter().for_each(|text| w.call.warn(text));
    let def = &w.target.def;
    def.schema.decode(object).map_err(Status::internal)?;
    convert::default(def, object);
    Ok(())
}

fn request<'a>(
    w: &Writing<'a>,
    operation: Operation,
    name: &'a str,
    object: Option<&'a mut Value>,
    old: Option<&'a Value>,
) -> Request<'a> {
    let def = &w.target.def;
    let identity = def.storage.identity.as_str();
    let bound = !identity.is_empty() && identity != hanse_kinds::CUSTOM_RESOURCES;
    Request {
        operation,
        cluster: w.call.cluster.as_deref().unwrap_or_default(),
        group: &def.group,
        version: &def.version,
        resource: &def.plural,
        subresource: w.call.info.subresource,
        kind: &def.kind,
        identity: if bound { identity } else { "" },
        namespace: w.target.namespace(w.call),
        name,
        user: &w.call.user,
        dry_run: w.options.is_dry_run(),
        object,
        old,
    }
}
