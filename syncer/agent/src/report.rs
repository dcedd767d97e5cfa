//! The way up: the latest of each object, once, when it differs from what the hub has.
//!
//! Invariant: a report that the hub has taken is never sent again; while the hub is away reports
//! pile up one deep for each object, because only its key waits.

use std::sync::Arc;

use hanse_apis::sites::ManifestStatus;
use hanse_client::PatchKind;
use hanse_projection::content_hash;
use hanse_reconcile::Outcome;
use serde_json::{Value, json};

use crate::agent::Shared;
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
    let hash = content_hash(&json!(status));
    if hash == entry.standing.reported {
        return Outcome::Done;
    }
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

/// Whether there is something to tell: an error, or how an object stands that was seen. After a
/// restart that takes a first look, since statuses are not in the journal.
fn is_told(entry: &Entry) -> bool {
    match entry.standing.applied_hash.is_empty() {
        true => entry.standing.error.is_some(),
        false => entry.status.is_some(),
    }
}

fn build(entry: &Entry) -> ManifestStatus {
    let standing = &entry.standing;
    let status: Value = entry
        .status
        .as_ref()
        .and_then(|bytes| serde_json::from_slice(bytes).ok())
        .unwrap_or(Value::Null);
    let extra = entry.extra.as_ref();
    ManifestStatus {
        applied_hash: standing.applied_hash.clone(),
        applied_generation: standing.applied_generation,
        state: state(entry).to_owned(),
        error: standing.error.clone(),
        generation: entry.live_generation,
        replicas: entry.replicas,
        status,
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
