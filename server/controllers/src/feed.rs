//! From an event to the keys that it concerns. Cheap for the many events that concern nobody: a
//! few comparisons of interned names, no parsing.

use std::time::Duration;

use hanse_cache::{Event, Hub, ListQuery, Object, ResourceId, Scope};

use crate::key::Key;
use crate::limits;
use crate::plan::World;

/// Without a pause.
const NOW: Duration = Duration::ZERO;

/// Calls `add` for each key that an event concerns.
pub fn keys(world: &World<'_>, event: &Event, add: &mut impl FnMut(Key, Duration)) {
    let hub = world.hub;
    let object = event.object();
    let key = object.key();
    let cluster = &key.cluster;
    match (
        key.resource.group(),
        key.resource.resource(),
        key.resource.identity(),
    ) {
        ("", "namespaces", "") => add(Key::Namespace(cluster.clone(), key.name.clone()), NOW),
        ("", "serviceaccounts", "") => {
            if event.is_delete() && &*key.name == "default" {
                add(Key::Namespace(cluster.clone(), key.namespace.clone()), NOW);
            }
            tokens_of(hub, object, add);
        }
        ("", "configmaps", "") if &*key.name == crate::namespaces::ROOT_CA => {
            add(Key::Namespace(cluster.clone(), key.namespace.clone()), NOW);
        }
        ("", "secrets", "") if !event.is_delete() && crate::tokens::is_token(object) => {
            add(Key::Token(key.clone()), NOW);
        }
        ("apiextensions.k8s.io", "customresourcedefinitions", "") => {
            definition(hub, event, add);
        }
        ("rbac.authorization.k8s.io", "clusterroles", "") => add(Key::Roles(cluster.clone()), NOW),
        ("certificates.k8s.io", "certificatesigningrequests", "") if !event.is_delete() => {
            add(Key::Certificate(key.clone()), NOW);
        }
        _ => {}
    }
    if event.is_delete() {
        deleted(world, object, add);
    } else {
        alive(object, add);
    }
}

fn alive(object: &Object, add: &mut impl FnMut(Key, Duration)) {
    if object.owners().next().is_some() && !is_event(object) {
        add(Key::Dependent(object.key().clone()), NOW);
    }
    if object.is_deleting() && crate::garbage::waits(object) {
        add(Key::Owner(object.key().clone()), NOW);
    }
}

/// Events are never collected with their owners (GC-13).
fn is_event(object: &Object) -> bool {
    let resource = &object.key().resource;
    resource.resource() == "events" && matches!(resource.group(), "" | "events.k8s.io")
}

/// A deleted object frees or dooms its dependents, may be what an owner waited for, and may be the
/// last of a namespace or of a CRD.
fn deleted(world: &World<'_>, object: &Object, add: &mut impl FnMut(Key, Duration)) {
    let hub = world.hub;
    let key = object.key();
    if !hub.owned(&key.cluster, object.uid(), 0, 1).is_empty() {
        add(Key::Owned(key.cluster.clone(), object.uid().into()), NOW);
    }
    if object.owners().next().is_some() {
        for owner in crate::garbage::owners_waiting(world, object) {
            add(Key::Owner(owner), limits::GATHER);
        }
    }
    if !key.namespace.is_empty() {
        let namespace = crate::namespaces::key(&key.cluster, &key.namespace);
        if hub.get(&namespace).is_some_and(|n| n.is_deleting()) {
            let scope = Scope::Namespace(key.cluster.clone(), key.namespace.clone());
            let left = hub.contents(&scope).iter().map(|(_, n)| n).sum();
            let key = Key::Namespace(key.cluster.clone(), key.namespace.clone());
            add(key, limits::gather(left));
        }
    }
    if key.resource.identity() == crate::crds::LOCAL {
        let group = crate::crds::group_word(key.resource.group());
        let name = format!("{}.{group}", key.resource.resource());
        let left = hub.count(&key.resource, &Scope::Cluster(key.cluster.clone()));
        add(
            Key::Crd(key.cluster.clone(), name.into()),
            limits::gather(left),
        );
    }
}

/// A CRD that gives names up may settle the conflict of another of its group.
fn definition(hub: &Hub, event: &Event, add: &mut impl FnMut(Key, Duration)) {
    let key = event.object().key();
    add(Key::Crd(key.cluster.clone(), key.name.clone()), NOW);
    let names = |o: &Object| o.raw(&["status", "acceptedNames"]).map(<[u8]>::to_vec);
    let before = event.previous().and_then(names);
    if before.is_none() || !event.is_delete() && before == names(event.object()) {
        return;
    }
    for other in list(hub, &key.resource, &Scope::Cluster(key.cluster.clone())) {
        if other.key().name != key.name && crate::crds::is_of_group(&other, group_of(key)) {
            add(Key::Crd(key.cluster.clone(), other.key().name.clone()), NOW);
        }
    }
}

/// The group in the name of a CRD.
fn group_of(key: &hanse_cache::ObjectKey) -> &str {
    key.name.split_once('.').map_or("", |(_, group)| group)
}

fn tokens_of(hub: &Hub, account: &Object, add: &mut impl FnMut(Key, Duration)) {
    let key = account.key();
    let scope = Scope::Namespace(key.cluster.clone(), key.namespace.clone());
    for secret in list(hub, &crate::tokens::secrets(), &scope) {
        if crate::tokens::account_of(&secret).as_deref() == Some(&*key.name) {
            add(Key::Token(secret.key().clone()), NOW);
        }
    }
}

/// The objects of a scope; empty when they cannot be read, which an event or a scan repeats.
pub(crate) fn list(hub: &Hub, resource: &ResourceId, scope: &Scope) -> Vec<Object> {
    hub.list(resource, scope, &ListQuery::default())
        .map(|page| page.objects)
        .unwrap_or_default()
}

/// Every key there is work for, for a start without a position.
pub fn everything(hub: &Hub, add: &mut impl FnMut(Key, Duration)) {
    for resource in hub.resources() {
        for object in list(hub, &resource, &Scope::Wildcard) {
            let key = object.key();
            match (resource.group(), resource.resource(), resource.identity()) {
                ("", "namespaces", "") => {
                    add(Key::Namespace(key.cluster.clone(), key.name.clone()), NOW)
                }
                ("", "secrets", "") if crate::tokens::is_token(&object) => {
                    add(Key::Token(key.clone()), NOW);
                }
                ("apiextensions.k8s.io", "customresourcedefinitions", "") => {
                    add(Key::Crd(key.cluster.clone(), key.name.clone()), NOW);
                }
                ("rbac.authorization.k8s.io", "clusterroles", "") => {
                    add(Key::Roles(key.cluster.clone()), NOW);
                }
                ("certificates.k8s.io", "certificatesigningrequests", "") => {
                    add(Key::Certificate(key.clone()), NOW);
                }
                _ => {}
            }
            alive(&object, add);
        }
    }
}
