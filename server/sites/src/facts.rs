//! What placement knows of a Site, and of a Placement, ready to be asked.
//!
//! Invariant: both follow from one version of the object alone, and versions are unique in a
//! shard, so what was made of one is kept under it and never stale.

use std::collections::BTreeMap;
use std::sync::Arc;

use hanse_apis::sites::quantity::thousandths;
use hanse_apis::sites::{self, PlacementSpec, SiteSpec, SiteStatus};
use hanse_auth::versions::{ByVersion, Recent};
use hanse_cache::Object;
use hanse_rules::hash;
use hanse_rules::placement::policy::Policy;
use hanse_rules::placement::{Candidate, Served};

use crate::limits::{CANDIDATES_KEPT, POLICIES_KEPT, SERVED_KEPT};

/// See the module's words.
pub struct Facts {
    candidates: ByVersion<Candidate>,
    policies: ByVersion<Policy>,
    /// By the hash of the list: most sites serve what others serve.
    served: Recent<[u8; 28], Served>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            candidates: Recent::new(CANDIDATES_KEPT),
            policies: Recent::new(POLICIES_KEPT),
            served: Recent::new(SERVED_KEPT),
        }
    }
}

impl Facts {
    /// A Site as a candidate.
    pub fn candidate(&self, site: &Object) -> Arc<Candidate> {
        let make = || self.read(site);
        self.candidates.get(site.resource_version(), make)
    }

    /// A Placement with its expressions compiled.
    pub fn policy(&self, placement: &Object) -> Arc<Policy> {
        let make = || {
            let raw = placement.raw(&["spec"]).unwrap_or(b"{}");
            let spec: PlacementSpec = serde_json::from_slice(raw).unwrap_or_default();
            Policy::new(spec)
        };
        self.policies.get(placement.resource_version(), make)
    }

    fn read(&self, site: &Object) -> Candidate {
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
        let free = status.inventory.free.iter();
        Candidate {
            labels: site
                .labels()
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
            joined: !status.cluster_uid.is_empty(),
            unschedulable: spec.unschedulable,
            leaving: site.is_deleting(),
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
