//! What leaves the hub and comes back, and what a verification finds.

use std::sync::Arc;

use hanse_json::{Value, json};
use hanse_store::{Batch, Expect as Must, Op, Store};

use super::{World, configmaps, document, key, play};
use crate::dump::{DumpError, Seal, from_line, to_line};
use crate::{
    ClusterName, CommitError, Config, Document, Hub, Object, ObjectKey, SchemaHash, Txn, limits,
};

fn owned(name: &str, owner: &str) -> Document {
    let value = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}"),
            "annotations": {"a": "b"}, "ownerReferences": [{"uid": format!("uid-{owner}")}]},
    });
    Document::from_value(&value, [("type", "x")], SchemaHash([7; 16])).unwrap()
}

async fn plant(world: &World) {
    for (name, owner) in [("a", "b"), ("b", "c"), ("d", "d")] {
        let key = key("c", "ns", name);
        let txn = Txn::default().create(key, owned(name, owner));
        world.hub.commit(txn).await.unwrap();
    }
    let txn = Txn::default().create(key("c", "ns", "c"), owned("c", "nobody"));
    world.hub.commit(txn).await.unwrap();
}

#[test]
fn owners_come_first_and_all_of_it_comes_back() {
    play(async |world| {
        plant(&world).await;
        let snapshot = world.hub.snapshot(|_| true, |_| 0).await.unwrap();
        assert_eq!(snapshot.version, world.hub.version());
        let names: Vec<&str> = snapshot.objects.iter().map(|o| &*o.key().name).collect();
        let place = |name: &str| names.iter().position(|other| *other == name).unwrap();
        assert!(
            place("c") < place("b") && place("b") < place("a"),
            "{names:?}"
        );
        assert_eq!(names.len(), 4, "who owns itself is there once");
        let store = Arc::new(hanse_store::MemoryStore::with_defaults(
            hanse_seams::Simulation::new(2).seams().clock,
        ));
        let other = Hub::open(store, Config::default()).await.unwrap();
        let lines: Vec<Vec<u8>> = snapshot.objects.iter().map(to_line).collect();
        let objects = || lines.iter().map(|line| from_line(line).unwrap()).collect();
        assert_eq!(other.restore(objects()).await.unwrap(), 4);
        for object in &snapshot.objects {
            let restored = other.get(object.key()).unwrap();
            let without = |mut value: Value| {
                value["metadata"]
                    .as_object_mut()
                    .unwrap()
                    .remove("resourceVersion");
                value
            };
            assert_eq!(without(restored.value()), without(object.value()));
            assert_eq!(restored.schema(), object.schema());
            assert!(restored.fields().eq(object.fields()));
        }
        assert_eq!(
            other.restore(objects()).await.unwrap(),
            0,
            "all of it is there"
        );
        // What has changed since is the same object still; another of its name is in the way.
        let a = key("c", "ns", "a");
        let changed = |other: &Object| Txn::default().update(other, owned("a", "nobody"));
        other
            .commit(changed(&other.get(&a).unwrap()))
            .await
            .unwrap();
        assert_eq!(other.restore(objects()).await.unwrap(), 0);
        let b = owned("b", "nobody");
        other
            .commit(Txn::default().update(&other.get(&a).unwrap(), b))
            .await
            .unwrap();
        let refused = other.restore(objects()).await.unwrap_err();
        assert!(matches!(refused, CommitError::Conflict { key, .. } if key == a));
    });
}

#[test]
fn a_line_is_believed_only_after_all_before_it() {
    let (mut seal, mut text) = (Seal::default(), Vec::new());
    for line in ["{\"n\":1}", "{\"n\":2}", "{\"n\":3}"] {
        seal.write(line.as_bytes(), &mut text);
    }
    let lines: Vec<&[u8]> = text
        .strip_suffix(b"\n")
        .unwrap()
        .split(|b| *b == b'\n')
        .collect();
    let read = |lines: &[&[u8]]| -> Result<usize, DumpError> {
        let mut seal = Seal::default();
        lines
            .iter()
            .map(|line| seal.read(line).map(<[u8]>::len))
            .sum()
    };
    assert_eq!(read(&lines), Ok(21));
    assert_eq!(
        read(&[lines[0], lines[2]]),
        Err(DumpError::Seal { line: 2 })
    );
    assert_eq!(read(&[lines[1]]), Err(DumpError::Seal { line: 1 }));
    assert_eq!(read(&[b"short"]), Err(DumpError::Seal { line: 1 }));
    for place in 0..lines[1].len() {
        let mut bytes = lines[1].to_vec();
        bytes[place] ^= 1;
        assert_eq!(
            read(&[lines[0], &bytes]),
            Err(DumpError::Seal { line: 2 }),
            "{place}"
        );
    }
}

#[test]
fn a_line_that_names_another_object_is_refused() {
    let line = json!({
        "group": "", "resource": "configmaps", "identity": "", "cluster": "c", "namespace": "ns",
        "name": "a", "schema": "00".repeat(16), "fields": {}, "object": {"metadata": {
            "name": "a", "namespace": "ns", "uid": "u", "annotations": {"kcp.io/cluster": "c"}}},
    });
    assert!(from_line(line.to_string().as_bytes()).is_ok());
    for (pointer, value) in [
        ("/name", "b"),
        ("/cluster", "d"),
        ("/cluster", "c/d"),
        ("/namespace", ""),
        ("/schema", "00"),
        ("/object/metadata/uid", ""),
        ("/object/metadata/annotations/kcp.io~1cluster", "d"),
    ] {
        let mut other = line.clone();
        *other.pointer_mut(pointer).unwrap() = json!(value);
        assert!(
            from_line(other.to_string().as_bytes()).is_err(),
            "{pointer}"
        );
    }
}

/// Every fault that can be planted behind the hub's back is found by name.
#[test]
fn a_verification_names_what_is_broken() {
    play(async |world| {
        plant(&world).await;
        assert_eq!(world.hub.verify().await.unwrap().findings, [] as [&str; 0]);
        let stored = |name: &str, document: &Document| {
            let object = ObjectKey::new(&configmaps(), &ClusterName::from("c"), "ns", name);
            (object.to_store(), document.value().clone())
        };
        let mut index = owned("e", "nobody").value().to_vec();
        let at = index
            .windows(5)
            .position(|bytes| bytes == b"uid-e")
            .unwrap();
        index[at] = b'v';
        let text = document("f", "x", json!({}));
        for (name, value, words) in [
            (
                "other",
                owned("e", "nobody").value().to_vec(),
                "names another object",
            ),
            ("e", index, "index entry"),
            ("g", b"\x01".to_vec(), "damaged"),
            ("f", text.value().to_vec(), "names another object"),
            ("a", owned("a", "z").value().to_vec(), ""),
        ] {
            let (key, _) = stored(name, &text);
            let op = Op {
                key,
                expect: Must::Any,
                put: Some(value.into()),
                attachment: None,
            };
            let batch = Batch {
                ops: vec![op],
                ..Batch::default()
            };
            world.store.commit(batch).await.unwrap();
            let findings = world.hub.verify().await.unwrap().findings;
            let found = findings
                .iter()
                .any(|f| f.contains(&format!("/{name}")) && f.contains(words));
            assert_eq!(found, !words.is_empty(), "{name}: {findings:?}");
        }
    });
}

/// So is every fault of memory's own.
#[test]
fn a_verification_compares_indexes_and_counts() {
    play(async |world| {
        plant(&world).await;
        assert_eq!(world.hub.verify().await.unwrap().findings, [] as [&str; 0]);
        let a = world.hub.get(&key("c", "ns", "a")).unwrap();
        world.hub.shared.state.write().disown(&a);
        let findings = world.hub.verify().await.unwrap().findings;
        assert!(
            findings.len() == 1 && findings[0].contains("index of owners"),
            "{findings:?}"
        );
        // An object that memory lost, and one that only memory has.
        let gone = crate::state::Applied::Delete(a.key().clone(), a.resource_version() + 1);
        let mut after = crate::state::After::default();
        world.hub.shared.state.write().apply(gone, &mut after);
        let findings = world.hub.verify().await.unwrap().findings;
        let named = |text: &str| findings.iter().any(|finding| finding.contains(text));
        assert!(named("memory does not show it"), "{findings:?}");
        assert!(named("memory shows 3 objects, the store 4"), "{findings:?}");
    });
}

/// A store is read whole without a hub, parts put in, and shows what a hub shows.
#[test]
fn a_store_is_read_page_by_page() {
    play(async |world| {
        for number in 0..700 {
            let key = key("c", "ns", &format!("o{number:03}"));
            let txn = Txn::default().create(key, owned(&format!("o{number:03}"), "x"));
            world.hub.commit(txn).await.unwrap();
        }
        let mut stored = crate::Stored::all(world.store.clone());
        assert_eq!(stored.version(), world.hub.version());
        let mut seen = Vec::new();
        while let Some(page) = stored.next().await.unwrap() {
            assert!(page.len() <= limits::STORED_PAGE);
            seen.extend(page);
        }
        assert_eq!(seen.len(), 700);
        for object in &seen {
            let shown = world.hub.get(object.key()).unwrap();
            assert_eq!(
                (object.json(), object.resource_version()),
                (shown.json(), shown.resource_version())
            );
        }
        let mut one = crate::Stored::of(world.store.clone(), "", "configmaps");
        assert_eq!(
            one.next().await.unwrap().unwrap().len(),
            limits::STORED_PAGE
        );
        let mut none = crate::Stored::of(world.store.clone(), "", "configmap");
        assert!(none.next().await.unwrap().unwrap().is_empty());
        assert!(none.next().await.unwrap().is_none());
    });
}
