//! ResourceQuotas (kubernetes-api.md 28).

use std::collections::BTreeSet;

use hanse_json::{Value, get, get_array, get_object};
use hanse_schema::field::{Error, ErrorList, Path};
use hanse_schema::names::is_qualified_name;

use super::{as_json, complain, text, texts};
use crate::def::Update;
use crate::quantity::Quantity;

const QUOTA_RESOURCES: [&str; 19] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];
/// Of those, the ones that are counted in whole numbers.
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];
/// Resources of pods, which scopes may limit.
const COMPUTE: [&str; 7] = [
    "cpu",
    "memory",
    "requests.cpu",
    "requests.memory",
    "limits.cpu",
    "limits.memory",
    "pods",
];

fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-") || name.starts_with("requests.hugepages-")
}

fn is_standard(name: &str) -> bool {
    QUOTA_RESOURCES.contains(&name) || is_huge_page(name)
}

pub fn validate(object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::new("spec");
    amounts(object, &["spec", "hard"], &path.child("hard"), &mut errors);
    scopes(object, &path, &mut errors);
    scope_selector(object, &path.child("scopeSelector"), &mut errors);
    errors
}

pub fn validate_update(new: &Value, update: Update<'_>) -> ErrorList {
    let mut errors = ErrorList::new();
    if update.subresource == "status" {
        for name in ["hard", "used"] {
            let path = Path::new("status").child(name);
            amounts(new, &["status", name], &path, &mut errors);
        }
        return errors;
    }
    errors.extend(validate(new));
    let set =
        |object| -> BTreeSet<&str> { texts(object, &["spec", "scopes"]).into_iter().collect() };
    if set(new) != set(update.old) {
        let value = get(new, &["spec", "scopes"]).cloned().unwrap_or_default();
        let path = Path::new("spec").child("scopes");
        errors.push(Error::invalid(&path, as_json(&value), "field is immutable"));
    }
    errors
}

fn amounts(object: &Value, at: &[&str], path: &Path, errors: &mut ErrorList) {
    for (name, amount) in get_object(object, at).into_iter().flatten() {
        let path = path.key(name);
        resource_name(name, &path, errors);
        let text = amount.as_str().unwrap_or_default();
        let Ok(quantity) = Quantity::parse(text) else {
            continue;
        };
        if quantity.is_negative() {
            let why = "must be greater than or equal to 0";
            errors.push(Error::invalid(&path, as_json(amount), why));
        }
        let counted = COUNTED.contains(&name.as_str()) || name.starts_with("count/");
        if counted && quantity.integer().is_none() {
            errors.push(Error::invalid(&path, as_json(amount), "must be an integer"));
        }
    }
}

fn resource_name(name: &str, path: &Path, errors: &mut ErrorList) {
    let complaints = is_qualified_name(name);
    let qualified = complaints.is_empty();
    complain(complaints, path, name, errors);
    if name.contains('/') {
        return;
    }
    if qualified && !is_standard(name) && name != "storage" {
        let why = "must be a standard resource type or fully qualified";
        errors.push(Error::invalid(path, name, why));
    }
    if !is_standard(name) {
        errors.push(Error::invalid(
            path,
            name,
            "must be a standard resource for quota",
        ));
    }
}

/// Whether a scope can limit a resource: scopes are about pods.
fn fits(scope: &str, resource: &str) -> bool {
    match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => resource == "persistentvolumeclaims",
        _ => COMPUTE.contains(&resource),
    }
}

fn mismatches(object: &Value, scope: &str) -> usize {
    let hard = get_object(object, &["spec", "hard"]).into_iter().flatten();
    hard.filter(|(name, _)| is_standard(name) && !fits(scope, name))
        .count()
}

fn conflicting(scopes: &BTreeSet<&str>) -> usize {
    let pairs = [
        ["BestEffort", "NotBestEffort"],
        ["Terminating", "NotTerminating"],
    ];
    pairs
        .iter()
        .filter(|pair| pair.iter().all(|scope| scopes.contains(scope)))
        .count()
}

fn scopes(object: &Value, path: &Path, errors: &mut ErrorList) {
    let (path, list) = (path.child("scopes"), texts(object, &["spec", "scopes"]));
    let value = get(object, &["spec", "scopes"])
        .cloned()
        .unwrap_or_default();
    let mut refuse = |why: &str| errors.push(Error::invalid(&path, as_json(&value), why));
    for scope in &list {
        if !SCOPES.contains(scope) {
            refuse("unsupported scope");
        }
        for _ in 0..mismatches(object, scope) {
            refuse("unsupported scope applied to resource");
        }
    }
    for _ in 0..conflicting(&list.into_iter().collect()) {
        refuse("conflicting scopes");
    }
}

fn scope_selector(object: &Value, path: &Path, errors: &mut ErrorList) {
    let selector = get(object, &["spec", "scopeSelector"])
        .cloned()
        .unwrap_or_default();
    let path = path.child("matchExpressions");
    let mut seen = BTreeSet::new();
    for requirement in get_array(&selector, &["matchExpressions"]) {
        let scope = text(requirement, &["scopeName"]);
        let operator = text(requirement, &["operator"]);
        let values = get_array(requirement, &["values"]);
        if !SCOPES.contains(&scope) {
            errors.push(Error::invalid(
                &path.child("scopeName"),
                scope,
                "unsupported scope",
            ));
        }
        for _ in 0..mismatches(object, scope) {
            let why = "unsupported scope applied to resource";
            errors.push(Error::invalid(&path, as_json(&selector), why));
        }
        let by_class = matches!(scope, "PriorityClass" | "VolumeAttributesClass");
        if SCOPES.contains(&scope) && !by_class && operator != "Exists" {
            let why = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
                       ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                       ResourceQuotaScopeNotBestEffort or \
                       ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.push(Error::invalid(&path.child("operator"), operator, why));
        }
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let why = "must be at least one value when `operator` is 'In' or 'NotIn' for \
                           scope selector";
                errors.push(Error::required(&path.child("values"), why));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for \
                           scope selector";
                let value = as_json(&Value::from(values.to_vec()));
                errors.push(Error::invalid(&path.child("values"), value, why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                let why = "not a valid selector operator";
                errors.push(Error::invalid(&path.child("operator"), other, why));
            }
        }
        seen.insert(scope);
    }
    for _ in 0..conflicting(&seen) {
        let value = get(object, &["spec", "scopes"])
            .cloned()
            .unwrap_or_default();
        errors.push(Error::invalid(&path, as_json(&value), "conflicting scopes"));
    }
}
