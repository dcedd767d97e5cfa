//! The way back after the log has forgotten our cursor: by the hash tree, only the gap travels.
//!
//! Start at [`close`]. Our digests go up, what differs comes back by name, and each of those is
//! fetched or found to be gone. Where the hub cannot compare, or too much differs, the inbox is
//! listed as it is the first time. Invariant: what is taken in is of the version that the hub
//! answered or later, and following goes on from that version.

use std::collections::BTreeMap;
use std::sync::Arc;

use hanse_apis::sites::{self, COMPARISONS, ComparisonStatus};
use hanse_client::{Error, Follow, Resource};
use hanse_projection::tree::{Leaf, Tree, bucket};
use serde_json::json;

use crate::agent::Shared;
use crate::inbox::{Batch, keep, manifests, seen, vanished};
use crate::limits::BATCH_INTENTS;
use crate::table::Entry;

fn comparisons() -> Resource {
    Resource::new(sites::GROUP, sites::VERSION, COMPARISONS)
}

fn leaf(name: &str, entry: &Entry) -> Leaf {
    let s = &entry.standing;
    Leaf::new(name, &s.uid, &s.hash, s.removing, &s.reported)
}

/// What we hold, with its digests.
fn leaves(shared: &Shared) -> BTreeMap<Arc<str>, Leaf> {
    let table = shared.table.lock();
    let ours = table.iter().filter(|(_, entry)| !entry.standing.vanished);
    ours.map(|(name, entry)| (Arc::clone(name), leaf(name, entry)))
        .collect()
}

fn tree(leaves: &BTreeMap<Arc<str>, Leaf>) -> Tree {
    let mut tree = Tree::default();
    for (name, leaf) in leaves {
        tree.add(name, *leaf);
    }
    tree
}

/// The root of what we hold.
pub fn root(shared: &Shared) -> String {
    tree(&leaves(shared)).root()
}

/// Closes the gap; answers whether it could be closed without a list.
pub async fn close(shared: &Arc<Shared>, follow: &mut Follow) -> bool {
    match steps(shared).await {
        Ok(Some(version)) => {
            follow.resume_at(version);
            true
        }
        Ok(None) => false,
        Err(error) => {
            tracing::debug!(%error, "nothing is compared; the inbox is listed");
            false
        }
    }
}

async fn steps(shared: &Arc<Shared>) -> Result<Option<String>, Error> {
    let ours = leaves(shared);
    let digests = tree(&ours).digests();
    let ask = json!({
        "apiVersion": sites::API_VERSION, "kind": "Comparison",
        "metadata": {"name": "syncer"}, "spec": {"buckets": digests},
    });
    let answer = shared.hub.create(&comparisons(), &ask).await?;
    let told: ComparisonStatus = sites::read(&answer, "status").unwrap_or_default();
    if told.version.is_empty() || told.more {
        return Ok(None);
    }
    let differs: Vec<usize> = told
        .buckets
        .iter()
        .filter_map(|b| usize::try_from(b.bucket).ok())
        .collect();
    let theirs: BTreeMap<&str, &str> = told
        .buckets
        .iter()
        .flat_map(|b| &b.leaves)
        .map(|leaf| (leaf.name.as_str(), leaf.digest.as_str()))
        .collect();
    let mut batch = Batch::default();
    for name in ours.keys().filter(|n| differs.contains(&bucket(n))) {
        if !theirs.contains_key(&**name) {
            vanished(shared, &mut batch, name);
        }
    }
    let mut fetched = 0;
    for (name, digest) in theirs {
        if ours.get(name).is_some_and(|leaf| leaf.text() == digest) {
            continue;
        }
        fetched += 1;
        match shared.hub.find(&manifests(), "", name).await? {
            Some(manifest) => {
                seen(shared, &mut batch, name.to_owned(), &manifest);
                // If it is only the report that differs, it is sent again.
                report_again(shared, name);
            }
            None => vanished(shared, &mut batch, name),
        }
        if batch.len() >= BATCH_INTENTS {
            keep(shared, std::mem::take(&mut batch)).await;
        }
    }
    keep(shared, batch).await;
    tracing::info!(fetched, "the gap is closed");
    Ok(Some(told.version))
}

fn report_again(shared: &Shared, name: &str) {
    if let Some(entry) = shared.table.lock().get_mut(name) {
        entry.standing.reported.clear();
    }
    shared.reports.add(Arc::from(name));
}
