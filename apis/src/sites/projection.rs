//! `Projection`: one placed object of a workspace, where it went and what became of it there.
//!
//! Invariant: small whatever the number of sites: counts for all, detail for the worst twenty.

use serde_json::Value;

use super::describe::api_type;
use super::{ApplyError, Condition, Source};

api_type! {
    /// Where an object goes; written by the hub alone.
    pub struct ProjectionSpec {
        /// The object.
        object: Source [required];
        /// The Placement that decided.
        placement: String;
        /// The logical cluster of the Placement, when it is one of a workspace above.
        placement_cluster: String;
        /// The sites, with the replicas of each when they are divided.
        sites: Vec<Assignment>
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["site"]};
    }
    /// One site of a Projection.
    pub struct Assignment {
        /// Name of the Site.
        site: String [required];
        /// The site's inbox.
        cluster: String;
        /// The replicas that the site gets, when they are divided.
        replicas: Option<i64>;
    }
    /// What became of an object.
    pub struct ProjectionStatus {
        /// Sites where the object stands as wished and is healthy, of all: `2/3`.
        ready: String;
        /// How many sites are Lost, so that their part is unknown.
        unknown: i64;
        /// Since when the first of them is unknown.
        unknown_since: String {"format": "date-time"};
        /// How many sites have applied the current intent.
        applied: i64;
        /// How many sites cannot apply it.
        failed: i64;
        /// The worst twenty sites, worst first.
        sites: Vec<SiteDetail>
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["site"]};
        /// Applied, Healthy, Certain; Rendered and Mapped where expressions failed.
        conditions: Vec<Condition>
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]};
    }
    /// One site in detail.
    pub struct SiteDetail {
        /// Name of the Site.
        site: String [required];
        /// Applied, Pending, Failed, Conflict, Incompatible, Removing, Left, Waiting.
        state: String;
        /// Healthy, Progressing, Degraded or Unknown.
        health: String;
        /// Live or Lost as written; Late is derived when shown.
        certainty: String;
        /// Why the site cannot apply it, and when it is tried next.
        error: Option<ApplyError>;
        /// Generation of the source that stands at the site.
        applied_generation: i64;
        /// When the status below was last seen to change.
        observed: String {"format": "date-time"};
        /// The status as the site reports it, when it is small.
        status: Value;
    }
}
