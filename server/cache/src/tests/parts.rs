//! What many objects share is kept once, and nobody notices.

use std::sync::Arc;

use hanse_json::{Value, json, to_vec};
use hanse_seams::Simulation;
use hanse_store::{MemoryStore, Range, Store};

use super::{Config, Document, Expect, From, Hub, ListQuery, Object, ResourceId, Scope, Txn, play};
use crate::part::{PARTS, PartRule};
use crate::{ClusterName, ObjectKey, ReadError, SchemaHash};

const RULES: &[PartRule] = &[PartRule {
    group: "g",
    resource: "boxes",
    path: &["spec", "object"],
}];

fn config() -> Config {
    Config {
        parts: RULES,
        ..Config::default()
    }
}

fn key(cluster: &str, name: &str) -> ObjectKey {
    let of = ResourceId::new("g", "boxes", "");
    ObjectKey::new(&of, &ClusterName::from(cluster), "", name)
}

fn tree(name: &str, content: &str, note: &str) -> Value {
    json!({
        "apiVersion": "g/v1", "kind": "Box", "metadata": {"name": name, "uid": name},
        "spec": {"hash": "h", "object": {"text": content, "z": [1, {"a": null}]}, "z": 1},
        "status": {"note": note},
    })
}

async fn put(hub: &Hub, expect: Expect, at: &ObjectKey, value: &Value) -> Object {
    let document = Document::from_value(value, [("", ""); 0], SchemaHash::default()).unwrap();
    let txn = Txn::one(at.clone(), expect, Some(document));
    let done = hub.commit(txn).await.unwrap();
    done.objects.into_iter().next().flatten().unwrap()
}

async fn delete(hub: &Hub, at: &ObjectKey) {
    let txn = Txn::one(at.clone(), Expect::Present, None);
    hub.commit(txn).await.unwrap();
}

async fn rows(store: &dyn Store) -> usize {
    let range = Range {
        start: PARTS.into(),
        end: Some("!part0".into()),
        at: None,
        limit: 100,
    };
    store.range(range).await.unwrap().entries.len()
}

fn check(object: &Object, whole: &Value) {
    let mut shown = object.value();
    let meta = shown["metadata"].as_object_mut().unwrap();
    meta.remove("resourceVersion");
    meta.remove("annotations");
    assert_eq!(shown, *whole);
    let bytes = object.json();
    assert_eq!(bytes, to_vec(&object.value()), "canonical");
    let version = format!(",\"resourceVersion\":\"{}\"", object.resource_version());
    assert_eq!(object.json_len() + version.len(), bytes.len());
    let inside = object.text(&["spec", "object", "text"]).unwrap();
    assert_eq!(inside, whole["spec"]["object"]["text"].as_str().unwrap());
    assert_eq!(object.raw(&["spec", "object"]).unwrap()[0], b'{');
    assert_eq!(object.raw(&["spec", "z"]).unwrap(), b"1");
    assert_eq!(object.raw(&["spec", "none"]), None);
    assert_eq!(object.text(&["spec", "hash", "x"]), None);
}

#[test]
fn equal_members_are_stored_once_and_shown_everywhere() {
    play(|w| async move {
        let hub = Hub::open(w.store.clone(), config()).await.unwrap();
        let (a, b) = (key("c1", "a"), key("c2", "b"));
        let one = put(&hub, Expect::Absent, &a, &tree("a", "x", "1")).await;
        put(&hub, Expect::Absent, &b, &tree("b", "x", "1")).await;
        assert_eq!(hub.stats().parts, 1);
        assert_eq!(rows(&*w.store).await, 1);
        check(&one, &tree("a", "x", "1"));
        // A change beside the part writes no part.
        let before = hub.version();
        let expect = Expect::Version(one.resource_version());
        put(&hub, expect, &a, &tree("a", "x", "2")).await;
        assert_eq!(hub.version() - before, 256);
        let log = w.store.log(hanse_store::Version(before).revision(), 10);
        let changes = log.await.unwrap().commits.pop().unwrap().changes;
        assert_eq!(changes.len(), 1, "the object alone");
        // The same after a restart, in lists and in the log's tail.
        let again = Hub::open(w.store.clone(), config()).await.unwrap();
        check(&again.get(&a).unwrap(), &tree("a", "x", "2"));
        check(&again.get(&b).unwrap(), &tree("b", "x", "1"));
        let page = again.list(&a.resource, &Scope::Wildcard, &ListQuery::default());
        assert_eq!(page.unwrap().objects.len(), 2);
        assert_eq!(again.stats().parts, 1);
        let mut watch = again.watch(&a.resource, &Scope::Wildcard, From::Version(0), None);
        let first = watch.next().await.unwrap();
        check(&first.object, &tree("a", "x", "1"));
    });
}

#[test]
fn what_nothing_refers_to_goes_and_what_came_back_stays() {
    play(|w| async move {
        let hub = Hub::open(w.store.clone(), config()).await.unwrap();
        let (a, b) = (key("c1", "a"), key("c2", "b"));
        put(&hub, Expect::Absent, &a, &tree("a", "x", "")).await;
        put(&hub, Expect::Any, &a, &tree("a", "y", "")).await;
        let spare = hub.spare_parts();
        assert_eq!(spare.len(), 1);
        // Somebody comes to refer to it between the look and the deletion.
        put(&hub, Expect::Absent, &b, &tree("b", "x", "")).await;
        assert_eq!(hub.drop_parts(&spare).await, Ok(0));
        check(&hub.get(&b).unwrap(), &tree("b", "x", ""));
        delete(&hub, &b).await;
        let spare = hub.spare_parts();
        assert_eq!(hub.drop_parts(&spare).await, Ok(1));
        assert_eq!(rows(&*w.store).await, 1);
        assert!(hub.spare_parts().is_empty());
        // The past that needed it is gone, and says so; the present opens.
        let again = Hub::open(w.store.clone(), config()).await.unwrap();
        check(&again.get(&a).unwrap(), &tree("a", "y", ""));
        let mut watch = again.watch(&a.resource, &Scope::Wildcard, From::Version(0), None);
        let past = watch.next().await;
        assert!(matches!(past, Err(ReadError::TooOld { .. })), "{past:?}");
        // And it may come back.
        put(&again, Expect::Absent, &b, &tree("b", "x", "")).await;
        assert_eq!(rows(&*w.store).await, 2);
    });
}

#[test]
fn a_store_of_one_key_a_commit_writes_the_part_first() {
    let machine = Simulation::new(1);
    let clock = machine.seams().clock;
    let told = machine.run(async move {
        let limits = hanse_store::Limits {
            max_keys: 1,
            ..hanse_store::Limits::default()
        };
        let store = Arc::new(MemoryStore::new(
            clock,
            limits,
            hanse_store::Retention::default(),
        ));
        let hub = Hub::open(store.clone(), config()).await.unwrap();
        let a = key("c1", "a");
        put(&hub, Expect::Absent, &a, &tree("a", "x", "")).await;
        assert_eq!(rows(&*store).await, 1);
        let again = Hub::open(store, config()).await.unwrap();
        check(&again.get(&a).unwrap(), &tree("a", "x", ""));
    });
    assert_eq!(told, Some(()));
}

#[test]
fn what_is_no_object_stays_where_it_is() {
    play(|w| async move {
        let hub = Hub::open(w.store.clone(), config()).await.unwrap();
        let a = key("c1", "a");
        let mut value = tree("a", "x", "");
        value["spec"]["object"] = json!("text");
        let one = put(&hub, Expect::Absent, &a, &value).await;
        assert_eq!(one.text(&["spec", "object"]).unwrap(), "text");
        assert_eq!(rows(&*w.store).await, 0);
    });
}
