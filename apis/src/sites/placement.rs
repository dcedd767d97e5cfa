//! `Placement`: which objects of a workspace go to which sites, and how many of them.
//!
//! Start at [`PlacementSpec`]. Invariant: the decision stands in the status, whole: it is a
//! function of the spec, of the Sites that are seen, and of the decision before it, so the same
//! inputs give the same decision on any replica. What decides is `server/rules`, not here.

use std::collections::BTreeMap;

use super::describe::{Json, api_type};
use super::{Condition, LabelSelector};

api_type! {
    /// Which objects go where.
    pub struct PlacementSpec {
        /// Whose objects: those of its own workspace (Workspace, the default), or those of every
        /// workspace below, too (Subtree), where none of their own Placements selects them.
        scope: String {"enum": ["Workspace", "Subtree"]};
        /// The objects that are placed; an object goes with the first entry that fits it.
        objects: Vec<ObjectSelector> [required]
            {"x-kubernetes-list-type": "atomic", "minItems": 1, "maxItems": 64};
        /// The sites that may be chosen; all when empty.
        sites: SiteSelector;
        /// What a site must have free to be chosen: quantities of cpu, memory, pods and so on. A
        /// site that holds the objects already needs it no longer.
        capacity: BTreeMap<String, String> {"maxProperties": 16, "additionalProperties":
            {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
             "maxLength": 32}};
        /// Taints of sites that are put up with.
        tolerations: Vec<Toleration> {"x-kubernetes-list-type": "atomic", "maxItems": 64};
        /// How many of them, and whether replicas are divided.
        spread: Spread;
        /// What some sites get otherwise than others; one after the other.
        overrides: Vec<Override> {"x-kubernetes-list-type": "atomic", "maxItems": 64};
        /// In which order sites get a change; all at once when it is empty.
        rollout: Rollout;
        /// What happens when a site fails. When it is absent, a chosen site stays chosen however
        /// long it is silent.
        failover: Option<Failover>;
        /// When a decision is made anew although it is valid.
        rebalance: Rebalance;
        /// Whether what the Pods of a placed object name goes where it goes: ConfigMaps, Secrets,
        /// ServiceAccounts and PersistentVolumeClaims of its namespace (Follow), or only what
        /// objects lists (Ignore, the default).
        dependencies: String {"enum": ["Ignore", "Follow"]};
    }
    /// Chooses objects of one kind.
    pub struct ObjectSelector {
        /// API group of the kind; empty is the core group.
        group: String {"maxLength": 253};
        /// Plural name of the kind, as in URLs.
        resource: String [required] {"minLength": 1, "maxLength": 63};
        /// Names that they have; all when empty.
        names: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 256};
        /// Namespaces they live in; all when empty.
        namespaces: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 256};
        /// Labels they carry; all when empty.
        selector: LabelSelector;
        /// What must be true of the `object`, in CEL. An object for which it fails is not placed,
        /// and the condition ObjectsSelected says why.
        expression: String {"maxLength": 4096};
    }
    /// Chooses sites.
    pub struct SiteSelector {
        /// Names of Sites; all when empty.
        names: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 256};
        /// Labels of Sites; all when empty.
        selector: LabelSelector;
        /// Facts of Sites, which their authority answers for; all when empty.
        facts: FactSelector;
    }
    /// Chooses sites by what their authority says of them. A site of which a fact is asked and
    /// not known is not chosen.
    pub struct FactSelector {
        /// Who provides the infrastructure; any when empty.
        providers: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 64};
        /// Whose law holds; any when empty.
        jurisdictions: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 64};
        /// Who operates the cluster; any when empty.
        operators: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 64};
        /// Where it is; any when empty.
        regions: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 64};
        /// Zones of which it has at least one; any when empty.
        zones: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 64};
        /// Least level of sovereignty, with evidence that has not expired.
        sovereignty_level: i64 {"minimum": 0, "maximum": 10};
    }
    /// A taint that is put up with, as in Pods.
    pub struct Toleration {
        /// The taint's key; every key when it is empty and the operator is Exists.
        key: String {"maxLength": 317};
        /// Equal (the default) or Exists.
        operator: String {"enum": ["Equal", "Exists"]};
        /// The taint's value, for Equal.
        value: String {"maxLength": 63};
        /// The taint's effect; every effect when empty.
        effect: String {"enum": ["", "NoSchedule", "NoExecute"]};
    }
    /// How many sites, and what each of them gets.
    pub struct Spread {
        /// All: every chosen site gets the whole object. Divide: the replicas are divided over
        /// the chosen sites.
        mode: String {"enum": ["All", "Divide"]};
        /// At most so many sites; no limit when absent.
        count: Option<i64> {"minimum": 1, "maximum": 1000};
        /// How replicas are divided; equally when absent.
        divide: Division {"x-kubernetes-validations": [{
            "rule": "has(self.by) && self.by == 'Weights' || !has(self.weights)",
            "message": "weights are for by: Weights"}]};
        /// Over what the chosen sites are spread; all of it holds, or nothing new is chosen.
        constraints: Vec<SpreadConstraint>
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["by"],
             "maxItems": 5};
    }
    /// How replicas are divided over the chosen sites; shares are rounded by largest remainder.
    pub struct Division {
        /// Equally, Weights: by the numbers below, FreeCapacity: by what was free at each site
        /// when it was chosen.
        by: String {"enum": ["Equally", "Weights", "FreeCapacity"]};
        /// The numbers: a site has that of the first entry that chooses it, otherwise none.
        weights: Vec<SiteWeight> {"x-kubernetes-list-type": "atomic", "maxItems": 64};
        /// What has to be free for FreeCapacity: cpu (the default), memory, pods and so on.
        resource: String {"maxLength": 63};
    }
    /// The weight of some sites.
    pub struct SiteWeight {
        /// The sites.
        sites: SiteSelector [required];
        /// Their weight.
        weight: i64 [required] {"minimum": 0, "maximum": 1000000};
    }
    /// How many different values of a fact the chosen sites have.
    pub struct SpreadConstraint {
        /// The fact.
        by: String [required]
            {"enum": ["provider", "jurisdiction", "operator", "region", "zone"]};
        /// At least so many.
        min_groups: i64 {"minimum": 1, "maximum": 1000};
        /// At most so many; no limit when absent.
        max_groups: Option<i64> {"minimum": 1, "maximum": 1000};
    }
    /// What some sites get otherwise than others.
    pub struct Override {
        /// The sites; all when empty.
        sites: SiteSelector;
        /// Kinds that it is for, as PLURAL.GROUP, or PLURAL for the core group; when it is empty,
        /// all that spec.objects lists.
        resources: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 64};
        /// Steps of a JSON patch (RFC 6902) of what the site would get.
        patch: Vec<PatchStep> {"x-kubernetes-list-type": "atomic", "maxItems": 64};
        /// Fields that are computed, after the patch.
        fields: Vec<ComputedField> {"x-kubernetes-list-type": "atomic", "maxItems": 64};
    }
    /// One step of a JSON patch.
    pub struct PatchStep {
        /// What is done.
        op: String [required] {"enum": ["add", "remove", "replace", "move", "copy", "test"]};
        /// Where, as a JSON pointer.
        path: String [required] {"maxLength": 1024};
        /// From where, for move and copy.
        from: String {"maxLength": 1024};
        /// The value, for add, replace and test.
        value: Json;
    }
    /// A field that is computed.
    pub struct ComputedField {
        /// Where it is, as a JSON pointer; what is above it is made when it is missing.
        path: String [required] {"minLength": 1, "maxLength": 1024};
        /// Its value, in CEL, from the `object` so far and the `site` (name, labels, facts).
        expression: String [required] {"minLength": 1, "maxLength": 4096};
    }
    /// In which order sites get a change. A wave gets it when the sites of the waves before have it
    /// and are healthy; until then they keep what they have.
    pub struct Rollout {
        /// The sites of each wave; those that none of them chooses are the last one.
        waves: Vec<SiteSelector> {"x-kubernetes-list-type": "atomic", "maxItems": 16};
        /// So long nothing new must have been reported of a healthy site before the next wave
        /// begins, in seconds.
        min_healthy_seconds: i64 {"minimum": 0, "maximum": 86400};
        /// So many sites of the waves before may be without the change, unhealthy or Lost.
        max_unhealthy: i64 {"minimum": 0, "maximum": 1000};
        /// While true no site gets a change; what is there stays.
        paused: bool;
    }
    /// What happens when a site fails: it is Lost, is deleted, or may not be chosen any more by
    /// the same rules.
    pub struct Failover {
        /// So long a site may be Lost before others take its place, in seconds (300).
        grace_seconds: Option<i64> {"minimum": 0, "maximum": 604800};
        /// Whether the new sites may lie in other jurisdictions than those that were chosen.
        leave_jurisdiction: bool;
        /// What becomes of the objects at the failed site: they are deleted (Immediate, the
        /// default), deleted once all other sites are healthy (Graceful), or left (Never).
        purge: String {"enum": ["Immediate", "Graceful", "Never"]};
    }
    /// When a decision is made anew although it is valid.
    pub struct Rebalance {
        /// OnRequest (the default), or Always.
        policy: String {"enum": ["OnRequest", "Always"]};
        /// A moment that stands for one request; a new one has the decision made anew once.
        requested: String {"format": "date-time"};
    }
    /// What was decided.
    pub struct PlacementStatus {
        /// Generation of the spec that was decided.
        observed_generation: i64;
        /// How many sites were chosen.
        chosen: i64;
        /// How many objects are placed.
        objects: i64;
        /// Every site that was looked at, with the rule that chose or rejected it; the chosen
        /// ones first when there are more than a thousand.
        sites: Vec<SiteDecision> {"x-kubernetes-list-type": "atomic"};
        /// Hash of the rules by which sites were decided; jurisdictions are of them.
        rules: String {"maxLength": 64};
        /// The jurisdictions in which failover stays.
        jurisdictions: Vec<String> {"x-kubernetes-list-type": "atomic"};
        /// The request to rebalance that was followed last.
        rebalanced: String;
        /// Placed, ObjectsSelected, OverridesApplied.
        conditions: Vec<Condition>
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]};
    }
    /// Why a site was chosen or not.
    pub struct SiteDecision {
        /// Name of the Site.
        site: String [required];
        /// Whether it was chosen.
        chosen: bool;
        /// The rule that decided, as one CamelCase word.
        reason: String;
        /// The rule that decided, for people.
        message: String;
        /// The site's weight, when replicas are divided by weights or by free capacity.
        weight: Option<i64>;
        /// What becomes of the objects of a site that was chosen before, when they are not deleted
        /// at once.
        purge: String {"enum": ["", "Graceful", "Never"]};
    }
}

impl PlacementSpec {
    /// Whether what placed objects need follows them.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.dependencies == "Follow"
    }
}

impl Failover {
    /// Seconds for which a Lost site is waited for.
    #[must_use]
    pub fn grace(&self) -> i64 {
        self.grace_seconds.unwrap_or(300)
    }
}

impl PlacementSpec {
    /// Whether it is for the workspaces below, too.
    #[must_use]
    pub fn reaches_down(&self) -> bool {
        self.scope == "Subtree"
    }
}

impl Spread {
    /// Whether replicas are divided over the sites.
    #[must_use]
    pub fn divides(&self) -> bool {
        self.mode == "Divide"
    }
}

impl SpreadConstraint {
    /// The least number of groups: one when nothing is said.
    #[must_use]
    pub fn least(&self) -> usize {
        usize::try_from(self.min_groups).unwrap_or(0).max(1)
    }

    /// The greatest number of groups.
    #[must_use]
    pub fn most(&self) -> usize {
        let most = self.max_groups.and_then(|n| usize::try_from(n).ok());
        most.unwrap_or(usize::MAX)
    }
}

impl Division {
    /// The resource whose free capacity weighs.
    #[must_use]
    pub fn weighs(&self) -> &str {
        match self.resource.as_str() {
            "" => "cpu",
            resource => resource,
        }
    }
}
