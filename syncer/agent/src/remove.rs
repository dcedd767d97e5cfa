//! One object taken away below, and its Manifest released (rule 1).
//!
//! Invariant: only what carries our marks is deleted, by the uid that was seen; a Manifest is
//! released only when its object is gone. The namespace goes with the last object in it, before
//! that object's release, so nothing is left behind when the tenant's object is free.

use std::sync::Arc;

use hanse_apis::sites::{ManifestSpec, names};
use hanse_client::{Error, PatchKind};
use hanse_projection::names::{Ownership, locator_line, ownership};
use hanse_reconcile::Outcome;
use serde_json::{Value, json};

use crate::agent::Shared;
use crate::apply::{fail, is_known};
use crate::below::namespaces;
use crate::failure::explain;
use crate::guard;
use crate::inbox::manifests;
use crate::limits::{ORDER_LOOK, ORDER_PATIENCE, REMOVE_LOOK};
use crate::table::{Entry, Standing};
use crate::token;

/// Takes an object away; comes back until it is gone and released. What needed it goes first: for
/// as long as that takes, and no longer than it may be waited for.
pub async fn run(shared: &Arc<Shared>, name: &Arc<str>, entry: &Entry) -> Outcome {
    let now = shared.seams.clock.monotonic();
    let counts = |name: &str, other: &Entry| {
        guard::may_go(shared, name) && other.asked.is_none_or(|at| now < at + ORDER_PATIENCE)
    };
    if shared.table.lock().waits_to_leave(name, &counts) {
        return Outcome::Again(ORDER_LOOK);
    }
    match steps(shared, name, entry).await {
        Ok(outcome) => outcome,
        Err(error) => {
            wake(shared, name);
            let pause = shared.work.retry(Arc::clone(name));
            let kind = entry.standing.place.resource().to_string();
            fail(shared, name, explain(&error, &kind), pause);
            Outcome::Planned
        }
    }
}

async fn steps(shared: &Arc<Shared>, name: &Arc<str>, entry: &Entry) -> Result<Outcome, Error> {
    if !is_gone(shared, name, entry).await? {
        if let Some(entry) = shared.table.lock().get_mut(name) {
            let now = shared.seams.clock.monotonic();
            entry.asked.get_or_insert(now);
        }
        return Ok(Outcome::Again(REMOVE_LOOK));
    }
    wake(shared, name);
    if entry.standing.has_access
        && let Some(spec) = intent(shared, name)
    {
        token::clear(shared, name, &spec).await?;
    }
    let namespace = entry.standing.place.namespace.to_string();
    let last = {
        let mut table = shared.table.lock();
        if let Some(entry) = table.get_mut(name) {
            entry.standing.applied_hash.clear();
        }
        !namespace.is_empty() && !table.needs_namespace(&namespace, name)
    };
    if last {
        remove_namespace(shared, &namespace).await?;
    }
    if !entry.standing.vanished {
        release(shared, name, &entry.standing.uid).await?;
    }
    // A Manifest made again under the same name meanwhile is applied instead.
    let over = shared.forget(name, &entry.standing.uid);
    Ok(if over { Outcome::Done } else { Outcome::Retry })
}

fn intent(shared: &Shared, name: &str) -> Option<ManifestSpec> {
    let bytes = shared.journal.intent(name).ok().flatten()?;
    serde_json::from_slice(&bytes).ok()
}

/// Those that wait for an object's end need not any more.
fn wake(shared: &Shared, name: &Arc<str>) {
    let next = shared.table.lock().left(name);
    next.into_iter().for_each(|name| shared.work.add(name));
}

/// Whether nothing of ours is left; asks for its deletion when something is.
async fn is_gone(shared: &Shared, name: &str, entry: &Entry) -> Result<bool, Error> {
    let place = &entry.standing.place;
    let resource = place.resource();
    let live = match shared
        .site
        .find(&resource, &place.namespace, &place.name)
        .await
    {
        Ok(Some(live)) => live,
        // A kind that is no longer served has no objects either.
        Ok(None) => return Ok(true),
        Err(error) if error.code() == 403 && was_never_let(&entry.standing) => return Ok(true),
        Err(error) => return Err(error),
    };
    let line = intent(shared, name).map_or(String::new(), |s| locator_line(&s.source));
    match ownership(&live, &shared.inbox, &entry.standing.locator, &line) {
        Ownership::Ours => {}
        Ownership::Foreign if is_known(entry, &live) => {}
        Ownership::Foreign | Ownership::Another(_) => return Ok(true),
    }
    if live["metadata"].get("deletionTimestamp").is_some() {
        return Ok(false);
    }
    let uid = live["metadata"]["uid"].as_str();
    match shared
        .site
        .delete(&resource, &place.namespace, &place.name, uid)
        .await
    {
        // A server that answers with a Status has deleted; with the object, it waits for its
        // finalizers or its processes.
        Ok(answer) => Ok(answer["kind"] == "Status"),
        Err(error) if error.is_not_found() => Ok(true),
        Err(error) if error.is_conflict() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the site's owner never let us make the object: every apply looks first, so what we may
/// not look at was not made, and its tenant need not wait for it.
fn was_never_let(standing: &Standing) -> bool {
    let refused = standing.error.as_ref().map(|error| error.reason.as_str());
    standing.live_uid.is_empty() && standing.applied_hash.is_empty() && refused == Some("Forbidden")
}

async fn remove_namespace(shared: &Shared, namespace: &str) -> Result<(), Error> {
    shared.namespaces.lock().remove(namespace);
    let Some(live) = shared.site.find(&namespaces(), "", namespace).await? else {
        return Ok(());
    };
    let ours = live["metadata"]["labels"][names::SITE_LABEL] == *shared.inbox;
    let going = live["metadata"].get("deletionTimestamp").is_some();
    if !ours || going {
        return Ok(());
    }
    let uid = live["metadata"]["uid"].as_str();
    match shared.site.delete(&namespaces(), "", namespace, uid).await {
        Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
        _ => Ok(()),
    }
}

async fn release(shared: &Shared, name: &str, uid: &str) -> Result<(), Error> {
    let Some(manifest) = shared.hub.find(&manifests(), "", name).await? else {
        return Ok(());
    };
    if manifest["metadata"]["uid"] != *uid {
        return Ok(());
    }
    let finalizers = manifest["metadata"]["finalizers"].as_array();
    let left: Vec<&Value> = finalizers
        .into_iter()
        .flatten()
        .filter(|f| *f != names::MANIFEST_FINALIZER)
        .collect();
    let patch = json!({"metadata": {
        "finalizers": left, "resourceVersion": manifest["metadata"]["resourceVersion"],
    }});
    match shared
        .hub
        .patch(&manifests(), ("", name, ""), PatchKind::Merge, &patch)
        .await
    {
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}
