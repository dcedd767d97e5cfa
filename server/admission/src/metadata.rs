//! What admission writes into metadata: finalizers, the path annotation, claim labels.

use crate::Admission;
use crate::request::{Operation, Request, annotation, metadata_map, set, text};
use hanse_apis::kcp::{annotation as key, finalizer, group};
use hanse_rules::claims;
use hanse_wire::status::Result;
use serde_json::Value;

/// Kinds that cannot be without their finalizer, as rows.
const FINALIZERS: [(&str, &str, &str); 2] = [
    (
        group::CORE,
        "logicalclusters",
        finalizer::LOGICAL_CLUSTER_DELETION,
    ),
    (group::APIS, "apibindings", finalizer::API_BINDING),
];

/// Kinds that always carry the canonical path of their logical cluster.
const WITH_PATH: [(&str, &str); 4] = [
    (group::APIS, "apiexports"),
    (group::APIS, "apibindings"),
    (group::TENANCY, "workspacetypes"),
    (group::CACHE, "clustercachedresources"),
];

fn required_finalizer(request: &Request<'_>) -> Option<&'static str> {
    let row = FINALIZERS.iter().find(|(g, r, _)| request.is(g, r))?;
    Some(row.2)
}

fn is_deleting(object: &Value) -> bool {
    !text(object, &["metadata", "deletionTimestamp"]).is_empty()
}

/// `...DeletionFinalizer`, mutating: put it there.
pub(crate) fn finalizer_mutate(_: &Admission, request: &mut Request<'_>) -> Result<()> {
    let Some(wanted) = required_finalizer(request) else {
        return Ok(());
    };
    let present = set(request.new_object(), &["metadata", "finalizers"]).contains(wanted);
    if request.operation == Operation::Delete || present || is_deleting(request.new_object()) {
        return Ok(());
    }
    let meta = request
        .object
        .as_deref_mut()
        .and_then(|o| o.get_mut("metadata"));
    if let Some(meta) = meta.and_then(Value::as_object_mut) {
        let list = meta
            .entry("finalizers")
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Some(list) = list.as_array_mut() {
            list.push(wanted.into());
        }
    }
    Ok(())
}

/// `...DeletionFinalizer`, validating: only masters take it away.
pub(crate) fn finalizer_validate(_: &Admission, request: &mut Request<'_>) -> Result<()> {
    let Some(wanted) = required_finalizer(request) else {
        return Ok(());
    };
    if request.operation == Operation::Delete {
        return Ok(());
    }
    let has = |object: &Value| set(object, &["metadata", "finalizers"]).contains(wanted);
    let (new, old) = (request.new_object(), request.old_object());
    if has(new) {
        return Ok(());
    }
    if !is_deleting(new) {
        return Err(request.forbidden(format!("finalizer {wanted} is required")));
    }
    if has(old) && !request.is_master() {
        return Err(request.forbidden(format!("removing the finalizer {wanted} is forbidden")));
    }
    Ok(())
}

/// `kcp.io/PathAnnotation`, mutating: a wrong value is rewritten, never stored.
pub(crate) fn path(admission: &Admission, request: &mut Request<'_>) -> Result<()> {
    if request.operation == Operation::Delete
        || !request.subresource.is_empty()
        || request.is(group::CORE, "logicalclusters")
    {
        return Ok(());
    }
    let has = !annotation(request.new_object(), key::PATH).is_empty();
    let always = WITH_PATH.iter().any(|(g, r)| request.is(g, r));
    if !has && !always {
        return Ok(());
    }
    let object = admission.view().logical_cluster(request.cluster);
    let Some(object) = object else { return Ok(()) };
    let path = object.annotation(key::PATH);
    let path = path.as_deref().unwrap_or(request.cluster).to_owned();
    if let Some(annotations) = request.annotations_mut() {
        annotations.insert(key::PATH.to_owned(), path.into());
    }
    Ok(())
}

/// `apis.kcp.io/APIBinding`, mutating: the label that names the export.
pub(crate) fn export_label(admission: &Admission, request: &mut Request<'_>) -> Result<()> {
    if !request.is(group::APIS, "apibindings")
        || request.operation == Operation::Delete
        || !request.subresource.is_empty()
    {
        return Ok(());
    }
    let export = ["spec", "reference", "export"];
    let at = |name: &str| text(request.new_object(), &[&export[..], &[name]].concat()).to_owned();
    let (path, name) = (at("path"), at("name"));
    let Some(cluster) = admission.export_cluster(request.cluster, &path, &name) else {
        return Ok(()); // the validating half refuses it
    };
    let label = hanse_rules::hash::export_hash(&cluster, &name);
    let object = request.object.as_deref_mut();
    if let Some(labels) = object.and_then(|o| metadata_map(o, "labels")) {
        labels.insert(hanse_apis::kcp::label::EXPORT.to_owned(), label.into());
    }
    Ok(())
}

/// `apis.kcp.io/PermissionClaims`, mutating: an object carries exactly the marks of the claims
/// that select it.
pub(crate) fn claim_labels(admission: &Admission, request: &mut Request<'_>) -> Result<()> {
    if request.operation == Operation::Delete || !request.subresource.is_empty() {
        return Ok(());
    }
    let labels = admission.claims().expected(
        request.cluster,
        request.group,
        request.resource,
        request.identity,
        request.new_object(),
    );
    if let Some(object) = request.object.as_deref_mut() {
        claims::apply_labels(object, &labels);
    }
    Ok(())
}
