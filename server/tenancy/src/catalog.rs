//! Which resources a logical cluster serves now, as rows.
//!
//! Start with [`Catalog::surface`]. For a group-resource the first hit wins: system kinds, built-in
//! kinds outside of the core group, bound resources, the logical cluster's own CRDs, built-in
//! kinds of the core group. A surface is made once per content
//! (which bound CRDs in which version under which identity, which own CRDs) and shared by all
//! logical clusters with the same; what it is made of is read from the hub on every request, so a
//! binding serves its resources from the very commit that binds them.

use crate::forms::Forms;
use hanse_apis::kcp::{annotation, cluster, group};
use hanse_auth::View;
use hanse_auth::versions::{ByVersion, Recent};
use hanse_cache::{ClusterName, ListQuery, Object, Scope};
use hanse_kinds::custom::CUSTOM_VERBS;
use hanse_kinds::{ResourceDef, builtin};
use hanse_schema::names::NameRule;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Surfaces that are kept.
const SURFACES_MAX: usize = 1024;
/// Parsed CRDs that are kept.
const PARSED_MAX: usize = 4096;
/// Parsed bindings that are kept: those of the workspaces that are busy now.
const BOUND_MAX: usize = 1024;
/// Verbs that only read, in the order of discovery.
const READS: &[&str] = &["get", "list", "watch"];
/// Bindings looked at in one step of a search over all logical clusters.
const SEARCH_STEP: usize = 512;

/// One resource that a binding binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundResource {
    /// API group.
    pub group: String,
    /// Plural.
    pub resource: String,
    /// Uid of the schema: the name of the bound CRD.
    pub uid: String,
    /// Name of the schema.
    pub schema: String,
    /// Identity of the export.
    pub identity: String,
}

/// `status.boundResources` of an APIBinding.
#[must_use]
pub fn bound_resources(binding: &Object) -> Vec<BoundResource> {
    let raw = binding.raw(&["status", "boundResources"]).unwrap_or(b"[]");
    let listed: Vec<Value> = serde_json::from_slice(raw).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    listed
        .iter()
        .map(|entry| BoundResource {
            group: text(&entry["group"]),
            resource: text(&entry["resource"]),
            uid: text(&entry["schema"]["UID"]),
            schema: text(&entry["schema"]["name"]),
            identity: text(&entry["schema"]["identityHash"]),
        })
        .collect()
}

/// What a surface is made of beside the kinds that are always there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Part {
    /// A bound CRD: its version, the identity, whether the binding is on its way out.
    Bound(u64, Arc<str>, bool),
    /// A bound resource whose CRD is not there: group, resource.
    Missing(String, String),
    /// A CRD of the logical cluster: its version.
    Own(u64),
}

/// All resources that a logical cluster serves.
pub struct Surface {
    rows: Vec<Arc<ResourceDef>>,
    /// Places of the rows in the order of their names, each name once.
    by_name: Vec<usize>,
    missing: Vec<(String, String)>,
    hash: [u8; 32],
}

/// What a surface says about a name.
#[derive(Clone, Debug)]
pub enum Lookup<'a> {
    /// It is served.
    Found(&'a Arc<ResourceDef>),
    /// It is bound, but its CRD is not there (yet): 503.
    Unavailable,
    /// Nobody serves it: 404.
    NotFound,
}

impl Surface {
    fn new(rows: Vec<Arc<ResourceDef>>, missing: Vec<(String, String)>) -> Surface {
        let mut digest = Sha256::new();
        for row in &rows {
            row.digest(&mut digest);
        }
        let mut by_name: Vec<usize> = (0..rows.len()).collect();
        by_name.sort_by_key(|at| (name_of(&rows[*at]), *at));
        by_name.dedup_by_key(|at| name_of(&rows[*at]));
        Surface {
            rows,
            by_name,
            missing,
            hash: digest.finalize().into(),
        }
    }

    /// All rows, in the order of precedence; names do not repeat.
    #[must_use]
    pub fn rows(&self) -> &[Arc<ResourceDef>] {
        &self.rows
    }

    /// Hash of the content: equal surfaces have equal discovery and OpenAPI documents.
    #[must_use]
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// The row of a resource in a version.
    #[must_use]
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Lookup<'_> {
        let name = (group, version, plural);
        match self
            .by_name
            .binary_search_by(|at| name_of(&self.rows[*at]).cmp(&name))
        {
            Ok(place) => Lookup::Found(&self.rows[self.by_name[place]]),
            Err(_) if self.missing.iter().any(|(g, r)| g == group && r == plural) => {
                Lookup::Unavailable
            }
            Err(_) => Lookup::NotFound,
        }
    }

    /// A row of a resource in any version: the stored one if it is served.
    #[must_use]
    pub fn resource(&self, group: &str, plural: &str) -> Option<&Arc<ResourceDef>> {
        let ours = |row: &&Arc<ResourceDef>| row.group == group && row.plural == plural;
        let stored = |row: &&Arc<ResourceDef>| row.version == row.storage_version.version;
        let mut rows = self.rows.iter().filter(ours);
        rows.clone().find(stored).or_else(|| rows.next())
    }
}

/// Makes and shares surfaces.
pub struct Catalog {
    view: Arc<View>,
    forms: Arc<Forms>,
    system: Vec<Arc<ResourceDef>>,
    built_in: Vec<Arc<ResourceDef>>,
    /// Both of them as the virtual workspaces show them.
    in_views: Vec<Arc<ResourceDef>>,
    surfaces: Recent<Vec<Part>, Surface>,
    bound: ByVersion<Vec<BoundResource>>,
    bound_rows: Recent<(u64, Arc<str>, bool), Vec<Arc<ResourceDef>>>,
    own_rows: ByVersion<Vec<Arc<ResourceDef>>>,
    by_identity: Recent<(String, String, String), String>,
}

impl Catalog {
    /// `system` are the rows of kcp's own kinds that every logical cluster serves, `built_in`
    /// those of Kubernetes.
    #[must_use]
    pub fn new(
        view: Arc<View>,
        forms: Arc<Forms>,
        system: Vec<Arc<ResourceDef>>,
        built_in: Vec<Arc<ResourceDef>>,
    ) -> Catalog {
        let in_views = built_in.iter().chain(&system).map(|row| in_view(row));
        Catalog {
            view,
            forms,
            in_views: in_views.collect(),
            system,
            built_in,
            surfaces: Recent::new(SURFACES_MAX),
            bound: ByVersion::new(BOUND_MAX),
            bound_rows: Recent::new(PARSED_MAX),
            own_rows: ByVersion::new(PARSED_MAX),
            by_identity: Recent::new(PARSED_MAX),
        }
    }

    /// What the logical cluster serves now.
    #[must_use]
    pub fn surface(&self, cluster: &ClusterName) -> Arc<Surface> {
        let (parts, crds) = self.parts(cluster);
        let key = parts.clone();
        self.surfaces.get(key, || self.make(&parts, &crds))
    }

    /// The same if nothing has to be compiled for it.
    #[must_use]
    pub fn known(&self, cluster: &ClusterName) -> Option<Arc<Surface>> {
        self.surfaces.known(&self.parts(cluster).0)
    }

    /// Whether a name is that of a built-in kind outside of the core group: roles, reviews, CRDs.
    /// Nobody serves another kind in their place, or what decides about a logical cluster could
    /// not be seen in it (of the core group kcp lets CRDs win).
    fn is_fixed(&self, row: &ResourceDef) -> bool {
        !row.group.is_empty()
            && self
                .built_in
                .iter()
                .any(|b| name_in_group(b) == name_in_group(row))
    }

    /// The parts of a surface, and the CRDs that they speak of, in the same order.
    fn parts(&self, cluster: &ClusterName) -> (Vec<Part>, Vec<Option<Object>>) {
        let of = self.view.resources();
        let mut found: Vec<(Part, Option<Object>)> = Vec::new();
        for binding in self.view.list_cluster(&of.api_bindings, cluster) {
            let bound = self
                .bound
                .get(binding.resource_version(), || bound_resources(&binding));
            for one in bound.iter() {
                let crd = self.view.get(&of.crds, cluster::BOUND_CRDS, "", &one.uid);
                let part = match &crd {
                    Some(crd) => {
                        let identity = Arc::from(one.identity.as_str());
                        Part::Bound(crd.resource_version(), identity, binding.is_deleting())
                    }
                    None => Part::Missing(one.group.clone(), one.resource.clone()),
                };
                found.push((part, crd));
            }
        }
        for crd in self.view.list_cluster(&of.crds, cluster) {
            found.push((Part::Own(crd.resource_version()), Some(crd)));
        }
        // Bound before own is the precedence; names of bindings shall not tell surfaces apart.
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found.into_iter().unzip()
    }

    fn make(&self, parts: &[Part], crds: &[Option<Object>]) -> Surface {
        let mut rows = self.system.clone();
        let mut missing = Vec::new();
        for (part, crd) in parts.iter().zip(crds) {
            let more = match (part, crd) {
                (Part::Bound(version, identity, leaving), Some(crd)) => {
                    let key = (*version, identity.clone(), *leaving);
                    self.bound_rows
                        .get(key, || self.bind_rows(crd, identity, *leaving))
                }
                (Part::Own(version), Some(crd)) => self.own_rows.get(*version, || own_rows(crd)),
                (Part::Missing(group, resource), _) => {
                    missing.push((group.clone(), resource.clone()));
                    continue;
                }
                _ => continue,
            };
            let new = |row: &&Arc<ResourceDef>| !has(&rows, row) && !self.is_fixed(row);
            let more: Vec<_> = more.iter().filter(new).cloned().collect();
            rows.extend(more);
        }
        let more: Vec<_> = self
            .built_in
            .iter()
            .filter(|row| !has(&rows, row))
            .cloned()
            .collect();
        rows.extend(more);
        Surface::new(rows, missing)
    }

    /// Rows of all served versions of a bound CRD.
    fn bind_rows(&self, crd: &Object, identity: &str, leaving: bool) -> Vec<Arc<ResourceDef>> {
        let value = crd.value();
        let path_segment =
            crd.annotation(annotation::VALIDATE_NAME).as_deref() == Some("path-segment");
        let mut rows = Vec::new();
        for mut row in served_rows(&value, &crd.key().name) {
            row.storage.identity = identity.into();
            row.terminating = leaving;
            if path_segment {
                row.name_rule = NameRule::PathSegment;
            }
            rows.push(Arc::new(row));
        }
        // Kinds that the server itself writes are stored in the form of their schema.
        let ours = [group::TENANCY, group::CORE, group::TOPOLOGY];
        for row in rows.iter().filter(|r| ours.contains(&r.group.as_str())) {
            self.forms.learn(row);
        }
        rows
    }

    /// The row for `resource:identity` over all logical clusters: of any binding that binds it.
    #[must_use]
    pub fn by_identity(
        &self,
        group: &str,
        version: &str,
        resource: &str,
        identity: &str,
    ) -> Option<Arc<ResourceDef>> {
        let key = (identity.to_owned(), group.to_owned(), resource.to_owned());
        let uid = self.by_identity.try_get(key, || {
            self.search_identity(group, resource, identity).ok_or(())
        });
        let of = self.view.resources();
        let crd = self
            .view
            .get(&of.crds, cluster::BOUND_CRDS, "", &uid.ok()?)?;
        let key = (crd.resource_version(), Arc::from(identity), false);
        let rows = self
            .bound_rows
            .get(key, || self.bind_rows(&crd, identity, false));
        rows.iter().find(|row| row.version == version).cloned()
    }

    fn search_identity(&self, group: &str, resource: &str, identity: &str) -> Option<String> {
        let of = &self.view.resources().api_bindings;
        let mut after = None;
        loop {
            let query = ListQuery {
                after,
                limit: Some(SEARCH_STEP),
                ..ListQuery::default()
            };
            let page = self.view.hub().list(of, &Scope::Wildcard, &query).ok()?;
            for binding in &page.objects {
                let ours = |b: &BoundResource| {
                    b.identity == identity && b.group == group && b.resource == resource
                };
                if let Some(found) = bound_resources(binding).into_iter().find(ours) {
                    return Some(found.uid);
                }
            }
            after = page
                .objects
                .last()
                .filter(|_| page.more)
                .map(|o| o.key().path());
            after.as_ref()?;
        }
    }

    /// Rows of all served versions of a schema under an identity: what an export view serves.
    #[must_use]
    pub fn schema_rows(&self, schema: &Object, identity: &str) -> Vec<Arc<ResourceDef>> {
        let key = (schema.resource_version(), Arc::from(identity), false);
        let rows = self.bound_rows.get(key, || {
            let value = schema.value();
            let versions = value["spec"]["versions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let served = versions.iter().filter(|v| v["served"] == true);
            let names = served.filter_map(|v| v["name"].as_str());
            names
                .filter_map(|v| ResourceDef::from_api_resource_schema(&value, identity, v).ok())
                .map(|row| in_view(&row))
                .collect()
        });
        rows.to_vec()
    }

    /// Rows of Kubernetes' and of kcp's own kinds as virtual workspaces show them.
    #[must_use]
    pub fn in_views(&self) -> &[Arc<ResourceDef>] {
        &self.in_views
    }

    /// Rows of one of kcp's own kinds, to be read only; `status` may be written if that is said.
    #[must_use]
    pub fn to_read(&self, group: &str, plural: &str, status: bool) -> Vec<Arc<ResourceDef>> {
        let ours = |row: &&Arc<ResourceDef>| row.group == group && row.plural == plural;
        let read = |row: &Arc<ResourceDef>| {
            let mut row = ResourceDef::clone(row);
            row.verbs = READS;
            if !status {
                row.subresources.clear();
            }
            Arc::new(row)
        };
        self.in_views.iter().filter(ours).map(read).collect()
    }

    /// Rows of kcp's own kinds.
    #[must_use]
    pub fn system(&self) -> &[Arc<ResourceDef>] {
        &self.system
    }

    /// Rows of Kubernetes' kinds.
    #[must_use]
    pub fn built_in(&self) -> &[Arc<ResourceDef>] {
        &self.built_in
    }
}

/// A row as a virtual workspace shows it: of its subresources only the status (kcp-api 3.9).
fn in_view(row: &ResourceDef) -> Arc<ResourceDef> {
    let mut row = row.clone();
    row.subresources.retain(|sub| sub.name == "status");
    if row.verbs == CUSTOM_VERBS {
        // The same verbs, in the order of the recorded view.
        row.verbs = builtin::FULL;
    }
    Arc::new(row)
}

fn name_of(row: &ResourceDef) -> (&str, &str, &str) {
    (&row.group, &row.version, &row.plural)
}

/// True if a row would say something about a resource that another has said already.
fn name_in_group(row: &ResourceDef) -> (&str, &str) {
    (&row.group, &row.plural)
}

fn has(rows: &[Arc<ResourceDef>], row: &ResourceDef) -> bool {
    rows.iter()
        .any(|r| r.group == row.group && r.plural == row.plural && r.storage != row.storage)
        || rows
            .iter()
            .any(|r| r.group == row.group && r.plural == row.plural && r.version == row.version)
}

/// Rows of a CRD of the logical cluster; none before it is established.
fn own_rows(crd: &Object) -> Vec<Arc<ResourceDef>> {
    let value = crd.value();
    if !hanse_rules::conditions::is_true(&value, "Established") {
        return Vec::new();
    }
    served_rows(&value, &crd.key().name)
        .into_iter()
        .map(Arc::new)
        .collect()
}

fn served_rows(crd: &Value, name: &str) -> Vec<ResourceDef> {
    let versions = crd["spec"]["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let served = versions
        .iter()
        .filter(|v| v["served"] == true)
        .filter_map(|v| v["name"].as_str());
    let mut rows = Vec::new();
    for version in served {
        match ResourceDef::from_crd(crd, version) {
            Ok(row) => rows.push(row),
            Err(error) => tracing::warn!(crd = name, version, error, "schema is not usable"),
        }
    }
    rows
}
