//! What placement knows of a Site, of a Placement, and of a workspace's ancestors, ready to be
//! asked.
//!
//! Invariant: each follows from one version of an object alone, and versions are unique in a
//! shard, so what was made of one is kept under it and never stale.

use std::collections::BTreeMap;
use std::sync::Arc;

use hanse_apis::sites::quantity::thousandths;
use hanse_apis::sites::{self, PlacementSpec, SiteSpec, SiteStatus};
use hanse_auth::View;
use hanse_auth::versions::{ByVersion, Recent};
use hanse_cache::{ClusterName, Object};
use hanse_rules::placement::policy::Policy;
use hanse_rules::placement::{Candidate, Served};
use hanse_rules::{hash, path};

use crate::limits::{ANCESTORS_MAX, CANDIDATES_KEPT, LINEAGES_KEPT, POLICIES_KEPT, SERVED_KEPT};

/// See the module's words.
pub struct Facts {
    candidates: ByVersion<Candidate>,
    policies: ByVersion<Policy>,
    /// By the hash of the list: most sites serve what others serve.
    served: Recent<[u8; 28], Served>,
    lineages: ByVersion<Vec<ClusterName>>,
}

/// Compiles a Placement.
pub fn compile(placement: &Object) -> Policy {
    let raw = placement.raw(&["spec"]).unwrap_or(b"{}");
    let spec: PlacementSpec = serde_json::from_slice(raw).unwrap_or_default();
    Policy::new(spec)
}

fn ancestors(view: &View, cluster: &str) -> Vec<ClusterName> {
    let mut out = vec![ClusterName::from(cluster)];
    let mut place = view.canonical_path(cluster);
    while let Some(parent) = path::parent(&place).map(str::to_owned) {
        if out.len() > ANCESTORS_MAX {
            break;
        }
        out.extend(view.existing_cluster(&parent));
        place = parent;
    }
    out
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            candidates: Recent::new(CANDIDATES_KEPT),
            policies: Recent::new(POLICIES_KEPT),
            served: Recent::new(SERVED_KEPT),
            lineages: Recent::new(LINEAGES_KEPT),
        }
    }
}

impl Facts {
    /// A Site as a candidate. What is only supposed has no version, and is not kept.
    pub fn candidate(&self, site: &Object) -> Arc<Candidate> {
        match site.resource_version() {
            0 => Arc::new(self.read(site)),
            version => self.candidates.get(version, || self.read(site)),
        }
    }

    /// A Placement with its expressions compiled.
    pub fn policy(&self, placement: &Object) -> Arc<Policy> {
        let make = || compile(placement);
        self.policies.get(placement.resource_version(), make)
    }

    /// The logical cluster itself and those above it, the nearest first.
    pub fn lineage(&self, view: &View, cluster: &str) -> Arc<Vec<ClusterName>> {
        match view.logical_cluster(cluster) {
            // A workspace never moves, so its ancestors are those of its LogicalCluster.
            Some(object) => {
                let make = || ancestors(view, cluster);
                self.lineages.get(object.resource_version(), make)
            }
            None => Arc::new(vec![cluster.into()]),
        }
    }

    /// Reads a Site.
    pub fn read(&self, site: &Object) -> Candidate {
        let value = site.value();
        let spec: SiteSpec = sites::read(&value, "spec").unwrap_or_default();
        let status: SiteStatus = sites::read(&value, "status").unwrap_or_default();
        let resources = &status.inventory.resources;
        let served = (!resources.is_empty()).then(|| {
            let digest = hash::sha224(resources.join("\n").as_bytes());
            let lines = resources.iter().map(String::as_str);
            self.served.get(digest, || Served::read(lines))
        });
        let expires = &spec.facts.sovereignty.expires;
        let until = hanse_wire::time::parse(expires).map(|m| m.div_euclid(1_000_000));
        let lost = (status.contact == "Lost").then(|| {
            let since = hanse_wire::time::parse(&status.contact_since);
            since.map_or(0, |m| m.div_euclid(1_000_000))
        });
        let free = status.inventory.free.iter();
        Candidate {
            labels: site
                .labels()
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
            joined: !status.cluster_uid.is_empty(),
            unschedulable: spec.unschedulable,
            leaving: site.is_deleting(),
            lost_since: lost,
            sovereign_until: until,
            facts: spec.facts,
            taints: spec.taints,
            resources: served,
            free: free
                .filter_map(|(k, v)| Some((k.clone(), thousandths(v)?)))
                .collect::<BTreeMap<_, _>>(),
            ..Candidate::named(&site.key().name, site.uid())
        }
    }
}
