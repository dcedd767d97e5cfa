//! What a configuration may say, in Kubernetes' words.
//!
//! Start at [`configuration`]. The invariant: a value that is or could hold a secret is shown as
//! `REDACTED`.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanse_json::go::quote;
use hanse_schema::field::{BadValue, Error, ErrorList, Path};

use crate::config::{
    Configuration, Key, KmsConfiguration, ProviderConfiguration, ResourceConfiguration,
};
use crate::rules::GroupResource;

/// Bytes of keys.
const AES_BYTES: &[usize] = &[16, 24, 32];
/// Bytes of keys of XSalsa20.
const SECRETBOX_BYTES: &[usize] = &[32];

/// Everything that is wrong with a configuration.
pub(crate) fn configuration(config: &Configuration, reload: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    let root = Path::new("resources");
    if config.resources.is_empty() {
        errors.push(Error::required(&root, "at least one resources is required"));
    }
    let mut plugins = BTreeSet::new();
    for (place, rule) in config.resources.iter().enumerate() {
        let at = root.index(place);
        resources(rule, &at.child("resources"), &mut errors);
        let at = at.child("providers");
        if rule.providers.is_empty() {
            let text = format!("at least one {at} is required");
            errors.push(Error::required(&at, text));
        }
        for (place, one) in rule.providers.iter().enumerate() {
            provider(one, &at.index(place), &mut plugins, reload, &mut errors);
        }
    }
    errors
}

// === resources ===

fn resources(rule: &ResourceConfiguration, at: &Path, errors: &mut ErrorList) {
    let names = &rule.resources;
    if names.is_empty() {
        let text = format!("at least one {at} is required");
        errors.push(Error::required(at, text));
    }
    let parsed: Vec<GroupResource> = names
        .iter()
        .map(|name| GroupResource::parse(name))
        .collect();
    let (mut twice, mut overlap) = (false, false);
    for (place, one) in parsed.iter().enumerate() {
        for (other_place, other) in parsed.iter().enumerate() {
            if place == other_place {
                continue;
            }
            if one == other && !twice {
                twice = true;
            } else {
                let group = one.group == other.group;
                let any = one.resource == "*" || other.resource == "*";
                overlap |= one.is_everything() || group && any;
            }
        }
    }
    let shown = || BadValue::Json(hanse_json::go::json(&names.clone().into()));
    if twice {
        let text = "the same resource cannot be specified multiple times";
        errors.push(Error::invalid(at, shown(), text));
    }
    if overlap {
        let text = "using overlapping resources such as 'secrets' and '*.' in the same resource \
                    list is not allowed as they will be masked";
        errors.push(Error::invalid(at, shown(), text));
    }
    for (place, name) in names.iter().enumerate() {
        if let Some(text) = resource(name) {
            errors.push(Error::invalid(&at.index(place), name.as_str(), text));
        }
    }
}

/// What is wrong with the name of a resource.
fn resource(name: &str) -> Option<&'static str> {
    const WITHOUT_API: [&str; 3] = [
        "apiserveripinfo",
        "serviceipallocations",
        "servicenodeportallocations",
    ];
    if name.to_lowercase() != name {
        return Some("resource name should not contain capital letters");
    }
    if name == "*" {
        return Some(
            "use '*.' to encrypt all the resources from core API group or *.* to encrypt all \
             resources",
        );
    }
    if WITHOUT_API.contains(&name) {
        return Some("resources which do not have REST API/s cannot be encrypted");
    }
    let GroupResource { group, resource } = GroupResource::parse(name);
    match group.as_str() {
        "events.k8s.io" => Some(
            "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use \
             'events' instead in the config file",
        ),
        "extensions" => {
            Some("'extensions' group has been removed and cannot be used for encryption")
        }
        "*" if resource != "*" => {
            Some("encrypting the same resource across groups is not supported")
        }
        _ => None,
    }
}

// === providers ===

fn provider<'c>(
    one: &'c ProviderConfiguration,
    at: &Path,
    plugins: &mut BTreeSet<&'c str>,
    reload: bool,
    errors: &mut ErrorList,
) {
    let keyed = [
        ("aesgcm", &one.aesgcm, AES_BYTES),
        ("aescbc", &one.aescbc, AES_BYTES),
        ("secretbox", &one.secretbox, SECRETBOX_BYTES),
    ];
    let found = keyed.iter().filter(|(_, keys, _)| keys.is_some()).count()
        + usize::from(one.identity.is_some())
        + usize::from(one.kms.is_some());
    if found != 1 {
        let text = match found {
            0 => {
                "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, \
                 Secretbox, Identity"
            }
            _ => {
                "more than one provider specified in a single element, should split into \
                 different list elements"
            }
        };
        errors.push(Error::invalid(at, "REDACTED", text));
    }
    if let Some(plugin) = &one.kms {
        kms(plugin, &at.child("kms"), plugins, reload, errors);
        plugins.insert(&plugin.name);
        return;
    }
    if let Some((name, Some(config), sizes)) = keyed.iter().find(|(_, keys, _)| keys.is_some()) {
        let at = at.child(name).child("keys");
        if config.keys.is_empty() {
            errors.push(Error::required(&at, "at least one keys is required"));
        }
        for (place, one) in config.keys.iter().enumerate() {
            key(one, &at.index(place), sizes, errors);
        }
    }
}

fn key(key: &Key, at: &Path, sizes: &[usize], errors: &mut ErrorList) {
    if key.name.is_empty() {
        let text = "name is a mandatory field for a key";
        errors.push(Error::required(&at.child("name"), text));
    }
    let at = at.child("secret");
    if key.secret.is_empty() {
        errors.push(Error::required(
            &at,
            "secret is a mandatory field for a key",
        ));
        return;
    }
    let Ok(bytes) = STANDARD.decode(&key.secret) else {
        let text = "secrets must be base64 encoded";
        errors.push(Error::invalid(&at, "REDACTED", text));
        return;
    };
    if !sizes.contains(&bytes.len()) {
        let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
        let text = format!(
            "secret is not of the expected length, got {}, expected one of [{}]",
            bytes.len(),
            sizes.join(" ")
        );
        errors.push(Error::invalid(&at, "REDACTED", text));
    }
}

fn kms(
    plugin: &KmsConfiguration,
    at: &Path,
    others: &BTreeSet<&str>,
    reload: bool,
    errors: &mut ErrorList,
) {
    let (name, version) = (plugin.name.as_str(), plugin.version());
    let field = at.child("name");
    if name.is_empty() {
        errors.push(Error::required(
            &field,
            "name is a mandatory field for a provider",
        ));
    }
    if version != "v1" && name.contains(':') {
        let text = format!("invalid KMS provider name {name}, must not contain ':'");
        errors.push(Error::invalid(&field, name, text));
    }
    if (reload || version != "v1") && others.contains(name) {
        let text = format!("duplicate KMS provider name {name}, names must be unique");
        errors.push(Error::invalid(&field, name, text));
    }
    if plugin.waiting().is_none() {
        let shown = plugin.timeout.clone().unwrap_or_default();
        let text = "timeout should be a positive value";
        errors.push(Error::invalid(&at.child("timeout"), shown, text));
    }
    endpoint(&plugin.endpoint, &at.child("endpoint"), errors);
    let field = at.child("cachesize");
    match plugin.cachesize {
        Some(size) if version != "v1" => {
            errors.push(Error::invalid(
                &field,
                size,
                "cachesize is not supported in v2",
            ));
        }
        Some(0) => {
            let text = "cachesize should be a positive value, or negative to disable";
            errors.push(Error::invalid(&field, 0, text));
        }
        _ => {}
    }
    if !matches!(version, "v1" | "v2") {
        let text =
            "unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported";
        errors.push(Error::invalid(&at.child("apiVersion"), version, text));
    }
}

fn endpoint(endpoint: &str, at: &Path, errors: &mut ErrorList) {
    let scheme = endpoint.split_once(':').map_or("", |(scheme, _)| scheme);
    let text = match scheme {
        _ if endpoint.is_empty() => "endpoint is a mandatory field for a kms".to_owned(),
        "unix" => return,
        scheme => format!(
            "unsupported scheme {} for KMS provider, only unix is supported",
            quote(scheme)
        ),
    };
    errors.push(Error::invalid(at, endpoint, text));
}
