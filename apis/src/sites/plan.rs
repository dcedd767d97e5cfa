//! `Plan`: a rehearsal. What would change if objects were written, or Sites went?
//!
//! A review: created, answered and never stored. Invariant: the answer is of one version, and made
//! by the functions by which the controllers decide and render.

use serde_json::Value;

use super::describe::api_type;
use super::{SiteDecision, Source};

api_type! {
    /// What is supposed.
    pub struct PlanSpec {
        /// Objects of the workspace as they would be, whole: what is placed, Placements, Sites,
        /// ProjectionRules.
        objects: Vec<Value> {"x-kubernetes-list-type": "atomic", "maxItems": 64};
        /// Names of Sites that would be gone.
        without: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 64};
    }
    /// What would change.
    pub struct PlanStatus {
        /// The version of which this is true.
        version: String;
        /// Placements that would decide otherwise.
        placements: Vec<PlannedPlacement> {"x-kubernetes-list-type": "atomic"};
        /// Objects that would go elsewhere, or be otherwise.
        objects: Vec<PlannedObject> {"x-kubernetes-list-type": "atomic"};
        /// How many objects were looked at and would stay as they are.
        unchanged: i64;
        /// How many more would change that are not listed, because there are too many or because
        /// whoever asks may not see them.
        hidden: i64;
    }
    /// A Placement that would decide otherwise.
    pub struct PlannedPlacement {
        /// Its logical cluster.
        cluster: String [required];
        /// Its name.
        name: String [required];
        /// The sites of which it would say something else than now, with what it would say.
        sites: Vec<SiteDecision> {"x-kubernetes-list-type": "atomic"};
        /// Those of them that are chosen now.
        chosen: Vec<String> {"x-kubernetes-list-type": "set"};
        /// Why it would place nothing, if it would.
        unmet: String;
    }
    /// An object that would go elsewhere, or be otherwise.
    pub struct PlannedObject {
        /// Which it is.
        object: Source [required];
        /// The Placement that would decide.
        placement: String;
        /// What would happen at each site.
        sites: Vec<PlannedSite> {"x-kubernetes-list-type": "atomic"};
    }
    /// What would happen at a site.
    pub struct PlannedSite {
        /// Name of the Site.
        site: String [required];
        /// Create, Update, Keep; Delete, DeleteLater (once all others are healthy), Leave; Refuse.
        action: String [required];
        /// The replicas that it would get, when they are divided.
        replicas: Option<i64>;
        /// Why the hub would send nothing, as one CamelCase word.
        reason: String;
        /// Why the hub would send nothing, for people.
        message: String;
        /// The object as the site would get it, where it is new or changes; left out when there
        /// are too many.
        object: Value;
    }
}
