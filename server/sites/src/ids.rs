//! Storage names of what this room reads and writes.

use hanse_apis::kcp::cluster;
use hanse_apis::sites::{EXPORT, GROUP};
use hanse_auth::View;
use hanse_cache::ResourceId;

/// Storage names; those of our own kinds hold the identity of the export in `root`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the resource that its name says")]
pub struct Ids {
    pub sites: ResourceId,
    pub placements: ResourceId,
    pub projections: ResourceId,
    pub manifests: ResourceId,
    pub rules: ResourceId,
    pub leases: ResourceId,
    pub requests: ResourceId,
    pub events: ResourceId,
}

impl Ids {
    /// Reads them off the export; `None` before [`crate::bootstrap`].
    #[must_use]
    pub fn of(view: &View) -> Option<Self> {
        let of = &view.resources().api_exports;
        let export = view.get(of, cluster::ROOT, "", EXPORT)?;
        let identity = export.text(&["status", "identityHash"])?;
        let own = |plural: &str| ResourceId::new(GROUP, plural, &identity);
        Some(Self {
            sites: own("sites"),
            placements: own("placements"),
            projections: own("projections"),
            manifests: own("manifests"),
            rules: own("projectionrules"),
            leases: ResourceId::new("coordination.k8s.io", "leases", ""),
            requests: ResourceId::new("certificates.k8s.io", "certificatesigningrequests", ""),
            events: ResourceId::new("", "events", ""),
        })
    }
}
