//! `Manifest`: one object in one site's inbox; the only kind that the way down knows.
//!
//! Invariant: one object in one Manifest, whatever its kind; the hub writes `spec`, the syncer
//! `status`. A Manifest in deletion is the tombstone of its object.

use serde_json::Value;

use super::describe::api_type;

api_type! {
    /// The object as the site shall have it.
    pub struct ManifestSpec {
        /// Where it comes from.
        source: Source [required];
        /// What it is called below.
        target: Target [required];
        /// The object's body, rendered: equal intents are equal wherever they go, and kept once.
        /// Name, namespace and marks are the target's. Atomic for server-side apply.
        object: Value [required]
            {"x-kubernetes-map-type": "atomic", "x-kubernetes-preserve-unknown-fields": true};
        /// Hash of the object's bytes: equal hashes mean that nothing is to be done.
        hash: String [required];
        /// Fields that are taken from other managers below, as JSON paths.
        force: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 64};
        /// Whether an object that exists below and is not ours is taken over.
        adopt: bool;
        /// W3C trace context of the change that led here.
        traceparent: String {"maxLength": 128};
    }
    /// Identity of a tenant's object.
    pub struct Source {
        /// Its logical cluster.
        cluster: String [required];
        /// Its API group; empty is the core group.
        group: String;
        /// Its version.
        version: String [required];
        /// Plural name of its kind.
        resource: String [required];
        /// Its kind.
        kind: String [required];
        /// Its namespace; empty for a cluster-scoped one.
        namespace: String;
        /// Its name.
        name: String [required];
        /// Its uid.
        uid: String;
        /// Its generation when it was rendered.
        generation: i64;
        /// The identity hash of its API, when it is bound.
        identity: String;
    }
    /// What an object is called below.
    pub struct Target {
        /// Its namespace; empty for a cluster-scoped one.
        namespace: String;
        /// Its name.
        name: String [required];
        /// Hash of the locator, the value of the label below (rule 7).
        locator: String [required];
        /// The namespace's own locator hash.
        namespace_locator: String;
    }
    /// What became of the object at the site.
    pub struct ManifestStatus {
        /// Hash of the intent that stands at the site.
        applied_hash: String;
        /// Generation of the source that stands at the site.
        applied_generation: i64;
        /// Applied, Pending, Failed, Conflict, Incompatible, Removing.
        state: String;
        /// Why it is not applied, and when it is tried next.
        error: Option<ApplyError>;
        /// Generation of the object below.
        generation: i64;
        /// Replicas that were asked for below, when the kind counts them.
        replicas: Option<i64>;
        /// The object's status as it stands below.
        status: Value;
        /// Digest of this report, by which both sides know that it arrived.
        digest: String {"maxLength": 64};
        /// When any of this last changed, by the site's clock.
        observed: String {"format": "date-time"};
    }
    /// Why an object could not be applied.
    pub struct ApplyError {
        /// The cause as one CamelCase word: Conflict, Incompatible, Rejected, Forbidden, NotOurs,
        /// Fight, Unreachable, TooLarge, Parked.
        reason: String [required];
        /// The cause for people, with path and manager where there are some.
        message: String {"maxLength": 4096};
        /// The fields concerned, as JSON paths.
        fields: Vec<String> {"x-kubernetes-list-type": "atomic", "maxItems": 64};
        /// Who holds them, for a conflict.
        manager: String;
        /// Since when.
        since: String {"format": "date-time"};
        /// When it is tried next; empty when only a change can help.
        next_try: String {"format": "date-time"};
    }
}
