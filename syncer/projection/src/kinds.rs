//! What is known about kinds, as rows: what never travels, what the server below fills in, where
//! replicas stand, how statuses add up.
//!
//! Invariant: a kind without a row travels too, by the general rules.

/// How one well-known kind behaves.
#[derive(Debug)]
pub struct KindRow {
    /// API group; empty is the core group.
    pub group: &'static str,
    /// Plural name.
    pub resource: &'static str,
    /// Dotted path of the replicas, when they can be divided.
    pub replicas: Option<&'static str>,
    /// Dotted paths that a site's own server allocates; they do not travel unless the value is
    /// the one named with them.
    pub allocated: &'static [(&'static str, &'static str)],
    /// Members of `status` that are added up over sites.
    pub sums: &'static [&'static str],
    /// Lists in `status`, as dotted paths, that are joined over sites.
    pub joins: &'static [&'static str],
    /// (ready, wanted): members of `status` that must be equal for the object to be healthy; the
    /// wanted one may stand in `spec` (`spec.replicas`, default 1).
    pub healthy: Option<(&'static str, &'static str)>,
}

const PLAIN: KindRow = KindRow {
    group: "",
    resource: "",
    replicas: None,
    allocated: &[],
    sums: &[],
    joins: &[],
    healthy: None,
};

/// The well-known kinds.
pub const ROWS: &[KindRow] = &[
    KindRow {
        group: "apps",
        resource: "deployments",
        replicas: Some("spec.replicas"),
        sums: &[
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
            "terminatingReplicas",
        ],
        healthy: Some(("availableReplicas", "spec.replicas")),
        ..PLAIN
    },
    KindRow {
        group: "apps",
        resource: "replicasets",
        replicas: Some("spec.replicas"),
        sums: &[
            "replicas",
            "fullyLabeledReplicas",
            "readyReplicas",
            "availableReplicas",
        ],
        healthy: Some(("availableReplicas", "spec.replicas")),
        ..PLAIN
    },
    KindRow {
        group: "apps",
        resource: "statefulsets",
        replicas: Some("spec.replicas"),
        sums: &[
            "replicas",
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "availableReplicas",
        ],
        healthy: Some(("readyReplicas", "spec.replicas")),
        ..PLAIN
    },
    KindRow {
        group: "apps",
        resource: "daemonsets",
        sums: &[
            "currentNumberScheduled",
            "desiredNumberScheduled",
            "numberAvailable",
            "numberMisscheduled",
            "numberReady",
            "numberUnavailable",
            "updatedNumberScheduled",
        ],
        healthy: Some(("numberReady", "status.desiredNumberScheduled")),
        ..PLAIN
    },
    KindRow {
        group: "batch",
        resource: "jobs",
        replicas: Some("spec.parallelism"),
        sums: &["active", "ready", "succeeded", "failed", "terminating"],
        ..PLAIN
    },
    KindRow {
        resource: "services",
        allocated: &[
            ("spec.clusterIP", "None"),
            ("spec.clusterIPs", ""),
            ("spec.ipFamilies", ""),
            ("spec.healthCheckNodePort", ""),
        ],
        joins: &["loadBalancer.ingress"],
        ..PLAIN
    },
    KindRow {
        resource: "serviceaccounts",
        allocated: &[("secrets", ""), ("imagePullSecrets", "")],
        ..PLAIN
    },
    KindRow {
        resource: "persistentvolumeclaims",
        allocated: &[("spec.volumeName", "")],
        ..PLAIN
    },
];

/// The row of a kind, when it is well known.
#[must_use]
pub fn row(group: &str, resource: &str) -> Option<&'static KindRow> {
    ROWS.iter()
        .find(|r| r.group == group && r.resource == resource)
}

/// Groups whose objects are about a workspace itself and never travel.
const STAYS: &[&str] = &[
    "apis.kcp.io",
    "core.kcp.io",
    "tenancy.kcp.io",
    "topology.kcp.io",
    "cache.kcp.io",
    "migration.kcp.io",
    "sites.hanse.dev",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "rbac.authorization.k8s.io",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "events.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
];

/// Kinds of the core group that never travel: a namespace goes with what is in it.
const STAYS_CORE: &[&str] = &[
    "namespaces",
    "events",
    "nodes",
    "bindings",
    "componentstatuses",
];

/// Why an object never travels, or `None` when it may.
#[must_use]
pub fn stays(group: &str, resource: &str, name: &str) -> Option<&'static str> {
    if STAYS.contains(&group) {
        return Some("objects of this API group describe the workspace itself");
    }
    if group.is_empty() && STAYS_CORE.contains(&resource) {
        return Some("objects of this kind describe the workspace itself");
    }
    if group.is_empty() && resource == "configmaps" && name == "kube-root-ca.crt" {
        return Some("every cluster has its own root certificates");
    }
    if group.is_empty() && resource == "serviceaccounts" && name == "default" {
        return Some("every namespace has its own default account");
    }
    None
}
