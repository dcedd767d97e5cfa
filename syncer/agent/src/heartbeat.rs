//! A sign of life an interval, with a few facts about the site.
//!
//! Invariant: the interval is the hub's word (it stands on the Lease), so an operator changes it
//! for a running syncer; a syncer that cannot reach its hub tries more often, not less.

use std::sync::Arc;
use std::time::Duration;

use hanse_apis::sites::names;
use hanse_client::{Api, Error};
use hanse_reconcile::lease::{Sign, interval, renew};

use crate::agent::Shared;
use crate::below::namespaces;
use crate::limits::LEASE_SECONDS;
use crate::{gap, guard};

/// What is said about a site.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Uid of namespace kube-system: the physical cluster's identity.
    pub cluster_uid: String,
    /// The Kubernetes version.
    pub kubernetes_version: String,
}

/// Reads the facts of a site.
///
/// # Errors
/// When its API cannot be reached or does not let us look.
pub async fn facts(site: &Api) -> Result<Facts, Error> {
    let system = site.get(&namespaces(), "", "kube-system").await?;
    let version = site.path("/version").await?;
    let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_owned();
    Ok(Facts {
        cluster_uid: text(&system["metadata"]["uid"]),
        kubernetes_version: text(&version["gitVersion"]),
    })
}

/// Says that the agent is alive until it stops.
pub async fn run(shared: Arc<Shared>) {
    let mut sign = Sign {
        namespace: names::LEASE_NAMESPACE.into(),
        name: names::LEASE.into(),
        holder: shared.facts.cluster_uid.clone(),
        duration: Duration::from_secs(10),
        annotations: vec![
            (
                names::CLUSTER_UID_ANNOTATION,
                shared.facts.cluster_uid.clone(),
            ),
            (
                names::KUBERNETES_ANNOTATION,
                shared.facts.kubernetes_version.clone(),
            ),
            (
                names::SYNCER_ANNOTATION,
                env!("CARGO_PKG_VERSION").to_owned(),
            ),
        ],
    };
    let mut pause = sign.duration;
    let facts = sign.annotations.clone();
    loop {
        sign.annotations = facts.clone();
        let (since, what) = guard::parked(&shared)
            .map(|parked| (parked.since, parked.what))
            .unwrap_or_default();
        sign.annotations
            .push((names::TREE_ANNOTATION, gap::root(&shared)));
        sign.annotations.push((names::PARKED_ANNOTATION, what));
        sign.annotations
            .push((names::PARKED_SINCE_ANNOTATION, since));
        let wait = match renew(&shared.hub, &shared.seams, &sign).await {
            Ok(lease) => {
                guard::heard(&shared, &lease);
                let told = interval(&lease).filter(|i| LEASE_SECONDS.contains(&i.as_secs()));
                pause = told.unwrap_or(sign.duration);
                pause
            }
            Err(error) => {
                tracing::debug!(%error, "no sign of life reached the hub");
                (pause / 4).max(Duration::from_secs(1))
            }
        };
        tokio::select! {
            biased;
            () = shared.stop.wait() => return,
            () = shared.beat.notified() => {}
            () = shared.seams.clock.sleep(wait) => {}
        }
    }
}
