//! `Comparison`: a syncer asks how its hash tree differs from its inbox's (rule 5).
//!
//! A review: created, answered and never stored. Invariant: the answer is of one version, from
//! which a watch loses nothing.

use super::describe::api_type;

api_type! {
    /// What the syncer holds.
    pub struct ComparisonSpec {
        /// The digests of its tree's 256 buckets.
        buckets: Vec<String> [required]
            {"x-kubernetes-list-type": "atomic", "minItems": 256, "maxItems": 256,
             "items": {"type": "string", "maxLength": 64}};
    }
    /// What the hub holds instead.
    pub struct ComparisonStatus {
        /// The version of which this is true.
        version: String;
        /// The root of the hub's tree.
        root: String;
        /// The buckets that differ, with all that the hub has in them.
        buckets: Vec<ComparisonBucket> {"x-kubernetes-list-type": "atomic"};
        /// Whether there are too many to tell: a list is the way then.
        more: bool;
    }
    /// A bucket of the hub's tree.
    pub struct ComparisonBucket {
        /// Which one.
        bucket: i64;
        /// Its leaves.
        leaves: Vec<ComparisonLeaf> {"x-kubernetes-list-type": "atomic"};
    }
    /// A Manifest.
    pub struct ComparisonLeaf {
        /// Its name.
        name: String [required];
        /// Its digest.
        digest: String [required];
    }
}
