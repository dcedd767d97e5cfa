//! Roles and bindings (kubernetes-api.md 30.2). What they grant is decided elsewhere.

use hanse_json::{Value, get, get_array, get_object, json, set};
use hanse_schema::field::{Error, ErrorList, Path};
use hanse_schema::names::{is_dns1123_subdomain, is_path_segment_name};
use hanse_wire::selector::LabelSelector;

use super::{as_json, complain, text, validate_label_selector};

const GROUP: &str = "rbac.authorization.k8s.io";

pub fn validate_role(role: &Value) -> ErrorList {
    rules(role, true)
}

pub fn validate_cluster_role(role: &Value) -> ErrorList {
    let mut errors = rules(role, false);
    if get_object(role, &["aggregationRule"]).is_some() {
        let path = Path::new("aggregationRule").child("clusterRoleSelectors");
        let selectors = get_array(role, &["aggregationRule", "clusterRoleSelectors"]);
        if selectors.is_empty() {
            let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
            errors.push(Error::required(&path, why));
        }
        for (i, selector) in selectors.iter().enumerate() {
            let path = path.index(i);
            validate_label_selector(selector, &path, &mut errors);
            if LabelSelector::from_json(Some(selector)).is_err() {
                let value = as_json(&Value::Null);
                errors.push(Error::invalid(&path, value, "invalid label selector."));
            }
        }
    }
    errors
}

fn rules(role: &Value, namespaced: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, rule) in get_array(role, &["rules"]).iter().enumerate() {
        policy_rule(rule, namespaced, &Path::new("rules").index(i), &mut errors);
    }
    errors
}

fn policy_rule(rule: &Value, namespaced: bool, path: &Path, errors: &mut ErrorList) {
    let empty = |field: &str| get_array(rule, &[field]).is_empty();
    if empty("verbs") {
        let why = "verbs must contain at least one value";
        errors.push(Error::required(&path.child("verbs"), why));
    }
    if let Some(urls) = get(rule, &["nonResourceURLs"]).filter(|_| !empty("nonResourceURLs")) {
        let path = path.child("nonResourceURLs");
        if namespaced {
            let why = "namespaced rules cannot apply to non-resource URLs";
            errors.push(Error::invalid(&path, as_json(urls), why));
        }
        if !(empty("apiGroups") && empty("resources") && empty("resourceNames")) {
            let why = "rules cannot apply to both regular resources and non-resource URLs";
            errors.push(Error::invalid(&path, as_json(urls), why));
        }
        return;
    }
    if empty("apiGroups") {
        let why = "resource rules must supply at least one api group";
        errors.push(Error::required(&path.child("apiGroups"), why));
    }
    if empty("resources") {
        let why = "resource rules must supply at least one resource";
        errors.push(Error::required(&path.child("resources"), why));
    }
}

pub fn default_binding(binding: &mut Value) {
    if text(binding, &["roleRef", "apiGroup"]).is_empty() {
        set(binding, &["roleRef", "apiGroup"], json!(GROUP));
    }
    let subjects = binding.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten() {
        let grouped = matches!(text(subject, &["kind"]), "User" | "Group");
        if grouped && text(subject, &["apiGroup"]).is_empty() {
            set(subject, &["apiGroup"], json!(GROUP));
        }
    }
}

pub fn validate_binding(binding: &Value, namespaced: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::new("roleRef");
    let part = |name: &str| text(binding, &["roleRef", name]);
    if part("apiGroup") != GROUP {
        let path = path.child("apiGroup");
        errors.push(Error::not_supported(&path, part("apiGroup"), &[GROUP]));
    }
    let kinds: &[&str] = if namespaced {
        &["Role", "ClusterRole"]
    } else {
        &["ClusterRole"]
    };
    if !kinds.contains(&part("kind")) {
        errors.push(Error::not_supported(
            &path.child("kind"),
            part("kind"),
            kinds,
        ));
    }
    match part("name") {
        "" => errors.push(Error::required(&path.child("name"), "")),
        name => complain(
            is_path_segment_name(name),
            &path.child("name"),
            name,
            &mut errors,
        ),
    }
    for (i, subject) in get_array(binding, &["subjects"]).iter().enumerate() {
        validate_subject(
            subject,
            namespaced,
            &Path::new("subjects").index(i),
            &mut errors,
        );
    }
    errors
}

fn validate_subject(subject: &Value, namespaced: bool, path: &Path, errors: &mut ErrorList) {
    let part = |name: &str| text(subject, &[name]);
    let (name, group) = (part("name"), part("apiGroup"));
    if name.is_empty() {
        errors.push(Error::required(&path.child("name"), ""));
    }
    match part("kind") {
        "ServiceAccount" => {
            if !name.is_empty() {
                complain(
                    is_dns1123_subdomain(name),
                    &path.child("name"),
                    name,
                    errors,
                );
            }
            if !group.is_empty() {
                errors.push(Error::not_supported(&path.child("apiGroup"), group, &[""]));
            }
            if !namespaced && part("namespace").is_empty() {
                errors.push(Error::required(&path.child("namespace"), ""));
            }
        }
        "User" | "Group" => {
            if group != GROUP {
                errors.push(Error::not_supported(
                    &path.child("apiGroup"),
                    group,
                    &[GROUP],
                ));
            }
        }
        kind => {
            let known = ["ServiceAccount", "User", "Group"];
            errors.push(Error::not_supported(&path.child("kind"), kind, &known));
        }
    }
}

pub fn validate_binding_update(new: &Value, old: &Value, namespaced: bool) -> ErrorList {
    let mut errors = validate_binding(new, namespaced);
    if get(new, &["roleRef"]) != get(old, &["roleRef"]) {
        // The value is shown as the Go struct's JSON, whose fields have no tags.
        let part = |name: &str| text(new, &["roleRef", name]);
        let value = json!({
            "APIGroup": part("apiGroup"), "Kind": part("kind"), "Name": part("name"),
        });
        let why = "cannot change roleRef";
        errors.push(Error::invalid(&Path::new("roleRef"), as_json(&value), why));
    }
    errors
}
