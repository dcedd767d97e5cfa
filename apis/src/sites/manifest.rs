//! `Manifest`: one object in one site's inbox; the only kind that the way down knows.
//!
//! Invariant: one object in one Manifest, whatever its kind; the hub writes `spec`, the syncer
//! `status`. A Manifest in deletion is the tombstone of its object.

use serde_json::Value;

use super::LabelSelector;
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
        /// When it is applied among the objects of its namespace: lower numbers first, at
        /// deletion last; by its kind when absent.
        order: Option<i64>;
        /// Objects born beside it below that come up in its status.
        upsync: Vec<Upsync> {"x-kubernetes-list-type": "atomic", "maxItems": 16};
        /// How its Pods reach the workspace's API, when they do.
        access: Access;
        /// W3C trace context of the change that led here.
        traceparent: String {"maxLength": 128};
    }
    /// Objects of one kind that come up.
    pub struct Upsync {
        /// API group of the kind below.
        group: String {"maxLength": 253};
        /// Its version.
        version: String [required] {"maxLength": 63};
        /// Its plural name.
        resource: String [required] {"maxLength": 63};
        /// Dotted paths in the object below of their names.
        references: Vec<String> {"x-kubernetes-list-type": "atomic", "maxItems": 16};
        /// Names that are known above.
        names: Vec<String> {"x-kubernetes-list-type": "atomic", "maxItems": 64};
        /// Their labels; none when it is empty.
        selector: LabelSelector;
    }
    /// How Pods reach the workspace's API.
    pub struct Access {
        /// The address, with the workspace.
        server: String {"maxLength": 1024};
        /// The authority of the address, in PEM.
        authority: String {"maxLength": 65536};
        /// Who the Pods are there: ServiceAccounts in the source's namespace. Tokens are made for
        /// these and no others.
        accounts: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 16};
        /// The audience of their tokens; the server's own when empty.
        audience: String {"maxLength": 253};
        /// Life of their tokens in seconds.
        seconds: i64;
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
        /// The namespace's own locator hash; empty when the namespace is the site's own.
        namespace_locator: String;
        /// Whether the namespace below holds all namespaces of the workspace.
        all_namespaces: bool;
        /// Hash of the workspace, by which its namespaces below know each other.
        workspace: String;
        /// API group below, when the kind is renamed.
        group: String;
        /// Version below, when the kind is renamed.
        version: String;
        /// Plural name below, when the kind is renamed.
        resource: String;
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
        /// Objects born beside it that come up, at most 50 and 256 KiB.
        related: Vec<RelatedObject> {"x-kubernetes-list-type": "atomic", "maxItems": 50};
        /// The latest warnings about it below, newest first.
        events: Vec<BelowEvent> {"x-kubernetes-list-type": "atomic", "maxItems": 8};
        /// Digest of this report, by which both sides know that it arrived.
        digest: String {"maxLength": 64};
        /// When any of this last changed, by the site's clock.
        observed: String {"format": "date-time"};
    }
    /// An object born below.
    pub struct RelatedObject {
        /// API group of its kind.
        group: String;
        /// Plural name of its kind.
        resource: String [required];
        /// Its name below, which it keeps above.
        name: String [required];
        /// What it says, without metadata but labels and annotations.
        object: Value {"x-kubernetes-preserve-unknown-fields": true};
    }
    /// A warning that was given below.
    pub struct BelowEvent {
        /// Kind of what it is about.
        kind: String;
        /// Name of what it is about.
        name: String;
        /// The cause as one CamelCase word.
        reason: String [required];
        /// The cause for people.
        message: String {"maxLength": 1024};
        /// When it was first given.
        since: String {"format": "date-time"};
    }
    /// Why an object could not be applied.
    pub struct ApplyError {
        /// The cause as one CamelCase word: Conflict, Incompatible, Rejected, Forbidden, NotOurs,
        /// Fight, Unreachable, TooLarge, Parked, NotAccepted, NoToken.
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

impl Access {
    /// Whether Pods reach the workspace at all.
    #[must_use]
    pub fn is_given(&self) -> bool {
        !self.accounts.is_empty()
    }
}
