//! What lies still gets small, and nobody can tell by what it says.

use hanse_json::{Value, json};

use super::{
    ClusterName, Document, Expect, From, ListQuery, Object, ObjectKey, SchemaHash, Scope, Txn,
    World, configmaps, key, play,
};
use crate::{Packer, WatchEvent};

const CLUSTERS: usize = 60;

/// A body like those that every logical cluster has.
fn tree(cluster: usize, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": name, "namespace": "n", "uid": format!("{name}-6144afdc-0709-48eb-{cluster:09}"),
            "annotations": {"note": format!("what {name} is for, in many words ").repeat(8)},
            "labels": {"even": cluster.is_multiple_of(2).to_string()},
            "ownerReferences": [{"uid": "owner", "name": "o", "kind": "O", "apiVersion": "v1"}],
        },
        "data": {"ca.crt": format!("{name} holds lines that all others hold, too\n").repeat(9)},
    })
}

async fn put(world: &World, key: &ObjectKey, value: &Value) -> Object {
    let document = Document::from_value(value, [("type", "x")], SchemaHash::default()).unwrap();
    let txn = Txn::one(key.clone(), Expect::Any, Some(document));
    let done = world.hub.commit(txn).await.unwrap();
    done.objects.into_iter().next().flatten().unwrap()
}

async fn fill(world: &World) {
    for cluster in 0..CLUSTERS {
        for name in ["a", "b"] {
            let key = key(&format!("c{cluster}"), "n", name);
            put(world, &key, &tree(cluster, name)).await;
        }
    }
}

/// Does a whole pass, and says how many bodies it made small.
fn pass(packer: &mut Packer, cutoff: u64) -> usize {
    let mut packed = 0;
    if packer.begin(cutoff) {
        while let Some(more) = packer.turn() {
            packed += more;
        }
    }
    packed
}

fn all(world: &World) -> Vec<Object> {
    let page = world
        .hub
        .list(&configmaps(), &Scope::Wildcard, &ListQuery::default());
    page.unwrap().objects
}

fn said(objects: &[Object]) -> Vec<String> {
    let say = |object: &Object| {
        let labels: Vec<_> = object.labels().collect();
        let fields: Vec<_> = object.fields().collect();
        let json = String::from_utf8(object.json()).unwrap();
        let (uid, size) = (object.uid(), object.json_len());
        format!("{json} {labels:?} {fields:?} {uid} {size}")
    };
    objects.iter().map(say).collect()
}

fn told(world: &World) -> Vec<(u64, String)> {
    let from = From::Version(0);
    let mut watcher = world.hub.watch(&configmaps(), &Scope::Wildcard, from, None);
    let mut told = Vec::new();
    let line = |event: &WatchEvent| {
        let json = String::from_utf8(event.object.json()).unwrap();
        (event.version(), format!("{} {json}", event.kind.as_str()))
    };
    while let Some(event) = watcher.try_next().unwrap() {
        told.push(line(&event));
    }
    told
}

#[test]
fn what_is_packed_says_the_same_and_takes_less() {
    play(async |world| {
        fill(&world).await;
        let (before, events, bytes) = (
            said(&all(&world)),
            told(&world),
            world.hub.stats().object_bytes,
        );
        let mut packer = Packer::new(&world.hub);
        assert_eq!(pass(&mut packer, 0), 0, "nothing is that old");
        assert_eq!(pass(&mut packer, world.hub.version()), 2 * CLUSTERS);
        let small = world.hub.stats().object_bytes;
        assert!(small < bytes / 2, "{small} of {bytes}");
        let usage = world.hub.usage(&Scope::Wildcard);
        assert_eq!(usage.len(), 1);
        assert_eq!((usage[0].objects, usage[0].memory_bytes), (120, small));
        assert_eq!(said(&all(&world)), before);
        assert_eq!(told(&world), events);
        assert!(all(&world).iter().all(|object| !object.is_open()));
        assert_eq!(pass(&mut packer, world.hub.version()), 0);
        let found = world.hub.verify().await.unwrap();
        assert_eq!(found.findings, [""; 0]);
    });
}

#[test]
fn who_looks_into_it_opens_it_until_the_next_pass() {
    play(async |world| {
        fill(&world).await;
        let mut packer = Packer::new(&world.hub);
        pass(&mut packer, world.hub.version());
        let at = key("c7", "n", "a");
        let held = world.hub.get(&at).unwrap();
        let note = held.annotation("note").unwrap().into_owned();
        assert!(note.starts_with("what a is for"), "{note}");
        assert!(world.hub.get(&at).unwrap().is_open());
        assert_eq!(pass(&mut packer, world.hub.version()), 1);
        let closed = world.hub.get(&at).unwrap();
        assert!(held.is_open() && !closed.is_open());
        assert_eq!((closed.json(), &closed), (held.json(), &held));
    });
}

#[test]
fn writes_owners_and_the_past_go_on() {
    play(async |world| {
        fill(&world).await;
        let middle = world.hub.version();
        let then = said(&all(&world));
        let mut packer = Packer::new(&world.hub);
        pass(&mut packer, middle);
        let cluster = ClusterName::from("c3");
        assert_eq!(world.hub.by_owner(&cluster, "owner").len(), 2);
        let at = key("c3", "n", "a");
        world.delete(&at).await;
        assert_eq!(world.hub.by_owner(&cluster, "owner").len(), 1);
        let next = put(&world, &key("c4", "n", "b"), &tree(4, "other")).await;
        pass(&mut packer, world.hub.version());
        assert_eq!(world.hub.get(next.key()).unwrap().json(), next.json());
        let query = ListQuery {
            at: Some(middle),
            ..ListQuery::default()
        };
        let past = world.hub.list(&configmaps(), &Scope::Wildcard, &query);
        assert_eq!(said(&past.unwrap().objects), then);
        let events = told(&world);
        assert_eq!(events.len(), 2 * CLUSTERS + 2);
        let kinds: Vec<&str> = events[2 * CLUSTERS..]
            .iter()
            .map(|(_, line)| line.split(' ').next().unwrap())
            .collect();
        assert_eq!(kinds, ["DELETED", "MODIFIED"]);
    });
}

#[test]
fn a_few_wait_for_more_of_their_kind() {
    play(async |world| {
        for cluster in 0..5 {
            let key = key(&format!("d{cluster}"), "n", "a");
            put(&world, &key, &tree(cluster, "a")).await;
        }
        let mut packer = Packer::new(&world.hub);
        assert_eq!(pass(&mut packer, world.hub.version()), 0);
        fill(&world).await;
        assert_eq!(pass(&mut packer, world.hub.version()), 2 * CLUSTERS + 5);
    });
}

#[test]
fn a_pass_is_due_when_there_is_something_to_do() {
    play(async |world| {
        let mut packer = Packer::new(&world.hub);
        let mut looks = |count: usize| (0..count).filter(|_| packer.is_due()).count();
        looks(100);
        assert_eq!(looks(100), 0, "nothing was written since");
        fill(&world).await;
        assert_eq!(looks(1), 0, "too young");
        assert_eq!(looks(30), 1, "by and by");
    });
}

#[test]
fn what_is_gone_leaves_a_past_that_says_the_same() {
    play(async |world| {
        fill(&world).await;
        let mut packer = Packer::new(&world.hub);
        pass(&mut packer, world.hub.version());
        for object in all(&world) {
            world.delete(object.key()).await;
        }
        let events = told(&world);
        assert_eq!(events.len(), 4 * CLUSTERS);
        // The pass ends with less than half of what there was: the past is moved.
        pass(&mut packer, world.hub.version());
        assert_eq!(told(&world), events);
        assert_eq!(world.hub.stats().object_bytes, 0);
    });
}
