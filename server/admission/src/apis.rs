//! Exports, bindings, endpoint slices, schemas, and the CRDs that kcp keeps for itself.

use crate::Admission;
use crate::request::{Operation, Request, annotation, list, text};
use hanse_apis::kcp::{annotation as key, cluster, group, label};
use hanse_rules::claims;
use hanse_rules::path::join;
use hanse_schema::field::{Error, ErrorList, Path};
use hanse_schema::names;
use hanse_wire::status::Result;
use serde_json::{Value, json};

/// `apis.kcp.io/APIExport`, validating.
pub(crate) fn export(_: &Admission, request: &mut Request<'_>) -> Result<()> {
    if !request.is(group::APIS, "apiexports") || request.operation == Operation::Delete {
        return Ok(());
    }
    check_version(request)?;
    let new = request.new_object();
    let spec = Path::new("spec");
    for (at, claim) in list(new, &["spec", "permissionClaims"]).iter().enumerate() {
        let (group_name, resource) = (text(claim, &["group"]), text(claim, &["resource"]));
        let known = claims::is_claimable_without_identity(group_name, resource)
            || group_name == group::APIS;
        if text(claim, &["identityHash"]).is_empty() && !known {
            let path = spec
                .child("permissionClaims")
                .index(at)
                .child("identityHash");
            let why = "identityHash is required for API types that are not built-in";
            return Err(request.forbidden(Error::invalid(&path, "", why)));
        }
    }
    for (at, resource) in list(new, &["spec", "resources"]).iter().enumerate() {
        let suffix = schema_suffix(text(resource, &["name"]), text(resource, &["group"]));
        let schema = text(resource, &["schema"]);
        if !schema.ends_with(&suffix) {
            let path = spec.child("resources").index(at).child("schema");
            let why = format!("must end in {suffix}");
            return Err(request.forbidden(Error::invalid(&path, schema, why)));
        }
    }
    Ok(())
}

/// What is written in the old version must survive being stored in the new one.
fn check_version(request: &Request<'_>) -> Result<()> {
    if request.version != "v1alpha1" || !request.subresource.is_empty() {
        return Ok(());
    }
    hanse_kinds::kcp::check_v1alpha1(request.new_object()).map_err(|why| request.forbidden(why))
}

fn schema_suffix(plural: &str, group: &str) -> String {
    format!(
        ".{plural}.{}",
        if group.is_empty() { "core" } else { group }
    )
}

/// `apis.kcp.io/APIBinding`, validating: permission to bind, whole claims, no way back.
pub(crate) fn binding(admission: &Admission, request: &mut Request<'_>) -> Result<()> {
    if !request.is(group::APIS, "apibindings") || request.operation == Operation::Delete {
        return Ok(());
    }
    check_version(request)?;
    let (new, old) = (request.new_object(), request.old_object());
    let (before, after) = (
        text(old, &["status", "phase"]),
        text(new, &["status", "phase"]),
    );
    if !before.is_empty() && after.is_empty() {
        let why =
            format!("status.phase: Forbidden: cannot transition from {before:?} to {after:?}");
        return Err(request.forbidden(why));
    }
    for (at, claim) in list(new, &["spec", "permissionClaims"]).iter().enumerate() {
        if let Some(selector) = claim.get("selector") {
            check_selector(request, at, selector)?;
        }
    }
    let reference = |o: &Value| o.get("spec").and_then(|s| s.get("reference")).cloned();
    let labelled = |o: &Value| text(o, &["metadata", "labels", label::EXPORT]).to_owned();
    let unchanged = reference(new) == reference(old) && labelled(new) == labelled(old);
    if request.operation == Operation::Update && unchanged {
        return Ok(());
    }
    let action = if request.operation == Operation::Create {
        "create"
    } else {
        "update"
    };
    check_bind(
        admission,
        request,
        &["spec", "reference", "export"],
        action,
        "APIBinding",
    )
}

fn check_selector(request: &Request<'_>, at: usize, selector: &Value) -> Result<()> {
    let all = selector
        .get("matchAll")
        .and_then(Value::as_bool)
        .unwrap_or_default();
    let labels = selector
        .get("matchLabels")
        .is_some_and(|l| l.as_object().is_some_and(|m| !m.is_empty()));
    let expressions = !list(selector, &["matchExpressions"]).is_empty();
    let some = labels || expressions;
    let path = format!("spec.permissionClaims[{at}].selector");
    match (all, some) {
        (true, false) | (false, true) => Ok(()),
        (true, true) => Err(request.forbidden(format!(
            "{path}: Forbidden: matchAll cannot be used with matchLabels or matchExpressions"
        ))),
        (false, false) => Err(request.forbidden(format!(
            "{path}: Required value: a selector is required, with either matchAll or \
             matchLabels/matchExpressions"
        ))),
    }
}

/// `apis.kcp.io/APIExportEndpointSlice`, validating.
pub(crate) fn endpoint_slice(admission: &Admission, request: &mut Request<'_>) -> Result<()> {
    let ours = request.is(group::APIS, "apiexportendpointslices");
    if !ours || request.operation != Operation::Create {
        return Ok(());
    }
    check_bind(
        admission,
        request,
        &["spec", "export"],
        "create",
        "APIExportEndpointSlice",
    )
}

/// The same refusal whether the export is unknown or forbidden, so that nothing leaks.
fn check_bind(
    admission: &Admission,
    request: &Request<'_>,
    at: &[&str],
    action: &str,
    kind: &str,
) -> Result<()> {
    let field = |name: &str| text(request.new_object(), &[at, &[name]].concat());
    let (path, name) = (field("path"), field("name"));
    if admission.may_bind(request.user, request.cluster, path, name) {
        return Ok(());
    }
    let export = join(path, name);
    Err(request.forbidden(format!(
        "unable to {action} {kind}: no permission to bind to export {export}"
    )))
}

/// `tenancy.kcp.io/APIResourceSchema`, validating.
pub(crate) fn resource_schema(_: &Admission, request: &mut Request<'_>) -> Result<()> {
    if !request.is(group::APIS, "apiresourceschemas") || request.operation == Operation::Delete {
        return Ok(());
    }
    let new = request.new_object();
    let changed = |old: &Value| old.get("spec") != new.get("spec");
    let changed = request.old.is_none_or(changed);
    let mut errors: Vec<String> = Vec::new();
    check_schema_name(new, &mut errors);
    check_schema_group(new, &mut errors);
    if changed {
        check_as_crd(new, &mut errors);
    }
    let spec = Path::new("spec");
    for name in ["plural", "singular", "kind", "listKind"] {
        if text(new, &["spec", "names", name]).is_empty() {
            errors.push(Error::required(&spec.child("names").child(name), "").to_string());
        }
    }
    if request.operation == Operation::Update && changed {
        let value = new.get("spec").cloned().unwrap_or_default();
        errors.push(Error::invalid(&spec, &value, "is immutable").to_string());
    }
    let mut seen = std::collections::BTreeSet::new();
    errors.retain(|error| seen.insert(error.clone()));
    if errors.is_empty() {
        return Ok(());
    }
    Err(request.forbidden(format!("[{}]", errors.join(" "))))
}

fn check_schema_name(schema: &Value, errors: &mut Vec<String>) {
    let plural = text(schema, &["spec", "names", "plural"]);
    if plural.is_empty() {
        return;
    }
    let path = Path::new("metadata").child("name");
    let name = text(schema, &["metadata", "name"]);
    let suffix = schema_suffix(plural, text(schema, &["spec", "group"]));
    let Some(prefix) = name.strip_suffix(&suffix) else {
        errors.push(Error::invalid(&path, name, format!("must end in {suffix}")).to_string());
        return;
    };
    let alphanumeric = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = prefix.as_bytes();
    let good = bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.last().is_some_and(|c| alphanumeric(*c))
        && bytes.iter().all(|c| alphanumeric(*c) || *c == b'-');
    if !good {
        let why = format!("must match ^[a-z]([-a-z0-9]*[a-z0-9])?$ in front of {suffix}");
        errors.push(Error::invalid(&path, name, why).to_string());
    }
}

/// Groups of one word that Kubernetes itself has.
const SINGLE_WORD_GROUPS: [&str; 5] = ["apps", "batch", "extensions", "policy", "autoscaling"];

fn check_schema_group(schema: &Value, errors: &mut Vec<String>) {
    let group_name = text(schema, &["spec", "group"]);
    let path = Path::new("spec").child("group");
    let protected = |suffix: &str| group_name.ends_with(suffix) || group_name == &suffix[1..];
    if protected(".k8s.io") || protected(".kubernetes.io") {
        let approval = annotation(schema, key::API_APPROVED);
        let at = Path::new("metadata")
            .child("annotations")
            .key(key::API_APPROVED);
        let why = "protected groups must have approval annotation \
                   \"api-approved.kubernetes.io\", see \
                   https://github.com/kubernetes/enhancements/pull/1111";
        if approval.is_empty() {
            errors.push(Error::required(&at, why).to_string());
        }
    }
    if group_name.is_empty() {
        return;
    }
    let syntax = names::is_dns1123_subdomain(group_name);
    let why = if group_name == "core" {
        "must be empty string for the core group".to_owned()
    } else if !syntax.is_empty() {
        syntax.join(",")
    } else if !group_name.contains('.') && !SINGLE_WORD_GROUPS.contains(&group_name) {
        "should be a domain with at least one dot".to_owned()
    } else {
        return;
    };
    errors.push(Error::invalid(&path, group_name, why).to_string());
}

/// Group under which a schema is looked at as a CRD: its own is judged by other rules.
const STAND_IN: &str = "schema.example.com";
/// Where a CRD says what its only version, or all of its versions, have alike.
const SHARED: [(&str, &str); 5] = [
    ("spec.validation.openAPIV3Schema", "spec.versions[0].schema"),
    ("spec.validation", "spec.versions[0].schema"),
    ("spec.subresources", "spec.versions[0].subresources"),
    (
        "spec.additionalPrinterColumns",
        "spec.versions[0].additionalPrinterColumns",
    ),
    ("spec.selectableFields", "spec.versions[0].selectableFields"),
];

/// The versions must be usable as those of a CRD: every rule for CRDs holds, expressions included.
fn check_as_crd(schema: &Value, errors: &mut Vec<String>) {
    let spec = schema.get("spec").cloned().unwrap_or_default();
    let plural = text(schema, &["spec", "names", "plural"]);
    let mut crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{STAND_IN}")},
        "spec": {"group": STAND_IN, "names": spec["names"], "scope": spec["scope"]},
    });
    if let Some(conversion) = spec.get("conversion") {
        crd["spec"]["conversion"] = conversion.clone();
    }
    let wrap = |version: &Value| hanse_rules::bound_crd::wrap_version(version.clone());
    let versions = list(schema, &["spec", "versions"]);
    crd["spec"]["versions"] = versions.iter().map(wrap).collect();
    hanse_schema::crd::default(&mut crd);
    let ErrorList(found) = hanse_schema::crd::validate_create(&crd);
    // What is said of metadata and status is about the stand-in.
    let found = found.iter().filter(|e| e.field.starts_with("spec."));
    errors.extend(found.map(|e| format!("{}: {}", schema_field(&e.field), e.body())));
}

/// The field of an APIResourceSchema for one of its CRD.
fn schema_field(field: &str) -> String {
    for (shared, own) in SHARED {
        if let Some(rest) = field.strip_prefix(shared) {
            return format!("{own}{rest}");
        }
    }
    field.replacen(".schema.openAPIV3Schema", ".schema", 1)
}

fn is_crd(request: &Request<'_>) -> bool {
    request.is(group::APIEXTENSIONS, "customresourcedefinitions")
        && request.operation != Operation::Delete
}

/// `apis.kcp.io/ReservedCRDAnnotations`, validating.
pub(crate) fn reserved_crd_annotations(_: &Admission, request: &mut Request<'_>) -> Result<()> {
    if !is_crd(request) || request.cluster == cluster::BOUND_CRDS {
        return Ok(());
    }
    let meta = request.new_object().get("metadata");
    let annotations = meta
        .and_then(|m| m.get("annotations"))
        .and_then(Value::as_object);
    let reserved = |name: &&String| {
        let prefix = name
            .split_once('/')
            .map(|(prefix, _)| prefix)
            .unwrap_or_default();
        prefix == group::APIS || prefix.ends_with(&format!(".{}", group::APIS))
    };
    if let Some(name) = annotations
        .into_iter()
        .flat_map(|a| a.keys())
        .find(reserved)
    {
        return Err(request.forbidden(format!("annotation {name:?} is reserved")));
    }
    Ok(())
}

/// `kcp.io/ReservedCRDGroups`, validating.
pub(crate) fn reserved_crd_groups(_: &Admission, request: &mut Request<'_>) -> Result<()> {
    if !is_crd(request) || request.cluster == cluster::SYSTEM_CRDS {
        return Ok(());
    }
    // The bound CRDs of kcp's own exports are written by the server, which asks nobody.
    let name = text(request.new_object(), &["spec", "group"]);
    if name.ends_with(group::APIS) {
        return Err(request.forbidden(format!("{name} is a reserved group")));
    }
    Ok(())
}
