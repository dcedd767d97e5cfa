//! What is seen below: one watch for each resource that we have objects of, by our label.
//!
//! Invariant: nothing is cached; of each object that is seen, the digest of what is ours is
//! compared and the status is kept, then it is let go. An object that leaves the watch is looked
//! at again, whether it was deleted or lost its label.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hanse_apis::sites::names;
use hanse_client::{Follow, List, Notice, Resource};
use hanse_projection::{digest16, kinds, owned, render};
use serde_json::Value;

use crate::agent::Shared;
use crate::limits::{PAGE_OBJECTS, STATUS_BYTES_MAX};
use crate::table::{Entry, Place};

/// Watches a resource below, unless it is watched already.
pub fn watch(shared: &Arc<Shared>, resource: Resource) {
    let mut watched = shared.watched.lock();
    if watched.contains_key(&resource) || shared.stop.is_triggered() {
        return;
    }
    let task = shared
        .seams
        .spawn("below", follow(Arc::clone(shared), resource.clone()));
    watched.insert(resource, task);
}

/// Watches our namespaces below, so that one that lost its marks or went is made again.
pub fn watch_namespaces(shared: &Arc<Shared>) {
    watch(shared, namespaces());
}

/// The resource of namespaces.
pub fn namespaces() -> Resource {
    Resource::new("", "v1", "namespaces")
}

async fn follow(shared: Arc<Shared>, resource: Resource) {
    let list = List {
        labels: format!("{}={}", names::SITE_LABEL, shared.inbox),
        page: PAGE_OBJECTS,
        ..List::default()
    };
    let (site, seams) = (shared.site.clone(), shared.seams.clone());
    let mut follow = Follow::new(site, resource.clone(), list, seams, String::new());
    let is_namespaces = resource == namespaces();
    let mut started = Duration::ZERO;
    loop {
        let notice = tokio::select! {
            biased;
            () = shared.stop.wait() => return,
            notice = follow.next() => notice,
        };
        match notice {
            Notice::Restart => {
                started = shared.seams.clock.monotonic();
                restart(&shared, &resource);
            }
            Notice::Seen(object) if is_namespaces => seen_namespace(&shared, &object),
            Notice::Gone(object) if is_namespaces => touch_namespace(&shared, &object),
            Notice::Seen(object) => observe(&shared, &resource, &object),
            Notice::Gone(object) => gone(&shared, &resource, &object),
            Notice::Complete => complete(&shared, &resource, started),
            Notice::Quiet => {}
            Notice::Broken(error) => {
                tracing::debug!(%resource, %error, "cannot be followed below");
            }
        }
    }
}

fn place(resource: &Resource, object: &Value) -> Place {
    let text = |key: &str| Box::from(object["metadata"][key].as_str().unwrap_or_default());
    Place {
        group: Box::from(resource.group.as_str()),
        version: Box::from(resource.version.as_str()),
        plural: Box::from(resource.plural.as_str()),
        namespace: text("namespace"),
        name: text("name"),
    }
}

fn of(resource: &Resource, entry: &Entry) -> bool {
    let place = &entry.standing.place;
    *place.plural == *resource.plural
        && *place.group == *resource.group
        && *place.version == *resource.version
}

fn restart(shared: &Shared, resource: &Resource) {
    let mut again = Vec::new();
    for (name, entry) in shared.table.lock().iter_mut() {
        if of(resource, entry) {
            entry.seen = false;
            // Versions of a server that was restored start lower; all is told again anyway.
            entry.live_version = 0;
            // The kind is served (again): what failed for the lack of it need not wait.
            if entry.standing.error.is_some() {
                again.push(Arc::clone(name));
            }
        }
    }
    again.into_iter().for_each(|name| shared.work.add(name));
}

fn complete(shared: &Shared, resource: &Resource, started: Duration) {
    let mut missing = Vec::new();
    for (name, entry) in shared.table.lock().iter_mut() {
        let stood = !entry.standing.applied_hash.is_empty();
        if of(resource, entry) && stood && !entry.seen && entry.applied_at <= started {
            entry.dirty = true;
            missing.push(Arc::clone(name));
        }
    }
    missing.into_iter().for_each(|name| shared.work.add(name));
}

/// Takes in what an object below looks like: from a watch, or as the answer to an apply.
fn observe(shared: &Shared, resource: &Resource, object: &Value) {
    let place = place(resource, object);
    let Some(name) = shared.table.lock().at(&place) else {
        return;
    };
    let drifted = {
        let mut table = shared.table.lock();
        let Some(entry) = table.get_mut(&name) else {
            return;
        };
        entry.seen = true;
        let old = version(object) < entry.live_version;
        let digest = owned::digest(object, names::FIELD_MANAGER, &entry.standing.disputed);
        let going = object["metadata"].get("deletionTimestamp").is_some();
        let drifted = !old
            && !going
            && !entry.standing.applied_hash.is_empty()
            && entry.standing.digest != hex(&digest);
        entry.dirty |= drifted;
        drifted
    };
    if drifted {
        shared.work.add(Arc::clone(&name));
    }
    note_status(shared, &name, object);
}

/// An object's status as JSON; empty when there is none, or one that is too long to travel.
pub fn status_of(object: &Value) -> Bytes {
    match object.get("status") {
        Some(Value::Null) | None => Bytes::new(),
        Some(status) => {
            let text = Bytes::from(status.to_string());
            if text.len() > STATUS_BYTES_MAX {
                Bytes::new()
            } else {
                text
            }
        }
    }
}

/// What a status digests to.
pub fn digest_of(status: &[u8]) -> [u8; 16] {
    digest16(&[&String::from_utf8_lossy(status)])
}

/// Keeps an object's status and asks for a report when it changed.
pub fn note_status(shared: &Shared, name: &Arc<str>, object: &Value) {
    let status = status_of(object);
    let digest = digest_of(&status);
    let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
    let changed = {
        let mut table = shared.table.lock();
        let Some(entry) = table.get_mut(name) else {
            return;
        };
        if version(object) < entry.live_version {
            return;
        }
        entry.live_version = version(object);
        let place = &entry.standing.place;
        let row = kinds::row(&place.group, &place.plural).and_then(|r| r.replicas);
        let replicas = render::at(object, row.unwrap_or("spec.replicas")).and_then(Value::as_i64);
        let other = entry.status_digest != Some(digest);
        let changed = other || entry.live_generation != generation || entry.replicas != replicas;
        if other {
            entry.status = Some(status);
            entry.status_digest = Some(digest);
        }
        entry.live_generation = generation;
        entry.replicas = replicas;
        if changed && entry.standing.comes_up {
            // What it refers to may be another now.
            shared.beside.add(Arc::clone(name));
        }
        changed
    };
    if changed {
        shared.reports.add(Arc::clone(name));
    }
}

fn gone(shared: &Shared, resource: &Resource, object: &Value) {
    let place = place(resource, object);
    let Some(name) = shared.table.lock().at(&place) else {
        return;
    };
    if let Some(entry) = shared.table.lock().get_mut(&name) {
        if version(object) < entry.live_version {
            return;
        }
        entry.dirty = true;
        entry.status = Some(Bytes::new());
        entry.status_digest = Some(digest_of(b""));
    }
    shared.work.add(Arc::clone(&name));
    shared.reports.add(name);
}

/// Versions of one server grow; Kubernetes says so since 1.35 and has always done so.
pub fn version(object: &Value) -> u64 {
    let text = object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default();
    text.parse().unwrap_or(0)
}

fn seen_namespace(shared: &Shared, object: &Value) {
    let meta = &object["metadata"];
    let marked = meta["annotations"].get(names::LOCATOR_ANNOTATION).is_some()
        && meta["labels"].get(names::LOCATOR_LABEL).is_some();
    if !marked {
        touch_namespace(shared, object);
    }
}

/// A namespace is gone or lost its marks: whatever shall be in it brings it back.
fn touch_namespace(shared: &Shared, object: &Value) {
    let namespace = object["metadata"]["name"].as_str().unwrap_or_default();
    shared.namespaces.lock().remove(namespace);
    let mut inside = Vec::new();
    for (name, entry) in shared.table.lock().iter_mut() {
        if *entry.standing.place.namespace == *namespace && !entry.standing.removing {
            entry.dirty = true;
            inside.push(Arc::clone(name));
        }
    }
    inside.into_iter().for_each(|name| shared.work.add(name));
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(32), |mut out, byte| {
            // Writing to a String cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}
