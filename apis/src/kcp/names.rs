//! Words of kcp's wire protocol, grouped by what they name.
//!
//! Deliberately elsewhere: condition types and reasons ([`super::conditions`]).

/// API groups.
pub mod group {
    /// Exports, bindings, schemas.
    pub const APIS: &str = "apis.kcp.io";
    /// Logical clusters and shards.
    pub const CORE: &str = "core.kcp.io";
    /// Workspaces and their types.
    pub const TENANCY: &str = "tenancy.kcp.io";
    /// Partitions of shards.
    pub const TOPOLOGY: &str = "topology.kcp.io";
    /// Cached resources.
    pub const CACHE: &str = "cache.kcp.io";
    /// Moving logical clusters between shards.
    pub const MIGRATION: &str = "migration.kcp.io";
    /// Kubernetes' RBAC group.
    pub const RBAC: &str = "rbac.authorization.k8s.io";
    /// Kubernetes' CustomResourceDefinition group.
    pub const APIEXTENSIONS: &str = "apiextensions.k8s.io";
}

/// Logical clusters that exist without a Workspace.
pub mod cluster {
    /// The root of the tree; both a name and a path.
    pub const ROOT: &str = "root";
    /// Bootstrap RBAC that is merged into every logical cluster.
    pub const SYSTEM_ADMIN: &str = "system:admin";
    /// kcp's own CRDs, served everywhere.
    pub const SYSTEM_CRDS: &str = "system:system-crds";
    /// One CRD per bound schema, named by the schema's uid.
    pub const BOUND_CRDS: &str = "system:bound-crds";
    /// Bindings of the shard itself to the exports in `root`.
    pub const SYSTEM_SHARD: &str = "system:shard";
    /// Prefix of names that never belong to a workspace.
    pub const SYSTEM_PREFIX: &str = "system:";
    /// All logical clusters of a shard.
    pub const WILDCARD: &str = "*";
    /// The only name that a LogicalCluster object has.
    pub const OBJECT_NAME: &str = "cluster";
}

/// Annotation keys.
pub mod annotation {
    /// Synthetic: the logical cluster of the object.
    pub const CLUSTER: &str = "kcp.io/cluster";
    /// Canonical path of the logical cluster.
    pub const PATH: &str = "kcp.io/path";
    /// `<type path>:<type name>` of a LogicalCluster.
    pub const TYPE: &str = "internal.tenancy.kcp.io/type";
    /// The logical cluster chosen for a Workspace.
    pub const WORKSPACE_CLUSTER: &str = "internal.tenancy.kcp.io/cluster";
    /// Hash of the shard's name.
    pub const WORKSPACE_SHARD_HASH: &str = "internal.tenancy.kcp.io/shard";
    /// Name of the shard.
    pub const SHARD: &str = "core.kcp.io/shard";
    /// UserInfo of the creator as JSON.
    pub const OWNER: &str = "experimental.tenancy.kcp.io/owner";
    /// Groups without which nobody gets in.
    pub const REQUIRED_GROUPS: &str = "authorization.kcp.io/required-groups";
    /// `"true"` takes a logical cluster offline.
    pub const INACTIVE: &str = "core.kcp.io/inactive";
    /// Older spelling of [`INACTIVE`].
    pub const INACTIVE_LEGACY: &str = "internal.kcp.io/inactive";
    /// How many objects a logical cluster may hold.
    pub const MAX_TOTAL_OBJECTS: &str = "core.kcp.io/max-total-objects";
    /// Lock table for group-resources.
    pub const RESOURCE_BINDINGS: &str = "internal.apis.kcp.io/resource-bindings";
    /// Words for which an object is replicated to the other shards.
    pub const REPLICATE: &str = "internal.kcp.io/replicate";
    /// Marks a bound CRD; its value is empty.
    pub const BOUND_CRD: &str = "apis.kcp.io/bound-crd";
    /// Logical cluster of the schema that a bound CRD was made from.
    pub const SCHEMA_CLUSTER: &str = "apis.kcp.io/schema-cluster";
    /// Name of the schema that a bound CRD was made from.
    pub const SCHEMA_NAME: &str = "apis.kcp.io/schema-name";
    /// `path-segment` when the schema asks for it.
    pub const VALIDATE_NAME: &str = "internal.kcp.io/validate-name";
    /// Never updated after creation by bootstrap.
    pub const CREATE_ONLY: &str = "bootstrap.kcp.io/create-only";
    /// Belongs to a battery of bootstrap.
    pub const BATTERY: &str = "bootstrap.kcp.io/battery";
    /// No default endpoint slice for an export.
    pub const SKIP_ENDPOINT_SLICE: &str = "apiexports.apis.kcp.io/skip-endpointslice";
    /// Keys under this prefix go from an export to its bindings.
    pub const EXTRA_PREFIX: &str = "extra.apis.kcp.io/";
    /// A shard that gets no new workspaces.
    pub const UNSCHEDULABLE: &str = "experimental.core.kcp.io/unschedulable";
    /// Approval of API groups under k8s.io and kubernetes.io.
    pub const API_APPROVED: &str = "api-approved.kubernetes.io";
}

/// Label keys.
pub mod label {
    /// Mirrors `status.phase` of workspaces and logical clusters.
    pub const PHASE: &str = "tenancy.kcp.io/phase";
    /// Hash of the export that a binding points to.
    pub const EXPORT: &str = "internal.apis.kcp.io/export";
    /// Prefix of the labels that mark claimed objects.
    pub const CLAIMED_PREFIX: &str = "claimed.internal.apis.kcp.io/";
    /// Prefix of the labels for remaining initializers.
    pub const INITIALIZER_PREFIX: &str = "initializer.internal.kcp.io/";
    /// Prefix of the labels for remaining terminators.
    pub const TERMINATOR_PREFIX: &str = "terminator.internal.kcp.io/";
    /// Region of a shard, copied to its workspaces.
    pub const REGION: &str = "region";
}

/// Finalizers.
pub mod finalizer {
    /// On a Workspace until its logical cluster is gone.
    pub const LOGICAL_CLUSTER: &str = "core.kcp.io/logicalcluster";
    /// On a LogicalCluster until its content is gone.
    pub const LOGICAL_CLUSTER_DELETION: &str = "core.kcp.io/logicalcluster-deletion";
    /// On a LogicalCluster while terminators remain.
    pub const HAS_TERMINATORS: &str = "kcp.io/has-terminators";
    /// On an APIBinding until its instances are gone.
    pub const API_BINDING: &str = "apis.kcp.io/apibinding-finalizer";
}

/// Groups, users and extra keys of authentication.
pub mod user {
    /// May do everything everywhere.
    pub const MASTERS: &str = "system:masters";
    /// Everybody who proved a name.
    pub const AUTHENTICATED: &str = "system:authenticated";
    /// Everybody who did not.
    pub const UNAUTHENTICATED: &str = "system:unauthenticated";
    /// The name of those without credentials.
    pub const ANONYMOUS: &str = "system:anonymous";
    /// cluster-admin in every logical cluster.
    pub const KCP_ADMIN: &str = "system:kcp:admin";
    /// Creates logical clusters anywhere.
    pub const LOGICAL_CLUSTER_ADMIN: &str = "system:kcp:logical-cluster-admin";
    /// Traffic of a shard through the front proxy.
    pub const EXTERNAL_LOGICAL_CLUSTER_ADMIN: &str = "system:kcp:external-logical-cluster-admin";
    /// Bootstrapping of workspaces.
    pub const WORKSPACE_BOOTSTRAPPER: &str = "system:kcp:tenancy:workspace-bootstrapper";
    /// Group prefix of requests that come through an initializer view.
    pub const INITIALIZER_PREFIX: &str = "system:kcp:initializer:";
    /// Group prefix of requests that come through a terminator view.
    pub const TERMINATOR_PREFIX: &str = "system:kcp:terminator:";
    /// Prefix of the groups that name identities of another logical cluster.
    pub const CLUSTER_PREFIX: &str = "system:cluster:";
    /// Prefix of service account users.
    pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";
    /// Group of all service accounts.
    pub const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
    /// Prefix of service account users seen from other logical clusters.
    pub const GLOBAL_SERVICE_ACCOUNT_PREFIX: &str = "system:kcp:serviceaccount:";
    /// Prefix of users and groups in a maximal permission policy.
    pub const BINDING_PREFIX: &str = "apis.kcp.io:binding:";
    /// Owner of `root`, spelled as kcp spells it there.
    pub const ROOT_OWNER: &str = "system:kcp-bootstrapper";
    /// User of the warrant that views add.
    pub const REST_SERVICE_ACCOUNT: &str = "system:serviceaccount:default:rest";
    /// Extra key: logical clusters to which a user is confined.
    pub const SCOPES: &str = "authentication.kcp.io/scopes";
    /// Extra key: home of a service account.
    pub const CLUSTER_NAME: &str = "authentication.kcp.io/cluster-name";
    /// Extra key: other users on whose behalf a request also runs.
    pub const WARRANT: &str = "authorization.kcp.io/warrant";
    /// Prefix of one scope.
    pub const SCOPE_PREFIX: &str = "cluster:";
}

/// Verbs beyond Kubernetes' own.
pub mod verb {
    /// Enter a logical cluster: on the nonResourceURL `/`.
    pub const ACCESS: &str = "access";
    /// Bind an APIExport.
    pub const BIND: &str = "bind";
    /// Use a WorkspaceType.
    pub const USE: &str = "use";
    /// Act as an initializer of a WorkspaceType.
    pub const INITIALIZE: &str = "initialize";
    /// Act as a terminator of a WorkspaceType.
    pub const TERMINATE: &str = "terminate";
}

/// Phases of Workspaces and LogicalClusters.
pub mod phase {
    /// No logical cluster chosen yet.
    pub const SCHEDULING: &str = "Scheduling";
    /// Initializers remain.
    pub const INITIALIZING: &str = "Initializing";
    /// In use.
    pub const READY: &str = "Ready";
    /// A condition of the workspace is false.
    pub const UNAVAILABLE: &str = "Unavailable";
    /// Taken offline by annotation.
    pub const INACTIVE: &str = "Inactive";
    /// Being deleted, terminators remain.
    pub const TERMINATING: &str = "Terminating";
    /// Being deleted.
    pub const DELETING: &str = "Deleting";
    /// Phase of an APIBinding that is not yet bound.
    pub const BINDING: &str = "Binding";
    /// Phase of an APIBinding whose resources are served.
    pub const BOUND: &str = "Bound";
}

/// The initializer that the server itself serves: default API bindings.
pub const INITIALIZER_API_BINDINGS: &str = "system:apibindings";
/// Header of a deep SubjectAccessReview (masters only).
pub const DEEP_SAR_HEADER: &str = "X-Kcp-Internal-Deep-SubjectAccessReview";
/// Namespace of the identity secrets of exports.
pub const IDENTITY_NAMESPACE: &str = "kcp-system";
/// Key of the identity in its secret.
pub const IDENTITY_SECRET_KEY: &str = "key";
/// Name of the ClusterRoleBinding of a workspace's creator.
pub const WORKSPACE_ADMIN: &str = "workspace-admin";
/// Default issuer of service account tokens.
pub const DEFAULT_ISSUER: &str = "https://kcp.default.svc";
/// Value of the claim label that every binding to an export carries for that export.
pub const REFLEXIVE_CLAIM_VALUE: &str = "LstvmbbzVDDOn90ZbhzSQO5U3DMCf88h1pZ";
/// Storage identity of custom resources that no export owns.
pub const CUSTOM_RESOURCES: &str = "customresources";
/// What is said about a workspace that somebody may not see or have.
pub const ACCESS_NOT_PERMITTED: &str = "workspace access not permitted";
