//! From an event to the keys that it concerns, and from a start to all keys that are not settled.
//!
//! The events of all tenants pass through [`Controllers::route`], one after the other: it compares
//! names and never walks over what a tenant has. What needs a walk is a key of its own, which the
//! queue deals with in that tenant's turn.

use super::Controllers;
use crate::catalog::bound_resources;
use hanse_apis::kcp::{annotation, cluster, group, label, phase};
use hanse_cache::{Event, ListQuery, Object, ResourceId, Scope};
use hanse_rules::hash;
use std::sync::Arc;
use std::time::Duration;

/// How long deletions are gathered before what waits for them is looked at.
const SOON: Duration = Duration::from_millis(20);

/// Objects that are left for each millisecond that deletions are gathered beyond that.
const LEFT_PER_MILLISECOND: usize = 20;

/// What a key is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A Workspace.
    Workspace,
    /// A LogicalCluster; the name is empty.
    LogicalCluster,
    /// An APIExport.
    Export,
    /// All bindings to an export.
    BindingsOf,
    /// An APIBinding.
    Binding,
    /// A bound CRD; the name is that of the CRD.
    BoundCrd,
    /// All bindings of a logical cluster that wait for a name; the name is empty.
    Unbound,
    /// All bindings of a logical cluster on their way out; the name is empty.
    Leaving,
    /// Exports whose identity is in a secret; an empty name is all of them.
    Secret,
    /// Claim labels on all objects of a resource; the name is `resource.group`.
    Labels,
    /// All endpoint slices of an export.
    SlicesOf,
    /// An APIExportEndpointSlice.
    Slice,
    /// All endpoint slices of a partition.
    Partition,
    /// A WorkspaceType.
    Type,
    /// A ClusterRole.
    Role,
    /// A ClusterRoleBinding.
    RoleBinding,
    /// All ClusterRoleBindings of a ClusterRole.
    BindingsOfRole,
    /// All aggregated ClusterRoles; the name is empty.
    Aggregation,
}

/// One thing to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Logical cluster.
    pub cluster: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: Arc<str>,
}

impl hanse_reconcile::Key for Key {
    fn class(&self) -> Arc<str> {
        self.cluster.clone()
    }
}

impl Controllers {
    /// Queues a key.
    pub(super) fn add(&self, kind: Kind, cluster: &str, name: &str) {
        self.queue.add(Key {
            cluster: cluster.into(),
            kind,
            name: name.into(),
        });
    }

    /// Queues a look at all that a logical cluster holds a little later: many deletions are one
    /// reason to look, and a look costs as much as there is.
    fn add_soon(&self, kind: Kind, cluster: &str) {
        let key = Key {
            cluster: cluster.into(),
            kind,
            name: "".into(),
        };
        let contents = self
            .tenancy
            .view()
            .hub()
            .contents(&Scope::Cluster(cluster.into()));
        let left: usize = contents.iter().map(|(_, count)| count).sum();
        let more = Duration::from_millis((left / LEFT_PER_MILLISECOND) as u64);
        self.queue.add_after(key, SOON + more);
    }

    /// Queues what is not settled. Everything settled is seen by a glance at labels and flags.
    pub(super) fn scan(&self) {
        let of = self.tenancy.view().resources().clone();
        let url = self.tenancy.shard().cluster_url("");
        self.each(&of.logical_clusters, |o| {
            if o.is_deleting() {
                self.ending.lock().insert(o.key().cluster.as_arc().clone());
            }
            let moved = !starts_with(o, &["status", "URL"], &url);
            if o.is_deleting() || moved || o.label(label::PHASE) != Some(phase::READY) {
                self.add(Kind::LogicalCluster, &o.key().cluster, "");
            }
        });
        if let Some(tenancy) = self.tenancy.view().tenancy().cloned() {
            self.each(&tenancy.workspaces, |o| {
                let moved = !starts_with(o, &["spec", "URL"], &url);
                if o.is_deleting() || moved || o.label(label::PHASE) != Some(phase::READY) {
                    self.add(Kind::Workspace, &o.key().cluster, &o.key().name);
                }
            });
            self.each(&tenancy.workspace_types, |o| {
                self.add(Kind::Type, &o.key().cluster, &o.key().name);
            });
        }
        self.each(&of.api_exports, |o| {
            self.add(Kind::Export, &o.key().cluster, &o.key().name)
        });
        self.each(&of.endpoint_slices, |o| {
            self.add(Kind::Slice, &o.key().cluster, &o.key().name)
        });
        self.each(&of.api_bindings, |o| {
            let bound = o.text(&["status", "phase"]).as_deref() == Some(phase::BOUND);
            if o.is_deleting() || !bound {
                self.add(Kind::Binding, &o.key().cluster, &o.key().name);
            }
            self.claimed(o)
                .into_iter()
                .for_each(|r| self.add(Kind::Labels, &o.key().cluster, &r));
        });
        for crd in self
            .tenancy
            .view()
            .list_cluster(&of.crds, cluster::BOUND_CRDS)
        {
            self.add(Kind::BoundCrd, cluster::BOUND_CRDS, &crd.key().name);
        }
        self.each(&of.cluster_roles, |o| {
            if o.raw(&["aggregationRule"]).is_some() {
                self.add(Kind::Aggregation, &o.key().cluster, "");
            }
        });
    }

    /// Shows all objects of a resource on this shard, in steps.
    pub(super) fn each(&self, resource: &ResourceId, mut show: impl FnMut(&Object)) {
        self.any(resource, |object| {
            show(object);
            false
        });
    }

    /// True for a resource of which some object on this shard is so.
    pub(super) fn any(&self, resource: &ResourceId, mut is: impl FnMut(&Object) -> bool) -> bool {
        let mut after = None;
        loop {
            let query = ListQuery {
                after,
                limit: Some(1000),
                ..ListQuery::default()
            };
            let hub = self.tenancy.view().hub();
            let Ok(page) = hub.list(resource, &Scope::Wildcard, &query) else {
                return false;
            };
            if page.objects.iter().any(&mut is) {
                return true;
            }
            after = page
                .objects
                .last()
                .filter(|_| page.more)
                .map(|o| o.key().path());
            if after.is_none() {
                return false;
            }
        }
    }

    /// Queues what an event concerns.
    pub(super) fn route(&self, event: &Event) {
        let object = event.object();
        let key = object.key();
        let cluster = &*key.cluster;
        if event.is_delete() && self.ending.lock().contains(cluster) {
            self.add_soon(Kind::LogicalCluster, cluster);
        }
        let identity = key.resource.identity();
        if event.is_delete() && !matches!(identity, "" | hanse_apis::kcp::CUSTOM_RESOURCES) {
            self.add_soon(Kind::Leaving, cluster);
        }
        match (key.resource.group(), key.resource.resource()) {
            (group::CORE, "logicalclusters") => self.route_logical_cluster(event),
            (group::TENANCY, "workspaces") if !settled(event) => {
                self.add(Kind::Workspace, cluster, &key.name);
            }
            (group::TENANCY, "workspacetypes") => {
                self.add(Kind::Type, cluster, &key.name);
                self.add(Kind::LogicalCluster, cluster, "");
            }
            (group::CORE, "shards") => self.route_shard(),
            (group::APIS, "apiexports") => {
                self.add(Kind::Export, cluster, &key.name);
                self.add(Kind::BindingsOf, cluster, &key.name);
                self.add(Kind::SlicesOf, cluster, &key.name);
                self.add(Kind::LogicalCluster, cluster, "");
            }
            (group::APIS, "apiresourceschemas") if self.has_exports(cluster) => {
                self.add(Kind::Secret, cluster, "");
            }
            (group::APIS, "apibindings") => self.route_binding(event),
            (group::APIS, "apiexportendpointslices") => self.add(Kind::Slice, cluster, &key.name),
            (group::TOPOLOGY, "partitions") => self.add(Kind::Partition, cluster, &key.name),
            (group::APIEXTENSIONS, "customresourcedefinitions") => self.route_crd(cluster),
            ("", "secrets") if self.has_exports(cluster) => {
                self.add(Kind::Secret, cluster, &key.name);
            }
            (group::RBAC, "clusterroles") => {
                self.add(Kind::Role, cluster, &key.name);
                self.add(Kind::BindingsOfRole, cluster, &key.name);
                self.add(Kind::Aggregation, cluster, "");
            }
            (group::RBAC, "clusterrolebindings") => {
                if event.previous().is_some() || !born_admin(object) {
                    self.add(Kind::RoleBinding, cluster, &key.name);
                }
                if event.is_delete() {
                    self.add(Kind::LogicalCluster, cluster, "");
                }
            }
            _ => {}
        }
    }

    fn route_logical_cluster(&self, event: &Event) {
        let object = event.object();
        let cluster = object.key().cluster.as_arc();
        if event.is_delete() {
            self.ending.lock().remove(cluster);
        } else if object.is_deleting() {
            self.ending.lock().insert(cluster.clone());
        }
        if settled(event) {
            return;
        }
        self.add(Kind::LogicalCluster, cluster, "");
        let locks = |o: &Object| {
            o.annotation(annotation::RESOURCE_BINDINGS)
                .map(|text| text.into_owned())
        };
        if event
            .previous()
            .is_some_and(|before| locks(before) != locks(object))
        {
            self.add(Kind::Unbound, cluster, "");
        }
        let owner = |key: &str| object.text(&["spec", "owner", key]);
        if let (Some(parent), Some(name)) = (owner("cluster"), owner("name")) {
            self.add(Kind::Workspace, &parent, &name);
        }
    }

    fn route_binding(&self, event: &Event) {
        let object = event.object();
        let key = object.key();
        let bound = object.text(&["status", "phase"]).as_deref() == Some(phase::BOUND);
        let newborn = event.previous().is_none() && bound && !event.is_delete();
        if !newborn {
            self.add(Kind::Binding, &key.cluster, &key.name);
            self.add(Kind::LogicalCluster, &key.cluster, "");
        }
        self.route_unused(event);
        let exporter = |o: &Object| {
            let cluster = o
                .text(&["status", "apiExportClusterName"])
                .filter(|c| !c.is_empty())?;
            let name = o.text(&["spec", "reference", "export", "name"])?;
            Some((cluster.into_owned(), name.into_owned()))
        };
        let (now, before) = (exporter(object), event.previous().and_then(exporter));
        if now != before || event.is_delete() {
            for (cluster, name) in now.into_iter().chain(before) {
                self.add(Kind::SlicesOf, &cluster, &name);
            }
        }
        let claims = |o: &Object| {
            o.raw(&["status", "appliedPermissionClaims"])
                .map(<[u8]>::to_vec)
        };
        let changed = event.previous().and_then(claims) != claims(object);
        if changed || event.is_delete() {
            self.route_unclaimed(event);
            let both = std::iter::once(object).chain(event.previous());
            for resource in both.flat_map(|o| self.claimed(o)) {
                self.add(Kind::Labels, &key.cluster, &resource);
            }
        }
    }

    /// Bound CRDs that a binding no longer needs may be of no use to anybody now.
    fn route_unused(&self, event: &Event) {
        let uids = |o: &Object| bound_resources(o).into_iter().map(|b| b.uid);
        let now: Vec<String> = match event.is_delete() {
            true => Vec::new(),
            false => uids(event.object()).collect(),
        };
        let before = event.previous().map(uids).into_iter().flatten();
        for uid in before.filter(|uid| !now.contains(uid)) {
            self.add(Kind::BoundCrd, cluster::BOUND_CRDS, &uid);
        }
    }

    /// As [`Controllers::route_unused`], for what was claimed by identity.
    fn route_unclaimed(&self, event: &Event) {
        let claimed = event.previous().map(|o| self.claimed(o));
        let claimed = claimed.unwrap_or_default();
        let by_identity = claimed.iter().filter(|name| !name.ends_with('/'));
        let resources: Vec<&str> = by_identity
            .filter_map(|name| name.split('/').nth(1))
            .collect();
        if resources.is_empty() {
            return;
        }
        let view = self.tenancy.view();
        for crd in view.list_cluster(&view.resources().crds, cluster::BOUND_CRDS) {
            let plural = crd.text(&["spec", "names", "plural"]).unwrap_or_default();
            if resources.contains(&&*plural) {
                self.add(Kind::BoundCrd, cluster::BOUND_CRDS, &crd.key().name);
            }
        }
    }

    /// Resources that a binding's claims are on, as names of [`Kind::Labels`] keys.
    fn claimed(&self, binding: &Object) -> Vec<String> {
        let raw = binding
            .raw(&["status", "appliedPermissionClaims"])
            .unwrap_or(b"[]");
        let claims: Vec<serde_json::Value> = serde_json::from_slice(raw).unwrap_or_default();
        let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_owned();
        claims
            .iter()
            .map(|c| {
                [
                    text(&c["group"]),
                    text(&c["resource"]),
                    text(&c["identityHash"]),
                ]
                .join("/")
            })
            .collect()
    }

    fn has_exports(&self, cluster: &str) -> bool {
        let view = self.tenancy.view();
        let scope = Scope::Cluster(cluster.into());
        view.hub().count(&view.resources().api_exports, &scope) > 0
    }

    /// Queues the exports of a logical cluster whose identity is in a secret of this name; all of
    /// them without a name.
    pub(super) fn exports_of(&self, key: &Key) -> super::Step {
        let view = self.tenancy.view();
        for export in view.list_cluster(&view.resources().api_exports, &key.cluster) {
            let secret = export.text(&["spec", "identity", "secretRef", "name"]);
            if key.name.is_empty() || secret.as_deref() == Some(&*key.name) {
                self.add(Kind::Export, &key.cluster, &export.key().name);
                self.add(Kind::BindingsOf, &key.cluster, &export.key().name);
            }
        }
        super::Step::done()
    }

    /// A CRD that comes or goes changes the locks, and may free a name that a binding waits for.
    fn route_crd(&self, cluster: &str) {
        if cluster.starts_with("system:") {
            return;
        }
        self.add(Kind::LogicalCluster, cluster, "");
        self.add(Kind::Unbound, cluster, "");
    }

    /// Queues the bindings of a logical cluster that wait: for a name, or on their way out for
    /// the last of their instances.
    pub(super) fn waiting(&self, key: &Key, leaving: bool) -> super::Step {
        let view = self.tenancy.view();
        for binding in view.list_cluster(&view.resources().api_bindings, &key.cluster) {
            let bound = binding.text(&["status", "phase"]).as_deref() == Some(phase::BOUND);
            let waits = match leaving {
                true => binding.is_deleting(),
                false => !bound,
            };
            if waits {
                self.add(Kind::Binding, &key.cluster, &binding.key().name);
            }
        }
        super::Step::done()
    }

    /// A shard that comes may take workspaces that wait for one.
    fn route_shard(&self) {
        let Some(tenancy) = self.tenancy.view().tenancy().cloned() else {
            return;
        };
        self.each(&tenancy.workspaces, |o| {
            if o.label(label::PHASE) == Some(phase::SCHEDULING) {
                self.add(Kind::Workspace, &o.key().cluster, &o.key().name);
            }
        });
        let slices = self.tenancy.view().resources().endpoint_slices.clone();
        self.each(&slices, |o| {
            if o.raw(&["spec", "partition"]).is_some() {
                self.add(Kind::Slice, &o.key().cluster, &o.key().name);
            }
        });
    }

    /// Queues every binding to an export.
    pub(super) fn bindings_of(&self, key: &Key) -> super::Step {
        let wanted = hash::export_hash(&key.cluster, &key.name);
        let of = self.tenancy.view().resources().api_bindings.clone();
        self.each(&of, |o| {
            if o.label(label::EXPORT) == Some(&wanted) {
                self.add(Kind::Binding, &o.key().cluster, &o.key().name);
            }
        });
        super::Step::done()
    }

    /// Queues the endpoint slices of a partition.
    pub(super) fn slices_in(&self, key: &Key) -> super::Step {
        let view = self.tenancy.view();
        for slice in view.list_cluster(&view.resources().endpoint_slices, &key.cluster) {
            if slice.text(&["spec", "partition"]).as_deref() == Some(&*key.name) {
                self.add(Kind::Slice, &key.cluster, &slice.key().name);
            }
        }
        super::Step::done()
    }

    /// Queues every endpoint slice of an export.
    pub(super) fn slices_of(&self, key: &Key) -> super::Step {
        let view = self.tenancy.view();
        let path = view.canonical_path(&key.cluster);
        let of = view.resources().endpoint_slices.clone();
        self.each(&of, |o| {
            let text = |field: &str| o.text(&["spec", "export", field]).unwrap_or_default();
            let at = text("path");
            let here = at.is_empty() && *o.key().cluster == *key.cluster;
            if *text("name") == *key.name && (here || *at == *path || *at == *key.cluster) {
                self.add(Kind::Slice, &o.key().cluster, &o.key().name);
            }
        });
        super::Step::done()
    }
}

/// True for what is born whole: created Ready, so that there is nothing to bring right.
fn settled(event: &Event) -> bool {
    let object = event.object();
    event.previous().is_none()
        && !event.is_delete()
        && !object.is_deleting()
        && object.label(label::PHASE) == Some(phase::READY)
}

/// Whether a text of an object begins so: URLs follow the address by which the shard is reached.
fn starts_with(object: &Object, path: &[&str], begin: &str) -> bool {
    object
        .text(path)
        .is_some_and(|text| text.starts_with(begin))
}

/// True for the admin binding of a birth: it has its replication words already.
fn born_admin(object: &Object) -> bool {
    *object.key().name == *hanse_apis::kcp::WORKSPACE_ADMIN
        && object.annotation(annotation::REPLICATE).is_some()
}
