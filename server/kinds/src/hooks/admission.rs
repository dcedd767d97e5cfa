//! Webhook configurations, and what they share with policies (kubernetes-api.md 35.2).

use hanse_cel::Url;
use hanse_json::{Value, get, get_array, get_i64, get_object, get_str, json, set};
use hanse_schema::field::{Error, ErrorList, Path};
use hanse_schema::names::{is_dns1035_label, is_dns1123_subdomain};

use super::policy::match_conditions;
use super::{as_json, complain, text, texts, validate_label_selector};

const FAILURE_POLICIES: [&str; 2] = ["Fail", "Ignore"];
const MATCH_POLICIES: [&str; 2] = ["Equivalent", "Exact"];
const NO_SIDE_EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];
const REINVOCATION: [&str; 2] = ["IfNeeded", "Never"];
const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// Puts a default where a field is absent.
pub fn default_field(object: &mut Value, field: &str, default: Value) {
    if get(object, &[field]).is_none_or(Value::is_null) {
        set(object, &[field], default);
    }
}

/// Rules apply to all scopes unless they say otherwise.
pub fn default_rules(object: &mut Value, field: &str) {
    let rules = object.get_mut(field).and_then(Value::as_array_mut);
    for rule in rules.into_iter().flatten() {
        default_field(rule, "scope", json!("*"));
    }
}

pub fn default_webhooks(object: &mut Value, mutating: bool) {
    let hooks = object.get_mut("webhooks").and_then(Value::as_array_mut);
    for hook in hooks.into_iter().flatten() {
        default_field(hook, "failurePolicy", json!("Fail"));
        default_field(hook, "matchPolicy", json!("Equivalent"));
        default_field(hook, "namespaceSelector", json!({}));
        default_field(hook, "objectSelector", json!({}));
        default_field(hook, "timeoutSeconds", json!(10));
        if mutating {
            default_field(hook, "reinvocationPolicy", json!("Never"));
        }
        if let Some(config) = hook.get_mut("clientConfig")
            && let Some(service) = config.get_mut("service")
            && service.is_object()
        {
            default_field(service, "port", json!(443));
        }
        default_rules(hook, "rules");
    }
}

pub fn validate_webhooks(object: &Value, mutating: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut names: Vec<&str> = Vec::new();
    for (i, hook) in get_array(object, &["webhooks"]).iter().enumerate() {
        let path = Path::new("webhooks").index(i);
        webhook(hook, mutating, &path, &mut errors);
        review_versions(hook, &path.child("admissionReviewVersions"), &mut errors);
        let name = text(hook, &["name"]);
        if !name.is_empty() {
            if names.contains(&name) {
                errors.push(Error::duplicate(&path.child("name"), name));
            }
            names.push(name);
        }
    }
    errors
}

/// One of a few words, where the field is there at all.
pub fn one_of(object: &Value, field: &str, known: &[&str], path: &Path, errors: &mut ErrorList) {
    if let Some(value) = get_str(object, &[field])
        && !known.contains(&value)
    {
        errors.push(Error::not_supported(&path.child(field), value, known));
    }
}

fn webhook(hook: &Value, mutating: bool, path: &Path, errors: &mut ErrorList) {
    qualified_name(text(hook, &["name"]), &path.child("name"), errors);
    for (i, rule) in get_array(hook, &["rules"]).iter().enumerate() {
        rule_with_operations(rule, &path.child("rules").index(i), errors);
    }
    one_of(hook, "failurePolicy", &FAILURE_POLICIES, path, errors);
    one_of(hook, "matchPolicy", &MATCH_POLICIES, path, errors);
    match get_str(hook, &["sideEffects"]) {
        None => {
            let why = format!("must specify one of {}", NO_SIDE_EFFECTS.join(", "));
            errors.push(Error::required(&path.child("sideEffects"), why));
        }
        Some(_) => one_of(hook, "sideEffects", &NO_SIDE_EFFECTS, path, errors),
    }
    if let Some(seconds) = get_i64(hook, &["timeoutSeconds"]).filter(|n| !(1..=30).contains(n)) {
        let why = "the timeout value must be between 1 and 30 seconds";
        errors.push(Error::invalid(&path.child("timeoutSeconds"), seconds, why));
    }
    for field in ["namespaceSelector", "objectSelector"] {
        if let Some(selector) = get(hook, &[field]) {
            validate_label_selector(selector, &path.child(field), errors);
        }
    }
    if mutating {
        one_of(hook, "reinvocationPolicy", &REINVOCATION, path, errors);
    }
    client_config(hook, &path.child("clientConfig"), errors);
    match_conditions(hook, false, &path.child("matchConditions"), errors);
}

fn qualified_name(name: &str, path: &Path, errors: &mut ErrorList) {
    if name.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    let complaints = is_dns1123_subdomain(name);
    if !complaints.is_empty() {
        complain(complaints, path, name, errors);
    } else if name.split('.').count() < 3 {
        let why = "should be a domain with at least three segments separated by dots";
        errors.push(Error::invalid(path, name, why));
    }
}

fn client_config(hook: &Value, path: &Path, errors: &mut ErrorList) {
    let url = get_str(hook, &["clientConfig", "url"]);
    let service = get_object(hook, &["clientConfig", "service"]);
    match (url, service) {
        (Some(url), None) => webhook_url(url, &path.child("url"), errors),
        (None, Some(_)) => webhook_service(hook, &path.child("service"), errors),
        _ => errors.push(Error::required(
            path,
            "exactly one of url or service is required",
        )),
    }
}

fn webhook_url(url: &str, path: &Path, errors: &mut ErrorList) {
    const FORM: &str = "; desired format: https://host[:port]/path";
    let parsed = match Url::parse(url) {
        Ok(parsed) => parsed,
        Err(why) => {
            let why = format!("url must be a valid URL: {why}{FORM}");
            errors.push(Error::required(path, why));
            return;
        }
    };
    let mut refuse = |value: &str, why: String| errors.push(Error::invalid(path, value, why));
    if parsed.scheme != "https" {
        refuse(
            &parsed.scheme,
            format!("'https' is the only allowed URL scheme{FORM}"),
        );
    }
    if parsed.host.is_empty() {
        refuse(&parsed.host, format!("host must be specified{FORM}"));
    }
    for (part, what) in [
        (
            parsed.user.as_deref().unwrap_or_default(),
            "user information is",
        ),
        (parsed.fragment.as_str(), "fragments are"),
        (parsed.query.as_str(), "query parameters are"),
    ] {
        if !part.is_empty() {
            refuse(part, format!("{what} not permitted in the URL"));
        }
    }
}

fn webhook_service(hook: &Value, path: &Path, errors: &mut ErrorList) {
    let part = |name: &str| text(hook, &["clientConfig", "service", name]);
    for name in ["name", "namespace"] {
        if part(name).is_empty() {
            let why = format!("service {name} is required");
            errors.push(Error::required(&path.child(name), why));
        }
    }
    let port = get_i64(hook, &["clientConfig", "service", "port"]).unwrap_or(443);
    if !(1..=65535).contains(&port) {
        let why = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(Error::invalid(&path.child("port"), port, why));
    }
    let url_path = part("path");
    let path = path.child("path");
    if url_path.is_empty() || url_path == "/" {
        return;
    }
    if !url_path.starts_with('/') {
        errors.push(Error::invalid(&path, url_path, "must start with a '/'"));
    }
    let steps = url_path.trim_start_matches('/').split('/').enumerate();
    let count = url_path.trim_start_matches('/').split('/').count();
    for (i, step) in steps {
        if step.is_empty() {
            if i + 1 < count {
                let why = format!("segment[{i}] may not be empty");
                errors.push(Error::invalid(&path, url_path, why));
            }
            continue;
        }
        for why in is_dns1123_subdomain(step) {
            errors.push(Error::invalid(
                &path,
                url_path,
                format!("segment[{i}]: {why}"),
            ));
        }
    }
}

fn review_versions(hook: &Value, path: &Path, errors: &mut ErrorList) {
    let versions = texts(hook, &["admissionReviewVersions"]);
    let known = REVIEW_VERSIONS.join(", ");
    if versions.is_empty() {
        errors.push(Error::required(
            path,
            format!("must specify one of {known}"),
        ));
        return;
    }
    for (i, version) in versions.iter().enumerate() {
        if versions[..i].contains(version) {
            errors.push(Error::invalid(
                &path.index(i),
                *version,
                "duplicate version",
            ));
        } else {
            complain(is_dns1035_label(version), &path.index(i), version, errors);
        }
    }
    if !versions
        .iter()
        .any(|version| REVIEW_VERSIONS.contains(version))
    {
        let value = as_json(get(hook, &["admissionReviewVersions"]).unwrap_or(&Value::Null));
        let why = format!("must include at least one of {known}");
        errors.push(Error::invalid(path, value, why));
    }
}

/// The operations and the resources that a rule is about.
pub fn rule_with_operations(rule: &Value, path: &Path, errors: &mut ErrorList) {
    let list = |field: &str| as_json(get(rule, &[field]).unwrap_or(&Value::Null));
    let operations = texts(rule, &["operations"]);
    if operations.is_empty() {
        errors.push(Error::required(&path.child("operations"), ""));
    }
    let alone = |values: &[&str]| values.len() > 1 && values.contains(&"*");
    if alone(&operations) {
        let why = "if '*' is present, must not specify other operations";
        errors.push(Error::invalid(
            &path.child("operations"),
            list("operations"),
            why,
        ));
    }
    for (i, operation) in operations.iter().enumerate() {
        if !OPERATIONS.contains(operation) {
            let path = path.child("operations").index(i);
            errors.push(Error::not_supported(&path, *operation, &OPERATIONS));
        }
    }
    for (field, what) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let (path, values) = (path.child(field), texts(rule, &[field]));
        if values.is_empty() {
            errors.push(Error::required(&path, ""));
        }
        if alone(&values) {
            let why = format!("if '*' is present, must not specify other {what}");
            errors.push(Error::invalid(&path, list(field), why));
        }
        if field == "apiVersions" {
            for (i, _) in values
                .iter()
                .enumerate()
                .filter(|(_, value)| value.is_empty())
            {
                errors.push(Error::required(&path.index(i), ""));
            }
        }
    }
    resources(rule, &path.child("resources"), errors);
    one_of(rule, "scope", &SCOPES, path, errors);
}

fn resources(rule: &Value, path: &Path, errors: &mut ErrorList) {
    let values = texts(rule, &["resources"]);
    if values.is_empty() {
        errors.push(Error::required(path, ""));
    }
    let (mut all_subs, mut all_resources) = (Vec::new(), Vec::new());
    let mut plain = false;
    for (i, value) in values.iter().enumerate() {
        if value.is_empty() {
            errors.push(Error::required(&path.index(i), ""));
            continue;
        }
        let Some((resource, sub)) = value.split_once('/') else {
            plain = *value != "*";
            continue;
        };
        if all_subs.contains(&resource) {
            let why = format!("if '{resource}/*' is present, must not specify {value}");
            errors.push(Error::invalid(&path.index(i), *value, why));
        }
        if all_resources.contains(&sub) {
            let why = format!("if '*/{sub}' is present, must not specify {value}");
            errors.push(Error::invalid(&path.index(i), *value, why));
        }
        if sub == "*" {
            all_subs.push(resource);
        }
        if resource == "*" {
            all_resources.push(sub);
        }
    }
    let list = || as_json(get(rule, &["resources"]).unwrap_or(&Value::Null));
    if values.len() > 1 && values.contains(&"*/*") {
        let why = "if '*/*' is present, must not specify other resources";
        errors.push(Error::invalid(path, list(), why));
    }
    if values.contains(&"*") && plain {
        let why = "if '*' is present, must not specify other resources without subresources";
        errors.push(Error::invalid(path, list(), why));
    }
}
