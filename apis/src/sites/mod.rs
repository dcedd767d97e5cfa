//! `sites.hanse.dev/v1alpha1`: what travels between a workspace and a physical cluster.
//!
//! Start at [`kinds::KINDS`], the table of all kinds; each row names the Rust type from which the
//! CRD and the APIResourceSchema under `apis/generated/` are made (a test keeps them fresh).
//! Invariant: an object stores times, never ages; whatever an age is shown in is derived when it
//! is shown, so equal resourceVersions mean equal bytes. Metadata is deliberately not modelled:
//! the rooms above work on the tree of one write and read `spec` and `status` through
//! [`read`] and [`write`].

mod comparison;
mod describe;
pub mod kinds;
mod manifest;
mod placement;
mod plan;
mod projection;
pub mod quantity;
mod rule;
mod site;

pub use comparison::{ComparisonBucket, ComparisonLeaf, ComparisonSpec, ComparisonStatus};
pub use describe::{Condition, Field, Json, LabelSelector, Requirement, set_condition};
pub use manifest::{
    Access, ApplyError, BelowEvent, ManifestSpec, ManifestStatus, RelatedObject, Source, Target,
    Upsync,
};
pub use placement::{
    ComputedField, Division, FactSelector, Failover, ObjectSelector, Override, PatchStep,
    PlacementSpec, PlacementStatus, Rebalance, Rollout, SiteDecision, SiteSelector, SiteWeight,
    Spread, SpreadConstraint, Toleration,
};
pub use plan::{PlanSpec, PlanStatus, PlannedObject, PlannedPlacement, PlannedSite};
pub use projection::{Assignment, ProjectionSpec, ProjectionStatus, SiteDetail};
pub use rule::{
    ApiAccess, Combine, ProjectionRuleSpec, ProjectionRuleStatus, Related, RuleNames, RuleTarget,
    Transform,
};
pub use site::{
    Endpoint, Inventory, MassChange, SiteFacts, SiteSpec, SiteStatus, Sovereignty, Taint, Times,
};

use serde::de::DeserializeOwned;
use serde_json::Value;

/// The API group.
pub const GROUP: &str = "sites.hanse.dev";
/// The one version of the group.
pub const VERSION: &str = "v1alpha1";
/// Group and version as they stand in `apiVersion`.
pub const API_VERSION: &str = "sites.hanse.dev/v1alpha1";
/// Name of the export in `root` that carries the group.
pub const EXPORT: &str = "sites.hanse.dev";
/// Name of the workspace type of an inbox (it lives in `root`).
pub const INBOX_TYPE: &str = "site";
/// What the name of every inbox begins with; 16 characters follow.
pub const INBOX_PREFIX: &str = "site-";

/// Names that stand in objects: labels, annotations, finalizers, users.
pub mod names {
    /// Finalizer on a tenant's object: something of it may exist at a site (rule 1).
    pub const SOURCE_FINALIZER: &str = "sites.hanse.dev/placed";
    /// Finalizer on a Manifest: the syncer has not yet confirmed that the object is gone below.
    pub const MANIFEST_FINALIZER: &str = "sites.hanse.dev/syncer";
    /// Finalizer on a Site: its inbox still exists.
    pub const SITE_FINALIZER: &str = "sites.hanse.dev/inbox";
    /// Annotation on a tenant's object: one line, at most [`super::STATUS_LINE_BYTES`].
    pub const STATUS_ANNOTATION: &str = "sites.hanse.dev/status";
    /// Annotation on a tenant's namespaced or cluster-scoped object that takes it out of placement.
    pub const IGNORE_LABEL: &str = "sites.hanse.dev/ignore";
    /// Label of everything a syncer made below; the value is the inbox, so that two hubs or two
    /// syncers in one cluster never take each other's objects.
    pub const SITE_LABEL: &str = "sites.hanse.dev/site";
    /// Label below: the locator's hash, which is also in the name (rule 7).
    pub const LOCATOR_LABEL: &str = "sites.hanse.dev/locator";
    /// Label on namespaces below: the hash of the workspace.
    pub const WORKSPACE_LABEL: &str = "sites.hanse.dev/workspace";
    /// Label on namespaces below: the tenant's name of the namespace.
    pub const NAMESPACE_LABEL: &str = "sites.hanse.dev/namespace";
    /// Annotation below: the locator in clear, for people and for the repair loop (rule 7).
    pub const LOCATOR_ANNOTATION: &str = "sites.hanse.dev/locator";
    /// Annotation on a tenant's object whose Pods shall reach the workspace's API: `true`, or the
    /// audience of their tokens.
    pub const API_ACCESS_ANNOTATION: &str = "sites.hanse.dev/api-access";
    /// Annotation on an object that was born at a site and came up: the Site, and the Projection
    /// that it belongs to, as `SITE/PROJECTION`.
    pub const BORN_ANNOTATION: &str = "sites.hanse.dev/born-at";
    /// Label on Manifests and Projections: the hash of the placed object's identity.
    pub const OBJECT_LABEL: &str = "sites.hanse.dev/object";
    /// Label on Manifests: the logical cluster of the source.
    pub const SOURCE_CLUSTER_LABEL: &str = "sites.hanse.dev/source-cluster";
    /// Annotation on a Placement: who wrote its spec last, as JSON user info; set by the server.
    pub const AUTHOR_ANNOTATION: &str = "sites.hanse.dev/author";
    /// Annotation on a CertificateSigningRequest or a Lease: uid of the physical cluster.
    pub const CLUSTER_UID_ANNOTATION: &str = "sites.hanse.dev/cluster-uid";
    /// Annotation on a Lease: the Kubernetes version below.
    pub const KUBERNETES_ANNOTATION: &str = "sites.hanse.dev/kubernetes-version";
    /// Annotation on a Lease: the syncer's version.
    pub const SYNCER_ANNOTATION: &str = "sites.hanse.dev/syncer-version";
    /// ConfigMap in an inbox, by the syncer: what the cluster has and serves, as JSON under
    /// [`INVENTORY_KEY`]. Apart from the Lease, which is written every few seconds.
    pub const INVENTORY: &str = "inventory";
    /// See [`INVENTORY`].
    pub const INVENTORY_KEY: &str = "inventory";
    /// Annotation on a Lease, by the hub: what the operator says of mass changes, as JSON.
    pub const MASS_CHANGE_ANNOTATION: &str = "sites.hanse.dev/mass-change";
    /// Annotation on a Lease, by the syncer: the root of its hash tree.
    pub const TREE_ANNOTATION: &str = "sites.hanse.dev/tree";
    /// Annotation on a Lease, by the syncer: what waits for the operator, empty when nothing does.
    pub const PARKED_ANNOTATION: &str = "sites.hanse.dev/parked";
    /// Annotation on a Lease, by the syncer: since when.
    pub const PARKED_SINCE_ANNOTATION: &str = "sites.hanse.dev/parked-since";
    /// Annotation on a join Secret and on an inbox's LogicalCluster: the Site's name.
    pub const SITE_ANNOTATION: &str = "sites.hanse.dev/site";
    /// Annotation on an inbox's LogicalCluster: logical cluster of the Site.
    pub const SITE_CLUSTER_ANNOTATION: &str = "sites.hanse.dev/site-cluster";
    /// `type` of a Secret that asks for, and then holds, one bootstrap kubeconfig.
    pub const JOIN_SECRET_TYPE: &str = "sites.hanse.dev/join";
    /// Key of a join Secret's data that holds the bootstrap kubeconfig.
    pub const JOIN_SECRET_KEY: &str = "kubeconfig";
    /// `signerName` of the certificate requests of syncers.
    pub const SIGNER: &str = "sites.hanse.dev/syncer";
    /// Name of the Lease that a syncer renews in its inbox (namespace [`LEASE_NAMESPACE`]).
    pub const LEASE: &str = "syncer";
    /// Namespace of the Lease, of bootstrap accounts and of the key of names in an inbox.
    pub const LEASE_NAMESPACE: &str = "default";
    /// Secret in an inbox with the key of the name mapping; the syncer cannot read it.
    pub const NAME_KEY_SECRET: &str = "names";
    /// What the user name of a syncer begins with; its inbox follows.
    pub const SYNCER_USER: &str = "system:hanse:site:";
    /// What the group of a syncer begins with; its inbox follows.
    pub const SYNCER_GROUP: &str = "system:hanse:sites:";
    /// Field manager of a syncer below.
    pub const FIELD_MANAGER: &str = "hanse-syncer";
    /// Field manager of what a namespace below begins with.
    pub const DEFAULTS_MANAGER: &str = "hanse-syncer-defaults";
}

/// Plural name of the review by which syncers compare.
pub const COMPARISONS: &str = "comparisons";
/// Plural name of the review that rehearses.
pub const PLANS: &str = "plans";

/// Whether a resource is one of the group's reviews: created, answered and never stored.
#[must_use]
pub fn is_review(group: &str, plural: &str) -> bool {
    group == GROUP && [COMPARISONS, PLANS].contains(&plural)
}

/// Whether objects of a resource mint tokens for the ServiceAccounts that they name
/// (`manifests/token`).
#[must_use]
pub fn mints(group: &str, plural: &str) -> bool {
    group == GROUP && plural == "manifests"
}

/// Longest `sites.hanse.dev/status` line in bytes (rule 11).
pub const STATUS_LINE_BYTES: usize = 256;
/// Most sites that a Projection lists in detail; the full list is the Manifests.
pub const PROJECTION_SITES_MAX: usize = 20;

/// Reads `spec`, `status` or any other member of an object as a type of this group. A missing
/// member is the type's default: every field is optional in Rust, the schema says what is not.
///
/// # Errors
/// When the member does not have the shape that the schema asks for.
pub fn read<T: DeserializeOwned + Default>(
    object: &Value,
    member: &str,
) -> Result<T, serde_json::Error> {
    match object.get(member) {
        None | Some(Value::Null) => Ok(T::default()),
        Some(value) => T::deserialize(value),
    }
}

/// Puts a typed `spec` or `status` into an object; an empty one removes the member.
pub fn write<T: Field + serde::Serialize>(object: &mut Value, member: &str, part: &T) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    match serde_json::to_value(part) {
        Ok(value) if !part.is_unset() => {
            map.insert(member.to_owned(), value);
        }
        _ => {
            map.remove(member);
        }
    }
}
