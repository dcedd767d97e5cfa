//! What an API server serves.
//!
//! Aggregated discovery where it is given, the old documents where it is not. Invariant: a group
//! that cannot be read now is reported, never taken for absent.

use serde_json::Value;

use crate::api::Api;
use crate::error::{Error, Result};
use crate::request::{Request, Resource};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json";

/// One served resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Its name in paths.
    pub resource: Resource,
    /// Its kind.
    pub kind: String,
    /// Its singular name.
    pub singular: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Its short names.
    pub short_names: Vec<String>,
    /// Its categories.
    pub categories: Vec<String>,
    /// Its verbs.
    pub verbs: Vec<String>,
    /// Names of its subresources.
    pub subresources: Vec<String>,
}

/// Reads everything that is served, in the server's order (preferred versions first).
///
/// # Errors
/// As [`Error`] says, for any group that cannot be read.
pub async fn discover(api: &Api) -> Result<Vec<Served>> {
    let mut out = Vec::new();
    for root in ["/api", "/apis"] {
        let mut request = Request::get(root);
        request.accept = AGGREGATED;
        let document = parse(&api.raw(request).await?)?;
        if document["kind"] == "APIGroupDiscoveryList" {
            aggregated(&document, &mut out);
        } else if root == "/api" {
            for version in strings(&document["versions"]) {
                out.extend(group_version(api, "", &version).await?);
            }
        } else {
            for group in array(&document["groups"]) {
                let name = text(group, "name");
                for version in array(&group["versions"]) {
                    out.extend(group_version(api, &name, &text(version, "version")).await?);
                }
            }
        }
    }
    Ok(out)
}

/// Reads what one group serves in one version; 404 when it serves none.
///
/// # Errors
/// As [`Error`] says.
pub async fn group_version(api: &Api, group: &str, version: &str) -> Result<Vec<Served>> {
    let path = Resource::new(group, version, "").group_path();
    let document = parse(&api.raw(Request::get(path)).await?)?;
    let mut out: Vec<Served> = Vec::new();
    for entry in array(&document["resources"]) {
        let name = text(entry, "name");
        if let Some((parent, sub)) = name.split_once('/') {
            if let Some(served) = out.iter_mut().find(|s| s.resource.plural == parent) {
                served.subresources.push(sub.to_owned());
            }
            continue;
        }
        out.push(Served {
            resource: Resource::new(group, version, &name),
            kind: text(entry, "kind"),
            singular: text(entry, "singularName"),
            namespaced: entry["namespaced"].as_bool().unwrap_or(false),
            short_names: strings(&entry["shortNames"]),
            categories: strings(&entry["categories"]),
            verbs: strings(&entry["verbs"]),
            subresources: Vec::new(),
        });
    }
    Ok(out)
}

fn aggregated(document: &Value, out: &mut Vec<Served>) {
    for group in array(&document["items"]) {
        let name = text(&group["metadata"], "name");
        for version in array(&group["versions"]) {
            let v = text(version, "version");
            for entry in array(&version["resources"]) {
                out.push(Served {
                    resource: Resource::new(&name, &v, &text(entry, "resource")),
                    kind: text(&entry["responseKind"], "kind"),
                    singular: text(entry, "singularResource"),
                    namespaced: entry["scope"] == "Namespaced",
                    short_names: strings(&entry["shortNames"]),
                    categories: strings(&entry["categories"]),
                    verbs: strings(&entry["verbs"]),
                    subresources: array(&entry["subresources"])
                        .iter()
                        .map(|s| text(s, "subresource"))
                        .collect(),
                });
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|e| Error::Malformed(format!("discovery: {e}")))
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn strings(value: &Value) -> Vec<String> {
    array(value)
        .iter()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}
