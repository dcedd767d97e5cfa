//! What deciding needs to see of the present: objects by name, paths, exports, types.
//!
//! Start with [`View::resolve`]. Everything is read from the hub at the moment of asking, so an
//! answer is never older than the last acknowledged write, and nothing is kept per workspace.

use crate::versions::ByVersion;
use hanse_apis::kcp::{IDENTITY_NAMESPACE, annotation, cluster, group, phase};
use hanse_cache::{ClusterName, Hub, ListQuery, Object, ObjectKey, ResourceId, Scope};
use hanse_json::scan;
use hanse_rules::path;
use hanse_rules::types::{self, TypeRef, WorkspaceType};
use std::sync::OnceLock;

/// Most objects of one kind in one logical cluster that a decision looks at.
pub const LIST_MAX: usize = 10_000;

/// Parsed workspace types that are kept.
const TYPES_MAX: usize = 256;

/// Storage names of the resources that the server itself reads and writes.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the resource that its name says")]
pub struct Resources {
    pub namespaces: ResourceId,
    pub config_maps: ResourceId,
    pub secrets: ResourceId,
    pub service_accounts: ResourceId,
    pub cluster_roles: ResourceId,
    pub cluster_role_bindings: ResourceId,
    pub roles: ResourceId,
    pub role_bindings: ResourceId,
    pub crds: ResourceId,
    pub logical_clusters: ResourceId,
    pub api_bindings: ResourceId,
    pub api_exports: ResourceId,
    pub api_resource_schemas: ResourceId,
    pub endpoint_slices: ResourceId,
}

impl Default for Resources {
    fn default() -> Resources {
        let core = |resource: &str| ResourceId::new("", resource, "");
        let rbac = |resource: &str| ResourceId::new(group::RBAC, resource, "");
        let custom = |group: &str, resource: &str| {
            ResourceId::new(group, resource, hanse_apis::kcp::CUSTOM_RESOURCES)
        };
        Resources {
            namespaces: core("namespaces"),
            config_maps: core("configmaps"),
            secrets: core("secrets"),
            service_accounts: core("serviceaccounts"),
            cluster_roles: rbac("clusterroles"),
            cluster_role_bindings: rbac("clusterrolebindings"),
            roles: rbac("roles"),
            role_bindings: rbac("rolebindings"),
            crds: ResourceId::new(group::APIEXTENSIONS, "customresourcedefinitions", ""),
            logical_clusters: custom(group::CORE, "logicalclusters"),
            api_bindings: custom(group::APIS, "apibindings"),
            api_exports: custom(group::APIS, "apiexports"),
            api_resource_schemas: custom(group::APIS, "apiresourceschemas"),
            endpoint_slices: custom(group::APIS, "apiexportendpointslices"),
        }
    }
}

/// Resources of the tenancy export; their storage name holds the export's identity.
#[derive(Clone, Debug)]
pub struct TenancyResources {
    /// Workspaces.
    pub workspaces: ResourceId,
    /// Workspace types.
    pub workspace_types: ResourceId,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// To this logical cluster. A single segment is taken as an id without looking.
    Cluster(ClusterName),
    /// To all of the shard.
    Wildcard,
    /// Not a path at all: 400.
    Malformed,
    /// To nothing: 404.
    NotFound,
    /// To a workspace that cannot be used now: 503.
    Unavailable,
    /// To what is mounted there.
    Mount {
        /// Where it is.
        url: String,
    },
}

/// The present, as decisions need it. Cheap to share.
pub struct View {
    hub: Hub,
    resources: Resources,
    tenancy: OnceLock<TenancyResources>,
    types: ByVersion<WorkspaceType>,
}

impl View {
    /// Looks at what the hub shows.
    #[must_use]
    pub fn new(hub: Hub) -> View {
        View {
            hub,
            resources: Resources::default(),
            tenancy: OnceLock::new(),
            types: ByVersion::new(TYPES_MAX),
        }
    }

    /// The hub itself.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Storage names.
    #[must_use]
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    /// Storage names of workspaces and their types; `None` before bootstrap gave the export of
    /// `root` its identity, which never changes afterwards.
    #[must_use]
    pub fn tenancy(&self) -> Option<&TenancyResources> {
        if let Some(known) = self.tenancy.get() {
            return Some(known);
        }
        let export = self.get(
            &self.resources.api_exports,
            cluster::ROOT,
            "",
            group::TENANCY,
        )?;
        let identity = export.text(&["status", "identityHash"])?;
        let id = |resource: &str| ResourceId::new(group::TENANCY, resource, &identity);
        Some(self.tenancy.get_or_init(|| TenancyResources {
            workspaces: id("workspaces"),
            workspace_types: id("workspacetypes"),
        }))
    }

    /// One object.
    #[must_use]
    pub fn get(
        &self,
        resource: &ResourceId,
        cluster: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Object> {
        self.hub.get(&ObjectKey::new(
            resource,
            &ClusterName::from(cluster),
            namespace,
            name,
        ))
    }

    /// All objects of a resource in a scope, in the order of their keys; at most [`LIST_MAX`].
    #[must_use]
    pub fn list(&self, resource: &ResourceId, scope: &Scope) -> Vec<Object> {
        let query = ListQuery {
            limit: Some(LIST_MAX),
            ..ListQuery::default()
        };
        self.hub
            .list(resource, scope, &query)
            .map(|page| page.objects)
            .unwrap_or_default()
    }

    /// All objects of a resource in a logical cluster.
    #[must_use]
    pub fn list_cluster(&self, resource: &ResourceId, cluster: &str) -> Vec<Object> {
        self.list(resource, &Scope::Cluster(cluster.into()))
    }

    /// The LogicalCluster object of a logical cluster.
    #[must_use]
    pub fn logical_cluster(&self, name: &str) -> Option<Object> {
        self.get(
            &self.resources.logical_clusters,
            name,
            "",
            cluster::OBJECT_NAME,
        )
    }

    /// Canonical path of a logical cluster: its annotation, or its id.
    #[must_use]
    pub fn canonical_path(&self, name: &str) -> String {
        let object = self.logical_cluster(name);
        let annotated = object.as_ref().and_then(|o| o.annotation(annotation::PATH));
        annotated.map_or_else(|| name.to_owned(), std::borrow::Cow::into_owned)
    }

    /// Where a path leads, segment by segment through the workspaces.
    #[must_use]
    pub fn resolve(&self, text: &str) -> Resolution {
        if text == cluster::WILDCARD {
            return Resolution::Wildcard;
        }
        if path::is_system(text) && text.len() <= path::PATH_LENGTH_MAX && !text.contains('/') {
            return Resolution::Cluster(text.into());
        }
        if !path::is_valid(text) {
            return Resolution::Malformed;
        }
        let rewritten = path::rewrite_home(text);
        let mut segments = path::segments(&rewritten);
        let mut at = ClusterName::from(segments.next().unwrap_or_default());
        let mut segments = segments.peekable();
        while let Some(name) = segments.next() {
            match self.step(&at, name) {
                Resolution::Cluster(next) => at = next,
                Resolution::Mount { .. } if segments.peek().is_some() => {
                    return Resolution::NotFound;
                }
                end => return end,
            }
        }
        Resolution::Cluster(at)
    }

    /// One step down the tree.
    fn step(&self, at: &ClusterName, name: &str) -> Resolution {
        let Some(tenancy) = self.tenancy() else {
            return Resolution::NotFound;
        };
        let Some(workspace) = self.get(&tenancy.workspaces, at, "", name) else {
            return Resolution::NotFound;
        };
        // Once over the document for all that is asked, behind its metadata.
        let (mut spec, mut status): (&[u8], &[u8]) = (b"", b"");
        for (name, value) in workspace.members() {
            match name {
                b"\"spec\"" => spec = value,
                b"\"status\"" => status = value,
                _ => {}
            }
        }
        match scan::find_str(status, &["phase"]).as_deref() {
            Some(phase::UNAVAILABLE) => return Resolution::Unavailable,
            Some(phase::SCHEDULING) | None => return Resolution::NotFound,
            Some(_) => {}
        }
        if scan::find(spec, &["mount"]).is_some() {
            let url = scan::find_str(spec, &["URL"]).map(std::borrow::Cow::into_owned);
            return url.map_or(Resolution::NotFound, |url| Resolution::Mount { url });
        }
        match scan::find_str(spec, &["cluster"]) {
            Some(id) if !id.is_empty() => Resolution::Cluster((&*id).into()),
            _ => Resolution::NotFound,
        }
    }

    /// The logical cluster at a path, if it has a LogicalCluster object.
    #[must_use]
    pub fn existing_cluster(&self, path: &str) -> Option<ClusterName> {
        match self.resolve(path) {
            Resolution::Cluster(name) if self.logical_cluster(&name).is_some() => Some(name),
            _ => None,
        }
    }

    /// An APIExport by path and name; an empty path is `home`.
    #[must_use]
    pub fn export(&self, path: &str, name: &str, home: &str) -> Option<Object> {
        let at = if path.is_empty() { home } else { path };
        let cluster = self.existing_cluster(at)?;
        self.get(&self.resources.api_exports, &cluster, "", name)
    }

    /// A WorkspaceType by path and name.
    #[must_use]
    pub fn workspace_type(&self, reference: &TypeRef) -> Option<WorkspaceType> {
        let cluster = self.existing_cluster(&reference.path)?;
        let tenancy = self.tenancy()?;
        let object = self.get(&tenancy.workspace_types, &cluster, "", &reference.name)?;
        let version = object.resource_version();
        let read = || WorkspaceType::from_value(&object.value(), &cluster);
        Some((*self.types.get(version, read)).clone())
    }

    /// A type with all that it extends.
    ///
    /// # Errors
    /// The text for the client.
    pub fn resolve_type(&self, of: WorkspaceType) -> Result<Vec<WorkspaceType>, String> {
        types::resolve(of, &mut |reference| self.workspace_type(reference))
    }

    /// The type of a logical cluster, as its annotation names it.
    #[must_use]
    pub fn type_of_cluster(&self, name: &str) -> Option<WorkspaceType> {
        let object = self.logical_cluster(name)?;
        self.workspace_type(&TypeRef::from_annotation(
            &object.annotation(annotation::TYPE)?,
        )?)
    }

    /// The secret that holds the identity of an export.
    #[must_use]
    pub fn identity_secret(&self, export: &Object) -> Option<Object> {
        let reference = |key: &str| export.text(&["spec", "identity", "secretRef", key]);
        let namespace = reference("namespace");
        let namespace = namespace.as_deref().unwrap_or(IDENTITY_NAMESPACE);
        let name = reference("name")?;
        self.get(
            &self.resources.secrets,
            &export.key().cluster,
            namespace,
            &name,
        )
    }
}
