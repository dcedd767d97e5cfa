//! Condition types and reasons of kcp's kinds.

/// Summary of the others.
pub const READY: &str = "Ready";
/// Workspace: a logical cluster is chosen.
pub const WORKSPACE_SCHEDULED: &str = "WorkspaceScheduled";
/// Workspace, LogicalCluster: no initializers remain.
pub const WORKSPACE_INITIALIZED: &str = "WorkspaceInitialized";
/// Workspace, LogicalCluster: nothing is left while deleting.
pub const WORKSPACE_CONTENT_DELETED: &str = "WorkspaceContentDeleted";
/// LogicalCluster: default bindings are there.
pub const API_BINDINGS_INITIALIZED: &str = "APIBindingsInitialized";
/// LogicalCluster: maintained default bindings are as declared.
pub const API_BINDINGS_RECONCILED: &str = "APIBindingsReconciled";
/// APIExport: the identity secret is readable and unchanged.
pub const IDENTITY_VALID: &str = "IdentityValid";
/// APIBinding, endpoint slice: the export can be used.
pub const API_EXPORT_VALID: &str = "APIExportValid";
/// Endpoint slice: the partition can be used.
pub const PARTITION_VALID: &str = "PartitionValid";
/// APIBinding: bound for the first time.
pub const INITIAL_BINDING_COMPLETED: &str = "InitialBindingCompleted";
/// APIBinding: what is bound is what the export says now.
pub const BINDING_UP_TO_DATE: &str = "BindingUpToDate";
/// APIBinding: accepted claims make sense.
pub const PERMISSION_CLAIMS_VALID: &str = "PermissionClaimsValid";
/// APIBinding: claimed objects carry their labels.
pub const PERMISSION_CLAIMS_APPLIED: &str = "PermissionClaimsApplied";
/// APIBinding: instances are deleted.
pub const BINDING_RESOURCE_DELETE_SUCCESS: &str = "BindingResourceDeleteSuccess";
/// WorkspaceType: URLs of its views are listed.
pub const VIRTUAL_WORKSPACE_URLS_READY: &str = "VirtualWorkspaceURLsReady";
