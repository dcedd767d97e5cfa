//! OpenAPI documents of what is no resource: discovery, version, keys.
//!
//! Start at [`general`]. Each path of [`PATHS`] has a document of its own, as has every group of
//! Kubernetes that is served; groups of custom resources have none (OAS-20).

use std::collections::BTreeSet;
use std::sync::Arc;

use hanse_json::{Map, Value, json};

use super::{BUILT_IN_TYPES, META, group_tag, pascal, reachable, responses};
use crate::def::ResourceDef;

const JSON: &[&str] = &["application/json"];
const KEYS: &[&str] = &["application/jwk-set+json"];

/// One path: its key in the index, the operation, what it answers with, and in which forms.
struct Entry {
    key: &'static str,
    id: &'static str,
    tag: &'static str,
    does: &'static str,
    /// A component; none is a string.
    answer: Option<&'static str>,
    types: &'static [&'static str],
}

const PATHS: [Entry; 5] = [
    Entry {
        key: ".well-known/openid-configuration",
        id: "getServiceAccountIssuerOpenIDConfiguration",
        tag: "WellKnown",
        does: "the OpenID configuration of the issuer of service account tokens",
        answer: None,
        types: JSON,
    },
    Entry {
        key: "api",
        id: "getCoreAPIVersions",
        tag: "core",
        does: "get available API versions",
        answer: Some("io.k8s.apimachinery.pkg.apis.meta.v1.APIVersions"),
        types: &BUILT_IN_TYPES,
    },
    Entry {
        key: "apis",
        id: "getAPIVersions",
        tag: "apis",
        does: "get available API versions",
        answer: Some("io.k8s.apimachinery.pkg.apis.meta.v1.APIGroupList"),
        types: &BUILT_IN_TYPES,
    },
    Entry {
        key: "openid/v1/jwks",
        id: "getServiceAccountIssuerOpenIDKeyset",
        tag: "openid",
        does: "the public keys that verify service account tokens",
        answer: None,
        types: KEYS,
    },
    Entry {
        key: "version",
        id: "getCodeVersion",
        tag: "version",
        does: "get the version information for this server",
        answer: Some("io.k8s.apimachinery.pkg.version.Info"),
        types: JSON,
    },
];

/// The keys of the index beside those of group versions, sorted.
pub fn general_keys(rows: &[Arc<ResourceDef>]) -> BTreeSet<String> {
    let fixed = PATHS.iter().map(|entry| entry.key.to_owned());
    let native = rows
        .iter()
        .filter(|row| row.flags.native && !row.group.is_empty());
    fixed
        .chain(native.map(|row| format!("apis/{}", row.group)))
        .collect()
}

/// The document behind such a key; the caller has it from [`general_keys`].
pub fn general(key: &str) -> Option<Value> {
    if let Some(group) = key.strip_prefix("apis/") {
        let answers = responses(&[200], Some(&format!("{META}APIGroup")), &BUILT_IN_TYPES);
        let id = format!("get{}APIGroup", pascal(group));
        let does = "get information of a group";
        return Some(document(key, &id, &group_tag(group), does, answers));
    }
    let entry = PATHS.iter().find(|entry| entry.key == key)?;
    let mut answers = responses(&[200], entry.answer, entry.types);
    if entry.answer.is_none() {
        let text = json!({"schema": {"type": "string"}});
        let content = entry
            .types
            .iter()
            .map(|kind| ((*kind).to_owned(), text.clone()));
        answers["200"]["content"] = Value::Object(content.collect());
    }
    Some(document(key, entry.id, entry.tag, entry.does, answers))
}

fn document(key: &str, id: &str, tag: &str, does: &str, answers: Value) -> Value {
    let operation =
        json!({"description": does, "operationId": id, "responses": answers, "tags": [tag]});
    let mut paths = Map::new();
    paths.insert(format!("/{key}/"), json!({"get": operation}));
    let schemas = reachable(&paths, Map::new(), true);
    let mut out = json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
    });
    if !schemas.is_empty() {
        out["components"] = json!({"schemas": schemas});
    }
    out
}
