//! Namespaces, ConfigMaps, Secrets, ServiceAccounts (kubernetes-api.md 23, 25, 26).

use hanse_json::{
    Map, Value, entry_object, get, get_array, get_bool, get_object, get_str, json, remove, set,
};
use hanse_schema::field::{Error, ErrorList, Path};
use hanse_schema::names::{is_config_map_key, is_qualified_name};
use hanse_wire::base64;

use super::{as_json, complain, immutable, text, texts};
use crate::def::Update;
use crate::limits::MAX_DATA_BYTES;

const IMMUTABLE: &str = "field is immutable when `immutable` is set";
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub fn validate_config_map(object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let empty = Map::new();
    let data = get_object(object, &["data"]).unwrap_or(&empty);
    let binary = get_object(object, &["binaryData"]).unwrap_or(&empty);
    let mut size = 0;
    for (key, value) in data {
        let path = Path::new("data").key(key);
        complain(is_config_map_key(key), &path, key, &mut errors);
        if binary.contains_key(key) {
            let why = "duplicate of key present in binaryData";
            errors.push(Error::invalid(&path, key.as_str(), why));
        }
        size += value.as_str().map_or(0, str::len);
    }
    for (key, value) in binary {
        complain(
            is_config_map_key(key),
            &Path::new("binaryData").key(key),
            key,
            &mut errors,
        );
        size += decoded_length(value);
    }
    if size > MAX_DATA_BYTES {
        errors.push(Error::too_long(&Path::new(""), MAX_DATA_BYTES));
    }
    errors
}

fn decoded_length(value: &Value) -> usize {
    let text = value.as_str().unwrap_or_default();
    let padding = text.bytes().rev().take_while(|c| *c == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

fn frozen(new: &Value, old: &Value, fields: &[&str], errors: &mut ErrorList) {
    if get_bool(old, &["immutable"]) != Some(true) {
        return;
    }
    if get_bool(new, &["immutable"]) != Some(true) {
        errors.push(Error::forbidden(&Path::new("immutable"), IMMUTABLE));
    }
    for field in fields {
        if get(new, &[field]) != get(old, &[field]) {
            errors.push(Error::forbidden(&Path::new(field), IMMUTABLE));
        }
    }
}

pub fn validate_config_map_update(new: &Value, update: Update<'_>) -> ErrorList {
    let mut errors = ErrorList::new();
    frozen(new, update.old, &["data", "binaryData"], &mut errors);
    errors.extend(validate_config_map(new));
    errors
}

/// `stringData` is another way to write `data`; the type is `Opaque` unless said otherwise.
pub fn default_secret(object: &mut Value) {
    if let Some(Value::Object(plain)) = remove(object, &["stringData"])
        && !plain.is_empty()
    {
        let data = entry_object(object, &["data"]);
        for (key, value) in plain {
            let bytes = value.as_str().unwrap_or_default().as_bytes();
            data.insert(key, json!(base64::encode(bytes)));
        }
    }
    if text(object, &["type"]).is_empty() {
        set(object, &["type"], json!("Opaque"));
    }
}

pub fn validate_secret(object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let empty = Map::new();
    let data = get_object(object, &["data"]).unwrap_or(&empty);
    let path = Path::new("data");
    let mut size = 0;
    for (key, value) in data {
        complain(is_config_map_key(key), &path.key(key), key, &mut errors);
        size += decoded_length(value);
    }
    if size > MAX_DATA_BYTES {
        errors.push(Error::too_long(&path, MAX_DATA_BYTES));
    }
    let mut require = |keys: &[&str]| {
        for key in keys {
            errors.push(Error::required(&path.key(key), ""));
        }
    };
    let has = |key: &str| data.contains_key(key);
    match text(object, &["type"]) {
        "kubernetes.io/service-account-token" => {
            const ACCOUNT: &str = "kubernetes.io/service-account.name";
            if text(object, &["metadata", "annotations", ACCOUNT]).is_empty() {
                let path = Path::new("metadata").child("annotations").key(ACCOUNT);
                errors.push(Error::required(&path, ""));
            }
        }
        "kubernetes.io/dockercfg" => docker_config(data, ".dockercfg", &mut errors),
        "kubernetes.io/dockerconfigjson" => {
            docker_config(data, ".dockerconfigjson", &mut errors);
        }
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            require(&["username", "password"]);
        }
        "kubernetes.io/ssh-auth" if data.get("ssh-privatekey").is_none_or(|key| key == "") => {
            require(&["ssh-privatekey"]);
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if !has(key) {
                    require(&[key]);
                }
            }
        }
        _ => {}
    }
    errors
}

fn docker_config(data: &Map<String, Value>, key: &str, errors: &mut ErrorList) {
    let path = Path::new("data").key(key);
    let Some(encoded) = data.get(key) else {
        errors.push(Error::required(&path, ""));
        return;
    };
    let bytes = base64::decode(encoded.as_str().unwrap_or_default()).unwrap_or_default();
    let why = match hanse_json::parse(&bytes, &hanse_json::Limits::default()) {
        Ok(parsed) if parsed.value.is_object() || parsed.value.is_null() => return,
        Ok(parsed) => format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            hanse_json::type_name(&parsed.value)
        ),
        Err(err) => err.message,
    };
    errors.push(Error::invalid(&path, "<secret contents redacted>", why));
}

pub fn validate_secret_update(new: &Value, update: Update<'_>) -> ErrorList {
    let mut errors = ErrorList::new();
    immutable(new, update.old, &["type"], &Path::new("type"), &mut errors);
    frozen(new, update.old, &["data"], &mut errors);
    errors.extend(validate_secret(new));
    errors
}

/// Kubernetes warns of pairs that it cannot parse; without a TLS library in this crate we warn of
/// what is plainly no PEM.
pub fn secret_warnings(new: &Value, _: Option<&Value>) -> Vec<String> {
    if text(new, &["type"]) != "kubernetes.io/tls" {
        return Vec::new();
    }
    let bytes = |key: &str| base64::decode(text(new, &["data", key])).unwrap_or_default();
    let pem = |key: &str| {
        bytes(key)
            .windows(11)
            .any(|window| window == b"-----BEGIN ")
    };
    match (pem("tls.crt"), pem("tls.key")) {
        (false, _) => vec!["tls: failed to find any PEM data in certificate input".to_owned()],
        (true, false) => vec!["tls: failed to find any PEM data in key input".to_owned()],
        _ => Vec::new(),
    }
}

pub fn service_account_warnings(new: &Value, _: Option<&Value>) -> Vec<String> {
    const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
    let set = get_str(new, &["metadata", "annotations", ENFORCE]).is_some();
    let warning = "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in \
                   v1.32+; prefer separate namespaces to isolate access to mounted secrets";
    set.then(|| warning.to_owned()).into_iter().collect()
}

/// A namespace carries its name as a label, so that selectors can name it.
pub fn default_namespace(object: &mut Value) {
    let name = text(object, &["metadata", "name"]).to_owned();
    if !name.is_empty() {
        set(object, &["metadata", "labels", NAME_LABEL], json!(name));
    }
}

pub fn prepare_namespace(object: &mut Value) {
    set(object, &["status"], json!({"phase": "Active"}));
    if !texts(object, &["spec", "finalizers"]).contains(&"kubernetes") {
        let mut finalizers = get_array(object, &["spec", "finalizers"]).to_vec();
        finalizers.push(json!("kubernetes"));
        set(object, &["spec", "finalizers"], Value::Array(finalizers));
    }
}

/// Only `finalize` changes the finalizers of the spec, and it changes nothing else but metadata.
pub fn prepare_namespace_update(new: &mut Value, update: Update<'_>) {
    let keep = |new: &mut Value, field: &str| match get(update.old, &[field]) {
        Some(old) => set(new, &[field], old.clone()),
        None => {
            remove(new, &[field]);
        }
    };
    if update.subresource != "finalize" {
        keep(new, "spec");
    }
    if update.subresource != "status" {
        keep(new, "status");
    }
    if text(new, &["status", "phase"]).is_empty() {
        set(new, &["status", "phase"], json!("Active"));
    }
    default_namespace(new);
}

/// A finalizer of the spec is one of Kubernetes' own or is qualified. When a Namespace is made the
/// list itself is named, when it is finalized the place in it.
fn spec_finalizers(new: &Value, places: bool, errors: &mut ErrorList) {
    for (i, name) in texts(new, &["spec", "finalizers"]).into_iter().enumerate() {
        let list = Path::new("spec").child("finalizers");
        let path = if places { list.index(i) } else { list };
        complain(is_qualified_name(name), &path, name, errors);
        let standard = ["kubernetes", "orphan", "foregroundDeletion"];
        if !name.contains('/') && !standard.contains(&name) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(Error::invalid(&path, name, why));
        }
    }
}

pub fn validate_namespace(new: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    spec_finalizers(new, false, &mut errors);
    errors
}

pub fn validate_namespace_update(new: &Value, update: Update<'_>) -> ErrorList {
    let mut errors = ErrorList::new();
    match update.subresource {
        "finalize" => spec_finalizers(new, true, &mut errors),
        "status" => {
            let deleting = get_str(new, &["metadata", "deletionTimestamp"]).is_some();
            let (expected, why) = match deleting {
                false => (
                    "Active",
                    "may only be 'Active' if `deletionTimestamp` is empty",
                ),
                true => (
                    "Terminating",
                    "may only be 'Terminating' if `deletionTimestamp` is not empty",
                ),
            };
            let phase = text(new, &["status", "phase"]);
            if phase != expected {
                let value = as_json(&json!(phase));
                errors.push(Error::invalid(
                    &Path::new("status").child("Phase"),
                    value,
                    why,
                ));
            }
        }
        _ => {}
    }
    errors
}
