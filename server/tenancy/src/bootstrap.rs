//! The first objects of a shard: RBAC of `system:admin`, `root` with its schemas, exports, types
//! and RBAC, the bound CRDs of these exports, and `system:shard`.
//!
//! Start with [`Tenancy::bootstrap`]. What is to be there stands as rows in `data/`. It runs at
//! every start: what exists keeps its uid and its changes, what is missing is made, and RBAC of
//! bootstrap gets missing rules and subjects back. The LogicalCluster of `root` is written last,
//! so a start that was cut short is simply repeated.

use crate::bind::Offer;
use crate::objects::{self, Draft};
use crate::tenancy::Tenancy;
use hanse_apis::kcp::conditions as condition;
use hanse_apis::kcp::{IDENTITY_NAMESPACE, annotation, cluster, group, phase};
use hanse_auth::rbac::{PolicyRule, uncovered};
use hanse_cache::{ClusterName, CommitError, Object, ResourceId, Write};
use hanse_rules::conditions::{self, State};
use hanse_rules::locks::Locks;
use hanse_rules::{bound_crd, hash};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const SYSTEM_ADMIN_ROWS: &str = include_str!("../data/system-admin.jsonl");
const ROOT_SCHEMA_ROWS: &str = include_str!("../data/root-schemas.jsonl");
const ROOT_ROWS: &str = include_str!("../data/root.jsonl");
/// Exports that `root` itself binds, and those that the shard binds.
const ROOT_BINDINGS: [&str; 4] = [
    "cache.kcp.io",
    "shards.core.kcp.io",
    "tenancy.kcp.io",
    "topology.kcp.io",
];
const SHARD_BINDINGS: [&str; 5] = [
    "cache.kcp.io",
    "migration.kcp.io",
    "shards.core.kcp.io",
    "tenancy.kcp.io",
    "topology.kcp.io",
];
/// The binding whose subjects the flags name: who may have a home workspace.
const HOME_CREATORS: &str = "system:kcp:configured-group:home-clusterworkspace-create";
/// The battery of the types `organization` and `team`.
const WORKSPACE_TYPES: &str = "workspace-types";
/// Bytes of an identity before encoding.
const IDENTITY_BYTES: usize = 32;

/// Why bootstrap failed.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The store does not take it.
    #[error("bootstrap: {0}")]
    Commit(#[from] CommitError),
    /// A row makes no sense: a mistake of this program.
    #[error("bootstrap: {0}")]
    Row(String),
}

fn rows(text: &str) -> Result<Vec<Value>, BootstrapError> {
    let parse = |line: &str| {
        serde_json::from_str(line).map_err(|e| BootstrapError::Row(format!("{e} in {line}")))
    };
    text.lines()
        .filter(|line| !line.is_empty())
        .map(parse)
        .collect()
}

/// Work on one logical cluster: what to write, and what is known of it by then.
struct Site<'a> {
    tenancy: &'a Tenancy,
    cluster: ClusterName,
    now: String,
    writes: Vec<Write>,
    /// What has been made or found, by kind and name, with uid.
    known: BTreeMap<(String, String), Value>,
}

impl Tenancy {
    /// Makes sure that the first objects are there.
    ///
    /// # Errors
    /// The store refuses, or a row of the program's own data is broken.
    pub async fn bootstrap(&self) -> Result<(), BootstrapError> {
        self.commit(self.system_admin()?).await?;
        self.commit(self.system_crds()?).await?;
        let (bound, root) = self.root()?;
        self.commit(bound).await?;
        self.commit(root).await?;
        self.commit(self.system_shard()?).await?;
        Ok(())
    }

    pub(crate) fn system_admin(&self) -> Result<Vec<Write>, BootstrapError> {
        let mut site = Site::new(self, cluster::SYSTEM_ADMIN);
        for name in ["default", "kube-public", "kube-system"] {
            site.ensure_namespace(name, false)?;
        }
        for row in rows(SYSTEM_ADMIN_ROWS)? {
            site.ensure_rbac(row)?;
        }
        Ok(site.writes)
    }

    /// `system:system-crds`: what every logical cluster serves of kcp, as this version has it.
    pub(crate) fn system_crds(&self) -> Result<Vec<Write>, BootstrapError> {
        let mut site = Site::new(self, cluster::SYSTEM_CRDS);
        let of = &self.view().resources().crds;
        for (name, spec) in hanse_kinds::kcp::system_specs() {
            let draft = Draft::new(of, bound_crd::of_system(&name, &spec, &site.now));
            site.ensure_spec(draft)?;
        }
        Ok(site.writes)
    }

    /// Writes for `system:bound-crds`, and for `root`.
    pub(crate) fn root(&self) -> Result<(Vec<Write>, Vec<Write>), BootstrapError> {
        let mut site = Site::new(self, cluster::ROOT);
        site.ensure_namespace("default", true)?;
        site.ensure_namespace(IDENTITY_NAMESPACE, false)?;
        for row in rows(ROOT_SCHEMA_ROWS)? {
            let of = &self.view().resources().api_resource_schemas;
            site.ensure(Draft::new(of, with_generation(row, 1)))?;
        }
        let mut types = Vec::new();
        for mut row in rows(ROOT_ROWS)? {
            if row["metadata"]["name"] == HOME_CREATORS {
                row["subjects"] = group_subjects(&self.shard().home_creator_groups);
            }
            if !self.is_included(&row) {
                continue;
            }
            match row["kind"].as_str() {
                Some("APIExport") => site.ensure_export(row)?,
                Some("WorkspaceType") => types.push(self.with_included_child(row)),
                _ => site.ensure_rbac(row)?,
            }
        }
        let mut bound = Site::new(self, cluster::BOUND_CRDS);
        let mut locks = Locks::default();
        for name in SHARD_BINDINGS {
            let offer = site.offer(name)?;
            bound.ensure_crds(&site, &offer)?;
            if ROOT_BINDINGS.contains(&name) {
                site.ensure_binding(&offer, cluster::ROOT)?;
                offer.lock_keys().for_each(|key| {
                    locks.take(&key, name);
                });
            }
        }
        site.ensure_types(types)?;
        site.ensure_shard()?;
        let owner = objects::owner_name(&objects::root_owner()).unwrap_or_default();
        let of = self.view().resources();
        site.ensure(objects::workspace_admin(
            of,
            &owner,
            objects::admin_words(true),
        ))?;
        site.ensure(self.root_cluster(&locks, &site.now))?;
        Ok((bound.writes, site.writes))
    }

    /// Whether a row belongs to the server as it was started: some come with a battery.
    fn is_included(&self, row: &Value) -> bool {
        let battery = row["metadata"]["annotations"][annotation::BATTERY].as_str();
        battery.is_none_or(|battery| self.shard().batteries.iter().any(|b| b == battery))
    }

    /// The type of `root` names a type of a battery for its children, if that is included.
    fn with_included_child(&self, mut row: Value) -> Value {
        let child = &mut row["spec"]["defaultChildWorkspaceType"]["name"];
        let types = |battery: &String| battery == WORKSPACE_TYPES;
        if *child == "organization" && !self.shard().batteries.iter().any(types) {
            *child = "universal".into();
        }
        row
    }

    fn root_cluster(&self, locks: &Locks, now: &str) -> Draft {
        let notes = [
            (annotation::SHARD, self.shard().name.clone()),
            (annotation::OWNER, objects::root_owner()),
            (annotation::RESOURCE_BINDINGS, locks.to_text()),
            (
                annotation::REPLICATE,
                format!("{},{}", group::APIS, group::TENANCY),
            ),
            (annotation::TYPE, "root:root".to_owned()),
        ];
        let notes = notes
            .into_iter()
            .map(|(k, v)| (k.to_owned(), Value::from(v)))
            .collect();
        let spec = json!({"directlyDeletable": false});
        let mut draft = objects::logical_cluster(self.view().resources(), notes, spec);
        let value = &mut draft.value;
        value["status"]["URL"] = self.shard().cluster_url(cluster::ROOT).into();
        objects::set_phase(value, phase::READY);
        conditions::set(value, condition::API_BINDINGS_RECONCILED, &State::True, now);
        conditions::set(value, condition::WORKSPACE_INITIALIZED, &State::True, now);
        draft
    }

    /// `system:shard`: bindings of the shard itself, namespace `default`, a LogicalCluster.
    pub(crate) fn system_shard(&self) -> Result<Vec<Write>, BootstrapError> {
        let mut site = Site::new(self, cluster::SYSTEM_SHARD);
        site.ensure_namespace("default", true)?;
        let mut locks = Locks::default();
        for name in SHARD_BINDINGS {
            let offer = self.binder().offer(cluster::ROOT, name, "");
            let offer = offer.map_err(|not| BootstrapError::Row(not.message))?;
            site.ensure_binding(&offer, "")?;
            offer.lock_keys().for_each(|key| {
                locks.take(&key, name);
            });
        }
        let notes = [
            (annotation::SHARD, self.shard().name.clone()),
            (annotation::RESOURCE_BINDINGS, locks.to_text()),
        ];
        let notes = notes
            .into_iter()
            .map(|(k, v)| (k.to_owned(), Value::from(v)))
            .collect();
        let of = self.view().resources();
        let mut draft = objects::logical_cluster(of, notes, json!({"directlyDeletable": false}));
        draft.value["status"]["URL"] = self.shard().cluster_url(cluster::SYSTEM_SHARD).into();
        objects::set_phase(&mut draft.value, phase::READY);
        let now = &site.now;
        conditions::set(
            &mut draft.value,
            condition::WORKSPACE_INITIALIZED,
            &State::True,
            now,
        );
        site.ensure(draft)?;
        Ok(site.writes)
    }
}

/// Groups as the subjects of a binding.
fn group_subjects(groups: &[String]) -> Value {
    let subject = |name: &String| json!({"apiGroup": group::RBAC, "kind": "Group", "name": name});
    groups.iter().map(subject).collect()
}

fn with_generation(mut row: Value, generation: u64) -> Value {
    row["metadata"]["generation"] = generation.into();
    row
}

impl<'a> Site<'a> {
    fn new(tenancy: &'a Tenancy, cluster: &str) -> Site<'a> {
        let now = tenancy.maker().now();
        let cluster = ClusterName::from(cluster);
        Site {
            tenancy,
            cluster,
            now,
            writes: Vec::new(),
            known: BTreeMap::new(),
        }
    }

    fn find(&self, draft: &Draft) -> Option<Object> {
        let view = self.tenancy.view();
        view.get(
            &draft.resource,
            &self.cluster,
            &draft.namespace,
            draft.name(),
        )
    }

    fn know(&mut self, resource: &ResourceId, value: Value) {
        let name = value["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        self.known
            .insert((resource.resource().to_owned(), name), value);
    }

    fn known(&self, resource: &str, name: &str) -> Result<&Value, BootstrapError> {
        let found = self.known.get(&(resource.to_owned(), name.to_owned()));
        found.ok_or_else(|| BootstrapError::Row(format!("no {resource} {name}")))
    }

    /// Makes the object unless it is there.
    fn ensure(&mut self, mut draft: Draft) -> Result<(), BootstrapError> {
        let resource = draft.resource.clone();
        if let Some(found) = self.find(&draft) {
            self.know(&resource, found.value());
            return Ok(());
        }
        self.tenancy.maker().stamp(&mut draft.value, &self.now);
        self.know(&resource, draft.value.clone());
        let write = self.tenancy.maker().create(&self.cluster, draft, &self.now);
        self.writes
            .push(write.map_err(|e| BootstrapError::Row(e.to_string()))?);
        Ok(())
    }

    fn ensure_namespace(&mut self, name: &str, create_only: bool) -> Result<(), BootstrapError> {
        let of = self.tenancy.view().resources();
        let ca = &self.tenancy.shard().ca_pem;
        objects::namespace_set(of, name, create_only, ca)
            .into_iter()
            .try_for_each(|d| self.ensure(d))
    }

    /// Makes an RBAC object, or gives it back what it lacks.
    fn ensure_rbac(&mut self, row: Value) -> Result<(), BootstrapError> {
        let of = self.tenancy.view().resources();
        let resource = match row["kind"].as_str() {
            Some("ClusterRole") => &of.cluster_roles,
            Some("ClusterRoleBinding") => &of.cluster_role_bindings,
            Some("Role") => &of.roles,
            Some("RoleBinding") => &of.role_bindings,
            other => return Err(BootstrapError::Row(format!("unexpected kind {other:?}"))),
        };
        let namespace = row["metadata"]["namespace"].as_str().map(str::to_owned);
        let draft = Draft::new(resource, row);
        let draft = match namespace {
            Some(namespace) => draft.within(&namespace),
            None => draft,
        };
        let Some(found) = self.find(&draft) else {
            return self.ensure(draft);
        };
        let mut value = found.value();
        if restore(&mut value, &draft.value) {
            let write = self.tenancy.maker().update(&found, &value);
            self.writes
                .push(write.map_err(|e| BootstrapError::Row(e.to_string()))?);
        }
        Ok(())
    }

    /// An export with its secret, its identity and its endpoint slice.
    fn ensure_export(&mut self, row: Value) -> Result<(), BootstrapError> {
        let name = row["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let of = self.tenancy.view().resources();
        self.ensure(objects::identity_secret(of, &name, &self.fresh_identity()))?;
        let secret = self.known("secrets", &name)?;
        let key = secret["data"]["key"].as_str().unwrap_or_default();
        let key = hanse_wire::base64::decode(key)
            .map_err(|_| BootstrapError::Row(format!("secret {name} is no base64")))?;
        let mut draft = Draft::new(&of.api_exports, with_generation(row, 2));
        draft.value["status"]["identityHash"] = hash::identity_hash(&key).into();
        conditions::set(
            &mut draft.value,
            condition::IDENTITY_VALID,
            &State::True,
            &self.now,
        );
        self.ensure(draft)?;
        let export = self.known("apiexports", &name)?.clone();
        let owner = json!([{"apiVersion": "apis.kcp.io/v1alpha1", "kind": "APIExport",
            "name": name, "uid": export["metadata"]["uid"]}]);
        let url = self.tenancy.shard().export_url(cluster::ROOT, &name);
        let mut slice = json!({
            "apiVersion": "apis.kcp.io/v1alpha1", "kind": "APIExportEndpointSlice",
            "metadata": {"name": name, "generation": 1, "ownerReferences": owner},
            "spec": {"export": {"name": name, "path": cluster::ROOT}},
            "status": {"endpoints": [{"url": url}]},
        });
        for kind in [condition::API_EXPORT_VALID, condition::PARTITION_VALID] {
            conditions::set(&mut slice, kind, &State::True, &self.now);
        }
        self.ensure(Draft::new(&of.endpoint_slices, slice))
    }

    fn fresh_identity(&self) -> String {
        let mut bytes = [0; IDENTITY_BYTES];
        self.tenancy.maker().seams().rng.fill(&mut bytes);
        crate::exports::identity_text(&bytes)
    }

    /// What an export made in this run offers: the hub does not show it yet.
    fn offer(&self, name: &str) -> Result<Offer, BootstrapError> {
        let export = self.known("apiexports", name)?;
        let listed = export["spec"]["resources"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let schemas = listed.iter().map(|entry| {
            self.known(
                "apiresourceschemas",
                entry["schema"].as_str().unwrap_or_default(),
            )
        });
        let schemas: Vec<&Value> = schemas.collect::<Result<_, _>>()?;
        Offer::from_values(&self.cluster, export, &schemas)
            .map_err(|n| BootstrapError::Row(n.message))
    }

    fn ensure_crds(&mut self, root: &Site<'_>, offer: &Offer) -> Result<(), BootstrapError> {
        for offered in &offer.resources {
            let schema = root.known("apiresourceschemas", &offered.schema)?;
            let crd = bound_crd::from_schema(schema, &root.cluster, &self.now);
            let crd = crd.map_err(|bad| BootstrapError::Row(bad.0))?;
            let of = self.tenancy.view().resources();
            self.ensure(Draft::new(&of.crds, crd))?;
        }
        Ok(())
    }

    /// A binding to an export of `root`, bound, under the name of the export.
    fn ensure_binding(&mut self, offer: &Offer, path: &str) -> Result<(), BootstrapError> {
        let mut draft = objects::api_binding(
            self.tenancy.view().resources(),
            &offer.export,
            path,
            (cluster::ROOT, &offer.export),
            &offer.cluster,
            Vec::new(),
        );
        offer.bind(&mut draft.value, &self.now);
        self.ensure(draft)
    }

    fn ensure_types(&mut self, types: Vec<Value>) -> Result<(), BootstrapError> {
        let identity = self.known("apiexports", group::TENANCY)?["status"]["identityHash"].clone();
        let identity = identity.as_str().unwrap_or_default();
        let resource = ResourceId::new(group::TENANCY, "workspacetypes", identity);
        for row in types {
            let name = row["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let mut draft = Draft::new(&resource, with_generation(row, 1));
            crate::workspace_types::set_urls(
                &mut draft.value,
                self.tenancy.shard(),
                cluster::ROOT,
                &name,
                &self.now,
            );
            self.ensure(draft)?;
        }
        Ok(())
    }

    /// The Shard object; its URLs follow the flags of the start.
    fn ensure_shard(&mut self) -> Result<(), BootstrapError> {
        let export = self.known("apiexports", "shards.core.kcp.io")?;
        let identity = export["status"]["identityHash"]
            .as_str()
            .unwrap_or_default();
        let resource = ResourceId::new(group::CORE, "shards", identity);
        let shard = self.tenancy.shard().clone();
        let urls = [
            ("baseURL", shard.base_url),
            ("externalURL", shard.external_url),
            ("virtualWorkspaceURL", shard.virtual_workspace_url),
        ];
        let spec: Map<String, Value> = urls
            .into_iter()
            .map(|(key, url)| (key.to_owned(), url.into()))
            .collect();
        let draft = Draft::new(
            &resource,
            json!({
                "apiVersion": "core.kcp.io/v1alpha1", "kind": "Shard",
                "metadata": {"name": shard.name, "generation": 1, "labels": {"name": shard.name}},
                "spec": spec,
            }),
        );
        self.ensure_spec(draft)
    }

    /// Makes the object, or gives it the spec that it should have.
    fn ensure_spec(&mut self, draft: Draft) -> Result<(), BootstrapError> {
        let Some(found) = self.find(&draft) else {
            return self.ensure(draft);
        };
        let mut value = found.value();
        if value["spec"] != draft.value["spec"] {
            value["spec"] = draft.value["spec"].clone();
            let write = self.tenancy.maker().update(&found, &value);
            self.writes
                .push(write.map_err(|e| BootstrapError::Row(e.to_string()))?);
        }
        Ok(())
    }
}

/// Adds the rules or subjects that a bootstrap object lacks. True if it lacked any. An object
/// that says `autoupdate: "false"` is left alone.
#[must_use]
pub fn restore(found: &mut Value, row: &Value) -> bool {
    let auto = &found["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"];
    if auto == "false" || row.get("aggregationRule").is_some() {
        return false;
    }
    let missing: Vec<Value> = match row["rules"].as_array() {
        Some(rules) => {
            let owned = PolicyRule::list(found);
            let lacks = |r: &&Value| !uncovered(&owned, &[PolicyRule::from_value(r)]).is_empty();
            rules.iter().filter(lacks).cloned().collect()
        }
        None => {
            let has = found["subjects"].as_array().cloned().unwrap_or_default();
            let subjects = row["subjects"].as_array().cloned().unwrap_or_default();
            subjects.into_iter().filter(|s| !has.contains(s)).collect()
        }
    };
    if missing.is_empty() {
        return false;
    }
    let list = if row["rules"].is_array() {
        "rules"
    } else {
        "subjects"
    };
    match found[list].as_array_mut() {
        Some(present) => present.extend(missing),
        None => found[list] = missing.into(),
    }
    true
}
