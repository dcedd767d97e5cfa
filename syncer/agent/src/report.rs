//! The way up: the latest of each object, once, when it differs from what the hub has.
//!
//! Invariant: a report that the hub has taken is never sent again; while the hub is away reports
//! pile up one deep for each object, because only its key waits. A status is held until it is told.

use std::sync::Arc;

use bytes::Bytes;
use hanse_apis::sites::ManifestStatus;
use hanse_client::{Error, PatchKind};
use hanse_projection::content_hash;
use hanse_reconcile::Outcome;
use serde_json::{Value, json};

use crate::agent::Shared;
use crate::below;
use crate::inbox::manifests;
use crate::table::Entry;

/// Reports one object.
pub async fn reconcile(shared: Arc<Shared>, name: Arc<str>) -> Outcome {
    let Some(entry) = shared.table.lock().get(&name).cloned() else {
        return Outcome::Done;
    };
    if entry.standing.vanished || !is_told(&entry) {
        return Outcome::Done;
    }
    let mut status = build(&entry);
    let hash = content_hash(&json!([status, entry.status_digest]));
    if hash == entry.standing.reported {
        told(&shared, &name, &entry);
        return Outcome::Done;
    }
    status.status = match text(&shared, &name, &entry).await {
        Ok(Some(text)) => serde_json::from_slice(&text).unwrap_or(Value::Null),
        // It changed meanwhile, which asks for a report of its own.
        Ok(None) => return Outcome::Retry,
        Err(error) => {
            tracing::debug!(%name, %error, "a status cannot be read again");
            return Outcome::Retry;
        }
    };
    status.observed = shared.now();
    status.digest.clone_from(&hash);
    let patch = json!([{"op": "add", "path": "/status", "value": status}]);
    match shared
        .hub
        .patch(&manifests(), ("", &name, "status"), PatchKind::Json, &patch)
        .await
    {
        Ok(_) => {
            if let Some(entry) = shared.table.lock().get_mut(&name) {
                entry.standing.reported = hash;
            }
            told(&shared, &name, &entry);
            shared.remember(&name);
            Outcome::Done
        }
        Err(error) if error.is_not_found() => Outcome::Done,
        Err(error) => {
            tracing::debug!(%name, %error, "a report was not taken");
            Outcome::Retry
        }
    }
}

/// The text of a status that was told is let go, unless it changed meanwhile.
fn told(shared: &Shared, name: &str, before: &Entry) {
    if let Some(entry) = shared.table.lock().get_mut(name)
        && entry.status_digest == before.status_digest
    {
        entry.status = None;
    }
}

/// The text of an object's status: kept since it was seen, or read again; `None` when it is
/// another one by now.
async fn text(shared: &Shared, name: &Arc<str>, entry: &Entry) -> Result<Option<Bytes>, Error> {
    if let Some(text) = &entry.status {
        return Ok(Some(text.clone()));
    }
    if entry.status_digest.is_none() {
        return Ok(Some(Bytes::new()));
    }
    let place = &entry.standing.place;
    let resource = place.resource();
    let live = shared
        .site
        .find(&resource, &place.namespace, &place.name)
        .await?;
    let text = below::status_of(&live.unwrap_or_default());
    if Some(below::digest_of(&text)) == entry.status_digest {
        return Ok(Some(text));
    }
    if let Some(entry) = shared.table.lock().get_mut(name) {
        entry.status_digest = Some(below::digest_of(&text));
        entry.status = Some(text);
    }
    Ok(None)
}

/// Whether there is something to tell: an error, or how an object stands that was seen. After a
/// restart that takes a first look, since statuses are not in the journal.
fn is_told(entry: &Entry) -> bool {
    match entry.standing.applied_hash.is_empty() {
        true => entry.standing.error.is_some(),
        false => entry.status_digest.is_some(),
    }
}

fn build(entry: &Entry) -> ManifestStatus {
    let standing = &entry.standing;
    let extra = entry.extra.as_ref();
    ManifestStatus {
        applied_hash: standing.applied_hash.clone(),
        applied_generation: standing.applied_generation,
        state: state(entry).to_owned(),
        error: standing.error.as_deref().cloned(),
        generation: entry.live_generation,
        replicas: entry.replicas,
        status: Value::Null,
        related: extra
            .and_then(|e| serde_json::from_slice(&e.related).ok())
            .unwrap_or_default(),
        events: extra.map(|e| e.events.clone()).unwrap_or_default(),
        digest: String::new(),
        observed: String::new(),
    }
}

fn state(entry: &Entry) -> &'static str {
    let standing = &entry.standing;
    if standing.removing {
        return "Removing";
    }
    match standing.error.as_ref().map(|e| e.reason.as_str()) {
        Some("Conflict" | "Fight") => "Conflict",
        Some("Incompatible") => "Incompatible",
        Some("Unreachable") | None if standing.applied_hash != standing.hash => "Pending",
        Some("Unreachable") | None => "Applied",
        Some(_) => "Failed",
    }
}
