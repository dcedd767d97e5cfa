//! `ProjectionRule`: how a kind travels.
//!
//! A rule stands with the APIExport of its kind, in a workspace above the objects, or beside them.
//! Invariant: whatever a rule computes, it computes from what stands in the object, the Site and
//! the reported status; expressions are bounded and see nothing else.

use super::describe::api_type;
use super::{Condition, LabelSelector};

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
        /// What the kind is called below, when it is called something else there.
        target: RuleTarget;
        /// Namespaces and names below.
        names: RuleNames;
        /// Changes on the way down, in this order.
        down: Vec<Transform> {"x-kubernetes-list-type": "atomic", "maxItems": 64};
        /// Changes of the status on the way up, for each site by itself, in this order.
        up: Vec<Transform> {"x-kubernetes-list-type": "atomic", "maxItems": 64};
        /// Objects that travel with an object of the kind, down with it or up from it.
        related: Vec<Related> {"x-kubernetes-list-type": "atomic", "maxItems": 16};
        /// Fields that the site decides, as dotted paths: they never travel, and what the site
        /// puts there stays.
        site_owned: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 64};
        /// When the kind is applied: lower numbers first, at deletion last. Well-known kinds have
        /// theirs, from namespaces (0) to workloads (50); others have 60.
        order: Option<i64> {"minimum": -1000, "maximum": 1000};
        /// How members of the status are combined over sites.
        combine: Vec<Combine>
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["path"],
             "maxItems": 64};
        /// Health at one site, as a CEL expression over status and object: true, or one of
        /// Healthy, Progressing, Degraded, Unknown.
        health: String {"maxLength": 4096};
        /// Where the kind keeps pod templates, as dotted paths of what holds their spec
        /// (spec.workload.template): what they name follows, and they may reach the workspace.
        pod_templates: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 16};
        /// Whether the kind's Pods reach the workspace's API; an object's annotation
        /// sites.hanse.dev/api-access asks for the same.
        api_access: ApiAccess;
    }
    /// What a kind is called below.
    pub struct RuleTarget {
        /// API group.
        group: String {"maxLength": 253};
        /// Version.
        version: String {"maxLength": 63};
        /// Plural name; empty when nothing is renamed.
        resource: String {"maxLength": 63};
        /// Kind.
        kind: String {"maxLength": 63};
    }
    /// How names are mapped; whatever is chosen, no two objects of tenants share a name.
    pub struct RuleNames {
        /// Own: each namespace of a tenant becomes one below (the default). Workspace: all
        /// namespaces of a workspace become one. Fixed: one namespace of the site for all tenants,
        /// which only a rule in the Site's workspace may name.
        namespace: String {"enum": ["", "Own", "Workspace", "Fixed"]};
        /// The namespace for Fixed; it must exist at the site.
        fixed: String {"maxLength": 63};
        /// Keep: names stay (the default, with Own only). Hash: a name is a keyed hash.
        name: String {"enum": ["", "Keep", "Hash"]};
        /// What hashed names begin with; `h` when empty.
        prefix: String {"maxLength": 20, "pattern": "^([a-z]([-a-z0-9]*[a-z0-9])?)?$"};
    }
    /// One change of one field.
    pub struct Transform {
        /// The field, as a dotted path: spec.image, spec.items[].name for each element,
        /// metadata.labels['a.b/c'] for names with dots.
        path: String [required] {"minLength": 1, "maxLength": 1024};
        /// The new value, as a CEL expression over object, self (the field's value, or null), and
        /// site on the way down or status on the way up; null removes the field.
        expression: String {"maxLength": 4096};
        /// Removes the field instead.
        remove: bool;
        /// A CEL expression over the same; the change is made when it is true or empty.
        when: String {"maxLength": 4096};
    }
    /// Objects that travel with another.
    pub struct Related {
        /// API group of the related kind; empty is the core group.
        group: String {"maxLength": 253};
        /// Its version below, for those that come up; v1 when empty.
        version: String {"maxLength": 63};
        /// Its plural name.
        resource: String [required] {"minLength": 1, "maxLength": 63};
        /// Its kind, for those that come up.
        kind: String {"maxLength": 63};
        /// Down with the object, or Up: born at the site and shown beside the object.
        direction: String [required] {"enum": ["Down", "Up"]};
        /// Dotted paths in the object (for Up: in the object as it is below) of the names.
        references: Vec<String> {"x-kubernetes-list-type": "set", "maxItems": 16};
        /// Labels of the related objects in the object's namespace; none when it is empty.
        selector: LabelSelector;
        /// Names as a CEL expression over object: a string or a list of strings.
        template: String {"maxLength": 4096};
    }
    /// How one member of the status is combined.
    pub struct Combine {
        /// The member, as a dotted path within the status.
        path: String [required] {"minLength": 1, "maxLength": 256};
        /// Sum, Min, Max; Last: the largest once all sites tell it; Same: if all sites agree;
        /// Join: one list of all; All, Any: of booleans; First: of the first site by name; Drop;
        /// Expression.
        how: String [required] {"enum": ["Sum", "Min", "Max", "Last", "Same", "Join", "All", "Any",
            "First", "Drop", "Expression"]};
        /// For Expression: CEL over sites, a list of {site, contact, applied, status}, and object.
        expression: String {"maxLength": 4096};
    }
    /// Whether and how Pods reach the workspace's API.
    pub struct ApiAccess {
        /// Whether they get its address and a token of their ServiceAccount.
        enabled: bool;
        /// The token's audience; the workspace's API when empty.
        audience: String {"maxLength": 253};
        /// The token's life in seconds (3600); it is renewed after four fifths of it.
        seconds: i64 {"minimum": 600, "maximum": 86400};
    }
    /// What was found about a rule.
    pub struct ProjectionRuleStatus {
        /// Generation of the spec that was looked at.
        observed_generation: i64;
        /// Valid: whether every expression and path can be used.
        conditions: Vec<Condition>
            {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]};
    }
}

impl Related {
    /// Whether these come up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.direction == "Up"
    }
}

impl ApiAccess {
    /// Life of a token in seconds.
    #[must_use]
    pub fn life(&self) -> i64 {
        if self.seconds > 0 { self.seconds } else { 3600 }
    }
}
