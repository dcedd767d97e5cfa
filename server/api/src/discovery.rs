//! Which groups, versions and resources a logical cluster serves, as documents for clients.
//!
//! Start at [`Groups::of`]; each function after it makes one document. Pure: the same definitions
//! make the same bytes on every replica (DISC-32). The order of groups is Kubernetes' priority for
//! its own, then the name, so that `kubectl get events` means the same everywhere (DISC-28).

use std::collections::BTreeMap;
use std::sync::Arc;

use hanse_json::{Map, Value, json};
use hanse_kinds::builtin::{GROUP_ORDER, group_rank};
use hanse_kinds::{ResourceDef, compare_versions};

/// One version of a group and what it serves, by resource name.
pub struct Version {
    /// Such as `v1`.
    pub version: String,
    /// The resources.
    pub resources: Vec<Arc<ResourceDef>>,
}

/// One group and its versions, the preferred one first.
pub struct Group {
    /// Empty for the core group.
    pub name: String,
    /// The versions.
    pub versions: Vec<Version>,
}

/// Resources by version.
type Versions<'d> = BTreeMap<&'d str, Vec<Arc<ResourceDef>>>;

/// All groups of a surface in the order of discovery.
pub struct Groups(pub Vec<Group>);

impl Groups {
    /// Sorts definitions into groups and versions.
    #[must_use]
    pub fn of(defs: &[Arc<ResourceDef>]) -> Self {
        let mut groups: BTreeMap<(usize, &str), Versions<'_>> = BTreeMap::new();
        for def in defs {
            let versions = groups
                .entry((group_rank(&def.group), &def.group))
                .or_default();
            versions
                .entry(&def.version)
                .or_default()
                .push(Arc::clone(def));
        }
        let groups = groups.into_iter().map(|((_, name), versions)| {
            let mut versions: Vec<Version> = versions
                .into_iter()
                .map(|(version, mut resources)| {
                    resources.sort_by(|a, b| a.plural.cmp(&b.plural));
                    Version {
                        version: version.to_owned(),
                        resources,
                    }
                })
                .collect();
            versions.sort_by(|a, b| compare_versions(&b.version, &a.version));
            Group {
                name: name.to_owned(),
                versions,
            }
        });
        Self(groups.collect())
    }

    fn find(&self, name: &str) -> Option<&Group> {
        self.0.iter().find(|group| group.name == name)
    }

    /// `/api` as APIVersions.
    #[must_use]
    pub fn api_versions(&self, address: &str) -> Value {
        json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": addresses(address),
        })
    }

    /// `/apis` as APIGroupList.
    #[must_use]
    pub fn group_list(&self, address: &str) -> Value {
        let groups: Vec<Value> = self
            .0
            .iter()
            .filter(|group| !group.name.is_empty())
            .map(|group| {
                let mut value = group.document();
                // Kubernetes' own groups name the server's address, those of CRDs do not.
                if group.is_native() {
                    value["serverAddressByClientCIDRs"] = addresses(address);
                }
                value
            })
            .collect();
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
    }

    /// `/apis/{group}` as APIGroup.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<Value> {
        let mut value = self.find(name)?.document();
        value["kind"] = "APIGroup".into();
        value["apiVersion"] = "v1".into();
        Some(value)
    }

    /// `/apis/{group}/{version}` or `/api/v1` as APIResourceList.
    #[must_use]
    pub fn resource_list(&self, group: &str, version: &str, is_view: bool) -> Option<Value> {
        let found = self
            .find(group)?
            .versions
            .iter()
            .find(|v| v.version == version)?;
        let resources: Vec<Value> = found
            .resources
            .iter()
            .flat_map(|def| legacy_entries(def, is_view))
            .collect();
        let group_version = if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        };
        let mut list = json!({
            "kind": "APIResourceList",
            "groupVersion": group_version,
            "resources": resources,
        });
        // The core list has no apiVersion, all others have: so Kubernetes has it.
        if !group.is_empty() {
            list["apiVersion"] = "v1".into();
        }
        Some(list)
    }

    /// `/api` or `/apis` as APIGroupDiscoveryList.
    #[must_use]
    pub fn aggregated(&self, core: bool) -> Value {
        let items: Vec<Value> = self
            .0
            .iter()
            .filter(|group| group.name.is_empty() == core)
            .map(Group::aggregated)
            .collect();
        json!({
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": items,
        })
    }

    /// Paths of discovery itself, for the index at `/`: those of Kubernetes' own groups.
    pub fn paths(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .filter(|group| group.is_native() && !group.name.is_empty())
            .flat_map(|group| {
                let root = format!("/apis/{}", group.name);
                let versions = group.versions.iter().map({
                    let root = root.clone();
                    move |version| format!("{root}/{}", version.version)
                });
                std::iter::once(root).chain(versions).collect::<Vec<_>>()
            })
    }
}

impl Group {
    fn is_native(&self) -> bool {
        group_rank(&self.name) < GROUP_ORDER.len()
    }

    fn document(&self) -> Value {
        let version = |v: &Version| {
            let group_version = format!("{}/{}", self.name, v.version);
            json!({"groupVersion": group_version, "version": v.version})
        };
        let versions: Vec<Value> = self.versions.iter().map(version).collect();
        json!({"name": self.name, "preferredVersion": versions[0], "versions": versions})
    }

    fn aggregated(&self) -> Value {
        let versions: Vec<Value> = self
            .versions
            .iter()
            .map(|version| {
                let resources: Vec<Value> = version
                    .resources
                    .iter()
                    .map(|def| aggregated_entry(def))
                    .collect();
                json!({
                    "version": version.version,
                    "freshness": "Current",
                    "resources": resources,
                })
            })
            .collect();
        let mut meta = json!({});
        if !self.name.is_empty() {
            meta["name"] = self.name.as_str().into();
        }
        json!({"metadata": meta, "versions": versions})
    }
}

fn addresses(address: &str) -> Value {
    json!([{"clientCIDR": "0.0.0.0/0", "serverAddress": address}])
}

/// The verbs as they are shown: fewer for what is on its way out.
fn verbs(def: &ResourceDef) -> Vec<&'static str> {
    def.verbs
        .iter()
        .copied()
        .filter(|verb| def.allows(verb))
        .collect()
}

fn put_names(entry: &mut Value, def: &ResourceDef) {
    let texts = |names: &[hanse_wire::gvk::SmolStr]| -> Value {
        names
            .iter()
            .map(|name| Value::from(name.as_str()))
            .collect()
    };
    if !def.short_names.is_empty() {
        entry["shortNames"] = texts(&def.short_names);
    }
    if !def.categories.is_empty() {
        entry["categories"] = texts(&def.categories);
    }
}

/// The entries of a resource and its subresources. Views sort the verbs, as kcp's do.
fn legacy_entries(def: &ResourceDef, is_view: bool) -> Vec<Value> {
    let mut verbs = verbs(def);
    if is_view {
        verbs.sort_unstable();
    }
    let mut own = json!({
        "name": def.plural.as_str(),
        "singularName": def.singular.as_str(),
        "namespaced": def.namespaced,
        "kind": def.kind.as_str(),
        "verbs": verbs,
    });
    put_names(&mut own, def);
    let hash = def.storage_version_hash();
    if !hash.is_empty() {
        own["storageVersionHash"] = hash.into();
    }
    let subresources = def.subresources.iter().map(|sub| {
        let mut entry = json!({
            "name": format!("{}/{}", def.plural, sub.name),
            "singularName": "",
            "namespaced": def.namespaced,
            "kind": sub.kind.as_ref().map_or(def.kind.as_str(), |kind| kind.kind.as_str()),
            "verbs": sub.verbs,
        });
        if let Some(kind) = &sub.kind {
            entry["group"] = kind.group.as_str().into();
            entry["version"] = kind.version.as_str().into();
        }
        entry
    });
    std::iter::once(own).chain(subresources).collect()
}

fn aggregated_entry(def: &ResourceDef) -> Value {
    let own_kind = response_kind(def);
    let mut entry = Map::new();
    entry.insert("resource".to_owned(), def.plural.as_str().into());
    entry.insert("responseKind".to_owned(), own_kind.clone());
    let scope = if def.namespaced {
        "Namespaced"
    } else {
        "Cluster"
    };
    entry.insert("scope".to_owned(), scope.into());
    entry.insert("singularResource".to_owned(), def.singular.as_str().into());
    entry.insert("verbs".to_owned(), verbs(def).into());
    let subresources: Vec<Value> = def
        .subresources
        .iter()
        .map(|sub| {
            let kind = sub.kind.as_ref().map_or_else(
                || own_kind.clone(),
                |kind| {
                    json!({
                        "group": kind.group.as_str(),
                        "version": kind.version.as_str(),
                        "kind": kind.kind.as_str(),
                    })
                },
            );
            json!({"subresource": sub.name.as_str(), "responseKind": kind, "verbs": sub.verbs})
        })
        .collect();
    if !subresources.is_empty() {
        entry.insert("subresources".to_owned(), subresources.into());
    }
    let mut entry = Value::Object(entry);
    put_names(&mut entry, def);
    entry
}

/// Native kinds leave group and version of their own kind empty, which clients take as those of
/// the list; custom resources name them.
fn response_kind(def: &ResourceDef) -> Value {
    let (group, version) = if def.flags.native {
        ("", "")
    } else {
        (def.group.as_str(), def.version.as_str())
    };
    json!({"group": group, "version": version, "kind": def.kind.as_str()})
}
