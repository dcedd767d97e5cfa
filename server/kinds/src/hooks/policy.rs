//! Admission policies and their bindings (kubernetes-api.md 36 and 37): what can be checked
//! without evaluating them. Expressions are compiled with variables of any type; those that use
//! the `authorizer`, which our CEL has not yet, and the typed ones of mutations are only stored.

use hanse_cel::{DeclType, Decls, Env};
use hanse_json::{Value, get, get_array, get_object, get_str, json};
use hanse_schema::field::{Error, ErrorList, Path};
use hanse_schema::names::{
    is_dns1035_label, is_dns1123_subdomain, is_path_segment_name, is_qualified_name,
};

use super::admission::{default_field, default_rules, one_of, rule_with_operations};
use super::{as_json, complain, text, texts, validate_label_selector};
use crate::def::Update;

const FAILURE_POLICIES: [&str; 2] = ["Fail", "Ignore"];
const MATCH_POLICIES: [&str; 2] = ["Equivalent", "Exact"];
const REASONS: [&str; 3] = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];
const PATCH_TYPES: [&str; 2] = ["ApplyConfiguration", "JSONPatch"];
const REINVOCATION: [&str; 2] = ["IfNeeded", "Never"];
const MAX_MATCH_CONDITIONS: i64 = 64;
const MAX_AUDIT_ANNOTATIONS: usize = 20;
const MAX_VALUE_EXPRESSION: usize = 5 * 1024;

fn default_match(holder: &mut Value, field: &str) {
    let Some(resources) = holder.get_mut(field).filter(|value| value.is_object()) else {
        return;
    };
    default_field(resources, "matchPolicy", json!("Equivalent"));
    default_field(resources, "namespaceSelector", json!({}));
    default_field(resources, "objectSelector", json!({}));
    default_rules(resources, "resourceRules");
    default_rules(resources, "excludeResourceRules");
}

pub fn default_policy(object: &mut Value) {
    if let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) {
        default_field(spec, "failurePolicy", json!("Fail"));
        default_match(spec, "matchConstraints");
    }
}

pub fn default_binding(object: &mut Value) {
    if let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) {
        default_match(spec, "matchResources");
    }
}

pub fn validate_policy(object: &Value, mutating: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    let (spec, path) = (
        get(object, &["spec"]).unwrap_or(&Value::Null),
        Path::new("spec"),
    );
    let params = get_object(spec, &["paramKind"]).is_some();
    match get_str(spec, &["failurePolicy"]) {
        None => errors.push(Error::required(&path.child("failurePolicy"), "")),
        Some(_) => one_of(spec, "failurePolicy", &FAILURE_POLICIES, &path, &mut errors),
    }
    if params {
        param_kind(&spec["paramKind"], &path.child("paramKind"), &mut errors);
    }
    let at = path.child("matchConstraints");
    match get(spec, &["matchConstraints"]).filter(|value| value.is_object()) {
        None => errors.push(Error::required(&at, "")),
        Some(resources) => {
            match_resources(resources, &at, &mut errors);
            if get_array(resources, &["resourceRules"]).is_empty() {
                errors.push(Error::required(&at.child("resourceRules"), ""));
            }
        }
    }
    match_conditions(spec, params, &path.child("matchConditions"), &mut errors);
    let compiler = Compiler::new(params, !get_array(spec, &["variables"]).is_empty());
    for (i, variable) in get_array(spec, &["variables"]).iter().enumerate() {
        validate_variable(
            variable,
            &compiler,
            &path.child("variables").index(i),
            &mut errors,
        );
    }
    match mutating {
        true => mutations(spec, &path, &mut errors),
        false => validations(object, spec, &compiler, &path, &mut errors),
    }
    errors
}

pub fn validate_policy_update(new: &Value, update: Update<'_>, mutating: bool) -> ErrorList {
    match update.subresource {
        "status" => ErrorList::new(),
        _ => validate_policy(new, mutating),
    }
}

fn param_kind(kind: &Value, path: &Path, errors: &mut ErrorList) {
    let (version, name) = (text(kind, &["apiVersion"]), text(kind, &["kind"]));
    let at = path.child("apiVersion");
    match (version, version.split_once('/')) {
        ("", _) => errors.push(Error::required(&at, "")),
        (_, Some((_, rest))) if rest.contains('/') => {
            let why = format!("unexpected GroupVersion string: {version}");
            errors.push(Error::invalid(&at, version, why));
        }
        (_, parts) => {
            let (group, version) = parts.unwrap_or(("", version));
            let complaints = if group.is_empty() {
                Vec::new()
            } else {
                is_dns1123_subdomain(group)
            };
            if !complaints.is_empty() {
                errors.push(Error::invalid(&at, group, complaints.join(",")));
            }
            let complaints = is_dns1035_label(version);
            if !complaints.is_empty() {
                errors.push(Error::invalid(&at, version, complaints.join(",")));
            }
        }
    }
    if name.is_empty() {
        errors.push(Error::required(&path.child("kind"), ""));
        return;
    }
    let complaints = is_dns1035_label(&name.to_lowercase());
    if !complaints.is_empty() {
        let why = complaints.join(",");
        let why = format!("may have mixed case, but should otherwise match: {why}");
        errors.push(Error::invalid(&path.child("kind"), name, why));
    }
}

fn match_resources(resources: &Value, path: &Path, errors: &mut ErrorList) {
    match get_str(resources, &["matchPolicy"]) {
        None => errors.push(Error::required(&path.child("matchPolicy"), "")),
        Some(_) => one_of(resources, "matchPolicy", &MATCH_POLICIES, path, errors),
    }
    for field in ["namespaceSelector", "objectSelector"] {
        match get(resources, &[field]) {
            None => errors.push(Error::required(&path.child(field), "")),
            Some(selector) => validate_label_selector(selector, &path.child(field), errors),
        }
    }
    for field in ["resourceRules", "excludeResourceRules"] {
        for (i, rule) in get_array(resources, &[field]).iter().enumerate() {
            let path = path.child(field).index(i);
            let names = texts(rule, &["resourceNames"]);
            for (i, name) in names.iter().enumerate() {
                let path = path.child("resourceNames").index(i);
                complain(is_path_segment_name(name), &path, name, errors);
                if names[..i].contains(name) {
                    errors.push(Error::duplicate(&path, *name));
                }
            }
            rule_with_operations(rule, &path, errors);
        }
    }
}

/// The variables that an expression of a policy may use.
struct Compiler(Decls);

impl Compiler {
    fn new(params: bool, variables: bool) -> Self {
        let mut decls = Decls::new();
        for name in ["object", "oldObject", "request", "namespaceObject"] {
            decls = decls.variable(name, DeclType::any());
        }
        if params {
            decls = decls.variable("params", DeclType::any());
        }
        if variables {
            decls = decls.variable("variables", DeclType::any());
        }
        Compiler(decls)
    }

    /// Compiles an expression whose result must be of one of these types.
    fn check(&self, expression: &str, types: &[&str], path: &Path, errors: &mut ErrorList) {
        if expression.contains("authorizer") {
            return;
        }
        match Env::for_new_expressions().compile(expression, &self.0) {
            Err(err) => {
                let why = format!("compilation failed: {err}");
                errors.push(Error::invalid(path, expression, why));
            }
            Ok(program) => {
                let result = program.result_type().to_string();
                if !types.contains(&result.as_str()) && result != "dyn" {
                    let why = format!("must evaluate to {}", types.join(" or "));
                    errors.push(Error::invalid(path, expression, why));
                }
            }
        }
    }
}

/// Conditions of webhooks and policies.
pub fn match_conditions(holder: &Value, params: bool, path: &Path, errors: &mut ErrorList) {
    let conditions = get_array(holder, &["matchConditions"]);
    let count = i64::try_from(conditions.len()).unwrap_or(i64::MAX);
    if count > MAX_MATCH_CONDITIONS {
        errors.push(Error::too_many(path, count, MAX_MATCH_CONDITIONS));
    }
    let compiler = Compiler::new(params, false);
    let mut names: Vec<&str> = Vec::new();
    for (i, condition) in conditions.iter().enumerate() {
        let path = path.index(i);
        let (expression, name) = (
            text(condition, &["expression"]).trim(),
            text(condition, &["name"]),
        );
        match expression {
            "" => errors.push(Error::required(&path.child("expression"), "")),
            _ => compiler.check(expression, &["bool"], &path.child("expression"), errors),
        }
        let path = path.child("name");
        if name.is_empty() {
            errors.push(Error::required(&path, ""));
            continue;
        }
        complain(is_qualified_name(name), &path, name, errors);
        if names.contains(&name) {
            errors.push(Error::duplicate(&path, name));
        }
        names.push(name);
    }
}

fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn validate_variable(variable: &Value, compiler: &Compiler, path: &Path, errors: &mut ErrorList) {
    let (name, expression) = (text(variable, &["name"]), text(variable, &["expression"]));
    if name.trim().is_empty() {
        errors.push(Error::required(
            &path.child("name"),
            "name is not specified",
        ));
    } else if !is_identifier(name) {
        let why = "must be a valid CEL identifier";
        errors.push(Error::invalid(&path.child("name"), name, why));
    }
    let at = path.child("expression");
    if expression.trim().is_empty() {
        errors.push(Error::required(&at, "expression is not specified"));
    } else if !expression.contains("authorizer")
        && let Err(err) = Env::for_new_expressions().compile(expression, &compiler.0)
    {
        let why = format!("compilation failed: {err}");
        errors.push(Error::invalid(&at, expression, why));
    }
}

fn validations(
    object: &Value,
    spec: &Value,
    compiler: &Compiler,
    path: &Path,
    errors: &mut ErrorList,
) {
    let (validations, annotations) = (
        get_array(spec, &["validations"]),
        get_array(spec, &["auditAnnotations"]),
    );
    if validations.is_empty() && annotations.is_empty() {
        let why = "validations or auditAnnotations must contain at least one item";
        errors.push(Error::required(&path.child("validations"), why));
        errors.push(Error::required(&path.child("auditAnnotations"), why));
        return;
    }
    for (i, validation) in validations.iter().enumerate() {
        validate_validation(
            validation,
            compiler,
            &path.child("validations").index(i),
            errors,
        );
    }
    let path = path.child("auditAnnotations");
    if annotations.len() > MAX_AUDIT_ANNOTATIONS {
        let value = as_json(&spec["auditAnnotations"]);
        let why = format!("must not have more than {MAX_AUDIT_ANNOTATIONS} auditAnnotations");
        errors.push(Error::invalid(&path, value, why));
    }
    let policy = text(object, &["metadata", "name"]);
    let mut keys: Vec<&str> = Vec::new();
    for (i, annotation) in annotations.iter().enumerate() {
        let path = path.index(i);
        let key = text(annotation, &["key"]);
        if policy.is_empty() {
            let why = "requires metadata.name be non-empty";
            errors.push(Error::invalid(&path.child("key"), key, why));
        } else {
            let full = format!("{policy}/{key}");
            complain(is_qualified_name(&full), &path.child("key"), &full, errors);
        }
        let expression = text(annotation, &["valueExpression"]).trim();
        let at = path.child("valueExpression");
        if expression.is_empty() {
            errors.push(Error::required(&at, "valueExpression is not specified"));
        } else if expression.len() > MAX_VALUE_EXPRESSION {
            let why = format!("must not exceed {MAX_VALUE_EXPRESSION} bytes in length");
            errors.push(Error::required(&at, why));
        } else {
            compiler.check(expression, &["string", "null_type"], &at, errors);
        }
        if keys.contains(&key) {
            errors.push(Error::duplicate(&path.child("key"), key));
        }
        keys.push(key);
    }
}

fn validate_validation(
    validation: &Value,
    compiler: &Compiler,
    path: &Path,
    errors: &mut ErrorList,
) {
    let part = |name: &str| text(validation, &[name]);
    let expression = part("expression");
    if expression.trim().is_empty() {
        let why = "expression is not specified";
        errors.push(Error::required(&path.child("expression"), why));
    } else {
        compiler.check(expression, &["bool"], &path.child("expression"), errors);
    }
    let expression = part("messageExpression");
    if !expression.is_empty() && expression.trim().is_empty() {
        let why = "must be non-empty if specified";
        errors.push(Error::invalid(
            &path.child("messageExpression"),
            expression,
            why,
        ));
    } else if !expression.is_empty() {
        compiler.check(
            expression,
            &["string"],
            &path.child("messageExpression"),
            errors,
        );
    }
    let message = part("message");
    if !message.is_empty() && message.trim().is_empty() {
        let why = "must be non-empty if specified";
        errors.push(Error::invalid(&path.child("message"), message, why));
    } else if message.trim().contains(['\n', '\r']) {
        let why = "must not contain line breaks";
        errors.push(Error::invalid(&path.child("message"), message, why));
    }
    one_of(validation, "reason", &REASONS, path, errors);
}

fn mutations(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let mutations = get_array(spec, &["mutations"]);
    if mutations.is_empty() {
        let why = "mutations must contain at least one item";
        errors.push(Error::required(&path.child("mutations"), why));
    }
    for (i, mutation) in mutations.iter().enumerate() {
        let path = path.child("mutations").index(i);
        let kind = text(mutation, &["patchType"]);
        if kind.is_empty() {
            errors.push(Error::required(&path.child("patchType"), ""));
        } else {
            one_of(mutation, "patchType", &PATCH_TYPES, &path, errors);
        }
        for (field, wanted) in [
            ("applyConfiguration", "ApplyConfiguration"),
            ("jsonPatch", "JSONPatch"),
        ] {
            let given = get_object(mutation, &[field]).is_some();
            let path = path.child(field);
            if wanted == kind && !given {
                let why = format!("must be specified when patchType is {kind}");
                errors.push(Error::required(&path, why));
            } else if wanted == kind && text(mutation, &[field, "expression"]).trim().is_empty() {
                errors.push(Error::required(&path.child("expression"), ""));
            } else if given && wanted != kind && PATCH_TYPES.contains(&kind) {
                let why = format!("must not be specified when patchType is {kind}");
                errors.push(Error::forbidden(&path, why));
            }
        }
    }
    match get_str(spec, &["reinvocationPolicy"]) {
        None => errors.push(Error::required(&path.child("reinvocationPolicy"), "")),
        Some(_) => one_of(spec, "reinvocationPolicy", &REINVOCATION, path, errors),
    }
}

pub fn validate_binding(object: &Value, mutating: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    let (spec, path) = (
        get(object, &["spec"]).unwrap_or(&Value::Null),
        Path::new("spec"),
    );
    match text(spec, &["policyName"]) {
        "" => errors.push(Error::required(&path.child("policyName"), "")),
        name => complain(
            is_dns1123_subdomain(name),
            &path.child("policyName"),
            name,
            &mut errors,
        ),
    }
    if get_object(spec, &["paramRef"]).is_some() {
        param_ref(&spec["paramRef"], &path.child("paramRef"), &mut errors);
    }
    if let Some(resources) = get(spec, &["matchResources"]).filter(|value| value.is_object()) {
        match_resources(resources, &path.child("matchResources"), &mut errors);
    }
    if !mutating {
        validation_actions(spec, &path.child("validationActions"), &mut errors);
    }
    errors
}

fn param_ref(param: &Value, path: &Path, errors: &mut ErrorList) {
    let name = text(param, &["name"]);
    let selector = get(param, &["selector"]);
    let exclusive = "name and selector are mutually exclusive";
    if !name.is_empty() {
        complain(
            is_path_segment_name(name),
            &path.child("name"),
            name,
            errors,
        );
        if selector.is_some() {
            errors.push(Error::forbidden(&path.child("name"), exclusive));
        }
    }
    if let Some(selector) = selector {
        validate_label_selector(selector, &path.child("selector"), errors);
        if !name.is_empty() {
            errors.push(Error::forbidden(&path.child("selector"), exclusive));
        }
    } else if name.is_empty() {
        errors.push(Error::required(
            path,
            "one of name or selector must be specified",
        ));
    }
    match text(param, &["parameterNotFoundAction"]) {
        "" => errors.push(Error::required(&path.child("parameterNotFoundAction"), "")),
        _ => one_of(
            param,
            "parameterNotFoundAction",
            &["Deny", "Allow"],
            path,
            errors,
        ),
    }
}

fn validation_actions(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let actions = texts(spec, &["validationActions"]);
    for (i, action) in actions.iter().enumerate() {
        if !ACTIONS.contains(action) {
            errors.push(Error::not_supported(&path.index(i), *action, &ACTIONS));
        }
        if actions[..i].contains(action) {
            errors.push(Error::duplicate(&path.index(i), *action));
        }
    }
    if actions.contains(&"Deny") && actions.contains(&"Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure \
                   information in the API response and headers serves no purpose)";
        errors.push(Error::invalid(
            path,
            as_json(&spec["validationActions"]),
            why,
        ));
    }
    if actions.is_empty() {
        errors.push(Error::required(
            path,
            "at least one validation action is required",
        ));
    }
}
