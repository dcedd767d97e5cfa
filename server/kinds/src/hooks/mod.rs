//! What built-in kinds do beyond their types: defaults, strategies, validation.
//!
//! Start at the rows below: one set of functions for each kind, named by the rows of
//! [`crate::builtin`]. Hooks see whole objects that are already decoded, in the version of their
//! row; the metadata, and keeping spec and status apart, are the caller's. The texts are those of
//! Kubernetes' validation packages.

mod admission;
mod certificates;
mod core;
mod event;
mod lease;
mod policy;
mod quota;
mod rbac;

use hanse_json::go;
use hanse_json::{Value, get, get_array, get_object, get_str};
use hanse_schema::field::{BadValue, Error, ErrorList, Path};
use hanse_schema::names::{is_qualified_name, is_valid_label_value};
use hanse_schema::{crd, meta};

use crate::def::{Hooks, NO_HOOKS};

/// For kinds that do nothing of their own.
pub static NONE: Hooks = NO_HOOKS;

/// ConfigMap.
pub static CONFIG_MAP: Hooks = Hooks {
    validate: core::validate_config_map,
    validate_update: core::validate_config_map_update,
    ..NO_HOOKS
};

/// Secret.
pub static SECRET: Hooks = Hooks {
    default: core::default_secret,
    validate: core::validate_secret,
    validate_update: core::validate_secret_update,
    warnings: core::secret_warnings,
    ..NO_HOOKS
};

/// Namespace.
pub static NAMESPACE: Hooks = Hooks {
    default: core::default_namespace,
    prepare_create: core::prepare_namespace,
    prepare_update: core::prepare_namespace_update,
    validate: core::validate_namespace,
    validate_update: core::validate_namespace_update,
    ..NO_HOOKS
};

/// ServiceAccount.
pub static SERVICE_ACCOUNT: Hooks = Hooks {
    warnings: core::service_account_warnings,
    ..NO_HOOKS
};

/// ResourceQuota.
pub static RESOURCE_QUOTA: Hooks = Hooks {
    prepare_create: empty_status,
    validate: quota::validate,
    validate_update: quota::validate_update,
    ..NO_HOOKS
};

/// Event of the core group: validated loosely.
pub static EVENT: Hooks = Hooks {
    validate: event::validate,
    validate_update: |new, _| event::validate(new),
    ..NO_HOOKS
};

/// Event of events.k8s.io: validated strictly.
pub static NEW_EVENT: Hooks = Hooks {
    validate: event::validate_new,
    validate_update: |new, update| event::validate_new_update(new, update.old),
    ..NO_HOOKS
};

/// Lease.
pub static LEASE: Hooks = Hooks {
    prepare_create: lease::prepare,
    prepare_update: |new, _| lease::prepare(new),
    validate: lease::validate,
    validate_update: |new, _| lease::validate(new),
    ..NO_HOOKS
};

/// Role.
pub static ROLE: Hooks = Hooks {
    validate: rbac::validate_role,
    validate_update: |new, _| rbac::validate_role(new),
    ..NO_HOOKS
};

/// ClusterRole.
pub static CLUSTER_ROLE: Hooks = Hooks {
    validate: rbac::validate_cluster_role,
    validate_update: |new, _| rbac::validate_cluster_role(new),
    ..NO_HOOKS
};

/// RoleBinding.
pub static ROLE_BINDING: Hooks = Hooks {
    default: rbac::default_binding,
    validate: |new| rbac::validate_binding(new, true),
    validate_update: |new, update| rbac::validate_binding_update(new, update.old, true),
    ..NO_HOOKS
};

/// ClusterRoleBinding.
pub static CLUSTER_ROLE_BINDING: Hooks = Hooks {
    default: rbac::default_binding,
    validate: |new| rbac::validate_binding(new, false),
    validate_update: |new, update| rbac::validate_binding_update(new, update.old, false),
    ..NO_HOOKS
};

/// CertificateSigningRequest.
pub static CSR: Hooks = Hooks {
    prepare_create: empty_status,
    prepare_update: certificates::prepare_update,
    validate: certificates::validate,
    validate_update: certificates::validate_update,
    ..NO_HOOKS
};

/// ValidatingWebhookConfiguration.
pub static VALIDATING_WEBHOOK: Hooks = Hooks {
    default: |object| admission::default_webhooks(object, false),
    validate: |object| admission::validate_webhooks(object, false),
    validate_update: |new, _| admission::validate_webhooks(new, false),
    ..NO_HOOKS
};

/// MutatingWebhookConfiguration.
pub static MUTATING_WEBHOOK: Hooks = Hooks {
    default: |object| admission::default_webhooks(object, true),
    validate: |object| admission::validate_webhooks(object, true),
    validate_update: |new, _| admission::validate_webhooks(new, true),
    ..NO_HOOKS
};

/// ValidatingAdmissionPolicy.
pub static VALIDATING_POLICY: Hooks = Hooks {
    default: policy::default_policy,
    prepare_create: empty_status,
    validate: |object| policy::validate_policy(object, false),
    validate_update: |new, update| policy::validate_policy_update(new, update, false),
    ..NO_HOOKS
};

/// MutatingAdmissionPolicy.
pub static MUTATING_POLICY: Hooks = Hooks {
    default: policy::default_policy,
    validate: |object| policy::validate_policy(object, true),
    validate_update: |new, update| policy::validate_policy_update(new, update, true),
    ..NO_HOOKS
};

/// ValidatingAdmissionPolicyBinding.
pub static VALIDATING_BINDING: Hooks = Hooks {
    default: policy::default_binding,
    validate: |object| policy::validate_binding(object, false),
    validate_update: |new, _| policy::validate_binding(new, false),
    ..NO_HOOKS
};

/// MutatingAdmissionPolicyBinding.
pub static MUTATING_BINDING: Hooks = Hooks {
    default: policy::default_binding,
    validate: |object| policy::validate_binding(object, true),
    validate_update: |new, _| policy::validate_binding(new, true),
    ..NO_HOOKS
};

/// CustomResourceDefinition.
pub static CRD: Hooks = Hooks {
    default: crd::default,
    prepare_create: |new| {
        crd::status::prepare_create(new);
        // Lists that nobody has written yet are shown as Go shows them.
        for field in ["conditions", "storedVersions"] {
            if get_array(new, &["status", field]).is_empty() {
                hanse_json::set(new, &["status", field], Value::Null);
            }
        }
    },
    prepare_update: |new, update| {
        if update.subresource.is_empty() {
            crd::status::prepare_update(new, update.old);
        }
    },
    validate: crd::validate_create,
    validate_update: |new, update| match update.subresource {
        "" => crd::validate_update(new, update.old),
        _ => crd::validate_status_update(new, update.old),
    },
    warnings: crd::warnings,
};

/// Kinds with a status that is always shown begin with an empty one.
fn empty_status(object: &mut Value) {
    hanse_json::set(object, &["status"], hanse_json::json!({}));
}

fn text<'v>(value: &'v Value, path: &[&str]) -> &'v str {
    get_str(value, path).unwrap_or_default()
}

fn texts<'v>(value: &'v Value, path: &[&str]) -> Vec<&'v str> {
    get_array(value, path)
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

/// Any value as errors show what is neither text nor number.
fn as_json(value: &Value) -> BadValue {
    BadValue::Json(go::json(value))
}

/// `field is immutable`, unless two fields are equal.
fn immutable(new: &Value, old: &Value, field: &[&str], path: &Path, errors: &mut ErrorList) {
    let null = Value::Null;
    let (new, old) = (
        get(new, field).unwrap_or(&null),
        get(old, field).unwrap_or(&null),
    );
    if !hanse_json::equal(new, old) {
        let value = match new {
            Value::String(text) => BadValue::Text(text.clone()),
            Value::Number(_) | Value::Bool(_) => BadValue::Json(hanse_json::to_string(new)),
            other => as_json(other),
        };
        errors.push(Error::invalid(path, value, "field is immutable"));
    }
}

/// Checks a `metav1.LabelSelector`.
fn validate_label_selector(selector: &Value, path: &Path, errors: &mut ErrorList) {
    if get_object(selector, &["matchLabels"]).is_some() {
        meta::validate_labels(
            get(selector, &["matchLabels"]),
            &path.child("matchLabels"),
            errors,
        );
    }
    for (i, requirement) in get_array(selector, &["matchExpressions"])
        .iter()
        .enumerate()
    {
        let path = path.child("matchExpressions").index(i);
        let (operator, values) = (
            text(requirement, &["operator"]),
            texts(requirement, &["values"]),
        );
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let why = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(Error::required(&path.child("values"), why));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(Error::forbidden(&path.child("values"), why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                let why = "not a valid selector operator";
                errors.push(Error::invalid(&path.child("operator"), other, why));
            }
        }
        let key = text(requirement, &["key"]);
        for why in is_qualified_name(key) {
            errors.push(Error::invalid(&path.child("key"), key, why));
        }
        for (i, value) in values.into_iter().enumerate() {
            for why in is_valid_label_value(value) {
                errors.push(Error::invalid(&path.child("values").index(i), value, why));
            }
        }
    }
}

/// Errors of the names of things, one for each complaint.
fn complain(complaints: Vec<String>, path: &Path, value: &str, errors: &mut ErrorList) {
    for why in complaints {
        errors.push(Error::invalid(path, value, why));
    }
}
