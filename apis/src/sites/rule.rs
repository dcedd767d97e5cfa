//! `ProjectionRule`: how a kind travels, in the workspace whose objects it concerns or above it.
//!
//! Only what acts today is here: excluded names, the replicas' place, forced fields, adoption.

use super::describe::api_type;

api_type! {
    /// How objects of one kind travel.
    pub struct ProjectionRuleSpec {
        /// API group of the kind; empty is the core group.
        group: String {"maxLength": 253};
        /// Plural name of the kind.
        resource: String [required] {"minLength": 1, "maxLength": 63};
        /// Names that are never placed.
        exclude_names: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 256};
        /// Where the kind keeps its replicas, as a dotted path (spec.replicas).
        replicas_path: String {"maxLength": 256};
        /// Fields that are taken from other managers below, as JSON paths.
        force: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 64};
        /// Whether objects that exist below and are not ours are taken over.
        adopt: bool;
    }
}
