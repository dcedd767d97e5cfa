//! Objects born beside ours below, for those of which the hub asks (rule 8).
//!
//! Start at [`reconcile`], which gathers what one object's Manifest asks for. One watch for each
//! kind and namespace says when to gather again. Invariant: what we brought below ourselves never
//! comes up, nor anything outside of the object's namespace; what is gathered is bounded.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use hanse_apis::sites::{LabelSelector, ManifestSpec, RelatedObject, Upsync, names};
use hanse_client::{Error, Follow, List, Notice, Resource};
use hanse_projection::limits::{NAMES_MAX, RELATED_BYTES_MAX, RELATED_MAX};
use hanse_projection::steps::Steps;
use hanse_reconcile::Outcome;
use serde_json::{Map, Value, json};

use crate::agent::Shared;
use crate::limits::{BESIDE_WATCHES_MAX, PAGE_OBJECTS};
use crate::table::{Entry, Seeks};

/// Gathers what comes up beside one object.
pub async fn reconcile(shared: Arc<Shared>, name: Arc<str>) -> Outcome {
    let Some(entry) = shared.table.lock().get(&name).cloned() else {
        return Outcome::Done;
    };
    let intent = shared.journal.intent(&name).ok().flatten();
    let spec = intent.and_then(|bytes| serde_json::from_slice::<ManifestSpec>(&bytes).ok());
    let Some(spec) = spec.filter(|_| !entry.standing.removing) else {
        return Outcome::Done;
    };
    match gather(&shared, &entry, &spec).await {
        Ok((related, seeks)) => {
            let related = match related.is_empty() {
                true => Bytes::new(),
                false => Bytes::from(json!(related).to_string()),
            };
            let changed = {
                let mut table = shared.table.lock();
                let Some(entry) = table.get_mut(&name) else {
                    return Outcome::Done;
                };
                let extra = entry.extra();
                extra.seeks = seeks;
                let changed = extra.related != related;
                extra.related = related;
                changed
            };
            for ask in &spec.upsync {
                watch(&shared, &resource(ask), &spec.target.namespace);
            }
            if changed {
                shared.reports.add(name);
            }
            Outcome::Done
        }
        Err(error) => {
            tracing::debug!(%name, %error, "what was born beside cannot be gathered");
            Outcome::Retry
        }
    }
}

fn resource(ask: &Upsync) -> Resource {
    Resource::new(&ask.group, &ask.version, &ask.resource)
}

async fn gather(
    shared: &Shared,
    entry: &Entry,
    spec: &ManifestSpec,
) -> Result<(Vec<RelatedObject>, Vec<Seeks>), Error> {
    let place = &entry.standing.place;
    let live = shared
        .site
        .find(&place.resource(), &place.namespace, &place.name)
        .await?;
    let (mut out, mut seeks) = (Vec::new(), Vec::new());
    let Some(live) = live else {
        return Ok((out, seeks));
    };
    let mut weight = 0;
    for ask in &spec.upsync {
        let of = resource(ask);
        let names = wanted(ask, &live);
        let mut found = Vec::new();
        for name in &names {
            found.extend(shared.site.find(&of, &place.namespace, name).await?);
        }
        if !ask.selector.is_empty() {
            let list = List {
                namespace: place.namespace.to_string(),
                labels: simple(&ask.selector),
                page: PAGE_OBJECTS,
                ..List::default()
            };
            let mut listed = shared.site.list(&of, &list).await?.items;
            listed.retain(|o| selected(o, &ask.selector) && !names.contains(&name_of(o)));
            // In a namespace that is not the tenant's alone, only what the object owns is its own.
            if spec.target.namespace_locator.is_empty() {
                listed.retain(|o| owned_by(o, &live));
            }
            found.extend(listed);
        }
        found.retain(|o| o["metadata"]["labels"].get(names::SITE_LABEL).is_none());
        found.sort_by_key(name_of);
        for object in found {
            let one = RelatedObject {
                group: ask.group.clone(),
                resource: ask.resource.clone(),
                name: name_of(&object),
                object: told(object),
            };
            weight += one.object.to_string().len();
            if out.len() < RELATED_MAX && weight <= RELATED_BYTES_MAX {
                out.push(one);
            }
        }
        seeks.push(Seeks {
            resource: of,
            names,
            selector: ask.selector.clone(),
        });
    }
    Ok((out, seeks))
}

fn name_of(object: &Value) -> String {
    let name = object["metadata"]["name"].as_str();
    name.unwrap_or_default().to_owned()
}

/// The names that are asked for: those known above, and those that the object below refers to.
fn wanted(ask: &Upsync, live: &Value) -> BTreeSet<String> {
    let mut out: BTreeSet<String> = ask.names.iter().cloned().collect();
    for path in &ask.references {
        let found = Steps::parse(path).map(|steps| steps.all(live));
        let names = found.unwrap_or_default();
        out.extend(names.iter().filter_map(|n| n.as_str().map(str::to_owned)));
    }
    out.into_iter()
        .filter(|n| !n.is_empty())
        .take(NAMES_MAX)
        .collect()
}

/// The part of a selector that a server can be asked for.
fn simple(selector: &LabelSelector) -> String {
    let pairs = selector.match_labels.iter();
    let pairs: Vec<String> = pairs.map(|(k, v)| format!("{k}={v}")).collect();
    pairs.join(",")
}

fn selected(object: &Value, selector: &LabelSelector) -> bool {
    let labels = object["metadata"]["labels"].as_object();
    let labels = labels.into_iter().flatten();
    let labels = labels
        .map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()))
        .collect();
    !selector.is_empty() && selector.matches(&labels)
}

fn owned_by(object: &Value, live: &Value) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array();
    owners
        .into_iter()
        .flatten()
        .any(|owner| owner["uid"] == live["metadata"]["uid"])
}

/// What is told of an object: what it says, with its labels and annotations.
fn told(mut object: Value) -> Value {
    let meta = object["metadata"].take();
    let mut kept = Map::new();
    for part in ["labels", "annotations"] {
        let mut map = meta[part].as_object().cloned().unwrap_or_default();
        map.remove("kubectl.kubernetes.io/last-applied-configuration");
        if !map.is_empty() {
            kept.insert(part.into(), map.into());
        }
    }
    object["metadata"] = kept.into();
    object
}

/// Watches a kind in a namespace, unless it is watched already or too much is.
fn watch(shared: &Arc<Shared>, resource: &Resource, namespace: &str) {
    let key = (resource.clone(), namespace.to_owned());
    let mut watched = shared.beside_watched.lock();
    let full = watched.len() >= BESIDE_WATCHES_MAX;
    if full || watched.contains_key(&key) || shared.stop.is_triggered() {
        return;
    }
    let task = follow(Arc::clone(shared), key.0.clone(), key.1.clone());
    watched.insert(key, shared.seams.spawn("beside", task));
}

async fn follow(shared: Arc<Shared>, resource: Resource, namespace: String) {
    let list = List {
        namespace: namespace.clone(),
        page: PAGE_OBJECTS,
        ..List::default()
    };
    let (site, seams) = (shared.site.clone(), shared.seams.clone());
    let mut follow = Follow::new(site, resource.clone(), list, seams, String::new());
    loop {
        let notice = tokio::select! {
            biased;
            () = shared.stop.wait() => return,
            notice = follow.next() => notice,
        };
        if let Notice::Seen(object) | Notice::Gone(object) = notice {
            concerned(&shared, &resource, &namespace, &object);
        }
    }
}

/// Has those gather again that seek such an object.
fn concerned(shared: &Shared, resource: &Resource, namespace: &str, object: &Value) {
    let name = name_of(object);
    let seeks = |entry: &Entry| {
        *entry.standing.place.namespace == *namespace
            && entry.extra.as_ref().is_some_and(|extra| {
                extra.seeks.iter().any(|s| {
                    s.resource == *resource
                        && (s.names.contains(&name) || selected(object, &s.selector))
                })
            })
    };
    let table = shared.table.lock();
    let all = table.iter().filter(|(_, entry)| seeks(entry));
    let all: Vec<Arc<str>> = all.map(|(name, _)| Arc::clone(name)).collect();
    drop(table);
    all.into_iter().for_each(|name| shared.beside.add(name));
}
