//! What the hub promises, told through its public face.

use std::sync::Arc;

use hanse_json::{Value, json};
use hanse_seams::{BoxFuture, Simulation};
use hanse_store::MemoryStore;

use crate::{
    ClusterName, Config, Document, Expect, From, Hub, ListQuery, Object, ObjectKey, ReadError,
    ResourceId, SchemaHash, Scope, Txn, WatchKind, Watcher,
};

mod documents;
mod dump;
mod model;
mod packing;
mod parts;
mod watches;

/// A hub over the in-memory engine, on a simulated machine.
struct World {
    store: Arc<MemoryStore>,
    hub: Hub,
}

fn configmaps() -> ResourceId {
    ResourceId::new("", "configmaps", "")
}

fn key(cluster: &str, namespace: &str, name: &str) -> ObjectKey {
    ObjectKey::new(&configmaps(), &ClusterName::from(cluster), namespace, name)
}

fn document(name: &str, data: &str, labels: Value) -> Document {
    let value = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"text": data},
        "metadata": {"name": name, "uid": format!("uid-{name}"), "labels": labels},
    });
    Document::from_value(&value, [("type", "plain")], SchemaHash::default()).unwrap()
}

fn text(object: &Object) -> String {
    object.text(&["data", "text"]).unwrap().into_owned()
}

/// Runs a story on a simulated machine and fails when it does not come to its end.
fn play<F: Future<Output = ()> + Send + 'static>(story: impl FnOnce(World) -> F + Send + 'static) {
    play_with(Config::default(), story);
}

fn play_with<F: Future<Output = ()> + Send + 'static>(
    config: Config,
    story: impl FnOnce(World) -> F + Send + 'static,
) {
    let machine = Simulation::new(1);
    let clock = machine.seams().clock;
    let told: BoxFuture<()> = Box::pin(async move {
        let store = Arc::new(MemoryStore::with_defaults(clock));
        let hub = Hub::open(store.clone(), config).await.unwrap();
        story(World { store, hub }).await;
    });
    assert_eq!(
        machine.run(told),
        Some(()),
        "the story waits for something that never comes"
    );
}

impl World {
    async fn put(&self, key: &ObjectKey, data: &str) -> Object {
        self.put_labelled(key, data, json!({})).await
    }

    async fn put_labelled(&self, key: &ObjectKey, data: &str, labels: Value) -> Object {
        let document = document(&key.name, data, labels);
        let txn = Txn::one(key.clone(), Expect::Any, Some(document));
        let committed = self.hub.commit(txn).await.unwrap();
        committed.objects.into_iter().next().flatten().unwrap()
    }

    async fn delete(&self, key: &ObjectKey) -> u64 {
        let txn = Txn::one(key.clone(), Expect::Present, None);
        self.hub.commit(txn).await.unwrap().versions[0].unwrap()
    }

    fn names(&self, scope: &Scope, query: &ListQuery) -> Result<Vec<String>, ReadError> {
        let page = self.hub.list(&configmaps(), scope, query)?;
        Ok(page
            .objects
            .iter()
            .map(|object| object.key().path())
            .collect())
    }
}

/// What a watcher has to tell now, as words.
fn told(watcher: &mut Watcher) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(event) = watcher.try_next().unwrap() {
        lines.push(format!(
            "{} {} {}",
            event.kind.as_str(),
            event.object.key().name,
            text(&event.object)
        ));
    }
    lines
}

#[test]
fn a_write_is_read_at_once_and_conflicts_are_told() {
    play(async |world| {
        let a = key("root", "default", "a");
        let first = world.put(&a, "1").await;
        assert_eq!(world.hub.get(&a).unwrap(), first);
        assert_eq!(first.resource_version(), 1 << 8);
        assert_eq!(world.hub.version(), (1 << 8) + 255);
        let json = String::from_utf8(first.json()).unwrap();
        assert_eq!(
            first.value()["metadata"]["resourceVersion"],
            "256",
            "{json}"
        );
        assert_eq!(
            first.value()["metadata"]["annotations"]["kcp.io/cluster"],
            "root"
        );
        let stale = Txn::default().update(&first, document("a", "2", json!({})));
        let committed = world.hub.commit(stale.clone()).await.unwrap();
        assert_eq!(committed.versions, [Some(2 << 8)]);
        let refused = world.hub.commit(stale).await.unwrap_err();
        let current = Some(2 << 8);
        assert_eq!(
            refused,
            crate::CommitError::Conflict {
                key: a.clone(),
                current
            }
        );
        let create = Txn::default().create(a.clone(), document("a", "3", json!({})));
        assert!(world.hub.commit(create).await.is_err());
        assert_eq!(world.delete(&a).await, 3 << 8);
        assert!(world.hub.get(&a).is_none());
    });
}

#[test]
fn a_transaction_is_visible_as_a_whole() {
    play(async |world| {
        let keys: Vec<ObjectKey> = (0..10).map(|n| key("c", "ns", &format!("n{n}"))).collect();
        let mut watcher = world
            .hub
            .watch(&configmaps(), &Scope::Wildcard, From::Now, None);
        let txn = keys.iter().fold(Txn::default(), |txn, key| {
            txn.create(key.clone(), document(&key.name, "x", json!({})))
        });
        let committed = world.hub.commit(txn).await.unwrap();
        let versions: Vec<u64> = committed.versions.iter().map(|v| v.unwrap()).collect();
        assert_eq!(versions, (256..266).collect::<Vec<u64>>());
        assert_eq!(told(&mut watcher).len(), 10);
        // A check that fails holds back the write beside it.
        let txn = Txn::one(
            key("c", "ns", "new"),
            Expect::Absent,
            Some(document("new", "x", json!({}))),
        )
        .check(key("c", "ns", "missing"), Expect::Present);
        assert!(world.hub.commit(txn).await.is_err());
        assert_eq!(world.hub.count(&configmaps(), &Scope::Wildcard), 10);
        assert_eq!(told(&mut watcher), Vec::<String>::new());
        assert_eq!(watcher.bookmark(), committed.version);
    });
}

#[test]
fn owners_find_their_dependents() {
    play(async |world| {
        let cluster = ClusterName::from("c");
        let owned = |name: &str, owner: &str| {
            let value = json!({"metadata": {"name": name, "uid": name,
                "ownerReferences": [{"uid": owner, "kind": "X"}]}});
            Document::from_value(&value, [("", ""); 0], SchemaHash::default()).unwrap()
        };
        let (a, b) = (key("c", "ns", "a"), key("c", "ns", "b"));
        let txn = Txn::default()
            .create(a.clone(), owned("a", "o"))
            .create(b.clone(), owned("b", "o"));
        let first = world.hub.commit(txn).await.unwrap().objects[0]
            .clone()
            .unwrap();
        assert_eq!(world.hub.by_owner(&cluster, "o"), [a.clone(), b.clone()]);
        assert_eq!(world.hub.by_owner(&ClusterName::from("d"), "o"), []);
        world
            .hub
            .commit(Txn::default().update(&first, owned("a", "p")))
            .await
            .unwrap();
        assert_eq!(world.hub.by_owner(&cluster, "o"), [key("c", "ns", "b")]);
        assert_eq!(world.hub.by_owner(&cluster, "p"), [a]);
        world.delete(&b).await;
        assert_eq!(world.hub.by_owner(&cluster, "o"), []);
    });
}

#[test]
fn a_cursor_replays_from_where_it_was_saved() {
    play(async |world| {
        let mut cursor = world.hub.subscribe_all(0);
        for n in 0..5 {
            world.put(&key("c", "ns", &format!("n{n}")), "x").await;
        }
        let batch = cursor.next_batch(3).await.unwrap();
        assert_eq!(batch.len(), 3);
        cursor.save("gc").await.unwrap();
        let saved = cursor.position();
        let reopened = Hub::open(Arc::new(world.store.reopen()), Config::default())
            .await
            .unwrap();
        assert_eq!(reopened.saved_position("gc"), Some(saved));
        assert_eq!(reopened.saved_position("other"), None);
        let mut resumed = reopened.subscribe_all(saved);
        let rest = resumed.next_batch(100).await.unwrap();
        let names: Vec<&str> = rest
            .iter()
            .map(|event| &*event.object().key().name)
            .collect();
        assert_eq!(names, ["n3", "n4"]);
        assert_eq!(resumed.position(), reopened.version());
    });
}

#[test]
fn an_event_is_encoded_once_for_each_kind_and_encoding() {
    play(async |world| {
        let a = key("c", "ns", "a");
        let mut watchers: Vec<Watcher> = (0..3)
            .map(|_| {
                world
                    .hub
                    .watch(&configmaps(), &Scope::Wildcard, From::Now, None)
            })
            .collect();
        world.put(&a, "1").await;
        let mut made = 0;
        for watcher in &mut watchers {
            let event = watcher.next().await.unwrap();
            assert_eq!(event.kind, WatchKind::Added);
            let bytes = event.encoded(7, |event| {
                made += 1;
                event.object.json().into()
            });
            assert_eq!(bytes, event.object.json());
        }
        assert_eq!(made, 1);
    });
}
