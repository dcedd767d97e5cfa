//! Which kinds have series of their own in the metrics.
//!
//! Start at [`named`]. The invariant: labels come from the kinds that this program defines and from
//! nothing that a client says, so the number of series has a bound, however many workspaces there
//! are and whatever CRDs their tenants install. All other resources share one name.

use std::sync::OnceLock;

use hanse_apis::sites;
use hanse_json::{Value, get_array, get_object, get_str};
use hanse_kinds::ResourceDef;

use crate::info::RequestInfo;

/// The label of resources that tenants define.
pub const CUSTOM: &str = "customresources";

/// One kind, as labels name it.
struct Row {
    group: String,
    resource: String,
    versions: Vec<String>,
    subresources: Vec<String>,
}

/// Labels of a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// API group.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Plural of the resource, or [`CUSTOM`].
    pub resource: &'static str,
    /// Subresource.
    pub subresource: &'static str,
}

impl Named {
    /// Whether this program defines the resource.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.resource != CUSTOM
    }
}

/// Group and resource of every kind that has series of its own.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = rows().iter();
    all.map(|row| (row.group.as_str(), row.resource.as_str()))
}

/// The same two names of a kind that has series of its own.
#[must_use]
pub fn kind(group: &str, resource: &str) -> Option<(&'static str, &'static str)> {
    let wanted = (group, resource);
    let found = rows().binary_search_by(|row| (&*row.group, &*row.resource).cmp(&wanted));
    let row = &rows()[found.ok()?];
    Some((&row.group, &row.resource))
}

/// The labels for a request.
#[must_use]
pub fn of_request(info: &RequestInfo<'_>) -> Named {
    match info.is_resource {
        true => named(info.group, info.version, info.resource, info.subresource),
        false => Named::default(),
    }
}

/// The labels for a resource.
#[must_use]
pub fn named(group: &str, version: &str, resource: &str, subresource: &str) -> Named {
    let rows = rows();
    let wanted = (group, resource);
    let found = rows.binary_search_by(|row| (&*row.group, &*row.resource).cmp(&wanted));
    let custom = Named {
        resource: CUSTOM,
        ..Named::default()
    };
    let Some(row) = found.ok().map(|at| &rows[at]) else {
        return custom;
    };
    let text = |list: &'static [String], name: &str| {
        let found = list.iter().find(|known| *known == name);
        found.map(String::as_str)
    };
    let Some(version) = text(&row.versions, version) else {
        return custom;
    };
    Named {
        group: &row.group,
        version,
        resource: &row.resource,
        subresource: text(&row.subresources, subresource).unwrap_or_default(),
    }
}

fn rows() -> &'static [Row] {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let mut rows: Vec<Row> = Vec::new();
        let served = hanse_kinds::builtin().iter();
        for def in served.chain(hanse_kinds::kcp::system_crds()) {
            add(&mut rows, of_def(def));
        }
        for (_, spec) in hanse_kinds::kcp::root_schemas() {
            add(&mut rows, of_schema(&spec));
        }
        for kind in sites::kinds::KINDS {
            add(&mut rows, of_schema(&kind.api_resource_schema()["spec"]));
        }
        rows.sort_by(|a, b| (&a.group, &a.resource).cmp(&(&b.group, &b.resource)));
        rows
    })
}

/// Adds a row, or what it says beyond the one that is there.
fn add(rows: &mut Vec<Row>, row: Row) {
    let same = |r: &&mut Row| r.group == row.group && r.resource == row.resource;
    let Some(known) = rows.iter_mut().find(same) else {
        rows.push(row);
        return;
    };
    known.versions.extend(row.versions);
    known.subresources.extend(row.subresources);
}

fn of_def(def: &ResourceDef) -> Row {
    let subresources = def.subresources.iter().map(|sub| sub.name.to_string());
    Row {
        group: def.group.to_string(),
        resource: def.plural.to_string(),
        versions: vec![def.version.to_string()],
        subresources: subresources.collect(),
    }
}

fn of_schema(spec: &Value) -> Row {
    let text = |path: &[&str]| get_str(spec, path).unwrap_or_default().to_owned();
    let versions = get_array(spec, &["versions"]);
    let names = versions.iter().filter_map(|v| get_str(v, &["name"]));
    let subs = versions
        .iter()
        .filter_map(|v| get_object(v, &["subresources"]));
    Row {
        group: text(&["group"]),
        resource: text(&["names", "plural"]),
        versions: names.map(str::to_owned).collect(),
        subresources: subs.flat_map(|map| map.keys().cloned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_kinds_have_names_and_strangers_share_one() {
        let status = named("", "v1", "namespaces", "status");
        assert_eq!(
            (status.resource, status.subresource),
            ("namespaces", "status")
        );
        for (group, version, resource) in [
            ("tenancy.kcp.io", "v1alpha1", "workspaces"),
            ("apis.kcp.io", "v1alpha1", "apibindings"),
            ("apis.kcp.io", "v1alpha2", "apibindings"),
            (sites::GROUP, sites::VERSION, "placements"),
        ] {
            assert_eq!(named(group, version, resource, "").resource, resource);
        }
        for (group, version, resource) in [
            ("", "v9", "namespaces"),
            ("evil.io", "v1", "x1"),
            ("apps", "v1", "deployments"),
        ] {
            assert_eq!(named(group, version, resource, "y").resource, CUSTOM);
        }
    }
}
