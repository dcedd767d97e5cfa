//! `Placement`: which objects of a workspace go to which sites, and how many of them.
//!
//! Invariant: the decision is a function of the spec and of the Sites that are seen; nothing in
//! the status feeds back into it.

use super::describe::api_type;
use super::{Condition, LabelSelector};

api_type! {
    /// Which objects go where.
    pub struct PlacementSpec {
        /// The objects that are placed; an object goes with the first entry that fits it.
        objects: Vec<ObjectSelector> [required]
            {"x-kubernetes-list-type": "atomic", "minItems": 1, "maxItems": 64};
        /// The sites that may be chosen; all when empty.
        sites: SiteSelector;
        /// How many of them, and whether replicas are divided.
        spread: Spread;
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
        /// Namespaces they live in; all when empty.
        namespaces: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 256};
        /// Labels they carry; all when empty.
        selector: LabelSelector;
    }
    /// Chooses sites.
    pub struct SiteSelector {
        /// Names of Sites; all when empty.
        names: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 256};
        /// Labels of Sites; all when empty.
        selector: LabelSelector;
    }
    /// How many sites, and what each of them gets.
    pub struct Spread {
        /// All: every chosen site gets the whole object. Divide: the replicas are divided
        /// equally over the chosen sites.
        mode: String {"enum": ["All", "Divide"]};
        /// At most so many sites; no limit when absent.
        count: Option<i64> {"minimum": 1, "maximum": 10000};
    }
    /// What was decided.
    pub struct PlacementStatus {
        /// Generation of the spec that was decided.
        observed_generation: i64;
        /// How many sites were chosen.
        chosen: i64;
        /// How many objects are placed.
        objects: i64;
        /// Every site that was looked at, with the rule that chose or rejected it.
        sites: Vec<SiteDecision> {"x-kubernetes-list-type": "atomic"};
        /// Placed.
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
    }
}

/// What a Placement says about a number of sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Every eligible site.
    All,
    /// At most so many of them.
    Count(usize),
}

impl PlacementSpec {
    /// Whether what placed objects need follows them.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.dependencies == "Follow"
    }
}

impl Spread {
    /// How many sites are wanted.
    #[must_use]
    pub fn choice(&self) -> Choice {
        match self.count {
            Some(n) => Choice::Count(usize::try_from(n).unwrap_or(0)),
            None => Choice::All,
        }
    }
    /// Whether replicas are divided over the sites.
    #[must_use]
    pub fn divides(&self) -> bool {
        self.mode == "Divide"
    }
}
