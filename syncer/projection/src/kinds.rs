//! What is known about kinds, as rows: when they are applied, what never travels, what the server
//! below fills in, where replicas and pod templates stand, what they name, how statuses add up
//! and what health means.
//!
//! Start at [`ROWS`]. Invariant: a kind without a row travels too, by the general rules and those
//! of its ProjectionRule, which say the same things in the same words.

/// How a member of the status is combined over the sites that are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Added up.
    Sum,
    /// The smallest number, or the first time.
    Min,
    /// The largest number, or the last time.
    Max,
    /// The largest, once every site tells it.
    Last,
    /// The value that all sites tell; nothing while they differ.
    Same,
    /// One list of all lists.
    Join,
    /// True when it is true everywhere.
    All,
    /// True when it is true anywhere.
    Any,
    /// That of the first site by name.
    First,
    /// Not shown.
    Drop,
    /// The first of these words that any site says.
    Worst(&'static [&'static str]),
}

impl How {
    /// The word of a ProjectionRule.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "Sum" => Self::Sum,
            "Min" => Self::Min,
            "Max" => Self::Max,
            "Last" => Self::Last,
            "Same" => Self::Same,
            "Join" => Self::Join,
            "All" => Self::All,
            "Any" => Self::Any,
            "First" => Self::First,
            "Drop" => Self::Drop,
            _ => return None,
        })
    }
}

/// What health means for a kind, beside conditions that are bad news by their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Well {
    /// Conditions that decide by their name (`Ready`, `Available` ...), if there are any.
    Conditions,
    /// (ready, wanted): members of `status` that must have reached each other; the wanted one may
    /// stand in `spec` (`spec.replicas`, default 1).
    Counts(&'static str, &'static str),
    /// A word at a path of the status: good ones, then bad ones; any other is on its way.
    Word(
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
    ),
    /// This member of the status is there, when the object's `spec.type` is this (empty: always).
    Present(&'static str, &'static str),
    /// Conditions of these types in each element of a list of the status.
    Each(&'static str, &'static [&'static str]),
}

/// How one well-known kind behaves.
#[derive(Debug)]
pub struct KindRow {
    /// API group; empty is the core group.
    pub group: &'static str,
    /// Plural name.
    pub resource: &'static str,
    /// When it is applied among its namespace: lower first.
    pub order: i64,
    /// Whether the name means something and stays below though the object has no namespace.
    pub own_name: bool,
    /// Dotted path of the replicas, when they can be divided.
    pub replicas: Option<&'static str>,
    /// Dotted paths that a site's own server allocates; they do not travel unless the value is
    /// the one named with them.
    pub allocated: &'static [(&'static str, &'static str)],
    /// Dotted paths of pod specs.
    pub pods: &'static [&'static str],
    /// Dotted paths of selectors of namespaces: below they mean those of the same workspace.
    pub peers: &'static [&'static str],
    /// (path, group, plural): what the object names beside its Pods.
    pub names: &'static [(&'static str, &'static str, &'static str)],
    /// Dotted paths in `status`, and how they are combined over sites.
    pub combine: &'static [(&'static str, How)],
    /// What health means.
    pub well: Well,
}

/// Order of kinds without a row: custom resources, after everything that they may need.
pub const ORDER_OTHERS: i64 = 60;

const PLAIN: KindRow = KindRow {
    group: "",
    resource: "",
    order: ORDER_OTHERS,
    own_name: false,
    replicas: None,
    allocated: &[],
    pods: &[],
    peers: &[],
    names: &[],
    combine: &[],
    well: Well::Conditions,
};

const TEMPLATE: &[&str] = &["spec.template.spec"];
const GATEWAY: &str = "gateway.networking.k8s.io";
/// Routes of the Gateway API: alike in all that matters here.
const ROUTE: KindRow = KindRow {
    group: GATEWAY,
    order: 50,
    names: &[("spec.rules[].backendRefs[].name", "", "services")],
    combine: &[("parents", How::Join)],
    well: Well::Each("parents", &["Accepted", "ResolvedRefs"]),
    ..PLAIN
};

/// The well-known kinds.
pub const ROWS: &[KindRow] = &[
    KindRow {
        resource: "namespaces",
        order: 0,
        combine: &[("phase", How::Worst(&["Terminating", "Active"]))],
        well: Well::Word("phase", &["Active"], &["Terminating"]),
        ..PLAIN
    },
    KindRow {
        group: "apiextensions.k8s.io",
        resource: "customresourcedefinitions",
        order: 10,
        own_name: true,
        combine: &[("acceptedNames", How::Same), ("storedVersions", How::Same)],
        well: Well::Each("", &["Established", "NamesAccepted"]),
        ..PLAIN
    },
    KindRow {
        resource: "serviceaccounts",
        order: 20,
        allocated: &[("secrets", "")],
        names: &[("imagePullSecrets[].name", "", "secrets")],
        ..PLAIN
    },
    KindRow {
        resource: "secrets",
        order: 20,
        ..PLAIN
    },
    KindRow {
        resource: "configmaps",
        order: 20,
        ..PLAIN
    },
    KindRow {
        group: "networking.k8s.io",
        resource: "networkpolicies",
        order: 25,
        peers: &[
            "spec.ingress[].from[].namespaceSelector",
            "spec.egress[].to[].namespaceSelector",
        ],
        ..PLAIN
    },
    KindRow {
        resource: "persistentvolumeclaims",
        order: 30,
        allocated: &[("spec.volumeName", "")],
        combine: &[
            ("phase", How::Worst(&["Lost", "Pending", "Bound"])),
            ("accessModes", How::Same),
        ],
        well: Well::Word("phase", &["Bound"], &["Lost"]),
        ..PLAIN
    },
    KindRow {
        group: "policy",
        resource: "poddisruptionbudgets",
        order: 35,
        combine: &[
            ("currentHealthy", How::Sum),
            ("desiredHealthy", How::Sum),
            ("disruptionsAllowed", How::Sum),
            ("expectedPods", How::Sum),
        ],
        well: Well::Counts("currentHealthy", "status.desiredHealthy"),
        ..PLAIN
    },
    KindRow {
        resource: "services",
        order: 40,
        allocated: &[
            ("spec.clusterIP", "None"),
            ("spec.clusterIPs", ""),
            ("spec.ipFamilies", ""),
            ("spec.healthCheckNodePort", ""),
        ],
        combine: &[("loadBalancer.ingress", How::Join)],
        well: Well::Present("loadBalancer.ingress", "LoadBalancer"),
        ..PLAIN
    },
    KindRow {
        group: "apps",
        resource: "deployments",
        order: 50,
        replicas: Some("spec.replicas"),
        pods: TEMPLATE,
        combine: &[
            ("replicas", How::Sum),
            ("updatedReplicas", How::Sum),
            ("readyReplicas", How::Sum),
            ("availableReplicas", How::Sum),
            ("unavailableReplicas", How::Sum),
            ("terminatingReplicas", How::Sum),
        ],
        well: Well::Counts("availableReplicas", "spec.replicas"),
        ..PLAIN
    },
    KindRow {
        group: "apps",
        resource: "replicasets",
        order: 50,
        replicas: Some("spec.replicas"),
        pods: TEMPLATE,
        combine: &[
            ("replicas", How::Sum),
            ("fullyLabeledReplicas", How::Sum),
            ("readyReplicas", How::Sum),
            ("availableReplicas", How::Sum),
            ("terminatingReplicas", How::Sum),
        ],
        well: Well::Counts("availableReplicas", "spec.replicas"),
        ..PLAIN
    },
    KindRow {
        group: "apps",
        resource: "statefulsets",
        order: 50,
        replicas: Some("spec.replicas"),
        pods: TEMPLATE,
        names: &[("spec.serviceName", "", "services")],
        combine: &[
            ("replicas", How::Sum),
            ("readyReplicas", How::Sum),
            ("currentReplicas", How::Sum),
            ("updatedReplicas", How::Sum),
            ("availableReplicas", How::Sum),
            ("currentRevision", How::Same),
            ("updateRevision", How::Same),
        ],
        well: Well::Counts("readyReplicas", "spec.replicas"),
        ..PLAIN
    },
    KindRow {
        group: "apps",
        resource: "daemonsets",
        order: 50,
        pods: TEMPLATE,
        combine: &[
            ("currentNumberScheduled", How::Sum),
            ("desiredNumberScheduled", How::Sum),
            ("numberAvailable", How::Sum),
            ("numberMisscheduled", How::Sum),
            ("numberReady", How::Sum),
            ("numberUnavailable", How::Sum),
            ("updatedNumberScheduled", How::Sum),
        ],
        well: Well::Counts("numberReady", "status.desiredNumberScheduled"),
        ..PLAIN
    },
    KindRow {
        group: "batch",
        resource: "jobs",
        order: 50,
        replicas: Some("spec.parallelism"),
        // The server below makes its own selector and labels, by the Job's uid there.
        allocated: &[
            ("spec.selector", ""),
            ("spec.template.metadata.labels.controller-uid", ""),
            (
                "spec.template.metadata.labels['batch.kubernetes.io/controller-uid']",
                "",
            ),
            ("spec.template.metadata.labels.job-name", ""),
            (
                "spec.template.metadata.labels['batch.kubernetes.io/job-name']",
                "",
            ),
        ],
        pods: TEMPLATE,
        combine: &[
            ("active", How::Sum),
            ("ready", How::Sum),
            ("succeeded", How::Sum),
            ("failed", How::Sum),
            ("terminating", How::Sum),
            ("startTime", How::Min),
            ("completionTime", How::Last),
        ],
        well: Well::Each("", &["Complete"]),
        ..PLAIN
    },
    KindRow {
        group: "batch",
        resource: "cronjobs",
        order: 50,
        pods: &["spec.jobTemplate.spec.template.spec"],
        combine: &[
            ("active", How::Join),
            ("lastScheduleTime", How::Max),
            ("lastSuccessfulTime", How::Max),
        ],
        ..PLAIN
    },
    KindRow {
        resource: "pods",
        order: 50,
        allocated: &[("spec.nodeName", "")],
        pods: &["spec"],
        combine: &[
            (
                "phase",
                How::Worst(&["Failed", "Unknown", "Pending", "Running", "Succeeded"]),
            ),
            ("startTime", How::Min),
            ("qosClass", How::Same),
        ],
        well: Well::Word("phase", &["Running", "Succeeded"], &["Failed"]),
        ..PLAIN
    },
    KindRow {
        group: "autoscaling",
        resource: "horizontalpodautoscalers",
        order: 55,
        combine: &[
            ("currentReplicas", How::Sum),
            ("desiredReplicas", How::Sum),
            ("lastScaleTime", How::Max),
        ],
        well: Well::Each("", &["AbleToScale", "ScalingActive"]),
        ..PLAIN
    },
    KindRow {
        group: "networking.k8s.io",
        resource: "ingresses",
        order: 50,
        names: &[
            ("spec.tls[].secretName", "", "secrets"),
            ("spec.defaultBackend.service.name", "", "services"),
            (
                "spec.rules[].http.paths[].backend.service.name",
                "",
                "services",
            ),
        ],
        combine: &[("loadBalancer.ingress", How::Join)],
        well: Well::Present("loadBalancer.ingress", ""),
        ..PLAIN
    },
    KindRow {
        resource: "httproutes",
        ..ROUTE
    },
    KindRow {
        resource: "grpcroutes",
        ..ROUTE
    },
    KindRow {
        resource: "tlsroutes",
        ..ROUTE
    },
    KindRow {
        resource: "tcproutes",
        ..ROUTE
    },
    KindRow {
        resource: "udproutes",
        ..ROUTE
    },
];

/// The row of a kind, when it is well known.
#[must_use]
pub fn row(group: &str, resource: &str) -> Option<&'static KindRow> {
    ROWS.iter()
        .find(|r| r.group == group && r.resource == resource)
}

/// When a kind is applied: lower first, at deletion last.
#[must_use]
pub fn order(group: &str, resource: &str) -> i64 {
    row(group, resource).map_or(ORDER_OTHERS, |r| r.order)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::Steps;

    #[test]
    fn every_row_is_one_kind_and_its_paths_can_be_read() {
        for (i, row) in ROWS.iter().enumerate() {
            let twin = |r: &KindRow| r.group == row.group && r.resource == row.resource;
            assert!(!ROWS[..i].iter().any(twin), "{} twice", row.resource);
            let paths = row.replicas.iter().chain(row.pods).copied();
            let paths = paths.chain(row.allocated.iter().map(|(path, _)| *path));
            let paths = paths.chain(row.peers.iter().copied());
            let paths = paths.chain(row.names.iter().map(|(path, ..)| *path));
            for path in paths.chain(row.combine.iter().map(|(path, _)| *path)) {
                assert!(Steps::parse(path).is_ok(), "{path}");
            }
        }
    }

    #[test]
    fn what_others_need_comes_before_them() {
        let of = |group: &str, resource: &str| order(group, resource);
        let line = [
            of("", "namespaces"),
            of("apiextensions.k8s.io", "customresourcedefinitions"),
            of("", "secrets"),
            of("", "persistentvolumeclaims"),
            of("", "services"),
            of("apps", "deployments"),
            of("autoscaling", "horizontalpodautoscalers"),
            of("example.com", "widgets"),
        ];
        assert!(line.is_sorted_by(|a, b| a < b), "{line:?}");
        assert_eq!(of("", "configmaps"), of("", "serviceaccounts"));
    }
}
