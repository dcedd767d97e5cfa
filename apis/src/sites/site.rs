//! `Site`: a physical cluster with one syncer in it, kept in its operator's workspace.
//!
//! Invariant: `status` is the hub's alone. What the syncer reports travels on the Lease in its
//! inbox, because its credentials reach nothing else.

use std::collections::BTreeMap;

use super::Condition;
use super::describe::api_type;

api_type! {
    /// What the operator asks of a physical cluster.
    pub struct SiteSpec {
        /// While true no new work is placed here; what is here stays.
        unschedulable: bool;
        /// What placements may rely on; only whoever has the verb `attest` on the Site writes it.
        facts: SiteFacts;
        /// What keeps placements away that do not tolerate it.
        taints: Vec<Taint>
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key", "effect"],
             "maxItems": 64};
        /// How long silence is normal.
        times: Times;
        /// Life of the syncer's client certificate in seconds (30 days); it is renewed after a day,
        /// or two thirds of its life, so that a site may be cut off for weeks.
        certificate_seconds: i64 {"minimum": 10, "maximum": 31536000};
        /// Whether the end of a Lost site's objects may be promised rather than seen: Tombstone
        /// frees the tenant's object once the deletion is durable in the inbox, Wait keeps it.
        lost_deletion: String {"enum": ["Tombstone", "Wait"]};
        /// Kinds outside of namespaces that tenants may send here, as PLURAL.GROUP, or PLURAL for
        /// the core group: such an object is everybody's in the cluster. None when it is empty.
        cluster_scoped: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 256};
        /// When the end of many objects at once is parked until the operator confirms it.
        mass_change: MassChange;
    }
    /// What the site's authority says of it.
    pub struct SiteFacts {
        /// Who provides the infrastructure.
        provider: String {"maxLength": 63};
        /// Whose law holds, as an ISO 3166 country code or a name of the platform's own.
        jurisdiction: String {"maxLength": 63};
        /// Who operates the cluster.
        operator: String {"maxLength": 63};
        /// Where it is.
        region: String {"maxLength": 63};
        /// Its zones.
        zones: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 64,
            "items": {"type": "string", "maxLength": 63}};
        /// How sovereign it is.
        sovereignty: Sovereignty {"x-kubernetes-validations": [{
            "rule": "!has(self.level) || self.level == 0 || has(self.evidence)",
            "message": "a level needs evidence"}]};
    }
    /// A level of sovereignty, and what it rests on.
    pub struct Sovereignty {
        /// The level, from 0 (nothing is claimed).
        level: i64 {"minimum": 0, "maximum": 10};
        /// Where the evidence is found: an audit report, a certificate.
        evidence: String {"maxLength": 1024};
        /// When the evidence ends; the level counts as 0 from then on.
        expires: String {"format": "date-time"};
    }
    /// Keeps placements away, as a Node's taint keeps Pods away.
    pub struct Taint {
        /// Its key.
        key: String [required] {"minLength": 1, "maxLength": 317};
        /// Its value.
        value: String {"maxLength": 63};
        /// NoSchedule: nothing new comes. NoExecute: what is here leaves, too.
        effect: String [required] {"enum": ["NoSchedule", "NoExecute"]};
    }
    /// What is a mass change; a missing number takes the default named with it.
    pub struct MassChange {
        /// More than this share of a site's objects, in percent (50); 100 parks nothing.
        share_percent: i64 {"minimum": 1, "maximum": 100};
        /// And no fewer than so many (100).
        at_least: i64 {"minimum": 1, "maximum": 1000000};
        /// Within so many seconds (600).
        window_seconds: i64 {"minimum": 1, "maximum": 86400};
        /// The status.parkedSince of the mass change that may go on.
        confirmed: String {"maxLength": 64};
    }
    /// Intervals in seconds; a missing one takes the default named with it.
    pub struct Times {
        /// The syncer renews its lease this often (10).
        lease_seconds: i64 {"minimum": 1, "maximum": 3600};
        /// Without a renewal for this long the site is Late (30).
        late_seconds: i64 {"minimum": 1, "maximum": 86400};
        /// Without a renewal for this long the site is Lost (300).
        lost_seconds: i64 {"minimum": 1, "maximum": 604800};
    }
    /// What the hub knows of a physical cluster.
    pub struct SiteStatus {
        /// The logical cluster that is the site's inbox.
        cluster: String;
        /// Where the syncer fetches its work, one for each shard that has some.
        endpoints: Vec<Endpoint> {"x-kubernetes-list-type": "atomic"};
        /// Uid of the physical cluster's namespace kube-system; another cluster cannot join.
        cluster_uid: String;
        /// The Kubernetes version below.
        kubernetes_version: String;
        /// The syncer's version.
        syncer_version: String;
        /// Live or Lost as written, empty before the first contact; Late is derived when shown.
        contact: String {"enum": ["", "Live", "Lost"]};
        /// Since when the contact is as it is.
        contact_since: String {"format": "date-time"};
        /// Last renewal that the hub saw when the contact last changed.
        last_contact: String {"format": "date-time"};
        /// How many objects are sent to the site.
        objects: i64;
        /// What the syncer found in the cluster.
        inventory: Inventory;
        /// The root of the hash tree in which hub and site last agreed: both held the same.
        converged_root: String {"maxLength": 64};
        /// When they agreed in it first.
        converged_time: String {"format": "date-time"};
        /// How many of what are to go and wait for the operator; empty when nothing does.
        parked: String {"maxLength": 4096};
        /// Since when they wait; written into spec.massChange.confirmed it lets them go.
        parked_since: String {"format": "date-time"};
        /// Joined, Connected, Converged, Parked, Ready.
        conditions: Vec<Condition>
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]};
    }
    /// What a cluster has and serves. Numbers are rough: small changes are not reported.
    pub struct Inventory {
        /// How many Nodes are ready.
        nodes: i64 {"minimum": 0};
        /// What the Nodes have together: quantities of cpu, memory, pods and so on.
        allocatable: BTreeMap<String, String>;
        /// What of it no Pod has asked for.
        free: BTreeMap<String, String>;
        /// Zones of the Nodes.
        zones: Vec<String> {"x-kubernetes-list-type": "atomic"};
        /// Names of StorageClasses.
        storage_classes: Vec<String> {"x-kubernetes-list-type": "atomic"};
        /// Names of IngressClasses.
        ingress_classes: Vec<String> {"x-kubernetes-list-type": "atomic"};
        /// The resources that are served, as PLURAL.GROUP/VERSION, or PLURAL/VERSION for the core
        /// group.
        resources: Vec<String> {"x-kubernetes-list-type": "atomic"};
    }
    /// One place where a site fetches its work.
    pub struct Endpoint {
        /// The inbox with its logical cluster, as a base for API requests.
        url: String [required];
    }
}

impl Times {
    /// Seconds between renewals.
    #[must_use]
    pub fn lease(&self) -> i64 {
        or(self.lease_seconds, 10)
    }
    /// Seconds of silence after which a site is Late: never sooner than one renewal.
    #[must_use]
    pub fn late(&self) -> i64 {
        or(self.late_seconds, 30).max(self.lease())
    }
    /// Seconds of silence after which a site is Lost: never sooner than Late.
    #[must_use]
    pub fn lost(&self) -> i64 {
        or(self.lost_seconds, 300).max(self.late())
    }
}

impl MassChange {
    /// The share in percent.
    #[must_use]
    pub fn share(&self) -> i64 {
        or(self.share_percent, 50)
    }
    /// The least number of objects.
    #[must_use]
    pub fn at_least(&self) -> i64 {
        or(self.at_least, 100)
    }
    /// The window in seconds.
    #[must_use]
    pub fn window(&self) -> i64 {
        or(self.window_seconds, 600)
    }
}

impl SiteSpec {
    /// Life of a client certificate in seconds: 30 days unless the operator says otherwise.
    #[must_use]
    pub fn certificate(&self) -> i64 {
        or(self.certificate_seconds, 30 * 86_400)
    }
}

fn or(value: i64, default: i64) -> i64 {
    if value > 0 { value } else { default }
}
