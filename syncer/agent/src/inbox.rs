//! From the inbox into the journal and the table.
//!
//! Notices are taken in batches: one durable write for all that is there. Invariant: the cursor
//! is written with the intents that it stands for, so a restart neither misses nor repeats one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hanse_apis::sites::{self, ManifestSpec, names};
use hanse_client::{Follow, List, Notice, Resource};
use serde_json::Value;

use crate::agent::Shared;
use crate::below;
use crate::gap;
use crate::guard;
use crate::journal::Change;
use crate::limits::{BATCH_INTENTS, PAGE_OBJECTS};
use crate::table::{Entry, Place, Standing, order};

/// The resource of the inbox.
pub fn manifests() -> Resource {
    Resource::new(sites::GROUP, sites::VERSION, "manifests")
}

/// What a batch changes.
#[derive(Default)]
pub struct Batch {
    intents: BTreeMap<String, Vec<u8>>,
    entries: BTreeMap<String, Entry>,
    cursor: Option<String>,
}

impl Batch {
    /// How many objects it changes.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Follows the inbox until the agent stops.
pub async fn run(shared: Arc<Shared>) {
    let cursor = shared.journal.cursor().unwrap_or_default();
    let list = List {
        page: PAGE_OBJECTS,
        ..List::default()
    };
    let mut follow = Follow::new(
        shared.hub.clone(),
        manifests(),
        list,
        shared.seams.clone(),
        cursor,
    );
    let mut listed: Option<BTreeSet<String>> = None;
    loop {
        let mut batch = Batch::default();
        let mut forgotten = false;
        let mut next = tokio::select! {
            biased;
            () = shared.stop.wait() => return,
            notice = follow.next() => Some(notice),
        };
        while let Some(notice) = next {
            forgotten = matches!(&notice, Notice::Broken(error) if error.is_expired());
            take(&shared, &mut batch, &mut listed, notice);
            if forgotten || batch.entries.len() >= BATCH_INTENTS {
                break;
            }
            next = shared.seams.timeout(Duration::ZERO, follow.next()).await;
        }
        if listed.is_none() && !follow.version().is_empty() {
            batch.cursor = Some(follow.version().to_owned());
        }
        keep(&shared, batch).await;
        if forgotten && gap::close(&shared, &mut follow).await {
            let batch = Batch {
                cursor: Some(follow.version().to_owned()),
                ..Batch::default()
            };
            keep(&shared, batch).await;
        }
    }
}

fn take(shared: &Shared, batch: &mut Batch, listed: &mut Option<BTreeSet<String>>, notice: Notice) {
    match notice {
        Notice::Restart => *listed = Some(BTreeSet::new()),
        Notice::Seen(manifest) => {
            let name = manifest["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if let Some(seen) = listed {
                seen.insert(name.clone());
            }
            seen(shared, batch, name, &manifest);
        }
        Notice::Gone(manifest) => {
            let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
            vanished(shared, batch, name);
        }
        Notice::Complete => {
            let seen = listed.take().unwrap_or_default();
            let gone: Vec<Arc<str>> = shared
                .table
                .lock()
                .iter()
                .filter(|(name, _)| !seen.contains(&***name))
                .map(|(name, _)| Arc::clone(name))
                .collect();
            for name in gone {
                vanished(shared, batch, &name);
            }
        }
        Notice::Quiet => {}
        Notice::Broken(error) => tracing::debug!(%error, "the inbox cannot be followed"),
    }
}

fn current(shared: &Shared, batch: &Batch, name: &str) -> Option<Entry> {
    match batch.entries.get(name) {
        Some(entry) => Some(entry.clone()),
        None => shared.table.lock().get(name).cloned(),
    }
}

/// Takes in a Manifest as it is now.
pub fn seen(shared: &Shared, batch: &mut Batch, name: String, manifest: &Value) {
    let spec: ManifestSpec = match sites::read(manifest, "spec") {
        Ok(spec) => spec,
        Err(error) => {
            tracing::warn!(name, %error, "a Manifest cannot be read");
            return;
        }
    };
    let uid = manifest["metadata"]["uid"].as_str().unwrap_or_default();
    let removing = manifest["metadata"].get("deletionTimestamp").is_some();
    let held = manifest["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|f| f.iter().any(|f| f == names::MANIFEST_FINALIZER));
    let old = current(shared, batch, &name);
    if removing && !held {
        // Released already, by us or by hand; what still stands below goes all the same.
        return vanished(shared, batch, &name);
    }
    let place = Place::of(&spec);
    let mut entry = match old {
        Some(old) if old.standing.place == place => old,
        Some(old) => {
            // The same Manifest with another place: what stands at the old one goes by itself.
            let mut left = old;
            left.standing.removing = true;
            left.standing.vanished = true;
            batch
                .entries
                .insert(format!("{name}~{}", left.standing.locator), left);
            Entry::default()
        }
        None => Entry::default(),
    };
    let standing = &mut entry.standing;
    if standing.uid == uid && standing.hash == spec.hash && standing.removing == removing {
        return;
    }
    if standing.uid != uid {
        standing.reported.clear();
    }
    standing.place = place;
    standing.order = order(&spec);
    standing.comes_up = !spec.upsync.is_empty();
    standing.has_access = spec.access.is_given();
    standing.uid = uid.to_owned();
    standing.removing = removing;
    standing.vanished = false;
    standing.locator = spec.target.locator.clone();
    standing.generation = spec.source.generation;
    if standing.hash != spec.hash || standing.applied_hash.is_empty() {
        standing.hash = spec.hash;
        standing.error = None;
        entry.truce = None;
        entry.repairs.clear();
        // Warnings were about what stood there before.
        if let Some(extra) = &mut entry.extra {
            extra.events.clear();
        }
    }
    let Ok(intent) = serde_json::to_vec(&manifest["spec"]) else {
        return;
    };
    batch.intents.insert(name.clone(), intent);
    batch.entries.insert(name, entry);
}

/// A Manifest that is gone without our release: its object goes too, and nobody waits for it.
pub fn vanished(shared: &Shared, batch: &mut Batch, name: &str) {
    let Some(mut entry) = current(shared, batch, name) else {
        return;
    };
    if entry.standing.vanished {
        return;
    }
    entry.standing.removing = true;
    entry.standing.vanished = true;
    batch.entries.insert(name.to_owned(), entry);
}

/// Writes a batch down, then acts on it.
pub async fn keep(shared: &Arc<Shared>, batch: Batch) {
    let Batch {
        intents,
        entries,
        cursor,
    } = batch;
    if entries.is_empty() && cursor.is_none() {
        return;
    }
    let standings: Vec<(String, Vec<u8>)> = entries
        .iter()
        .filter_map(|(name, e)| Some((name.clone(), serde_json::to_vec(&e.standing).ok()?)))
        .collect();
    // A cursor alone is a convenience: losing it repeats a few events.
    let durable = !entries.is_empty();
    for name in entries.keys() {
        if let Some(entry) = shared.table.lock().get_mut(name) {
            entry.incoming = true;
        }
    }
    let journal = Arc::clone(&shared.journal);
    loop {
        let (intents, standings, cursor) = (intents.clone(), standings.clone(), cursor.clone());
        let journal = Arc::clone(&journal);
        let write = move || {
            let mut changes = Vec::new();
            changes.extend(intents.iter().map(|(n, b)| Change::Intent(n, b)));
            changes.extend(standings.iter().map(|(n, b)| Change::Standing(n, b)));
            changes.extend(cursor.as_deref().map(Change::Cursor));
            journal.write(&changes, durable)
        };
        let written = if durable {
            shared.seams.blocking("journal", write).await
        } else {
            Some(write())
        };
        match written {
            Some(Ok(())) => break,
            Some(Err(error)) => tracing::error!(%error, "intents not kept; nothing is applied"),
            None => tracing::error!("the journal's writer failed; nothing is applied"),
        }
        shared.seams.clock.sleep(Duration::from_secs(1)).await;
    }
    let removals = entries.values().any(|e| e.standing.removing);
    let names: Vec<String> = entries.keys().cloned().collect();
    for (name, entry) in entries {
        let resource = entry.standing.place.resource();
        adopt(shared, &name, entry);
        below::watch(shared, resource);
    }
    guard::told(shared, removals);
    for name in names {
        let key: Arc<str> = Arc::from(name.as_str());
        shared.work.forget(&key);
        shared.work.add(Arc::clone(&key));
        shared.reports.add(key);
    }
}

/// Puts the new intent into the table without losing what appliers and watchers have learned
/// while the batch was written.
fn adopt(shared: &Shared, name: &str, new: Entry) {
    let mut table = shared.table.lock();
    let merged = match table.get(name) {
        Some(now) if now.standing.place == new.standing.place => {
            let mut now = now.clone();
            now.incoming = false;
            let s = new.standing;
            if now.standing.hash != s.hash {
                now.standing.error = None;
                now.truce = None;
                now.repairs.clear();
                if let Some(extra) = &mut now.extra {
                    extra.events.clear();
                }
            }
            if now.standing.uid != s.uid {
                now.standing.reported.clear();
            }
            now.standing = Standing {
                applied_hash: now.standing.applied_hash,
                applied_generation: now.standing.applied_generation,
                live_uid: now.standing.live_uid,
                digest: now.standing.digest,
                disputed: now.standing.disputed,
                error: now.standing.error,
                reported: now.standing.reported,
                ..s
            };
            now
        }
        _ => Entry {
            incoming: false,
            ..new
        },
    };
    table.insert(name, merged);
}
